//! Operations of the server's manager.

use serde_json::{Value, json};

use super::Op;
use crate::sim::kms::Kms;
use crate::sim::kms::methods::Outcome;
use crate::sim::kms::types::MODULES;
use crate::sim::kms::wire::Fault;

const VERSION: &str = "7.3.1";
const CPU_COUNT: u64 = 2;
/// Resident memory of an idle KMS, and what each object adds to it, in KB.
const MEMORY_IDLE_KB: usize = 69_000;
const MEMORY_OBJECT_KB: usize = 97;
/// Share of the processors, in percent, that each object is made to use.
const CPU_OBJECT_PERCENT: f64 = 0.5;

impl Kms {
    pub(super) fn manager_operation(&mut self, op: &Op<'_>) -> Option<Outcome> {
        if op.kind.name != "ServerManager" {
            return None;
        }
        let value = match op.name {
            "getInfo" => info(),
            "getPipelines" => self.all_pipelines(),
            "getSessions" => self.all_sessions(),
            "getMetadata" => json!(""),
            "getCpuCount" => json!(CPU_COUNT),
            "getUsedMemory" => {
                json!(MEMORY_IDLE_KB + MEMORY_OBJECT_KB * self.objects.ids().len())
            }
            "getUsedCpu" => return Some(self.used_cpu(op)),
            "getKmd" => return Some(kmd(op)),
            _ => return None,
        };
        Some(Ok(value))
    }

    /// Refers every object into the session with the empty name, as KMS does.
    fn all_pipelines(&mut self) -> Value {
        self.sessions.touch("");
        for id in self.objects.ids() {
            self.objects.own("", &id);
        }
        json!(self.objects.pipelines())
    }

    /// As many empty strings as there are sessions, then their names: a fault of KMS.
    fn all_sessions(&self) -> Value {
        let names: Vec<&str> = self.sessions.names().map(String::as_str).collect();
        let empty = vec![""; names.len()];
        json!([empty, names].concat())
    }

    /// Grows with the objects, so that load can be seen. KMS sleeps for the interval; we do not.
    fn used_cpu(&self, op: &Op<'_>) -> Outcome {
        if op.args.is_none() {
            return Err(Fault::marshal("'operationParams' is required"));
        }
        if op.arg("interval").and_then(Value::as_i64).is_none() {
            return Err(Fault::marshal("'interval' parameter should be a integer"));
        }
        let percent = CPU_OBJECT_PERCENT * self.objects.ids().len() as f64;
        Ok(json!(percent.min(100.0)))
    }
}

fn info() -> Value {
    let modules: Value = MODULES
        .iter()
        .map(|(name, factories)| {
            json!({
                "__module__": "kurento", "__type__": "ModuleInfo", "factories": factories,
                "generationTime": "Jan 01 2026 00:00:00", "name": name, "version": VERSION,
            })
        })
        .collect();
    json!({
        "__module__": "kurento", "__type__": "ServerInfo", "capabilities": ["transactions"],
        "modules": modules, "type": "KMS", "version": VERSION,
    })
}

/// A module description with no more than the names of what can be created.
fn kmd(op: &Op<'_>) -> Outcome {
    let module = op.text("moduleName")?;
    let Some((name, factories)) = MODULES.iter().find(|(name, _)| *name == module) else {
        return Err(Fault::kurento(40500, "UNDEFINED", "Requested kmd module doesn't exist"));
    };
    let classes: Value = factories.iter().map(|name| json!({"name": name})).collect();
    let description = json!({
        "kurentoVersion": VERSION, "name": name, "remoteClasses": classes, "version": VERSION,
    });
    Ok(json!(description.to_string()))
}
