//! SIGHUP: certificates, site secret and limits are read again, and hold from then on; no session is dropped.
//!
//! All is read and checked before anything is changed, so that a mistake leaves everything as it is. Spare workers
//! are replaced by such as have the new certificate; one that is in its handshake has the old one, and its session
//! keeps the key for it. What stands for the life of the process is named when the file says otherwise.

use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use berth_common::journal::BootId;
use tokio::sync::oneshot;

use crate::config::{Config, ConfigError, Overrides};
use crate::daemon::{Daemon, Settings};
use crate::data_dir::DataDir;
use crate::identity::Identity;
use crate::worker_handle;

/// What a reload starts from: where everything was read at the start.
#[derive(Clone)]
pub(crate) struct Reloader {
    pub(crate) file: Option<PathBuf>,
    pub(crate) overrides: Overrides,
    pub(crate) data_dir: Arc<DataDir>,
    pub(crate) boot: BootId,
}

/// What was read, checked.
struct Fresh {
    config: Config,
    identity: Identity,
    site_secret: Option<Vec<u8>>,
}

impl Reloader {
    /// Reads everything again, and sets it unless something is wrong with it. Either way it is logged.
    pub(crate) async fn reload(&self, daemon: &Daemon) {
        match self.read_off_thread().await {
            Ok(fresh) => self.set(daemon, fresh),
            Err(complaints) => {
                for complaint in complaints {
                    tracing::error!(complaint = ?complaint, "cannot reload");
                }
                tracing::error!("nothing was reloaded: everything is as it was");
            }
        }
    }

    /// Certificates may lie on another disk, which must not hold up the daemon's one thread. A thread of its own, and
    /// none of the runtime's: the daemon's end waits for those.
    ///
    /// # Errors
    /// With everything that is wrong.
    async fn read_off_thread(&self) -> Result<Fresh, Vec<String>> {
        let (tell, told) = oneshot::channel();
        let this = self.clone();
        let read = move || drop(tell.send(this.read()));
        let begun = std::thread::Builder::new().name("reload".to_owned()).spawn(read);
        begun.map_err(|error| vec![format!("no thread to read it: {error}")])?;
        told.await.unwrap_or_else(|_| Err(vec!["the thread that read it ended".to_owned()]))
    }

    /// # Errors
    /// With everything that is wrong.
    fn read(&self) -> Result<Fresh, Vec<String>> {
        let file = self.file.as_deref();
        let (config, mut complaints) = Config::examine(file, self.overrides.clone())
            .map_err(|error: ConfigError| vec![error.to_string()])?;
        let mut noted = |error: &dyn std::fmt::Display| complaints.add(error);
        let identity = Identity::load(config.tls_files.as_ref(), &self.data_dir)
            .inspect_err(|error| noted(error));
        let site_secret = config.site_secret().inspect_err(|error| noted(error));
        match (identity, site_secret, complaints.sentences()) {
            (Ok(identity), Ok(site_secret), []) => Ok(Fresh { config, identity, site_secret }),
            (_, _, sentences) => Err(sentences.to_vec()),
        }
    }

    fn set(&self, daemon: &Daemon, fresh: Fresh) {
        let Fresh { config, identity, site_secret } = fresh;
        let (config, fixed) = keep_what_is_fixed(&daemon.settings().config, config);
        for key in fixed {
            tracing::warn!(key, "needs a restart: the key has changed in the configuration");
        }
        config.check_descriptors();
        let identity = Rc::new(identity);
        let fingerprint = identity.fingerprint();
        let workers = worker_handle::setup(&config, &identity, self.boot);
        let site_secret = site_secret.map(Into::into);
        daemon.set(Settings { config, identity, site_secret }, workers);
        tracing::info!(%fingerprint, "reloaded");
    }
}

/// The new configuration with the old values of what stands for the life of the process, and the keys of these
/// that differ. Every key is here, so that a new one has to be decided about.
fn keep_what_is_fixed(old: &Config, new: Config) -> (Config, Vec<&'static str>) {
    let Config {
        data_dir,
        listen,
        user,
        sandbox,
        tls_files: _,
        site_secret_file: _,
        log_format,
        backlog,
        max_connections: _,
        max_connections_per_address: _,
        max_logins_pending: _,
        max_sessions_per_user: _,
        max_transfers: _,
        max_uploads: _,
        login: _,
        idle: _,
        stall: _,
        failures: _,
        ticket: _,
        heartbeat: _,
        shutdown_grace: _,
        spare_workers: _,
        spare_filers: _,
        min_free_bytes: _,
        upload_expiry: _,
        exec: _,
    } = &new;
    let fixed = [
        ("data_dir", *data_dir != old.data_dir),
        ("listen", *listen != old.listen),
        ("user", *user != old.user),
        ("sandbox", *sandbox != old.sandbox),
        ("log_format", *log_format != old.log_format),
        ("backlog", *backlog != old.backlog),
    ];
    let changed = fixed.into_iter().filter(|(_, differs)| *differs).map(|(key, _)| key).collect();
    let kept = Config {
        data_dir: old.data_dir.clone(),
        listen: old.listen.clone(),
        user: old.user.clone(),
        sandbox: old.sandbox,
        log_format: old.log_format,
        backlog: old.backlog,
        ..new
    };
    (kept, changed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reloader(text: &str) -> (tempfile::TempDir, Reloader) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("berthd.toml");
        std::fs::write(&file, text).unwrap();
        let data_dir = Arc::new(DataDir::open(&dir.path().join("data")).unwrap());
        let overrides = Overrides::default();
        (dir, Reloader { file: Some(file), overrides, data_dir, boot: BootId::UNKNOWN })
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once() {
        let text = r#"
            backlog = 0
            spelt_wrong = 1
            certificate = "/absent/server.crt"
            key = "/absent/server.key"
            site_secret_file = "/absent/site.secret"
        "#;
        let (_dir, reloader) = reloader(text);
        let complaints = reloader.read().err().unwrap().join("\n");
        for part in ["backlog: 0", "spelt_wrong", "server.crt", "site.secret"] {
            assert!(complaints.contains(part), "{part} in {complaints}");
        }
        std::fs::remove_file(reloader.file.as_ref().unwrap()).unwrap();
        assert_eq!(reloader.read().err().unwrap().len(), 1);
    }

    #[test]
    fn limits_are_taken_and_what_is_fixed_is_named_and_kept() {
        let (_dir, reloader) =
            reloader("listen = [\"127.0.0.1:99\"]\nmax_uploads = 3\nbacklog = 7");
        let old = Config::load(None, Overrides::default()).unwrap();
        let (kept, fixed) = keep_what_is_fixed(&old, reloader.read().ok().unwrap().config);
        assert_eq!(fixed, ["listen", "backlog"]);
        assert_eq!((&kept.listen, kept.backlog, kept.max_uploads), (&old.listen, old.backlog, 3));
        assert_eq!(keep_what_is_fixed(&old, kept).1, Vec::<&str>::new());
    }
}
