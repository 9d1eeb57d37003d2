//! How a test's server differs from one with the defaults.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a server is started with.
#[derive(Clone, Debug, Default)]
pub struct Options {
    pub(super) config: Vec<String>,
    pub(super) listen: Option<String>,
    pub(super) data_dir: Option<PathBuf>,
    pub(super) beneath: Option<PathBuf>,
    pub(super) points: Option<PathBuf>,
    pub(super) passed: Option<Arc<TcpListener>>,
    pub(super) environment: Vec<(String, String)>,
    pub(super) without_network: bool,
    pub(super) without_user_namespaces: bool,
    pub(super) puppets: bool,
}

impl Options {
    /// The defaults: loopback, a port that the kernel chooses, a log in JSON.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// One more line for the configuration file, as TOML has it: `max_connections = 500`.
    #[must_use]
    pub fn set(mut self, line: &str) -> Self {
        self.config.push(line.to_owned());
        self
    }

    /// Another address to listen on.
    #[must_use]
    pub fn listen(mut self, address: &str) -> Self {
        self.listen = Some(address.to_owned());
        self
    }

    /// Steered by these points. They have to live as long as the server.
    #[cfg(debug_assertions)]
    #[must_use]
    pub fn points(mut self, points: &crate::Points) -> Self {
        self.points = Some(points.file().to_owned());
        self
    }

    /// With this socket passed to the daemon, as a service manager does; it stays open here.
    #[must_use]
    pub fn passing(mut self, listener: &Arc<TcpListener>) -> Self {
        self.passed = Some(Arc::clone(listener));
        self
    }

    /// With one more variable in the daemon's environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// In a network of its own, in which there is nothing. Needs root.
    #[must_use]
    pub fn without_network(mut self) -> Self {
        self.without_network = true;
        self
    }

    /// In a world that gives no user namespaces to anybody: a root of its own, as in many a container. Needs root.
    #[must_use]
    pub fn without_user_namespaces(mut self) -> Self {
        self.without_user_namespaces = true;
        self
    }

    /// Another data directory than one of the server's own.
    #[must_use]
    pub fn data_dir(mut self, path: &Path) -> Self {
        self.data_dir = Some(path.to_owned());
        self
    }

    /// Another place than the system's for temporary files for all that belongs to the server: a
    /// directory on the file system that the test is about.
    #[must_use]
    pub fn beneath(mut self, path: &Path) -> Self {
        self.beneath = Some(path.to_owned());
        self
    }

    /// With puppets in the places of worker and filer, which are the real ones until a test wants otherwise
    /// ([`crate::puppets`]). As few spares as there can be, so that a new client gets what the test wants.
    #[must_use]
    pub fn puppets(mut self) -> Self {
        self.puppets = true;
        self.set("spare_workers = 1").set("spare_filers = 0")
    }
}
