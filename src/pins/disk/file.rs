//! The file: what it looks like, and what is done with one that cannot be used.
//!
//! Five tables: every pin by the name of its meeting, pipelines with their origins, losses by backend,
//! what meetings that are over were like, and facts about the file.
//! The library is `redb`: one file, transactions, checksums.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::rc::Rc;

use redb::backends::FileBackend;
use redb::{
    Builder, Database, ReadTransaction, ReadableDatabase, ReadableTable, StorageBackend,
    TableDefinition, TableError, TableHandle, WriteTransaction,
};

use super::writer::{Changes, Journal, JournalError};
use super::{FILE, StateDir, StateError};
use crate::model::{BackendId, Incarnation, MeetingName, PipelineId, SessionId, Time};
use crate::pins::{Origin, Pin};
use crate::policy::history::{Memory, Past, Topic};

/// Meeting -> epoch, process, backend.
pub(super) const PINS: TableDefinition<'_, &str, (u64, u64, &str)> =
    TableDefinition::new("pinfold-pins");

/// Pipeline, the number of its UUID -> epoch of the pin it was made under, and the number of its maker's
/// session. A file of an earlier version lacks it, and one that such a version has written since may
/// name pins that are no more.
pub(super) const PIPELINES: TableDefinition<'_, u128, (u64, u128)> =
    TableDefinition::new("pinfold-pipelines");

/// Backend -> how often a process of it was given up for lost.
const LOSSES: TableDefinition<'_, &str, u32> = TableDefinition::new("pinfold-losses");

/// Kind of topic (0: a meeting, 1: a pattern of names) and its hash -> peak, the sum of directions, how
/// often it was seen, and microseconds since 1970. A file of an earlier version lacks it.
const HISTORY: TableDefinition<'_, (u8, u64), MemoryRow> = TableDefinition::new("pinfold-history");

/// How long such meetings lasted, in seconds, where that is known. A table of its own, so that a file
/// of before is read as it is.
const LASTED: TableDefinition<'_, (u8, u64), f64> = TableDefinition::new("pinfold-lasted");

type MemoryRow = (f64, f64, f64, f64, u32, u64);

/// Facts about the file, by name.
pub(super) const FACTS: TableDefinition<'_, &str, u64> = TableDefinition::new("pinfold-facts");

/// The fact which form the tables have. It is written first and rises with every form that an older
/// version would misread.
pub(super) const FORMAT: &str = "format";
const FORMAT_NOW: u64 = 1;

/// The fact which epoch was the last drawn, so that they go on rising when the highest pin is gone.
const LAST_EPOCH: &str = "last-epoch";

/// Bytes of the file that the library keeps in memory. It is read only at the start.
const CACHE_BYTES: usize = 16 << 20;

/// Everything in a file.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Contents {
    pub(super) pins: Vec<(MeetingName, Pin)>,
    /// Pipelines made under these pins, in the order of their epochs.
    pub(super) pipelines: Vec<Origin>,
    /// Remnants: those noted as such, and those of pins that are no more, because a pin that ends
    /// otherwise ends after its pipelines.
    pub(super) remnants: Vec<PipelineId>,
    pub(super) losses: BTreeMap<BackendId, u32>,
    pub(super) last_epoch: u64,
    /// What is remembered of meetings that are over.
    pub(super) history: Vec<(Topic, Memory)>,
}

/// Why a file is not used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unfit {
    /// What it holds cannot be trusted.
    #[error("it is damaged: {0}")]
    Damaged(String),
    /// Something else wrote it.
    #[error("it is no pin file")]
    Foreign,
    /// A version of Pinfold that is not this one wrote it.
    #[error("its format is {0}, not {FORMAT_NOW}: another version of Pinfold has written it")]
    OtherFormat(u64),
    /// Another process has it.
    #[error("another process has it")]
    InUse,
    /// The system refuses to read it; it may be whole.
    #[error("{0}")]
    Refused(io::Error),
}

/// The pin file, open.
pub(super) struct PinFile {
    path: PathBuf,
    /// `None` while another process has it.
    dir: Option<StateDir>,
    /// `None` after a failure, until it is opened again.
    database: Option<Database>,
}

