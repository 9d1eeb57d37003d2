//! The library as programs use it, against a real server: what its documentation states of events, errors and dropped
//! futures; and its example.

mod dropped;
mod errors;
mod events;
mod example;
mod requests;
mod streams;

use std::path::PathBuf;

use berth::{Connector, Credentials, Password, RelPath, Session, UserName};
use berth_tests::Server;
use berth_tests::files::Content;

/// To the server, whose certificate is known.
fn connector(server: &Server) -> Connector {
    let address = server.address().parse().unwrap();
    Connector::new(address).fingerprint(server.fingerprint().parse().unwrap())
}

fn alice(password: &str) -> Credentials {
    Credentials::password(UserName::new("alice").unwrap(), Password::new(password.to_owned()))
}

/// A session of alice's.
async fn session(server: &Server) -> Session {
    connector(server).connect().await.unwrap().log_in(&alice("a")).await.unwrap()
}

fn path(text: &str) -> RelPath {
    RelPath::new(text).unwrap()
}

/// A local file of so many bytes, which differ from one file to the next.
fn local(server: &Server, name: &str, size: u64) -> PathBuf {
    let path = server.scratch().join(name);
    Content::seed(size).write(&path, size);
    path
}

/// Runs something on a runtime of its own, of one thread as a small program has it.
fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}
