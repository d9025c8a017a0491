//! Takes up databases whose file was replaced.

use std::sync::Arc;
use std::time::Duration;

use geoip::{Change, Database, Geo, Watched};
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use crate::runtime::Latest;

/// The files of the databases in use, looked at from time to time.
#[derive(Debug)]
pub struct Renewal {
    files: Vec<File>,
    builtin: Option<Arc<Database>>,
    published: Arc<Latest<Geo>>,
    /// What was published last by this one.
    geo: Arc<Geo>,
}

/// A database, and why its file could not be used the last time.
#[derive(Debug)]
struct File {
    watched: Watched,
    failure: Option<String>,
}

impl Renewal {
    pub(super) fn new(
        files: Vec<Watched>,
        builtin: Option<Arc<Database>>,
        (published, geo): (Arc<Latest<Geo>>, Arc<Geo>),
    ) -> Self {
        let files = files.into_iter().map(|watched| File { watched, failure: None }).collect();
        Self { files, builtin, published, geo }
    }

    /// Looks at the files each `interval` until `stop`, on a thread that may block.
    pub async fn run(mut self, interval: Duration, stop: CancellationToken) {
        while !self.files.is_empty() {
            if stop.run_until_cancelled(tokio::time::sleep(interval)).await.is_none() {
                return;
            }
            let looked = spawn_blocking(move || {
                self.look();
                self
            });
            match looked.await {
                Ok(renewal) => self = renewal,
                Err(error) => {
                    tracing::error!(%error, "geoip databases are not renewed any more");
                    return;
                }
            }
        }
    }

    /// Looks once.
    fn look(&mut self) {
        let renewed = self.files.iter_mut().filter_map(|file| file.look().then_some(())).count();
        if renewed > 0 {
            let files = self.files.iter().map(|file| file.watched.database());
            let databases = files.chain(self.builtin.clone()).collect();
            let geo = Arc::new(self.geo.with_databases(databases));
            // Another config may have come with maps of its own meanwhile.
            if self.published.replace(&self.geo, geo.clone()) {
                self.geo = geo;
            }
        }
    }
}

impl File {
    /// Whether there is a new database; what is new is logged once.
    fn look(&mut self) -> bool {
        let path = self.watched.path().display().to_string();
        match self.watched.check() {
            Ok(Change::Unchanged) => false,
            Ok(Change::Reloaded(database)) => {
                let build_epoch = database.about().build_epoch;
                tracing::info!(path, build_epoch, "geoip database replaced");
                self.failure = None;
                true
            }
            Err(error) => {
                // One that is missing is an error each time.
                let failure = error.to_string();
                if self.failure.as_ref() != Some(&failure) {
                    tracing::error!(path, %error, "geoip database not replaced; the one before stays");
                }
                self.failure = Some(failure);
                false
            }
        }
    }
}
