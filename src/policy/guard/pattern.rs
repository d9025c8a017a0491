//! Words with `*` for any run of characters.

/// A word in which each `*` stands for any characters, also none. Case counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Pattern {
    /// `*` alone: fits everything, also what has no name.
    Any,
    /// A word without `*`.
    Exact(String),
    /// Any other.
    Glob(String),
}

impl Pattern {
    pub(super) fn new(text: &str) -> Self {
        match text {
            "*" => Self::Any,
            _ if text.contains('*') => Self::Glob(text.to_owned()),
            _ => Self::Exact(text.to_owned()),
        }
    }

    pub(super) fn as_str(&self) -> &str {
        match self {
            Self::Any => "*",
            Self::Exact(text) | Self::Glob(text) => text,
        }
    }

    pub(super) const fn is_any(&self) -> bool {
        matches!(self, Self::Any)
    }

    pub(super) fn fits(&self, text: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(word) => word == text,
            Self::Glob(pattern) => fits(pattern, text),
        }
    }
}

/// Takes what fits between two stars at the first place it is found: any later one is no better.
fn fits(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(first) else { return false };
    let mut parts = rest.split('*');
    let last = parts.next_back().unwrap_or_default();
    for part in parts {
        let Some((_, behind)) = text.split_once(part) else { return false };
        text = behind;
    }
    text.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_any_characters() {
        for (pattern, text) in [
            ("*", ""),
            ("*", "any"),
            ("set*", "setName"),
            ("*Endpoint", "WebRtcEndpoint"),
            ("a*b*c", "a-b-b-c"),
            ("a*a", "aa"),
            ("**", "x"),
            ("exact", "exact"),
        ] {
            assert!(Pattern::new(pattern).fits(text), "{pattern} fits {text}");
        }
        for (pattern, text) in [
            ("", "x"),
            ("set*", "getName"),
            ("*Endpoint", "Endpoints"),
            ("a*a", "a"),
            ("a*b*c", "acb"),
        ] {
            assert!(!Pattern::new(pattern).fits(text), "{pattern} does not fit {text}");
        }
    }
}
