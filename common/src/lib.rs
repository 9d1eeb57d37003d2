//! What Berth's processes say to each other, and the pure parts that they share.
//!
//! One module a protocol, one enum a direction: `client_protocol` (client–worker), `broker_protocol`
//! (worker–daemon), `filer_protocol` (worker–filer), `ledger_protocol` (filer–daemon), `jail_protocol` (jail–daemon),
//! `admin_protocol` (berthctl–daemon). Nothing here makes a path call or knows a process, but for `points`, which exists for
//! tests alone.

#![deny(unsafe_code)]

pub mod admin_protocol;
pub mod batch;
#[cfg(target_os = "linux")]
pub mod broker_protocol;
#[cfg(target_os = "linux")]
pub mod channel;
pub mod client_protocol;
pub mod codec;
pub mod credentials;
pub mod digest;
pub mod entry;
pub mod error_code;
pub mod exec;
#[cfg(target_os = "linux")]
pub mod filer_protocol;
pub mod frame;
#[cfg(all(any(fuzzing, test), target_os = "linux"))]
pub mod fuzzing;
pub mod ids;
#[cfg(target_os = "linux")]
pub mod jail_protocol;
pub mod journal;
#[cfg(target_os = "linux")]
pub mod ledger_protocol;
pub mod limits;
pub mod note;
#[cfg(target_os = "linux")]
pub mod points;
pub mod rel_path;
pub mod sandbox_mode;
pub mod scram;
pub mod thresholds;
pub mod tls_records;
