//! Where `berth` keeps its own files: the directories of the XDG specification.

use std::path::PathBuf;

/// `$XDG_CONFIG_HOME/berth`, or `~/.config/berth`: the servers that are known.
#[must_use]
pub fn config() -> Option<PathBuf> {
    of("XDG_CONFIG_HOME", ".config")
}

/// `$XDG_STATE_HOME/berth`, or `~/.local/state/berth`: the key of the upload tokens.
#[must_use]
pub fn state() -> Option<PathBuf> {
    of("XDG_STATE_HOME", ".local/state")
}

fn of(variable: &str, below_home: &str) -> Option<PathBuf> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    // A relative path has to be ignored, says the specification.
    let base = absolute(variable).or_else(|| absolute("HOME").map(|home| home.join(below_home)))?;
    Some(base.join("berth"))
}
