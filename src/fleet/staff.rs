//! Who looks after each backend: its probe, the line for questions, and who asks its agent.

use std::collections::BTreeMap;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::agent::AgentPoll;
use super::asker::line;
use super::deep::DeepProber;
use super::handle::FleetHandle;
use super::probe::Prober;
use super::table::Recruit;
use crate::model::Draws;
use crate::runtime::{Clock, Tasks};
use crate::settings::{BackendSettings, ProbeSettings};
use crate::telemetry::Metrics;

/// Starts and stops the tasks that look after backends.
pub(super) struct Staff {
    pub(super) handle: FleetHandle,
    pub(super) probe: watch::Receiver<ProbeSettings>,
    pub(super) clock: Clock,
    pub(super) draws: Draws,
    pub(super) tasks: Tasks,
    pub(super) metrics: Metrics,
    /// What stops those of each backend, by its number.
    pub(super) posts: BTreeMap<usize, Post>,
}

/// What stops the tasks of one backend.
pub(super) struct Post {
    all: CancellationToken,
    agent: CancellationToken,
}

impl Staff {
    /// Starts all that looks after a new backend.
    pub(super) fn attend(&mut self, recruit: Recruit) {
        let Recruit { number, settings, asked } = recruit;
        let all = self.tasks.stop_token().child_token();
        let prober = Prober {
            index: number,
            url: settings.url.clone(),
            settings: self.probe.borrow().clone(),
            changes: self.probe.clone(),
            clock: self.clock,
            draws: Draws::seeded(self.draws.next()),
            handle: self.handle.clone(),
        };
        let deep = DeepProber {
            number,
            url: settings.url.clone(),
            settings: self.probe.clone(),
            clock: self.clock,
            draws: Draws::seeded(self.draws.next()),
            handle: self.handle.clone(),
        };
        self.spawn("deep", &all, deep.run(self.metrics.clone(), all.clone()));
        self.spawn("probe", &all, prober.run(self.metrics.clone(), all.clone()));
        self.spawn("line", &all, line::run(settings.url.clone(), asked, all.clone()));
        let agent = self.ask_agent(number, &settings, &all);
        self.posts.insert(number, Post { all, agent });
    }

    /// A backend has another agent, or none.
    pub(super) fn change_agent(&mut self, number: usize, settings: &BackendSettings) {
        let Some(post) = self.posts.get(&number) else { return };
        post.agent.cancel();
        let all = post.all.clone();
        let agent = self.ask_agent(number, settings, &all);
        if let Some(post) = self.posts.get_mut(&number) {
            post.agent = agent;
        }
    }

    /// Nobody is to look after that backend any more.
    pub(super) fn dismiss(&mut self, number: usize) {
        if let Some(post) = self.posts.remove(&number) {
            post.all.cancel();
        }
    }

    fn ask_agent(
        &mut self,
        index: usize,
        settings: &BackendSettings,
        all: &CancellationToken,
    ) -> CancellationToken {
        let stop = all.child_token();
        if let Some(url) = settings.report_url.clone() {
            let draws = Draws::seeded(self.draws.next());
            let (handle, changes) = (self.handle.clone(), self.probe.clone());
            let agent = AgentPoll { index, url, settings: changes, draws, handle };
            self.spawn("agent", &stop, agent.run(stop.clone()));
        }
        stop
    }

    fn spawn(
        &self,
        name: &'static str,
        stop: &CancellationToken,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        self.tasks.spawn_vital_until(name, stop.clone(), task);
    }
}
