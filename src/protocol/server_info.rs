//! What a fleet says of itself, made of what its servers say: the value of the manager's `getInfo`.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// Modules without which the JavaScript client refuses to start.
pub const MODULES_REQUIRED: [&str; 3] = ["core", "elements", "filters"];

/// The answer of several servers as one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FleetInfo {
    /// The value of `getInfo`, JSON.
    pub text: String,
    /// Which of [`MODULES_REQUIRED`] it lacks, because a server does.
    pub missing: Vec<&'static str>,
}

/// Makes one answer of `infos`, each a value of `getInfo`; `None` without any that is an object.
///
/// A client may be placed on any server, so the answer lists what all of them have: modules of the
/// same name and version, with the factories that are everywhere. A module that clients insist on is
/// kept even if versions differ, as they do while a fleet is upgraded; its version is then that of
/// the first. All else comes from the first.
#[must_use]
pub fn merge_infos<'a>(infos: impl IntoIterator<Item = &'a str>) -> Option<FleetInfo> {
    // A fleet is mostly alike, so nearly all of it is compared and not read.
    let distinct: BTreeSet<&str> = infos.into_iter().collect();
    merge_distinct(distinct.into_iter())
}

fn merge_distinct<'a>(infos: impl Iterator<Item = &'a str>) -> Option<FleetInfo> {
    let mut infos = infos.filter_map(|text| match serde_json::from_str(text) {
        Ok(Value::Object(info)) => Some(info),
        Ok(_) | Err(_) => None,
    });
    let mut merged: Map<String, Value> = infos.next()?;
    let mut modules = modules_of(&merged).to_vec();
    for info in infos {
        modules.retain_mut(|module| is_left_by(module, modules_of(&info)));
    }
    let has = |name: &&'static str| modules.iter().any(|module| module["name"] == **name);
    let missing = MODULES_REQUIRED.into_iter().filter(|name| !has(name)).collect();
    merged.insert("modules".to_owned(), Value::Array(modules));
    Some(FleetInfo { text: Value::Object(merged).to_string(), missing })
}

fn modules_of(info: &Map<String, Value>) -> &[Value] {
    info.get("modules").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// Whether `module` stays beside a server that has `others`. It loses the factories they lack.
fn is_left_by(module: &mut Value, others: &[Value]) -> bool {
    let is_required = MODULES_REQUIRED.iter().any(|name| module["name"] == **name);
    let same = others.iter().find(|other| {
        other["name"] == module["name"] && (is_required || other["version"] == module["version"])
    });
    let Some(same) = same else { return false };
    let theirs = same["factories"].as_array().map(Vec::as_slice).unwrap_or_default();
    if let Some(factories) = module.get_mut("factories").and_then(Value::as_array_mut) {
        factories.retain(|factory| theirs.contains(factory));
    }
    true
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn module(name: &str, version: &str, factories: &[&str]) -> Value {
        json!({"name": name, "version": version, "factories": factories})
    }

    fn info(version: &str, more: Value) -> String {
        let mut modules = vec![
            module("core", version, &["MediaPipeline", "PassThrough"]),
            module("elements", version, &["WebRtcEndpoint"]),
            module("filters", version, &[]),
        ];
        modules.push(more);
        json!({"type": "KMS", "version": version, "modules": modules}).to_string()
    }

    fn merged(infos: &[&str]) -> (Value, Vec<&'static str>) {
        let FleetInfo { text, missing } = merge_distinct(infos.iter().copied()).unwrap();
        (serde_json::from_str(&text).unwrap(), missing)
    }

    #[test]
    fn a_fleet_has_the_modules_and_factories_that_all_its_servers_have() {
        let one = info("7.3.1", module("crowd", "1", &["CrowdDetector", "Other"]));
        let two = info("7.3.1", module("crowd", "1", &["CrowdDetector"]));
        let (both, missing) = merged(&[&one, &two]);
        assert_eq!(both["modules"][3], module("crowd", "1", &["CrowdDetector"]));
        assert_eq!((both["modules"].as_array().unwrap().len(), missing.len()), (4, 0));
        let three = info("7.3.1", module("plate", "1", &[]));
        let (all, _) = merged(&[&one, &two, &three]);
        assert_eq!(all["modules"].as_array().unwrap().len(), 3, "crowd is not everywhere");
    }

    #[test]
    fn an_upgrade_hides_other_modules_but_none_that_clients_insist_on() {
        let old = info("7.3.0", module("crowd", "1", &[]));
        let new = info("7.3.1", module("crowd", "2", &[]));
        let (both, missing) = merged(&[&old, &new]);
        let names: Vec<_> =
            both["modules"].as_array().unwrap().iter().map(|m| &m["name"]).collect();
        assert_eq!(names, MODULES_REQUIRED);
        assert_eq!((both["version"].as_str(), missing.len()), (Some("7.3.0"), 0));
    }

    #[test]
    fn a_module_that_a_server_truly_lacks_is_not_made_up() {
        let whole = info("7.3.1", module("crowd", "1", &[]));
        let bare = json!({"modules": [module("core", "7.3.1", &["MediaPipeline"])]}).to_string();
        let (both, missing) = merged(&[&whole, &bare]);
        assert_eq!(both["modules"], json!([module("core", "7.3.1", &["MediaPipeline"])]));
        assert_eq!(missing, ["elements", "filters"]);
    }

    #[test]
    fn equal_answers_are_one_and_what_is_none_counts_for_nothing() {
        let one = info("7.3.1", module("crowd", "1", &[]));
        let alone = merge_infos([one.as_str()]).unwrap();
        let value: Value = serde_json::from_str(&one).unwrap();
        assert_eq!(serde_json::from_str::<Value>(&alone.text).unwrap(), value);
        assert_eq!(merge_infos([one.as_str(), "null", one.as_str(), "{"]), Some(alone));
        assert_eq!(merge_infos(["[]"]), None);
    }
}
