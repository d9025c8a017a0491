//! The three that are measured.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Context;

use crate::bench::Bench;
use crate::stage::{Layout, Ports};

/// Where Debian keeps servers; not in everybody's search path.
const SYSTEM_DIR: &str = "/usr/sbin";

/// What Pinfold keeps of its pins.
const STATE_DIR: &str = "state";

/// One that stands between clients and backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    Pinfold,
    Haproxy,
    Nginx,
}

impl Peer {
    pub(crate) const ALL: [Self; 3] = [Self::Pinfold, Self::Haproxy, Self::Nginx];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Pinfold => "Pinfold",
            Self::Haproxy => "HAProxy",
            Self::Nginx => "nginx",
        }
    }

    /// The configuration with everything that is `@LIKE_THIS@` still open.
    fn template(self) -> &'static str {
        match self {
            Self::Pinfold => include_str!("pinfold.toml"),
            Self::Haproxy => include_str!("haproxy.cfg"),
            Self::Nginx => include_str!("nginx.conf"),
        }
    }

    /// The program.
    ///
    /// # Errors
    /// It is not installed; says how to.
    pub(crate) fn program(self) -> anyhow::Result<PathBuf> {
        match self {
            Self::Pinfold => Ok(env!("CARGO_BIN_EXE_pinfold").into()),
            Self::Haproxy => find_program("haproxy", "haproxy"),
            Self::Nginx => find_program("nginx", "nginx"),
        }
    }

    /// Writes the configuration for `ports` and returns the program with its arguments.
    pub(crate) fn command(
        self,
        bench: &Bench,
        layout: Layout,
        ports: Ports,
    ) -> anyhow::Result<Command> {
        let dir = bench.dir.path();
        let config = dir.join(format!("{}.conf", self.name()));
        // Every start is the first. That there was none before is no error.
        let _ = std::fs::remove_dir_all(dir.join(STATE_DIR));
        std::fs::write(&config, self.configuration(bench, layout, ports))?;
        let mut command = bench.command(layout, &self.program()?);
        match self {
            Self::Pinfold => command.args(["serve", "--config"]).arg(config),
            Self::Haproxy => command.args(["-db", "-f"]).arg(config),
            Self::Nginx => {
                let errors = dir.join("nginx-errors");
                command.arg("-e").arg(errors).arg("-c").arg(config)
            }
        };
        Ok(command)
    }

    fn configuration(self, bench: &Bench, layout: Layout, ports: Ports) -> String {
        let dir = bench.dir.path().display().to_string();
        let values = [
            ("THREADS", bench.threads(layout).to_string()),
            ("CONNECTIONS", bench.limits.connections().to_string()),
            ("FILES", bench.limits.files.to_string()),
            ("PORT", ports.plain.to_string()),
            ("TLS_PORT", ports.tls.to_string()),
            ("ADMIN_PORT", ports.admin.to_string()),
            ("BACKEND_PORT", ports.backend.to_string()),
            ("STATE_DIR", format!("{dir}/{STATE_DIR}")),
            ("DIR", dir),
        ];
        values.iter().fold(self.template().to_owned(), |text, (key, value)| {
            text.replace(&format!("@{key}@"), value)
        })
    }
}

/// Finds `name` where programs are searched, and where Debian has its servers.
///
/// # Errors
/// It is nowhere; says which `package` of Debian has it.
pub(crate) fn find_program(name: &str, package: &str) -> anyhow::Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs = std::env::split_paths(&path).chain([PathBuf::from(SYSTEM_DIR)]);
    let mut found = dirs.map(|dir| dir.join(name)).filter(|path| path.is_file());
    found.next().with_context(|| format!("{name} is not installed: apt-get install {package}"))
}