impl PinFile {
    /// Opens the file in `dir` and reads all of it; sets one aside that is not fit.
    pub(super) fn open(dir: StateDir) -> Result<(Self, Contents), StateError> {
        let path = dir.path_of(FILE);
        let unusable = |what, error: &Unfit| StateError::Unusable {
            what,
            path: path.clone(),
            reason: error.to_string(),
        };
        let unfit = match Self::read(&dir)? {
            Ok((database, contents)) => {
                return Ok((Self::of(dir, database), contents));
            }
            Err(Unfit::InUse) => return Err(StateError::InUse(path)),
            Err(error @ Unfit::Refused(_)) => return Err(unusable("read", &error)),
            Err(unfit @ (Unfit::Damaged(_) | Unfit::Foreign | Unfit::OtherFormat(_))) => unfit,
        };
        let aside = dir.set_aside(FILE)?;
        tracing::error!(
            file = %path.display(), reason = %unfit, set_aside = %aside.display(),
            "the pin file cannot be used and is set aside; all pins are forgotten; operator: find out \
             what happened to it, then delete it"
        );
        let (database, contents) = Self::read(&dir)?.map_err(|error| unusable("make", &error))?;
        Ok((Self::of(dir, database), contents))
    }

    fn of(dir: StateDir, database: Database) -> Self {
        Self { path: dir.path().to_owned(), dir: Some(dir), database: Some(database) }
    }

    /// The directory, which may have to be taken first.
    fn dir(&mut self) -> Result<&StateDir, StateError> {
        let dir = match self.dir.take() {
            Some(dir) => dir,
            None => StateDir::open(&self.path)?,
        };
        Ok(self.dir.insert(dir))
    }

    fn read(dir: &StateDir) -> Result<Result<(Database, Contents), Unfit>, StateError> {
        let file = dir.open_file(FILE)?;
        let backend = lib(FileBackend::new(file));
        Ok(backend.and_then(read))
    }
}

/// Opens what `backend` holds, which may be nothing yet, and reads all of it. Damage that makes the
/// library panic is damage like any other.
pub(super) fn read(backend: impl StorageBackend) -> Result<(Database, Contents), Unfit> {
    let panicked = |_| Err(Unfit::Damaged("it makes the library panic".to_owned()));
    catch_unwind(AssertUnwindSafe(|| {
        let database = open_checked(backend)?;
        let contents = read_contents(&database)?;
        Ok((database, contents))
    }))
    .unwrap_or_else(panicked)
}

/// Opens a database, with every checksum in it verified.
fn open_checked(backend: impl StorageBackend) -> Result<Database, Unfit> {
    let is_repaired = Rc::new(Cell::new(false));
    let repairs = is_repaired.clone();
    let database = Builder::new()
        .set_cache_size(CACHE_BYTES)
        .set_repair_callback(move |_| repairs.set(true))
        .create_with_backend(backend);
    let mut database = lib(database)?;
    // After a crash the library has read and verified all of it to open it.
    if !is_repaired.get() && !lib(database.check_integrity())? {
        return Err(Unfit::Damaged("checksums do not match".to_owned()));
    }
    Ok(database)
}

fn read_contents(database: &Database) -> Result<Contents, Unfit> {
    let transaction = lib(database.begin_read())?;
    let Some(format) = read_format(&transaction)? else {
        lib(write_format(database))?;
        return Ok(Contents::default());
    };
    if format != FORMAT_NOW {
        return Err(Unfit::OtherFormat(format));
    }
    let mut contents = Contents::default();
    if let Some(last_epoch) = lib(lib(transaction.open_table(FACTS))?.get(LAST_EPOCH))? {
        contents.last_epoch = last_epoch.value();
    }
    for row in lib(lib(transaction.open_table(PINS))?.iter())? {
        let (name, pin) = lib(row)?;
        contents.add_pin(name.value(), pin.value())?;
    }
    contents.add_pipelines(&transaction)?;
    for row in lib(lib(transaction.open_table(LOSSES))?.iter())? {
        let (backend, count) = lib(row)?;
        contents.losses.insert(backend_id(backend.value())?, count.value());
    }
    contents.add_history(&transaction)?;
    contents.add_lasted(&transaction)?;
    Ok(contents)
}

/// The format of the file; `None` if nothing was ever written to it.
fn read_format(transaction: &ReadTransaction) -> Result<Option<u64>, Unfit> {
    let mut names = lib(transaction.list_tables())?.map(|table| table.name().to_owned()).peekable();
    if names.peek().is_none() && lib(transaction.list_multimap_tables())?.next().is_none() {
        return Ok(None);
    }
    if !names.any(|name| name == FACTS.name()) {
        return Err(Unfit::Foreign);
    }
    let format = lib(lib(transaction.open_table(FACTS))?.get(FORMAT))?;
    format.map(|format| Some(format.value())).ok_or(Unfit::Foreign)
}

