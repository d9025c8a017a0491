//! The handle that others have on the fleet.

use std::pin::pin;
use std::sync::Arc;

use tokio::sync::{Notify, mpsc, oneshot, watch};

use super::events::{Hub, ObjectEvents};
use super::snapshot::{BackendView, FleetSnapshot};
use super::stay::{AfterDrain, DrainError};
use super::table::Report;
use super::wanted::FleetChange;
use crate::model::{BackendId, Incarnation, PipelineId, Time};
use crate::runtime::Clock;
use crate::session::Tried;
use crate::settings::{BackendSettings, ProbeSettings};

/// Reports that may wait. When full, probes wait, and news of failed links are dropped: the next
/// probe tells the same.
const REPORTS_MAX: usize = 256;

/// Orders that may wait. When full, whoever gives one waits.
const ORDERS_MAX: usize = 16;

/// What others see of the fleet. Clones share it.
#[derive(Clone, Debug)]
pub struct FleetHandle {
    published: watch::Receiver<Arc<FleetSnapshot>>,
    /// Wakes whoever waits for something to be published, in the order they came.
    pub(super) news: Arc<Notify>,
    reports: mpsc::Sender<(usize, Report)>,
    orders: mpsc::Sender<Order>,
    hub: Arc<Hub>,
}

/// What others want of the fleet. Each is answered when it is published.
#[derive(Debug)]
pub(super) enum Order {
    Want(Vec<BackendSettings>, oneshot::Sender<FleetChange>),
    Probe(ProbeSettings, oneshot::Sender<()>),
    Drain(BackendId, (Option<Time>, AfterDrain), oneshot::Sender<Result<(), DrainError>>),
    Undrain(BackendId, oneshot::Sender<Result<(), DrainError>>),
}

/// What the fleet task has of a handle.
pub(super) struct Ends {
    pub(super) published: watch::Sender<Arc<FleetSnapshot>>,
    pub(super) reports: mpsc::Receiver<(usize, Report)>,
    pub(super) orders: mpsc::Receiver<Order>,
}

/// A handle on a fleet that is `first` seen so.
pub(super) fn handle(first: FleetSnapshot) -> (FleetHandle, Ends) {
    let (published, receiver) = watch::channel(Arc::new(first));
    let (reports_tx, reports) = mpsc::channel(REPORTS_MAX);
    let (orders_tx, orders) = mpsc::channel(ORDERS_MAX);
    let handle = FleetHandle {
        published: receiver,
        news: Arc::default(),
        reports: reports_tx,
        orders: orders_tx,
        hub: Arc::new(Hub::new()),
    };
    (handle, Ends { published, reports, orders })
}

impl FleetHandle {
    /// What is known now.
    #[must_use]
    pub fn snapshot(&self) -> Arc<FleetSnapshot> {
        self.published.borrow().clone()
    }

    /// A receiver of further snapshots.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Arc<FleetSnapshot>> {
        self.published.clone()
    }

    /// Waits until something newer than that generation is published. Unlike with [`Self::watch`], who
    /// waited first is woken first.
    pub async fn newer_than(&self, generation: u64) {
        loop {
            let mut news = pin!(self.news.notified());
            // From here on no news is missed.
            news.as_mut().enable();
            if self.snapshot().generation > generation {
                return;
            }
            news.await;
        }
    }

    /// A link to this process of `backend` could not be opened: it takes no new meetings until a
    /// probe, which is made soon, is answered.
    pub fn report_dial_failure(&self, backend: &BackendId, incarnation: Option<Incarnation>) {
        self.report_trouble(backend, Report::DialFailed(incarnation));
    }

    fn report_trouble(&self, backend: &BackendId, report: Report) {
        if let Some(view) = self.snapshot().backend(backend) {
            // Full: the probes have more to tell than this.
            let _ = self.reports.try_send((view.number, report));
            view.kick.notify_one();
        }
    }

    /// This process of `backend` has left calls of a client unanswered for too long: it takes no new
    /// meetings until a probe, which is made soon, is answered.
    pub fn report_timeout(&self, backend: &BackendId, incarnation: Option<Incarnation>) {
        self.report_trouble(backend, Report::Unanswered(incarnation));
    }

    /// How a call ended that makes something on `backend`, in the process that the view shows.
    pub fn report_tried(&self, backend: &BackendView, tried: Tried) {
        match tried {
            Tried::Made(class, took) => backend.pulse.on_made(class, took),
            Tried::Refused => {
                if backend.pulse.on_refused() {
                    self.report_cut(&backend.id);
                }
            }
        }
    }

    /// An open link to `backend` broke: it is probed soon. That says less than a failure to open one,
    /// because a server may cut a single client.
    pub fn report_cut(&self, backend: &BackendId) {
        if let Some(view) = self.snapshot().backend(backend) {
            view.kick.notify_one();
        }
    }

    /// Begins to listen to the managers of all backends, those that join later too.
    #[must_use]
    pub fn listen(&self) -> ObjectEvents {
        self.hub.listen()
    }

    /// Tells whoever listens that `pipeline` went with its backend, and what is known to have been in
    /// it.
    pub fn tell_lost(&self, pipeline: PipelineId) {
        self.hub.on_lost(pipeline, Clock::unix_millis());
    }

    /// Where control connections bring what they hear.
    pub(super) const fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }

    /// Makes the fleet these backends, whose ids and URLs all differ. One that is not among them gets
    /// no new meetings and is removed when it has none; so does one that has another URL now, and then
    /// comes anew.
    pub async fn set_backends(&self, backends: Vec<BackendSettings>) -> FleetChange {
        // There is no answer only when the fleet task has ended, and then everything does.
        self.order(|answer| Order::Want(backends, answer)).await.unwrap_or_default()
    }

    /// Probes so from now on.
    pub async fn set_probe(&self, settings: ProbeSettings) {
        self.order(|answer| Order::Probe(settings, answer)).await.unwrap_or_default();
    }

    /// Gives a backend no new meetings. `deadline`, if any, is for who moves the meetings that are
    /// left then.
    ///
    /// # Errors
    /// There is no such backend, or it is leaving anyway.
    pub async fn drain(
        &self,
        backend: BackendId,
        deadline: Option<Time>,
        then: AfterDrain,
    ) -> Result<(), DrainError> {
        let order = |answer| Order::Drain(backend, (deadline, then), answer);
        self.order(order).await.unwrap_or(Err(DrainError::Ending))
    }

    /// Gives a backend meetings again, also one that was removed when it was drained.
    ///
    /// # Errors
    /// There is no such backend, or not an operator drains it.
    pub async fn undrain(&self, backend: BackendId) -> Result<(), DrainError> {
        let order = |answer| Order::Undrain(backend, answer);
        self.order(order).await.unwrap_or(Err(DrainError::Ending))
    }

    /// Gives an order and waits until it is obeyed; `None` if the fleet task has ended.
    async fn order<T>(&self, order: impl FnOnce(oneshot::Sender<T>) -> Order) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        self.orders.send(order(answer)).await.ok()?;
        answered.await.ok()
    }

    /// Waits until somebody wants the backend with that number to be probed at once; for ever if it has
    /// gone.
    pub(crate) async fn kicked(&self, number: usize) {
        let snapshot = self.snapshot();
        match snapshot.backends.iter().find(|view| view.number == number) {
            Some(view) => view.kick.notified().await,
            None => std::future::pending().await,
        }
    }

    /// Reports on the backend with that number.
    pub(super) async fn report(&self, number: usize, report: Report) {
        // Fails only when the fleet task has ended, and then everything does.
        let _ = self.reports.send((number, report)).await;
    }
}
