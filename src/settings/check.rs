//! Mistakes that show only when several keys are seen together.

use std::collections::BTreeMap;

use super::reader::Findings;
use super::{BACKENDS_MAX, BackendSettings, Settings, discovery, geoip, origin};

/// Adds to `findings` whatever keys of `settings` contradict each other.
pub(super) fn check(settings: &Settings, findings: &mut Findings<'_>) {
    check_admin(settings, findings);
    check_order(settings, findings);
    origin::check(settings, findings);
    geoip::check_overrides(settings, findings);
    discovery::check(settings, findings);
    check_backends(settings, findings);
    let addrs = settings.listeners.iter().map(|listener| listener.addr.to_string());
    refuse_repeated(findings, addrs, |i| format!("listeners[{i}].addr"));
}

/// There is somewhere for a backend to come from.
fn check_backends(settings: &Settings, findings: &mut Findings<'_>) {
    let has_none = settings.backends.is_empty() && !findings.refuses("backends");
    if has_none && !settings.discovery.has_source() && findings.is_whole() {
        let expected = "at least one [[backends]], or a source in [discovery]";
        let found = if findings.has("backends") { "an empty array" } else { "nothing" };
        findings.refuse("backends", found, expected);
    }
    check_distinct(&settings.backends, findings);
}

/// Backends of one file are all different, and not too many.
pub(super) fn check_distinct(backends: &[BackendSettings], findings: &mut Findings<'_>) {
    if backends.len() > BACKENDS_MAX {
        let expected = format!("at most {BACKENDS_MAX}");
        findings.refuse("backends", &backends.len().to_string(), &expected);
    }
    let ids = backends.iter().map(|backend| backend.id.to_string());
    refuse_repeated(findings, ids, |i| format!("backends[{i}].id"));
    let urls = backends.iter().map(|backend| backend.url.to_string());
    refuse_repeated(findings, urls, |i| format!("backends[{i}].url"));
}

/// The admin API has an address of its own, and one that strangers do not reach.
fn check_admin(settings: &Settings, findings: &mut Findings<'_>) {
    let admin = &settings.admin;
    if !admin.allow_public && !admin.addr.ip().is_loopback() {
        let expected = "a loopback address, or allow_public = true";
        findings.refuse("admin.addr", &format!("\"{}\"", admin.addr), expected);
    }
    for (index, listener) in settings.listeners.iter().enumerate() {
        let key = format!("listeners[{index}].addr");
        let is_fixed = findings.has(&key) && admin.addr.port() != 0;
        if is_fixed && listener.addr == admin.addr {
            let expected = "another address than that of [admin]";
            findings.refuse(&key, &format!("\"{}\"", admin.addr), expected);
        }
    }
}

/// What must not be larger than something else.
fn check_order(settings: &Settings, findings: &mut Findings<'_>) {
    let (placement, shutdown) = (&settings.placement, &settings.shutdown);
    if placement.promises.most < placement.promises.default {
        let expected = format!("at least reserve_legs ({})", placement.promises.default);
        let found = placement.promises.most.to_string();
        findings.refuse("placement.reserve_max_legs", &found, &expected);
    }
    let percent = |part: f64| (part * 100.0).round();
    if placement.rules.soft >= placement.rules.hard {
        let expected = format!("less than hard_percent ({})", percent(placement.rules.hard));
        let found = percent(placement.rules.soft).to_string();
        findings.refuse("placement.soft_percent", &found, &expected);
    }
    let orderly = shutdown.accept + shutdown.close_window;
    if shutdown.deadline < orderly {
        let expected = format!("at least accept_ms and close_window_ms ({})", orderly.as_millis());
        let found = shutdown.deadline.as_millis().to_string();
        findings.refuse("shutdown.deadline_ms", &found, &expected);
    }
}

/// Refuses each value that stood in an earlier entry. Values that could not be read are passed
/// over, as is port 0: the system gives each listener a different one.
pub(super) fn refuse_repeated(
    findings: &mut Findings<'_>,
    values: impl Iterator<Item = String>,
    key: impl Fn(usize) -> String,
) {
    let mut first_of: BTreeMap<String, usize> = BTreeMap::new();
    for (index, value) in values.enumerate() {
        if !findings.has(&key(index)) || value.ends_with(":0") {
            continue;
        }
        if let Some(first) = first_of.get(&value) {
            let expected = format!("another value than {} has", key(*first));
            findings.refuse(&key(index), &format!("\"{value}\""), &expected);
        } else {
            first_of.insert(value, index);
        }
    }
}
