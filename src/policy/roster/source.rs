//! Who names backends.

use std::fmt;
use std::sync::Arc;

/// Who names backends, in the order in which they count: of those that name the same one, the first
/// says what it is like.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// The config file.
    Config,
    /// The admin API.
    Api,
    /// The file of this path.
    File(Arc<str>),
    /// The records of this kind and name.
    Dns(Arc<str>),
    /// The backend itself, by registering.
    Registrar,
    /// A process before, for a backend that was leaving then.
    Past,
}

impl Source {
    /// Reads what `Display` wrote; `None` if the text is nothing of that kind.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text.split_once(' ') {
            None => match text {
                "config" => Some(Self::Config),
                "api" => Some(Self::Api),
                "registrar" => Some(Self::Registrar),
                "past" => Some(Self::Past),
                _ => None,
            },
            Some(("file", path)) => Some(Self::File(path.into())),
            Some(("dns", name)) => Some(Self::Dns(name.into())),
            Some(_) => None,
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config => f.write_str("config"),
            Self::Api => f.write_str("api"),
            Self::File(path) => write!(f, "file {path}"),
            Self::Dns(name) => write!(f, "dns {name}"),
            Self::Registrar => f.write_str("registrar"),
            Self::Past => f.write_str("past"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_reads_back_what_it_shows() {
        let (file, dns) = (Source::File("/a b.json".into()), Source::Dns("srv a".into()));
        for source in [Source::Config, Source::Api, file, dns, Source::Registrar, Source::Past] {
            assert_eq!(Source::parse(&source.to_string()), Some(source));
        }
        for text in ["", "file", "configs", "tape a"] {
            assert_eq!(Source::parse(text), None, "{text}");
        }
    }
}
