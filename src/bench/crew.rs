//! Threads that work on connections, each on its own, through phases that begin together.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use tokio::runtime::{Builder, Runtime};

use super::error::BenchError;

/// Most threads of a run.
pub const THREADS_MAX: usize = 64;

/// Threads that are ready. `P` tells them what to do in a phase, `R` is what comes of it.
pub(super) struct Crew<P, R>(Vec<Worker<P, R>>);

struct Worker<P, R> {
    phases: SyncSender<P>,
    results: Receiver<R>,
}

/// What a worker does: `prepare` once, with the number of its thread, then `work` in each phase on
/// what it prepared, then `end`. All in the thread's own runtime.
pub(super) struct Plan<S, W, E> {
    pub(super) prepare: S,
    pub(super) work: W,
    pub(super) end: E,
}

/// Starts `threads`, waits until all are prepared, and has `lead` send them through the phases.
///
/// # Errors
/// What the first thread that could not be prepared says, else what `lead` says.
pub(super) fn gather<C, P, R, O>(
    threads: usize,
    plan: &Plan<
        impl AsyncFn(usize) -> Result<C, BenchError> + Sync,
        impl AsyncFn(&mut C, P) -> R + Sync,
        impl AsyncFn(C) + Sync,
    >,
    lead: impl FnOnce(&Crew<P, R>) -> Result<O, BenchError>,
) -> Result<O, BenchError>
where
    P: Send,
    R: Send,
{
    std::thread::scope(|scope| {
        let mut workers = Vec::new();
        let mut prepared = Vec::new();
        for number in 0..threads {
            let (phases, phases_rx) = sync_channel::<P>(1);
            let (results_tx, results) = sync_channel::<R>(1);
            let (prepared_tx, prepared_rx) = sync_channel(1);
            let run = move || {
                let result = runtime().and_then(|runtime| {
                    let ready = runtime.block_on((plan.prepare)(number))?;
                    Ok((runtime, ready))
                });
                let (runtime, mut ready) = match result {
                    Ok(ready) => ready,
                    Err(error) => return drop(prepared_tx.send(Err(error))),
                };
                let mut goes_on = prepared_tx.send(Ok(())).is_ok();
                while goes_on && let Ok(phase) = phases_rx.recv() {
                    let result = runtime.block_on((plan.work)(&mut ready, phase));
                    goes_on = results_tx.send(result).is_ok();
                }
                runtime.block_on((plan.end)(ready));
            };
            let builder = std::thread::Builder::new().name(format!("bench-{number}"));
            builder.spawn_scoped(scope, run).map_err(BenchError::Thread)?;
            workers.push(Worker { phases, results });
            prepared.push(prepared_rx);
        }
        for prepared in prepared {
            prepared.recv().map_err(|_| panicked())??;
        }
        lead(&Crew(workers))
    })
}

impl<P: Clone, R> Crew<P, R> {
    /// Sends all through a phase and waits for what comes of it.
    pub(super) fn run(&self, phase: &P) -> Result<Vec<R>, BenchError> {
        for worker in &self.0 {
            worker.phases.send(phase.clone()).map_err(|_| panicked())?;
        }
        self.0.iter().map(|worker| worker.results.recv().map_err(|_| panicked())).collect()
    }
}

fn runtime() -> Result<Runtime, BenchError> {
    Builder::new_current_thread().enable_all().build().map_err(BenchError::Thread)
}

fn panicked() -> BenchError {
    BenchError::Thread(io::Error::other("it has panicked"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_thread_goes_through_every_phase() {
        let plan = Plan {
            prepare: async |number| Ok(number * 10),
            work: async |sum: &mut usize, add: usize| {
                *sum += add;
                *sum
            },
            end: async |_| {},
        };
        let sums = gather(3, &plan, |crew| Ok([crew.run(&1)?, crew.run(&2)?])).unwrap();
        assert_eq!(sums, [vec![1, 11, 21], vec![3, 13, 23]]);
    }

    #[test]
    fn one_thread_that_cannot_be_prepared_ends_all() {
        let plan = Plan {
            prepare: async |number| match number {
                1 => Err(BenchError::NoTrust),
                other => Ok(other),
            },
            work: async |_: &mut usize, (): ()| (),
            end: async |_| {},
        };
        let done = gather(3, &plan, |crew| crew.run(&()));
        assert!(matches!(done, Err(BenchError::NoTrust)));
    }
}