fn write_format(database: &Database) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    transaction.open_table(FACTS)?.insert(FORMAT, FORMAT_NOW)?;
    transaction.open_table(PINS)?;
    transaction.open_table(PIPELINES)?;
    transaction.open_table(LOSSES)?;
    transaction.open_table(HISTORY)?;
    Ok(transaction.commit()?)
}

impl Contents {
    /// Reads the pipelines of the pins that were read before.
    fn add_pipelines(&mut self, transaction: &ReadTransaction) -> Result<(), Unfit> {
        let table = match transaction.open_table(PIPELINES) {
            Err(TableError::TableDoesNotExist(_)) => return Ok(()),
            opened => lib(opened)?,
        };
        let mut epochs: Vec<_> = self.pins.iter().map(|(_, pin)| pin.epoch).collect();
        epochs.sort_unstable();
        for row in lib(table.iter())? {
            let (pipeline, made) = lib(row)?;
            let (pipeline, (epoch, session)) =
                (PipelineId::from_u128(pipeline.value()), made.value());
            let session = SessionId::from_random(session);
            match epochs.binary_search(&epoch) {
                Ok(_) => self.pipelines.push(Origin { epoch, pipeline, session }),
                Err(_) => self.remnants.push(pipeline),
            }
        }
        self.pipelines.sort_unstable();
        Ok(())
    }

    fn add_history(&mut self, transaction: &ReadTransaction) -> Result<(), Unfit> {
        let table = match transaction.open_table(HISTORY) {
            Err(TableError::TableDoesNotExist(_)) => return Ok(()),
            opened => lib(opened)?,
        };
        for row in lib(table.iter())? {
            let (key, value) = lib(row)?;
            let ((kind, hash), (peak, x, y, z, seen, at)) = (key.value(), value.value());
            let topic = if kind == 0 { Topic::Meeting(hash) } else { Topic::Pattern(hash) };
            let past = Past::of_parts(peak, [x, y, z], seen);
            let past = past.ok_or_else(|| Unfit::Damaged(format!("a history of {peak} legs")))?;
            self.history.push((topic, Memory { past, at: Time::from_micros(at) }));
        }
        Ok(())
    }

    fn add_lasted(&mut self, transaction: &ReadTransaction) -> Result<(), Unfit> {
        let table = match transaction.open_table(LASTED) {
            Err(TableError::TableDoesNotExist(_)) => return Ok(()),
            opened => lib(opened)?,
        };
        for (topic, memory) in &mut self.history {
            let Some(seconds) = lib(table.get(key_of(*topic)))? else { continue };
            let past = memory.past.lasting(seconds.value());
            memory.past = past.ok_or_else(|| Unfit::Damaged("a negative time".to_owned()))?;
        }
        Ok(())
    }

    fn add_pin(&mut self, name: &str, pin: (u64, u64, &str)) -> Result<(), Unfit> {
        let (epoch, incarnation, backend) = pin;
        let meeting = MeetingName::parse(name);
        let meeting = meeting.map_err(|error| Unfit::Damaged(format!("a name {error}")))?;
        // Of the many pins of a backend all share one copy of its id.
        let backend = match self.pins.last() {
            Some((_, last)) if last.backend.as_str() == backend => last.backend.clone(),
            _ => backend_id(backend)?,
        };
        self.last_epoch = self.last_epoch.max(epoch);
        let incarnation = Incarnation(incarnation);
        self.pins.push((meeting, Pin { backend, incarnation, epoch }));
        Ok(())
    }
}

/// Says what an error of the library means for the file.
fn lib<T>(result: Result<T, impl Into<redb::Error>>) -> Result<T, Unfit> {
    result.map_err(|error| match error.into() {
        redb::Error::DatabaseAlreadyOpen => Unfit::InUse,
        redb::Error::UpgradeRequired(format) => Unfit::OtherFormat(format.into()),
        redb::Error::TableTypeMismatch { .. }
        | redb::Error::TypeDefinitionChanged { .. }
        | redb::Error::TableIsMultimap(_)
        | redb::Error::TableDoesNotExist(_) => Unfit::Foreign,
        // Said of what is no database, and of one that is cut short.
        redb::Error::Io(error)
            if matches!(
                error.kind(),
                io::ErrorKind::InvalidData
                    | io::ErrorKind::InvalidInput
                    | io::ErrorKind::UnexpectedEof
            ) =>
        {
            Unfit::Damaged(error.to_string())
        }
        redb::Error::Io(error) => Unfit::Refused(error),
        error => Unfit::Damaged(error.to_string()),
    })
}

