//! The layering rule: a module imports only what stands above it in `src/lib.rs`, and the pure half
//! keeps away from runtimes, clocks, chance and the outside world.
//!
//! Reads the sources as text, after taking comments and literals out. What text cannot show, types
//! do not either: a `HashMap` is recognised where its name is declared with that type or made by
//! its constructor in the same file, so one that comes from a function is missed.

mod source;

use std::path::Path;

use source::{Layers, SourceFile, read_layers, read_sources};

/// Paths that the pure half may not name: the first segments are compared.
const IMPURE: [&str; 25] = [
    "anyhow",
    "clap",
    "dashmap",
    "futures_util",
    "getrandom",
    "http_body_util",
    "hyper",
    "hyper_util",
    "prometheus_client",
    "rand",
    "rustls",
    "std::env",
    "std::fs",
    "std::io",
    "std::net",
    "std::process",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
    "tokio",
    "tokio_rustls",
    "tokio_tungstenite",
    "tokio_util",
    "tracing",
    "tracing_subscriber",
];

/// What the pure half may name all the same: an address is a value, unlike a socket.
const PURE: [&str; 3] = ["std::net::IpAddr", "std::net::Ipv4Addr", "std::net::Ipv6Addr"];

/// Ways to visit a hash map whose order of visit can be seen. `retain` is allowed: with a pure
/// predicate its result does not depend on the order.
const VISITS: [&str; 9] = [
    ".drain(",
    ".into_iter(",
    ".into_keys(",
    ".into_values(",
    ".iter(",
    ".iter_mut(",
    ".keys(",
    ".values(",
    ".values_mut(",
];

/// Everything in `file` that breaks the rule, each as `file: what`.
fn violations(layers: &Layers, file: &SourceFile) -> Vec<String> {
    let mut found = Vec::new();
    if file.path.ends_with("mod.rs") {
        found.push("a module is foo.rs, not mod.rs".to_owned());
    }
    if file.module == "main" {
        let strays = file
            .paths()
            .into_iter()
            .filter(|path| path.starts_with("pinfold::") && !path.starts_with("pinfold::cli::"));
        found.extend(strays.map(|path| format!("main.rs only calls cli, not {path}")));
    } else if file.module != "lib" {
        found.extend(upward_only(layers, file));
        if layers.is_pure(&file.module) {
            found.extend(impure_paths(file));
            found.extend(visited_hash_maps(file));
        }
    }
    found.into_iter().map(|what| format!("{}: {what}", file.path.display())).collect()
}

/// Imports that do not point up the list.
fn upward_only(layers: &Layers, file: &SourceFile) -> Vec<String> {
    let mut found = Vec::new();
    let Some(own) = layers.position(&file.module) else {
        return vec![format!("module {} is not in lib.rs", file.module)];
    };
    for path in file.paths() {
        if path.contains("super::super") {
            found.push(format!("{path}: write crate::module:: instead"));
        }
        let Some(rest) = path.strip_prefix("crate::") else { continue };
        let target = rest.split("::").next().unwrap_or_default();
        match layers.position(target) {
            Some(position) if position <= own => {}
            Some(_) => found.push(format!("{} may not import {target}, below it", file.module)),
            None => found.push(format!("{path}: {target} is no module of lib.rs")),
        }
    }
    if file.code.contains("crate::{") {
        found.push("write `use crate::module::{…}`, not `use crate::{…}`".to_owned());
    }
    found
}

/// Paths of the outside world.
fn impure_paths(file: &SourceFile) -> Vec<String> {
    let is_under = |path: &str, root: &str| {
        path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    };
    // A banned path itself, or a parent of one as a whole: `use std::time;`, `use std::time::*;`.
    let is_impure = |path: &&String| {
        let whole = path.trim_end_matches("::*");
        IMPURE.iter().any(|banned| is_under(path, banned) || is_under(banned, whole))
            && !PURE.iter().any(|allowed| is_under(path, allowed))
    };
    let paths = file.paths();
    paths.iter().filter(is_impure).map(|path| format!("{path} in the pure half")).collect()
}

