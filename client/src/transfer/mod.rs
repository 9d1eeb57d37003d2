//! Moving files: put and get on a session, each with its pure plan and its helper thread.

pub mod error;
pub mod get;
pub mod plan;
pub mod put;

mod delta;
mod durable;
mod local;
mod output;
mod part;
mod part_store;
mod sink;
mod small_get;
mod small_put;
mod source;
mod storing;
mod stream;

pub use error::{TransferError, Tried};
pub use get::{GetJob, GetReport, get, get_async, get_stream};
pub use local::{has_digest, nanoseconds, tree_digest};
pub use put::{PutJob, PutReport, put, put_async, put_opened, put_stream};
pub use small_get::{SmallGets, SmallGot};
pub use small_put::{Place, SmallFile, SmallPuts};
pub use source::{Opened, fingerprint};
pub use storing::Storing;
pub use stream::KEPT_BLOCKS;
