//! The tasks that listen to the sources of backends: started, stopped and replaced as the config says.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::registrar::{self, Door, Registry};
use super::{DiscoveryError, Message, dns, file};
use crate::policy::roster::Source;
use crate::runtime::{Clock, Inherited, OpenSockets, Tasks};
use crate::settings::{DiscoverySettings, DnsSettings, FileSettings, RegistrarSettings};
use crate::telemetry::Metrics;

/// What a task is to listen to.
#[derive(Clone, Debug, PartialEq)]
enum Post {
    Dns(DnsSettings),
    File(FileSettings),
}

/// The tasks at work.
#[derive(Debug)]
pub(super) struct Crew {
    messages: mpsc::Sender<Message>,
    tasks: Tasks,
    /// Ends all of them.
    stop: CancellationToken,
    /// What is listened on.
    sockets: OpenSockets,
    metrics: Metrics,
    clock: Clock,
    /// Each with what ends it.
    posts: BTreeMap<Source, (Post, CancellationToken)>,
    registrar: Option<Registrar>,
}

/// Where servers register now.
#[derive(Debug)]
struct Registrar {
    settings: watch::Sender<Arc<RegistrarSettings>>,
    registry: Registry,
    /// Ends the door, not the connections.
    accepting: CancellationToken,
}

/// Whether `discovery` has that source; what operators say is always heard.
pub(super) fn has(discovery: &DiscoverySettings, source: &Source) -> bool {
    match source {
        Source::Config | Source::Api | Source::Past => true,
        Source::Registrar => discovery.registrar.is_some(),
        Source::Dns(_) | Source::File(_) => posts(discovery).contains_key(source),
    }
}

fn posts(discovery: &DiscoverySettings) -> BTreeMap<Source, Post> {
    let dns = discovery.dns.iter().map(|dns| {
        let name = format!("{} {}", dns.kind.as_str(), dns.name);
        (Source::Dns(name.into()), Post::Dns(dns.clone()))
    });
    let files = discovery.files.iter().map(|file| {
        let path = file.path.to_string_lossy().into_owned();
        (Source::File(path.into()), Post::File(file.clone()))
    });
    dns.chain(files).collect()
}

impl Crew {
    /// Nobody works yet.
    pub(super) fn new(
        messages: mpsc::Sender<Message>,
        (tasks, stop): (Tasks, CancellationToken),
        (metrics, clock): (Metrics, Clock),
    ) -> Self {
        let (sockets, posts) = (OpenSockets::default(), BTreeMap::new());
        Self { messages, tasks, stop, sockets, metrics, clock, posts, registrar: None }
    }

    /// The same, whose sockets are found in `sockets`.
    pub(super) fn sharing(self, sockets: OpenSockets) -> Self {
        Self { sockets, ..self }
    }

    /// Starts the tasks for `discovery`, whose registrar is behind `door`.
    pub(super) fn start(&mut self, discovery: &DiscoverySettings, door: Option<Door>) {
        if let (Some(settings), Some(door)) = (&discovery.registrar, door) {
            self.open(settings, door);
        }
        self.fill_posts(discovery);
    }

    /// Stops, starts and replaces tasks, so that they are those for `discovery`.
    ///
    /// # Errors
    /// The registrar's address cannot be bound: nothing has changed.
    pub(super) async fn configure(
        &mut self,
        discovery: &DiscoverySettings,
    ) -> Result<(), DiscoveryError> {
        match &discovery.registrar {
            None => {
                if let Some(gone) = self.registrar.take() {
                    gone.accepting.cancel();
                    gone.registry.closing.cancel();
                }
            }
            Some(settings) if self.addr() == Some(settings.addr) => {
                let registrar = self.registrar.as_ref().expect("it has an address");
                registrar.settings.send_replace(Arc::new(settings.clone()));
            }
            Some(settings) => {
                let door = Door::open(settings, &mut Inherited::default()).await?;
                self.open(settings, door);
            }
        }
        self.fill_posts(discovery);
        Ok(())
    }

    /// The address that servers register at, as configured.
    fn addr(&self) -> Option<SocketAddr> {
        self.registrar.as_ref().map(|registrar| registrar.settings.borrow().addr)
    }

    /// Lets servers in by `door`, and by the one before no more; who is in stays.
    fn open(&mut self, settings: &RegistrarSettings, door: Door) {
        let (sender, receiver) = watch::channel(Arc::new(settings.clone()));
        let registry = match self.registrar.take() {
            Some(before) => {
                before.accepting.cancel();
                Registry { settings: receiver, ..before.registry }
            }
            None => Registry {
                settings: receiver,
                messages: self.messages.clone(),
                metrics: self.metrics.clone(),
                clock: self.clock,
                tasks: self.tasks.clone(),
                closing: self.stop.child_token(),
                numbers: Arc::default(),
                told: Arc::default(),
            },
        };
        self.sockets.add(door.socket());
        let accepting = self.stop.child_token();
        let (stop, run) = (accepting.clone(), registrar::run(door, registry.clone()));
        self.tasks.spawn_vital_until("registrar", accepting.clone(), async move {
            stop.run_until_cancelled(run).await;
        });
        self.registrar = Some(Registrar { settings: sender, registry, accepting });
    }

    fn fill_posts(&mut self, discovery: &DiscoverySettings) {
        let wanted = posts(discovery);
        self.posts.retain(|source, (post, stop)| {
            let stays = wanted.get(source) == Some(post);
            if !stays {
                stop.cancel();
            }
            stays
        });
        for (source, post) in wanted {
            if !self.posts.contains_key(&source) {
                let stop = self.stop.child_token();
                self.man(source.clone(), post.clone(), stop.clone());
                self.posts.insert(source, (post, stop));
            }
        }
    }

    fn man(&self, source: Source, post: Post, stop: CancellationToken) {
        let (messages, metrics) = (self.messages.clone(), self.metrics.clone());
        match post {
            Post::Dns(settings) => self.tasks.spawn("dns", async move {
                let run = dns::run((source, settings), messages, metrics);
                stop.run_until_cancelled(run).await;
            }),
            Post::File(settings) => self.tasks.spawn("file", async move {
                let run = file::run((source, settings.path), messages, metrics);
                stop.run_until_cancelled(run).await;
            }),
        }
    }
}
