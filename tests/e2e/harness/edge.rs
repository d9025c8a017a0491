//! The edge and the simulated backends, each the real binary.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;

use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use pinfold::admin::client::{FetchError, post_json};
use pinfold::load::{Client, Events};
use serde_json::{Value, json};
use tokio::net::TcpStream;

use super::process::Process;
use super::{TempDir, wait_for, within_bound};

/// One simulated backend.
#[derive(Debug)]
pub(crate) struct KmsSim {
    /// Name and backend id.
    pub(crate) id: String,
    /// Its `ws://` address.
    pub(crate) url: String,
    pub(crate) process: Process,
}

impl KmsSim {
    /// One that answers at once, so that what a test sees does not hang on the load of a machine.
    pub(crate) async fn start(id: &str) -> Self {
        Self::start_with(id, &[]).await
    }

    /// The same with more arguments.
    pub(crate) async fn start_with(id: &str, more: &[&str]) -> Self {
        Self::start_at(id, "127.0.0.1:0", more).await
    }

    /// One that listens on `address`, as one before it did.
    pub(crate) async fn start_at(id: &str, address: &str, more: &[&str]) -> Self {
        let plain = ["kms-sim", "--listen", address, "--name", id, "--timed", "false"];
        let arguments = [&plain, more].concat();
        let mut process = Process::pinfold(id, &arguments);
        let url = process.line_after("listening on ").await;
        Self { id: id.to_owned(), url, process }
    }

    /// One for each of `ids`.
    pub(crate) async fn start_all<const N: usize>(ids: [&str; N]) -> [Self; N] {
        let starting = ids.map(Self::start);
        futures_util::future::join_all(starting).await.try_into().unwrap()
    }

    /// The pipelines that live here.
    pub(crate) async fn pipelines(&self) -> BTreeSet<String> {
        let (client, _events) = Client::connect(&self.url).await.unwrap();
        let params = json!({"object": "manager_ServerManager", "operation": "getPipelines"});
        let answer = client.call("invoke", params).await.unwrap();
        serde_json::from_value(answer["value"].clone()).unwrap()
    }

    /// Whether `object` lives here.
    pub(crate) async fn has(&self, object: &str) -> bool {
        let (client, _events) = Client::connect(&self.url).await.unwrap();
        let found = client.call("describe", json!({"object": object})).await;
        assert!(found.is_ok() || found.as_ref().unwrap_err().code() == Some(40101), "{found:?}");
        found.is_ok()
    }
}

/// An edge, its address and its admin API.
#[derive(Debug)]
pub(crate) struct Edge {
    /// Address of its first listener.
    pub(crate) url: String,
    pub(crate) process: Process,
    /// Where servers register, without the path, if they may.
    pub(crate) registrar: Option<String>,
    admin: String,
    dir: TempDir,
}

impl Edge {
    /// An edge before `backends` with every other setting at its default, once all are eligible.
    pub(crate) async fn start(backends: &[KmsSim]) -> Self {
        Self::start_with(backends, "", TempDir::create()).await
    }

    /// The same with more settings: `more` starts with keys of the listener, tables may follow.
    pub(crate) async fn start_with(backends: &[KmsSim], more: &str, dir: TempDir) -> Self {
        let urls: Vec<_> = backends.iter().map(|one| (one.id.as_str(), one.url.as_str())).collect();
        let edge = Self::start_unready(&urls, more, dir).await;
        edge.becomes_ready().await;
        edge
    }

    /// Waits until all backends are eligible.
    pub(crate) async fn becomes_ready(&self) {
        let all_healthy = || async {
            let backends = self.backends().await;
            backends.iter().all(|one| one["takes_pins"] == true).then_some(())
        };
        wait_for("all backends take pins", all_healthy).await;
        let ready = || async { (self.admin("/readyz").await.0 == 200).then_some(()) };
        wait_for("readiness", ready).await;
    }

