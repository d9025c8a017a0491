//! The listeners at work, and how others take their place.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::parts::Parts;
use crate::proxy::{Edge, Entrance, ListenError, Listener, Terms, TermsError};
use crate::runtime::{Inherited, Latest};
use crate::settings::ListenerSettings;

/// Listeners in the order of the config.
#[derive(Default)]
pub(super) struct Listeners(Vec<Running>);

struct Running {
    /// As configured: with port 0 another is bound.
    addr: SocketAddr,
    bound: SocketAddr,
    entrance: Arc<Latest<Entrance>>,
    /// Tells this listener alone to stop.
    stop: CancellationToken,
}

/// Listeners that are ready to take the place of others; dropped, nothing has happened.
pub(super) struct Ready(Vec<Place>);

struct Place {
    addr: SocketAddr,
    terms: Arc<Terms>,
    at: At,
}

enum At {
    /// Where this one is.
    Kept(usize),
    /// At an address that was bound for it.
    New(Listener, SocketAddr),
}

/// A listener cannot be had. Carries its position in the config.
#[derive(Debug)]
pub(super) struct NoListener(pub(super) usize, pub(super) BindError);

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub(super) enum BindError {
    /// It cannot be bound.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// It cannot be read back.
    #[error(transparent)]
    Addr(#[from] io::Error),
}

/// What holds at each listener, with the address as configured.
pub(super) type TermsOf = Vec<(SocketAddr, Arc<Terms>)>;

/// Makes the terms of `listeners`; `before` are those in use. Reads files.
///
/// # Errors
/// The position of the first listener whose TLS files cannot be used, and why.
pub(super) fn load_terms(
    listeners: &[ListenerSettings],
    before: &TermsOf,
) -> Result<TermsOf, (usize, TermsError)> {
    let kept = matches(listeners.iter().map(|one| one.addr), before.iter().map(|(addr, _)| *addr));
    let load = |(index, settings): (usize, &ListenerSettings)| {
        let old = kept[index].map(|old| &*before[old].1);
        let terms = Terms::load(settings, old).map_err(|error| (index, error))?;
        Ok((settings.addr, Arc::new(terms)))
    };
    listeners.iter().enumerate().map(load).collect()
}

/// The listeners, by address as configured, that show clients another certificate than `before`.
pub(super) fn recertified(before: &TermsOf, after: &TermsOf) -> Vec<SocketAddr> {
    let addrs = |all: &TermsOf| all.iter().map(|(addr, _)| *addr).collect::<Vec<_>>();
    let kept = matches(addrs(after).into_iter(), addrs(before).into_iter());
    let both = after.iter().zip(kept).filter_map(|(after, old)| Some((after, &before[old?])));
    both.filter(|((_, after), (_, before))| after.has_other_certificate(before))
        .map(|((addr, _), _)| *addr)
        .collect()
}

/// Which of `old` each of `new` is: the one with the same address, each only once.
fn matches(
    new: impl Iterator<Item = SocketAddr>,
    old: impl Iterator<Item = SocketAddr>,
) -> Vec<Option<usize>> {
    let mut old: Vec<Option<SocketAddr>> = old.map(Some).collect();
    let find = |addr| {
        let index = old.iter().position(|one| *one == Some(addr))?;
        old[index] = None;
        Some(index)
    };
    new.map(find).collect()
}

impl Listeners {
    /// What holds at each now.
    pub(super) fn terms(&self) -> TermsOf {
        self.0.iter().map(|running| (running.addr, running.entrance.get().terms.clone())).collect()
    }

    /// The URLs that clients connect to.
    pub(super) fn urls(&self) -> Vec<String> {
        self.0.iter().map(|running| running.entrance.get().terms.url(running.bound)).collect()
    }

    /// Binds what is not bound yet, and not among `inherited`. Nothing is accepted there before [`Self::turn_to`].
    ///
    /// # Errors
    /// An address cannot be bound; what was bound is given up again.
    pub(super) fn prepare(
        &self,
        terms: TermsOf,
        inherited: &mut Inherited,
    ) -> Result<Ready, NoListener> {
        let kept = matches(terms.iter().map(|(addr, _)| *addr), self.0.iter().map(|one| one.addr));
        let place = |(index, (addr, terms)): (usize, (SocketAddr, Arc<Terms>))| {
            let at = match kept[index] {
                Some(old) => At::Kept(old),
                None => bind(addr, inherited).map_err(|error| NoListener(index, error))?,
            };
            Ok(Place { addr, terms, at })
        };
        terms.into_iter().enumerate().map(place).collect::<Result<_, _>>().map(Ready)
    }

    /// From now on connections are accepted where `ready` says, and lead to `edge`. A listener that is
    /// no more takes in who has connected and ends; its sessions go on.
    pub(super) fn turn_to(&mut self, ready: Ready, edge: &Arc<Edge>, parts: &Parts) {
        let mut old: Vec<_> = self.0.drain(..).map(Some).collect();
        for Place { addr, terms, at } in ready.0 {
            let entrance = Entrance { edge: edge.clone(), terms };
            let kept = match at {
                At::Kept(index) => old[index].take(),
                At::New(listener, bound) => {
                    tracing::info!(url = entrance.terms.url(bound), "listening");
                    self.0.push(open(listener, (addr, bound), entrance, parts));
                    continue;
                }
            };
            let running = kept.expect("each is kept once");
            running.entrance.set(entrance);
            self.0.push(running);
        }
        for gone in old.into_iter().flatten() {
            tracing::info!(addr = %gone.bound, "no longer listening; its sessions go on");
            gone.stop.cancel();
        }
    }
}

fn bind(addr: SocketAddr, inherited: &mut Inherited) -> Result<At, BindError> {
    let listener = match inherited.take(addr) {
        Some(socket) => Listener::inherit(addr, socket)?,
        None => Listener::bind(addr)?,
    };
    let bound = listener.local_addr()?;
    Ok(At::New(listener, bound))
}

fn open(
    listener: Listener,
    (addr, bound): (SocketAddr, SocketAddr),
    entrance: Entrance,
    parts: &Parts,
) -> Running {
    let entrance = Arc::new(Latest::new(entrance));
    let stop = parts.accepting.child_token();
    parts.sockets.add(listener.socket());
    let run = listener.run(entrance.clone(), parts.lobby(), stop.clone());
    parts.clients.spawn_vital_until("listener", stop.clone(), run);
    Running { addr, bound, entrance, stop }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_is_kept_where_its_address_is_still_wanted() {
        let addr = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
        for (old, new, expected) in [
            (vec![], vec![1], vec![None]),
            (vec![1, 2], vec![2, 3, 1], vec![Some(1), None, Some(0)]),
            (vec![0], vec![0, 0], vec![Some(0), None]),
            (vec![0, 0], vec![0], vec![Some(0)]),
        ] {
            let [new, old] = [new, old].map(|ports| ports.into_iter().map(addr));
            assert_eq!(matches(new, old), expected);
        }
    }
}
