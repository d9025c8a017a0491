//! A file that is replaced while it is in use.

use std::fs;
use std::path::{Path, PathBuf};

use geoip::{Change, Database, DatabaseError, Watched};

use crate::samples::{city, database, ip};

#[test]
fn a_new_file_is_used_and_the_old_one_stays_with_its_readers() {
    let dir = Dir::new("replaced");
    let path = dir.write("city.mmdb", &file(10.0));
    let mut watched = Watched::open(path).unwrap();
    let old = watched.database();
    assert!(matches!(watched.check().unwrap(), Change::Unchanged));
    dir.replace("city.mmdb", &file(20.0));
    let Change::Reloaded(new) = watched.check().unwrap() else { panic!("not noticed") };
    assert!((latitude(&old) - 10.0).abs() < 0.01);
    assert!((latitude(&new) - 20.0).abs() < 0.01);
    assert!((latitude(&watched.database()) - 20.0).abs() < 0.01);
    assert!(matches!(watched.check().unwrap(), Change::Unchanged));
}

#[test]
fn a_bad_file_is_told_once_and_displaces_nothing() {
    let dir = Dir::new("bad");
    let path = dir.write("city.mmdb", &file(10.0));
    let mut watched = Watched::open(path).unwrap();
    let whole = file(20.0);
    dir.replace("city.mmdb", &whole[..whole.len() / 2]);
    assert!(matches!(watched.check().unwrap_err(), DatabaseError::Broken(_)));
    assert!(matches!(watched.check().unwrap(), Change::Unchanged));
    assert!((latitude(&watched.database()) - 10.0).abs() < 0.01);
    dir.replace("city.mmdb", &whole);
    assert!(matches!(watched.check().unwrap(), Change::Reloaded(_)));
    assert!((latitude(&watched.database()) - 20.0).abs() < 0.01);
}

#[test]
fn a_missing_file_displaces_nothing() {
    let dir = Dir::new("missing");
    let path = dir.write("city.mmdb", &file(10.0));
    let mut watched = Watched::open(path.clone()).unwrap();
    fs::remove_file(&path).unwrap();
    for _ in 0..2 {
        assert!(matches!(watched.check().unwrap_err(), DatabaseError::Io(_)));
    }
    assert!((latitude(&watched.database()) - 10.0).abs() < 0.01);
    assert!(matches!(Watched::open(path).unwrap_err(), DatabaseError::Io(_)));
}

#[test]
fn a_file_written_over_in_place_is_noticed() {
    let dir = Dir::new("in-place");
    let path = dir.write("city.mmdb", &file(10.0));
    let mut watched = Watched::open(path).unwrap();
    let mut longer = b"one more byte".to_vec();
    longer.extend_from_slice(&file(20.0));
    dir.write("city.mmdb", &longer);
    assert!(watched.check().is_err(), "the tree does not begin where it should");
    assert!((latitude(&watched.database()) - 10.0).abs() < 0.01);
}

#[test]
fn a_file_too_large_is_not_read() {
    let dir = Dir::new("large");
    let path = dir.0.join("city.mmdb");
    let file = fs::File::create(&path).unwrap();
    file.set_len(Database::BYTES_MAX + 1).unwrap();
    let refused = Database::open(&path).unwrap_err();
    assert!(matches!(refused, DatabaseError::TooLarge(len) if len == Database::BYTES_MAX + 1));
}

fn file(latitude: f64) -> Vec<u8> {
    database("192.0.2.0/24", city(latitude, 0.0, "FR"))
}

fn latitude(database: &Database) -> f64 {
    database.place(ip("192.0.2.1")).unwrap().latitude()
}

/// A directory of one test, removed at its end.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("geoip-{name}-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }

    fn write(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// As an updater does: written beside, then moved over.
    fn replace(&self, name: &str, content: &[u8]) {
        let beside = self.write("new", content);
        fs::rename(beside, self.0.join(name)).unwrap();
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
