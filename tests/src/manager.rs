//! A service manager's ear: the socket to which a daemon tells that it is ready, alive, or stopping.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Mutex;

use tempfile::TempDir;

use crate::account;
use crate::wait::wait_for;

/// The socket, and all that was said so far.
#[derive(Debug)]
pub struct Manager {
    directory: TempDir,
    socket: UnixDatagram,
    is_abstract: bool,
    said: Mutex<Vec<String>>,
}

impl Default for Manager {
    fn default() -> Self {
        Self::new()
    }
}

impl Manager {
    /// Begins to listen.
    ///
    /// # Panics
    /// When there is no socket to be had.
    #[must_use]
    pub fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("berth-manager-").tempdir().unwrap();
        let socket = UnixDatagram::bind(directory.path().join("notify")).unwrap();
        socket.set_nonblocking(true).unwrap();
        account::give(directory.path());
        let everybody = std::fs::Permissions::from_mode(0o777);
        std::fs::set_permissions(directory.path().join("notify"), everybody).unwrap();
        Self { directory, socket, is_abstract: false, said: Mutex::default() }
    }

    /// One with a name that no file stands for, in the network namespace of the thread.
    ///
    /// # Panics
    /// When there is no socket to be had.
    #[must_use]
    pub fn without_file() -> Self {
        // The directory has a name that nobody else has.
        let directory = tempfile::Builder::new().prefix("berth-manager-").tempdir().unwrap();
        let name = directory.path().join("notify");
        let address = SocketAddr::from_abstract_name(name.as_os_str().as_encoded_bytes()).unwrap();
        let socket = UnixDatagram::bind_addr(&address).unwrap();
        socket.set_nonblocking(true).unwrap();
        Self { directory, socket, is_abstract: true, said: Mutex::default() }
    }

    /// What a daemon has to be told (`NOTIFY_SOCKET`).
    ///
    /// # Panics
    /// When the directory for temporary files has an odd name.
    #[must_use]
    pub fn address(&self) -> String {
        let path = self.directory.path().join("notify");
        let name = path.to_str().expect("UTF-8");
        if self.is_abstract { format!("@{name}") } else { name.to_owned() }
    }

    /// All lines so far, in order.
    ///
    /// # Panics
    /// When a daemon says what is no text.
    #[must_use]
    pub fn said(&self) -> Vec<String> {
        let mut said = self.said.lock().unwrap();
        let mut bytes = [0; 4096];
        while let Ok(count) = self.socket.recv(&mut bytes) {
            let text = std::str::from_utf8(&bytes[..count]).expect("text");
            said.extend(text.lines().map(str::to_owned));
        }
        said.clone()
    }

    /// Waits until a line has been said that begins so, after so many others, and returns all from it on.
    pub fn wait_after(&self, mark: usize, prefix: &str) -> Vec<String> {
        wait_for(&format!("the daemon says {prefix}"), || {
            let mut said = self.said();
            let at = said.iter().skip(mark).position(|line| line.starts_with(prefix))?;
            Some(said.split_off(mark + at))
        })
    }
}
