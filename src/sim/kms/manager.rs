//! The manager: what the server tells of itself. Source: Kurento protocol notes, section 5.

use std::time::Duration;

use serde_json::{Value, json};

use super::fault::Fault;
use super::invoke::register;
use super::methods::Params;
use super::server::Server;
use super::types::TYPES;

/// What the server calls itself and its modules.
const VERSION: &str = "7.3.1~0.g2469c8c";

/// Modules, and when they were built.
const MODULES: [(&str, &str); 3] = [
    ("core", "Nov 21 2026 04:01:09"),
    ("elements", "Nov 21 2026 04:08:53"),
    ("filters", "Nov 21 2026 04:09:29"),
];

/// Resident kilobytes of an idle server, of an endpoint, of one that is negotiated, and of any
/// other object. Source: measured, section 13.
const IDLE_KB: usize = 67_000;
const ENDPOINT_KB: usize = 97;
const NEGOTIATED_KB: usize = 300;
const OBJECT_KB: usize = 1;

/// Longest measurement, in milliseconds: the parameter is a 32-bit integer.
const INTERVAL_MAX_MS: u64 = 0x7fff_ffff;

/// Percent of one processor for the media of a negotiated endpoint.
const ENDPOINT_PERCENT: f64 = 1.0;

impl Server {
    /// The value of one of the manager's own properties.
    pub(super) fn manager_value(&mut self, property: &str) -> Option<Value> {
        match property {
            "info" => Some(info()),
            "metadata" => Some("".into()),
            "pipelines" => {
                let pipelines = self.all_of("MediaPipeline");
                self.objects.refer_all_to_nobody();
                Some(pipelines)
            }
            "sessions" => {
                // A list made with n empty places, to whose end the n ids are then added.
                let sessions = self.objects.sessions();
                let empty = std::iter::repeat_n(Value::from(""), sessions.len());
                let ids = self.objects.sessions().map(|id| Value::from(&**id));
                Some(empty.chain(ids).collect())
            }
            _ => None,
        }
    }

    /// One of the manager's own operations.
    pub(super) fn manager_operation(&mut self, name: &str, args: &Params) -> Result<Value, Fault> {
        match name {
            "getCpuCount" => Ok(self.settings.cpu_count.into()),
            "getUsedCpu" => {
                let millis = args.get("interval").and_then(Value::as_u64).unwrap_or(0);
                self.takes += Duration::from_millis(millis.min(INTERVAL_MAX_MS));
                Ok(self.used_cpu().into())
            }
            "getUsedMemory" => Ok(self.used_memory().into()),
            _ => {
                let module = args.get("moduleName").and_then(Value::as_str).unwrap_or_default();
                module_description(module)
            }
        }
    }

    fn negotiated_count(&self) -> usize {
        self.objects.iter().filter(|(_, object)| object.media.negotiation.is_done()).count()
    }

    /// Percent of all processors together.
    fn used_cpu(&self) -> f64 {
        let percent = self.negotiated_count() as f64 * ENDPOINT_PERCENT;
        (percent / f64::from(self.settings.cpu_count.max(1))).min(100.0)
    }

    fn used_memory(&self) -> usize {
        let (endpoints, others): (Vec<_>, Vec<_>) =
            self.objects.iter().partition(|(_, object)| object.is_a("BaseRtpEndpoint"));
        IDLE_KB
            + endpoints.len() * ENDPOINT_KB
            + self.negotiated_count() * NEGOTIATED_KB
            + others.len() * OBJECT_KB
    }
}

fn info() -> Value {
    let module = |(name, built): (&str, &str)| {
        register(
            "ModuleInfo",
            [
                ("factories", TYPES.factories().get(name).cloned().unwrap_or_default().into()),
                ("generationTime", built.into()),
                ("name", name.into()),
                ("version", VERSION.into()),
            ],
        )
    };
    register(
        "ServerInfo",
        [
            ("capabilities", json!(["transactions"])),
            ("modules", MODULES.into_iter().map(module).collect()),
            ("type", "KMS".into()),
            ("version", VERSION.into()),
        ],
    )
}

/// The description of `module`: its name and classes, much shorter than the real one.
fn module_description(module: &str) -> Result<Value, Fault> {
    let Some(factories) = TYPES.factories().get(module) else {
        let message = "Requested kmd module doesn't exist";
        return Err(Fault::kurento(40500, "UNDEFINED", message));
    };
    let classes: Vec<Value> = factories.iter().map(|name| json!({ "name": name })).collect();
    let classes = Value::Array(classes);
    let text = format!(
        "{{\"name\": \"{module}\",\"version\": \"7.3.1-dev\",\"kurentoVersion\": \"7.3.1-dev\",\
         \"imports\": [],\"remoteClasses\": {classes}}}"
    );
    Ok(text.into())
}
