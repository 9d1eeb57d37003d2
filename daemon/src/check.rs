//! `berthd check`: what an administrator wants to know of configuration, kernel and disk before anything is served.
//!
//! It asks the same code as the start, takes no lock, and leaves nothing behind.

use std::path::Path;

use berth_common::ledger_protocol::StagingSync;
use rustix::fd::AsFd as _;

use crate::config::Config;
use crate::data_dir::USERS;
use crate::file_system::{self, FileSystem};
use crate::identity::Identity;
use crate::kernel::Kernel;
use crate::log::say;
use crate::privileges::Target;
use crate::run::Fatal;

/// Everything that can be told without serving, all at once. The probe of the file system
/// makes a directory and removes it.
pub(crate) fn check(file: Option<&Path>) -> Result<(), Fatal> {
    let (config, mut complaints) = Config::examine(file, Default::default())?;
    if let Some(files) = &config.tls_files
        && let Err(error) = Identity::read(&files.certificate, &files.key)
    {
        complaints.add(error);
    }
    if let Err(error) = config.site_secret() {
        complaints.add(error);
    }
    if let Err(error) = Target::find(&config.user) {
        complaints.add(error);
    }
    let file_system = match check_file_system(&config.data_dir) {
        Ok(verdict) => verdict,
        Err(error) => {
            complaints.add(error);
            String::new()
        }
    };
    let kernel = Kernel::ask();
    if let Err(error) = kernel.judge(config.sandbox) {
        complaints.add(error);
    }
    kernel.describe().iter().for_each(say);
    complaints.none()?;
    say(format_args!("{file_system}"));
    say(format_args!("the configuration is valid"));
    Ok(())
}

/// What the start finds out of the file system, of what is there: a data directory that is not made yet is told by the
/// directory in which it will be.
fn check_file_system(data_dir: &Path) -> Result<String, Fatal> {
    let users = data_dir.join(USERS);
    let candidates = std::iter::once(users.as_path()).chain(data_dir.ancestors());
    let Some((path, file)) =
        candidates.filter_map(|path| Some((path, std::fs::File::open(path).ok()?))).next()
    else {
        return Err(format!("the data directory {data_dir:?} cannot be opened").into());
    };
    file_system::by_name(file.as_fd(), path)?;
    let (found, how) = if path == users {
        (file_system::examine(file.as_fd(), path)?, "tried")
    } else {
        (file_system::by_name(file.as_fd(), path)?, "told by its name")
    };
    let sync = match found.sync {
        StagingSync::Directory => "an fsync of staging",
        StagingSync::FileSystem => "a syncfs",
    };
    let FileSystem { name, why, warning, .. } = found;
    let warning = warning.map_or_else(String::new, |warning| format!("; warning: {warning}"));
    Ok(format!("{path:?} is on {name} ({how}), which takes {sync}, since {why}{warning}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_complains_of_keys_and_of_the_files_that_they_name_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("berthd.toml");
        let text = r#"
            backlog = 0
            certificate = "/absent/server.crt"
            key = "/absent/server.key"
            site_secret_file = "/absent/site.secret"
        "#;
        std::fs::write(&path, text).unwrap();
        let error = check(Some(&path)).unwrap_err().to_string();
        for part in ["berthd.toml cannot be used", "backlog: 0", "server.crt", "site.secret"] {
            assert!(error.contains(part), "{part} in {error}");
        }
    }
}
