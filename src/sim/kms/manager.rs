//! The manager: what the server tells of itself. Source: Kurento protocol notes, section 5.

use std::time::Duration;

use serde_json::{Value, json};

use super::fault::Fault;
use super::invoke::register;
use super::kmd;
use super::load::Census;
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

/// Longest measurement, in milliseconds: the parameter is a 32-bit integer.
const INTERVAL_MAX_MS: u64 = 0x7fff_ffff;

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
                let message = "Requested kmd module doesn't exist";
                let unknown = || Fault::kurento(40500, "UNDEFINED", message);
                Ok(kmd::describe(module).ok_or_else(unknown)?.into())
            }
        }
    }

    /// What is on the server.
    pub(super) fn census(&self) -> Census {
        Census::of(&self.objects)
    }

    /// Percent of all processors together.
    pub(super) fn used_cpu(&self) -> f64 {
        let percent = self.census().cpu_percent(&self.settings.load.cpu, self.settings.cpu_count);
        // What the real one reads from the system has two digits at most.
        (percent * 100.0).round() / 100.0
    }

    fn used_memory(&self) -> usize {
        let weights = &self.settings.load.memory;
        self.census().memory_kb(weights)
            + self.conn_count * weights.connection_kb
            + self.answers_peak * weights.answer_kb
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