    /// The same, with no file larger than `file_max_kib`: a full disk, as far as the edge can tell.
    pub(crate) async fn start_cramped(
        backends: &[KmsSim],
        (more, file_max_kib): (&str, u32),
        dir: TempDir,
    ) -> Self {
        let urls: Vec<_> = backends.iter().map(|one| (one.id.as_str(), one.url.as_str())).collect();
        let config = write_config(&urls, more, &dir);
        // With the signal ignored, a write beyond the bound fails like one to a full disk.
        let script =
            format!("trap '' XFSZ; ulimit -f {file_max_kib}; exec \"$0\" serve --config \"$1\"");
        let mut command = Command::new("bash");
        command.args(["-c", &script, env!("CARGO_BIN_EXE_pinfold")]).arg(config);
        let edge = Self::of(Process::start("edge", &mut command), dir).await;
        edge.becomes_ready().await;
        edge
    }

    /// The same for backends `(id, url)` that need not be there.
    pub(crate) async fn start_unready(backends: &[(&str, &str)], more: &str, dir: TempDir) -> Self {
        let path = write_config(backends, more, &dir);
        let process = Process::pinfold("edge", &["serve", "--config", path.to_str().unwrap()]);
        Self::of(process, dir).await
    }

    /// The edge that `process` is, once it has told its addresses.
    pub(crate) async fn of(mut process: Process, dir: TempDir) -> Self {
        let (mut url, mut admin, mut registrar) = (None, None, None);
        while url.is_none() || admin.is_none() {
            let line = process.next_line().await;
            let after = |mark| line.strip_prefix(mark).map(str::to_owned);
            url = url.or_else(|| after("listening on "));
            registrar = registrar.or_else(|| after("registrar on "));
            admin = admin.or_else(|| after("admin on http://"));
        }
        Self { url: url.unwrap(), admin: admin.unwrap(), registrar, process, dir }
    }

    /// The same for backends with more keys of their config each, once all are eligible.
    pub(crate) async fn start_among(backends: &[(&KmsSim, &str)], more: &str) -> Self {
        // The keys follow the URL; what closes it is a comment then.
        let url = |(one, keys): &(&KmsSim, &str)| format!("{}\"\n{keys}\n# \"", one.url);
        let urls: Vec<String> = backends.iter().map(url).collect();
        let named = backends.iter().zip(&urls).map(|((one, _), url)| (&*one.id, url.as_str()));
        let edge = Self::start_unready(&named.collect::<Vec<_>>(), more, TempDir::create()).await;
        edge.becomes_ready().await;
        edge
    }

    /// Kills it without a warning.
    pub(crate) async fn kill(&mut self) {
        self.process.signal("KILL");
        self.process.exited().await;
    }