/// Hash maps and sets whose order of visit could be seen.
fn visited_hash_maps(file: &SourceFile) -> Vec<String> {
    let mut found = Vec::new();
    for name in file.hash_map_names() {
        let visits = VISITS.map(|visit| format!("{name}{visit}"));
        let loops = ["in ", "in &", "in &mut ", "in self.", "in &self.", "in &mut self."]
            .map(|head| format!("{head}{name} {{"));
        for pattern in visits.iter().chain(&loops) {
            if file.holds_words(pattern) {
                found.push(format!("`{pattern}` visits a hash map in no fixed order"));
            }
        }
    }
    found
}

#[test]
fn every_module_imports_only_from_above() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let layers = read_layers(&root);
    let sources = read_sources(&root);
    assert!(sources.len() > layers.len(), "the walk found {} files", sources.len());
    let found: Vec<String> = sources.iter().flat_map(|file| violations(&layers, file)).collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// The list of a made-up crate.
fn planted_layers() -> Layers {
    let lib =
        "//! Doc.\n// Pure: a\npub mod model;\npub mod policy;\n// Shell: b\npub mod proxy;\n";
    Layers::parse(lib)
}

/// What is found when `code` stands in `module`.
fn planted(module: &str, code: &str) -> Vec<String> {
    let file = SourceFile::new(Path::new(&format!("{module}.rs")), module, code);
    violations(&planted_layers(), &file)
}

#[test]
fn planted_violations_are_found() {
    for (module, code) in [
        ("model", "use crate::policy::choose;"),
        ("policy", "fn f() { crate::proxy::run() }"),
        ("policy", "use crate::{model::Time, policy::x};"),
        ("policy", "use super::super::model::Time;"),
        ("policy", "use crate::nowhere::X;"),
        ("policy", "use tokio::sync::mpsc;"),
        ("policy", "use std::{time::{Duration, Instant}, fmt};"),
        ("policy", "use std::time;\nfn f() { let t = std::time::SystemTime::now(); }"),
        ("policy", "use std::time::{self, Duration};"),
        ("policy", "use std::time::*;"),
        ("policy", "fn f() { tracing::info!(1) }"),
        ("policy", "use std::fs as files;"),
        ("policy", "use std::net::{IpAddr, TcpStream};"),
        ("policy", "use std::net::*;"),
        ("policy", "use ::getrandom::fill;"),
        ("policy", "struct S { pins: HashMap<u8, u8> }\nfn f(s: &S) { s.pins.values().sum() }"),
        ("policy", "fn f(pins: &HashMap<u8, u8>) { for (a, b) in pins { g(a) } }"),
        ("policy", "fn f() { let mut seen = HashSet::new(); for s in &seen { g(s) } }"),
        (
            "policy",
            "struct S { pins: std::collections::HashMap<u8, u8> }\nfn f(s: S) {\n s.pins\n  .iter() }",
        ),
        ("other", "fn f() {}"),
        ("main", "fn main() { pinfold::app::run() }"),
    ] {
        assert!(!planted(module, code).is_empty(), "in {module}: {code}");
    }
}

#[test]
fn what_is_allowed_is_not_found() {
    for (module, code) in [
        ("policy", "use crate::model::{Time, ids::{A, B}};\nuse crate::policy::pin;"),
        ("policy", "// use tokio::x;\n/* crate::proxy */ /// crate::proxy::X\nfn f() {}"),
        ("policy", r##"fn f() -> &'static str { "use tokio::x; crate::proxy::X" }"##),
        ("policy", "fn f() -> &'static str { r#\"a \" crate::proxy::X\"# }"),
        ("policy", "use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};"),
        ("policy", "fn f<'a>(x: &'a str) -> char { '\"' }\nuse std::time::Duration;"),
        (
            "policy",
            "struct S { pins: HashMap<u8, u8>, all: Vec<u8> }\nfn f(s: &S) { s.all.iter() }",
        ),
        (
            "policy",
            "fn f(pins: &mut HashMap<u8, u8>) { pins.retain(|_, v| *v > 0); pins.get(&1); }",
        ),
        ("proxy", "use crate::policy::choose;\nuse tokio::sync::mpsc;\nuse std::time::Instant;"),
        ("main", "fn main() { pinfold::cli::run() }"),
    ] {
        assert_eq!(planted(module, code), Vec::<String>::new(), "in {module}: {code}");
    }
}
