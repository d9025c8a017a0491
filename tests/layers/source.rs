//! Rust sources as the layering rule sees them: paths, names, no comments, no literals.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The modules of a crate in their order.
#[derive(Debug)]
pub(crate) struct Layers {
    modules: Vec<String>,
    pure_len: usize,
}

impl Layers {
    /// Reads the text of a `lib.rs`: `pub mod` lines, the pure half before the line `// Shell…`.
    pub(crate) fn parse(lib: &str) -> Self {
        let (mut modules, mut pure_len) = (Vec::new(), None);
        for line in lib.lines() {
            if line.starts_with("// Shell") {
                pure_len = Some(modules.len());
            }
            let name = line.strip_prefix("pub mod ").and_then(|rest| rest.strip_suffix(';'));
            modules.extend(name.map(str::to_owned));
        }
        Self { modules, pure_len: pure_len.expect("lib.rs has a line that starts with // Shell") }
    }

    pub(crate) fn len(&self) -> usize {
        self.modules.len()
    }

    pub(crate) fn position(&self, module: &str) -> Option<usize> {
        self.modules.iter().position(|known| known == module)
    }

    pub(crate) fn is_pure(&self, module: &str) -> bool {
        self.position(module).is_some_and(|position| position < self.pure_len)
    }
}

/// One file.
#[derive(Debug)]
pub(crate) struct SourceFile {
    pub(crate) path: PathBuf,
    /// The module of `lib.rs` that it belongs to; `lib` and `main` for those two files.
    pub(crate) module: String,
    /// Its text without comments and literals, each run of white space one space.
    pub(crate) code: String,
}

impl SourceFile {
    pub(crate) fn new(path: &Path, module: &str, text: &str) -> Self {
        let words: Vec<String> = code_of(text).split_whitespace().map(str::to_owned).collect();
        // `a .b` and `a :: b` as a person would write them.
        let code = words
            .join(" ")
            .replace("use ::", "use ")
            .replace(" .", ".")
            .replace(" ::", "::")
            .replace(":: ", "::");
        Self { path: path.to_owned(), module: module.to_owned(), code }
    }

    /// Every path of two or more segments, with what `use` brings in written out.
    pub(crate) fn paths(&self) -> BTreeSet<String> {
        let mut paths = BTreeSet::new();
        let mut rest = self.code.as_str();
        while let Some(start) = rest.find(is_word) {
            rest = &rest[start..];
            let len = rest.find(|c| !is_word(c) && c != ':').unwrap_or(rest.len());
            let (path, tail) = rest.split_at(len);
            rest = tail;
            if path == "use" {
                let (tree, tail) = rest.split_once(';').unwrap_or((rest, ""));
                spread(tree.trim(), "", &mut paths);
                rest = tail;
            } else if path.contains("::") {
                paths.insert(path.trim_end_matches(':').to_owned());
            }
        }
        paths
    }

    /// Names declared as a `HashMap` or `HashSet`, or made as one.
    pub(crate) fn hash_map_names(&self) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        for kind in ["HashMap", "HashSet"] {
            for (at, _) in self.code.match_indices(kind) {
                let before = self.code[..at].trim_end_matches("std::collections::");
                let before = before.trim_end_matches("&mut ").trim_end_matches('&');
                let before = before.trim_end_matches(": ").trim_end_matches(" = ");
                let start = before.rfind(|c| !is_word(c)).map_or(0, |space| space + 1);
                let is_declared = before.len() < at && start < before.len();
                names.extend(is_declared.then(|| before[start..].to_owned()));
            }
        }
        // `use std::collections::HashMap` and paths give no name of a value.
        names.retain(|name| !matches!(name.as_str(), "use" | "std" | "collections"));
        names
    }

    /// Whether `pattern` occurs, not as the tail of a longer word.
    pub(crate) fn holds_words(&self, pattern: &str) -> bool {
        let is_free = |at: usize| !self.code[..at].ends_with(is_word);
        self.code.match_indices(pattern).any(|(at, _)| is_free(at))
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Writes out the paths of a `use` tree: `a::{b, c::{d, e}}` is `a::b`, `a::c::d`, `a::c::e`.
fn spread(tree: &str, prefix: &str, paths: &mut BTreeSet<String>) {
    let (mut depth, mut start) = (0, 0);
    let mut branches = Vec::new();
    for (at, c) in tree.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                branches.push(&tree[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    branches.push(&tree[start..]);
    for branch in branches.into_iter().map(str::trim).filter(|branch| !branch.is_empty()) {
        match branch.split_once('{') {
            Some((head, inner)) => {
                let inner = inner.strip_suffix('}').unwrap_or(inner);
                spread(inner, &format!("{prefix}{head}"), paths);
            }
            None => {
                let path = branch.split(" as ").next().unwrap_or(branch);
                let path = if path == "self" { prefix } else { &format!("{prefix}{path}") };
                paths.insert(path.trim_matches(':').to_owned());
            }
        }
    }
}

/// `text` without comments, and with literals empty.
fn code_of(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if c == '"' {
            string_len(rest)
        } else if c == '\'' {
            char_len(rest)
        } else if is_raw_string(rest) && !code.ends_with(is_word) {
            raw_string_len(rest)
        } else {
            code.push(c);
            rest = &rest[c.len_utf8()..];
            continue;
        };
        code.push(' ');
        rest = &rest[skipped..];
    }
    code
}

/// Length of the string literal at the start of `text`.
fn string_len(text: &str) -> usize {
    let mut is_escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            '"' if !is_escaped => return at + 1,
            '\\' => is_escaped = !is_escaped,
            _ => is_escaped = false,
        }
    }
    text.len()
}

/// Length of the character literal at the start of `text`, or 1 for the mark of a lifetime.
fn char_len(text: &str) -> usize {
    let mut chars = text.char_indices().skip(1);
    match chars.next() {
        Some((_, '\\')) => text[3.min(text.len())..].find('\'').map_or(text.len(), |end| end + 4),
        Some(_) => match chars.next() {
            Some((at, '\'')) => at + 1,
            _ => 1,
        },
        None => 1,
    }
}

fn is_raw_string(text: &str) -> bool {
    let marks = text.strip_prefix("br").or_else(|| text.strip_prefix('r'));
    marks.is_some_and(|marks| marks.trim_start_matches('#').starts_with('"'))
}

/// Length of the raw string literal at the start of `text`.
fn raw_string_len(text: &str) -> usize {
    let open = text.find('"').map_or(text.len(), |at| at + 1);
    let mark_count = text[..open].matches('#').count();
    let end = format!("\"{}", "#".repeat(mark_count));
    text[open..].find(&end).map_or(text.len(), |at| open + at + end.len())
}

/// Reads the module list of the crate at `root`.
pub(crate) fn read_layers(root: &Path) -> Layers {
    Layers::parse(&std::fs::read_to_string(root.join("lib.rs")).unwrap())
}

/// Reads every source file under `root`.
pub(crate) fn read_sources(root: &Path) -> Vec<SourceFile> {
    let mut files = Vec::new();
    let mut dirs = vec![root.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let inside = path.strip_prefix(root).unwrap();
                let first = Path::new(inside.iter().next().unwrap()).with_extension("");
                let text = std::fs::read_to_string(&path).unwrap();
                files.push(SourceFile::new(inside, first.to_str().unwrap(), &text));
            }
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}