    /// Starts another in its place when it has ended: same port, same state.
    pub(crate) async fn start_again(self) -> Self {
        let path = self.dir.path().join("pinfold.toml");
        let config = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, with_addr(&config, "", self.addr())).unwrap();
        let process = Process::pinfold("edge", &["serve", "--config", path.to_str().unwrap()]);
        Self::of(process, self.dir).await
    }

    /// Its config, with the addresses that it has.
    pub(crate) fn config(&self) -> String {
        let config = std::fs::read_to_string(self.dir.path().join("pinfold.toml")).unwrap();
        let config = with_addr(&config, "", self.addr());
        with_addr(&config, "[admin]", &self.admin)
    }

    /// Starts a process that is to take over, with that config, in a file of that name.
    pub(crate) fn challenge(&self, name: &str, config: &str) -> Process {
        let path = self.dir.write(name, config);
        let arguments = ["serve", "--config", path.to_str().unwrap(), "--takeover", &self.admin];
        Process::pinfold(name, &arguments)
    }

    /// Starts another that takes over; returns that, and the process that ends.
    pub(crate) async fn take_over(self) -> (Self, Process) {
        let successor = self.challenge("pinfold.toml", &self.config());
        (Self::of(successor, self.dir).await, self.process)
    }

    /// Where its config file is, and its state.
    pub(crate) fn dir(&self) -> &TempDir {
        &self.dir
    }

    /// The same, when it has ended.
    pub(crate) fn into_dir(self) -> TempDir {
        self.dir
    }

    /// Writes its config file anew, as at the start: for backends `(id, url)` and more settings.
    pub(crate) fn rewrite(&self, backends: &[(&str, &str)], more: &str) {
        write_config(backends, more, &self.dir);
    }

    /// Has it read its config file again: the keys that have changed, or what is wrong.
    pub(crate) async fn reload(&self) -> Result<Vec<String>, String> {
        let base = format!("http://{}", self.admin);
        let order = json!({});
        let ordered = post_json::<Value>(&base, "/api/v1/reload", &order);
        match within_bound("a reload", ordered).await {
            Ok(told) => {
                let changes = told["changes"].as_array().unwrap().iter();
                Ok(changes.map(|change| change["key"].as_str().unwrap().to_owned()).collect())
            }
            Err(FetchError::Status(409, reason)) => Err(reason),
            Err(error) => panic!("{error}"),
        }
    }

    /// One order of an operator: status and what is told.
    pub(crate) async fn order(&self, (method, path): (&str, &str), body: String) -> (u16, Value) {
        let stream = TcpStream::connect(self.admin_addr()).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        let request = hyper::Request::builder()
            .method(method)
            .uri(path)
            .header("host", self.admin_addr())
            .body(Full::new(Bytes::from(body)))
            .unwrap();
        let exchange = async {
            let response = sender.send_request(request).await.unwrap();
            let status = response.status().as_u16();
            let body = response.into_body().collect().await.unwrap().to_bytes();
            drop(sender);
            (status, serde_json::from_slice(&body).unwrap())
        };
        within_bound(path, async { tokio::join!(exchange, connection).0 }).await
    }

    /// A client of the first listener.
    pub(crate) async fn connect(&self) -> (Client, Events) {
        Client::connect(&self.url).await.unwrap()
    }

    /// Host and port of the first listener.
    pub(crate) fn addr(&self) -> &str {
        let (_scheme, rest) = self.url.split_once("://").unwrap();
        rest.split('/').next().unwrap()
    }

    /// Host and port of its admin API.
    pub(crate) fn admin_addr(&self) -> &str {
        &self.admin
    }

    /// `GET` of the admin API: status and body.
    pub(crate) async fn admin(&self, path: &str) -> (u16, String) {
        within_bound(path, get(&self.admin, path)).await
    }

    /// `GET /api/v1/…`, which must succeed.
    pub(crate) async fn api(&self, path: &str) -> Value {
        let (status, body) = self.admin(&format!("/api/v1/{path}")).await;
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).unwrap()
    }

    pub(crate) async fn backends(&self) -> Vec<Value> {
        self.api("backends").await["backends"].as_array().unwrap().clone()
    }

    /// All meetings; a test has less than one page of them.
    pub(crate) async fn meetings(&self) -> Vec<Value> {
        self.api("meetings").await["meetings"].as_array().unwrap().clone()
    }

    /// Id of the backend that `meeting` is pinned to.
    pub(crate) async fn backend_of(&self, meeting: &str) -> String {
        let meeting = self.api(&format!("meetings/{meeting}")).await;
        meeting["backend"].as_str().unwrap().to_owned()
    }
}

/// `config` with `addr` as the first address after `mark`.
fn with_addr(config: &str, mark: &str, addr: &str) -> String {
    let at = config.find(mark).unwrap();
    let (before, after) = config[at..].split_once("addr = \"").unwrap();
    let (_, after) = after.split_once('"').unwrap();
    format!("{}{before}addr = \"{addr}\"{after}", &config[..at])
}

/// Writes a config file; returns its path.
pub(crate) fn write_config(backends: &[(&str, &str)], more: &str, dir: &TempDir) -> PathBuf {
    let mut config = format!("[[listeners]]\naddr = \"127.0.0.1:0\"\n{more}\n");
    config.push_str("[admin]\naddr = \"127.0.0.1:0\"\n");
    for (id, url) in backends {
        write!(config, "[[backends]]\nid = \"{id}\"\nurl = \"{url}\"\n").unwrap();
    }
    dir.write("pinfold.toml", &config)
}

/// One `GET` over a connection of its own: status and body.
pub(crate) async fn get(addr: &str, path: &str) -> (u16, String) {
    let stream = TcpStream::connect(addr).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    let request = hyper::Request::get(path).header("host", addr).body(Empty::<Bytes>::new());
    let exchange = async {
        let response = sender.send_request(request.unwrap()).await.unwrap();
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    };
    let mut exchange = std::pin::pin!(exchange);
    tokio::select! {
        answer = &mut exchange => answer,
        _ended = connection => exchange.await,
    }
}
