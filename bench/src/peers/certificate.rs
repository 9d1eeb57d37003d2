//! A certificate of the same kind as Berth's own (ECDSA, P-256), for peers that speak TLS.

use std::fs;
use std::path::{Path, PathBuf};

use super::{need, prepare};
use crate::account;
use crate::server::StartError;

/// Makes key and certificate, and returns one file that has both.
pub(super) fn make(directory: &Path) -> Result<PathBuf, StartError> {
    let (key, certificate) = (directory.join("tls.key"), directory.join("tls.crt"));
    let mut openssl = account::own(&need("openssl")?);
    openssl
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"])
        .args(["-nodes", "-days", "2", "-subj", "/CN=localhost", "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&certificate);
    prepare("openssl", openssl)?;
    let both = directory.join("tls.pem");
    fs::write(&both, fs::read_to_string(&key)? + &fs::read_to_string(&certificate)?)?;
    account::give(&both)?;
    Ok(both)
}