fn backend_id(text: &str) -> Result<BackendId, Unfit> {
    BackendId::parse(text).map_err(|error| Unfit::Damaged(format!("a backend {error}")))
}

const fn key_of(topic: Topic) -> (u8, u64) {
    match topic {
        Topic::Meeting(hash) => (0, hash),
        Topic::Pattern(hash) => (1, hash),
    }
}

const fn value_of(memory: &Memory) -> MemoryRow {
    let (peak, [x, y, z], seen) = memory.past.parts();
    (peak, x, y, z, seen, memory.at.as_micros())
}

/// Writes `changes` in one transaction, which is on the disk when this returns.
pub(super) fn write(database: &Database, changes: Changes<'_>) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    if changes.is_whole {
        transaction.delete_table(PINS)?;
        transaction.delete_table(PIPELINES)?;
        transaction.delete_table(LOSSES)?;
    }
    {
        let mut pins = transaction.open_table(PINS)?;
        for (meeting, pin) in changes.pins {
            match pin {
                Some(Pin { backend, incarnation, epoch }) => {
                    pins.insert(meeting.as_str(), (epoch, incarnation.0, backend.as_str()))?;
                }
                None => drop(pins.remove(meeting.as_str())?),
            }
        }
        let mut pipelines = transaction.open_table(PIPELINES)?;
        for (pipeline, made) in changes.pipelines {
            match made {
                Some(made) => drop(pipelines.insert(pipeline.as_u128(), made)?),
                None => drop(pipelines.remove(pipeline.as_u128())?),
            }
        }
        let mut losses = transaction.open_table(LOSSES)?;
        for (backend, count) in &changes.losses {
            losses.insert(backend.as_str(), count)?;
        }
        write_history(&transaction, changes.history)?;
        transaction.open_table(FACTS)?.insert(LAST_EPOCH, changes.last_epoch)?;
    }
    Ok(transaction.commit()?)
}

fn write_history(
    transaction: &WriteTransaction,
    changes: &BTreeMap<Topic, Option<Memory>>,
) -> Result<(), redb::Error> {
    let mut history = transaction.open_table(HISTORY)?;
    let mut lasted = transaction.open_table(LASTED)?;
    for (topic, memory) in changes {
        let key = key_of(*topic);
        match memory {
            Some(memory) => drop(history.insert(key, value_of(memory))?),
            None => drop(history.remove(key)?),
        }
        match memory.and_then(|memory| memory.past.lasted()) {
            Some(time) => drop(lasted.insert(key, time.as_secs_f64())?),
            None => drop(lasted.remove(key)?),
        }
    }
    Ok(())
}

impl Journal for PinFile {
    fn write(&mut self, changes: Changes<'_>) -> Result<(), JournalError> {
        let Some(database) = &self.database else {
            return Err(JournalError("the file is not open".to_owned()));
        };
        Ok(write(database, changes)?)
    }

    /// After a failed write the library wants the file to be opened anew.
    fn reopen(&mut self) -> Result<bool, JournalError> {
        drop(self.database.take());
        let dir = self.dir()?;
        let unfit = match Self::read(dir)? {
            Ok((database, _)) => {
                self.database = Some(database);
                return Ok(false);
            }
            Err(error @ (Unfit::InUse | Unfit::Refused(_))) => {
                return Err(JournalError(error.to_string()));
            }
            Err(unfit @ (Unfit::Damaged(_) | Unfit::Foreign | Unfit::OtherFormat(_))) => unfit,
        };
        let aside = dir.set_aside(FILE)?;
        tracing::error!(reason = %unfit, set_aside = %aside.display(), "the pin file is set aside");
        let read = Self::read(dir)?;
        let (database, _) = read.map_err(|error| JournalError(error.to_string()))?;
        self.database = Some(database);
        Ok(true)
    }

    fn release(&mut self) {
        drop(self.database.take());
        drop(self.dir.take());
    }
}
