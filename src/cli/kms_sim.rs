//! `pinfold kms-sim`: simulated Kurento Media Servers.

mod args;

use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::process::ExitCode;

use anyhow::{Context, bail};
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio_util::sync::CancellationToken;

use crate::kms_sim::{self, KmsSimEnd, KmsSimSettings, RegistrarSettings, serve};
use crate::model::Draws;
use crate::runtime::{Clock, random};
use crate::settings::{LogFormat, LogSettings};
use crate::sim::kms::registrar::OwnAddress;
use crate::telemetry::log;

use super::print;
use super::serve::Signals;

pub(super) use self::args::KmsSimArgs;

/// Exit status after a crash: what a shell shows of a process that SIGABRT ended.
const CRASHED: u8 = 134;

/// Plays servers until SIGTERM or SIGINT, or until a frame kills the only one.
pub(super) fn run(args: &KmsSimArgs) -> anyhow::Result<ExitCode> {
    log::init(&LogSettings { format: LogFormat::Pretty, filter: "warn".to_owned() })?;
    let runtime = Builder::new_multi_thread().enable_all().build()?;
    let end = runtime.block_on(serve_until_signal(args))?;
    runtime.shutdown_background();
    Ok(match end {
        KmsSimEnd::Stopped => ExitCode::SUCCESS,
        KmsSimEnd::Died => ExitCode::from(CRASHED),
    })
}

async fn serve_until_signal(args: &KmsSimArgs) -> anyhow::Result<KmsSimEnd> {
    let mut signals = Signals::listen()?;
    let servers = settings(args, listen(args)?)?;
    let control = control(args).await?;
    let mut lines = String::new();
    for (listener, server) in &servers {
        let addr = listener.local_addr()?;
        lines += &format!("kms-sim {} listening on ws://{addr}/kurento\n", server.name);
    }
    if let Some(control) = &control {
        lines += &format!("kms-sim control on http://{}\n", control.local_addr()?);
    }
    print(lines)?;
    let stop = CancellationToken::new();
    let mut serving = pin!(serve(servers, control, stop.clone()));
    tokio::select! {
        end = &mut serving => return Ok(end?),
        () = signals.next() => stop.cancel(),
    }
    // A second signal changes nothing, as with a real one.
    Ok(serving.await?)
}

/// A listener and a name for each server.
fn listen(args: &KmsSimArgs) -> anyhow::Result<Vec<(TcpListener, String)>> {
    let mut listeners = Vec::new();
    for at in 0..args.count {
        let port = match args.listen.port() {
            0 => Some(0),
            first => first.checked_add(at),
        };
        let Some(port) = port else {
            bail!("--count {} from port {} goes beyond 65535", args.count, args.listen.port());
        };
        let addr = SocketAddr::new(args.listen.ip(), port);
        let listener = kms_sim::listen(addr);
        let listener = listener.with_context(|| format!("cannot listen on {addr}"))?;
        let name =
            if args.count == 1 { args.name.clone() } else { format!("{}-{}", args.name, at + 1) };
        listeners.push((listener, name));
    }
    Ok(listeners)
}

fn settings(
    args: &KmsSimArgs,
    listeners: Vec<(TcpListener, String)>,
) -> anyhow::Result<Vec<(TcpListener, KmsSimSettings)>> {
    let clock = Clock::start();
    let kms = args.kms(Clock::unix_seconds() * 1_000);
    let first = args.seed.unwrap_or_else(random::seed);
    // The server draws the seeds of its later processes from its own seed, so the other servers'
    // come from elsewhere.
    let mut others = Draws::seeded(!first);
    let mut servers = Vec::new();
    for (at, (listener, name)) in listeners.into_iter().enumerate() {
        let seed = if at == 0 { first } else { others.next() };
        let registrar = registrar(args, listener.local_addr()?);
        let settings = KmsSimSettings {
            faults: args.faults.at_start(),
            registrar,
            ..KmsSimSettings::new(&name, kms.clone(), seed, clock)
        };
        servers.push((listener, settings));
    }
    Ok(servers)
}

fn registrar(args: &KmsSimArgs, addr: SocketAddr) -> Option<RegistrarSettings> {
    let url = args.registrar.clone()?;
    let host = args.registrar_local_address.clone().unwrap_or_else(|| match addr.ip() {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    });
    let own = OwnAddress { host, port: addr.port(), secure_port: None, path: "kurento".to_owned() };
    Some(RegistrarSettings { url, own })
}

async fn control(args: &KmsSimArgs) -> anyhow::Result<Option<TcpListener>> {
    let Some(addr) = args.control else {
        return Ok(None);
    };
    if !addr.ip().is_loopback() && !args.control_allow_public {
        bail!(
            "--control {addr} is no loopback address: whoever reaches it can crash the servers; \
             --control-allow-public allows it"
        );
    }
    let listener = TcpListener::bind(addr).await;
    Ok(Some(listener.with_context(|| format!("cannot listen on {addr}"))?))
}
