//! Berth's client: connect to a server, log in, and list, put and get files.
//!
//! ```no_run
//! use berth::{Connector, Credentials, Event, GetOptions, Password, PutOptions, RelPath, UserName};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let connector = Connector::new("files.example.org".parse()?).fingerprint("SHA256:…".parse()?);
//! let alice = Credentials::password(UserName::new("alice")?, Password::new("secret".to_owned()));
//! let session = connector.connect().await?.log_in(&alice).await?;
//!
//! let remote = RelPath::new("films/film.mkv")?;
//! let options = PutOptions::new().progress(|event| {
//!     if let Event::Advanced { position } = event {
//!         println!("{position} bytes");
//!     }
//! });
//! let report = session.put("film.mkv", &remote, &options).await?;
//! println!("{} bytes, of which {} were there", report.size, report.resumed_bytes());
//! session.get(&remote, "copy.mkv", &GetOptions::new()).await?;
//!
//! let mut listing = session.list(&RelPath::new("films")?).await?;
//! while let Some(entries) = listing.next_part().await? {
//!     for entry in entries {
//!         println!("{}", entry.name);
//!     }
//! }
//! session.close().await;
//! # Ok(())
//! # }
//! ```
//!
//! A [`Connector`] finds a server and makes sure who it is, a [`Connected`] logs in, and a [`Session`] does everything
//! else. A session can be shared: requests and transfers of many tasks go over its one connection, each in its turn.
//! The server says how many transfers it may have at once ([`SessionInfo::max_transfers`]); one more is refused. What
//! is dropped is cancelled, and each method says under *Cancel safety* what that leaves behind.
//!
//! What a transfer does is told by an [`Event`], what fails by an error with a variant for each reason. The texts of
//! errors are English sentences without advice, since what can be done depends on the program; the library knows no
//! terminal, no exit code, no configuration directory and no environment.
//!
//! # What stays as it is
//! What stands at the root of this crate is its interface for programs, and changes as semantic versioning has it. The
//! modules are the layers it is made of, for `berth` itself and for tests: `connect`, `login`, `session` and
//! `transfer`, each of which knows only those before it. A test takes them one by one, for instance to put a faulty
//! stream below a session. What is in a module and not at the root may change with any version.
//!
//! It needs a runtime of tokio with input, output and time, and a Unix.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod buffers;
pub mod client_key;
pub mod connect;
pub mod connection;
mod connector;
pub mod credentials;
pub mod device;
pub mod exec;
mod files;
pub mod invitation;
pub mod login;
pub mod password;
pub mod private_file;
pub mod progress;
mod reason;
mod requests;
pub mod session;
pub mod target;
pub mod transfer;
pub mod trust;
pub mod verify;
mod wire;

pub use berth_common::digest::Md5;
pub use berth_common::entry::{Entry, EntryKind, Existing, Limits, UploadSummary, Usage};
pub use berth_common::error_code::{ErrorCode, Resource};
pub use berth_common::exec::{
    Arguments, ArgumentsError, ExecEnd, OutputStream, ProgramName, ProgramNameError,
};
pub use berth_common::ids::{StagingName, UserName, UserNameError};
pub use berth_common::note::{Note, NoteChange, NoteError};
pub use berth_common::rel_path::{RelPath, RelPathError};

pub use client_key::{ClientKey, ClientKeyError};
pub use connect::{ConnectError, Connected, Details, Speaks};
pub use connection::ConnectionError;
pub use connector::Connector;
pub use device::{DeviceError, DeviceSecret};
pub use exec::{Exec, ExecEvent};
pub use files::{GetOptions, PutOptions};
pub use invitation::{InvitationCode, InvitationCodeError};
pub use login::{Credentials, JoinError, Joining, LoginError, Proof, SiteSecret};
pub use password::Password;
pub use progress::{Changed, Event};
pub use requests::Listing;
pub use session::{RequestError, Session, SessionInfo};
pub use target::{ServerAddress, Target, TargetError};
pub use transfer::{GetReport, PutReport, TransferError, Tried};
pub use trust::{Fingerprint, FingerprintError, KnownServers, KnownServersError};
pub use verify::{Distrust, Trust, TrustError};
