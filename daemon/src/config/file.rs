//! The configuration as it stands in the file: strict in shape, unchecked in values.
//!
//! `systemd/berthd.toml` documents every key, and a test compares its values with the defaults here.

use std::path::PathBuf;

use serde::Deserialize;

/// Every key of the file; what is missing has its default.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct FileConfig {
    pub(super) data_dir: PathBuf,
    pub(super) listen: Vec<String>,
    pub(super) user: String,
    pub(super) certificate: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
    pub(super) site_secret_file: Option<PathBuf>,
    pub(super) sandbox: String,
    pub(super) log_format: String,
    pub(super) backlog: i64,
    pub(super) max_connections: i64,
    pub(super) max_connections_per_address: i64,
    pub(super) max_logins_pending: i64,
    pub(super) max_sessions_per_user: i64,
    pub(super) max_transfers: i64,
    pub(super) max_uploads: i64,
    pub(super) login_seconds: i64,
    pub(super) idle_seconds: i64,
    pub(super) stall_seconds: i64,
    pub(super) failed_logins: i64,
    pub(super) failed_login_delay_seconds: i64,
    pub(super) failed_login_refuse_seconds: i64,
    pub(super) ticket_seconds: i64,
    pub(super) heartbeat_seconds: i64,
    pub(super) shutdown_grace_seconds: i64,
    pub(super) spare_workers: i64,
    pub(super) spare_filers: i64,
    pub(super) min_free_bytes: i64,
    pub(super) upload_expiry_days: i64,
    pub(super) exec_path: Vec<PathBuf>,
    pub(super) exec_seconds: i64,
    pub(super) exec_cpu_seconds: i64,
    pub(super) exec_memory_bytes: i64,
    pub(super) exec_output_bytes: i64,
    pub(super) max_programs_per_session: i64,
    pub(super) max_programs: i64,
}

impl Default for FileConfig {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("/var/lib/berth"),
            listen: vec!["127.0.0.1:4022".to_owned()],
            user: "berth".to_owned(),
            certificate: None,
            key: None,
            site_secret_file: None,
            sandbox: "require".to_owned(),
            log_format: "text".to_owned(),
            backlog: 1024,
            max_connections: 512,
            max_connections_per_address: 64,
            max_logins_pending: 128,
            max_sessions_per_user: 16,
            max_transfers: 8,
            max_uploads: 1000,
            login_seconds: 10,
            idle_seconds: 600,
            stall_seconds: 60,
            failed_logins: 10,
            failed_login_delay_seconds: 1,
            failed_login_refuse_seconds: 300,
            ticket_seconds: 30,
            heartbeat_seconds: 20,
            shutdown_grace_seconds: 30,
            spare_workers: 4,
            spare_filers: 2,
            min_free_bytes: 1 << 30,
            upload_expiry_days: 7,
            exec_path: vec![PathBuf::from("/usr/bin"), PathBuf::from("/bin")],
            exec_seconds: 60,
            exec_cpu_seconds: 30,
            exec_memory_bytes: 256 << 20,
            exec_output_bytes: 64 << 20,
            max_programs_per_session: 2,
            max_programs: 16,
        }
    }
}

impl FileConfig {
    /// Reads a file's text. Keys that are unknown or of the wrong type become complaints, one each,
    /// and have no effect on the rest.
    pub(super) fn parse(text: &str, complaints: &mut Vec<String>) -> Self {
        let mut table: toml::Table = match text.parse() {
            Ok(table) => table,
            Err(error) => {
                complaints.push(error.to_string().trim_end().to_owned());
                return Self::default();
            }
        };
        // Each key by itself, so that one bad key does not hide the next.
        table.retain(|key, value| {
            let alone = toml::Table::from_iter([(key.to_owned(), value.clone())]);
            let Err(error) = alone.try_into::<Self>() else {
                return true;
            };
            complaints.push(if error.message().starts_with("unknown field") {
                format!("{key}: there is no such key")
            } else {
                format!("{key}: {}", error.message())
            });
            false
        });
        table.try_into().unwrap_or_else(|error: toml::de::Error| {
            complaints.push(error.message().to_owned());
            Self::default()
        })
    }
}
