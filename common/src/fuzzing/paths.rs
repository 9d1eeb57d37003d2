//! Texts that become names of files: paths within a home, users' names, names in staging, a boot's id.
//!
//! An input is a text, or two with `|` between them: a working directory and what was typed there.

use std::fmt::Debug;
use std::path::{Component, Path};

use serde::de::DeserializeOwned;

use crate::codec;
use crate::ids::{OwedName, StagingName, UserName};
use crate::journal::BootId;
use crate::rel_path::{RelPath, RelPathError};

/// Checks a text as each of them.
pub fn paths(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    path(&text);
    user_name(&text);
    staging_names(&text);
    boot_id(&text);
    let (cwd, typed) = text.split_once('|').unwrap_or(("", &text));
    if let Ok(cwd) = RelPath::new(cwd) {
        resolve(&cwd, typed);
        if let Ok(other) = RelPath::new(typed) {
            let (above, below): (Vec<_>, Vec<_>) = (parts(&cwd), parts(&other));
            assert_eq!(cwd.contains(&other), below.starts_with(&above), "{text:?}");
        }
    }
}

fn parts(path: &RelPath) -> Vec<&str> {
    path.components().collect()
}

/// Whether it can be one component of a path in a home.
fn is_name(part: &str) -> bool {
    let special = part == "." || part == "..";
    !special && (1..=255).contains(&part.len()) && part.bytes().all(|byte| byte != 0)
}

fn path(text: &str) {
    let allowed = text.is_empty() || (text.len() <= 4096 && text.split('/').all(is_name));
    let read = RelPath::new(text);
    assert_eq!(read.is_ok(), allowed, "{text:?}");
    decodes_as_it_is_checked::<RelPath>(text, read.as_ref().ok());
    let Ok(path) = read else { return };
    assert_eq!((path.as_str(), path.to_string()), (text, format!("/{text}")));
    assert_eq!(parts(&path).join("/"), text);
    assert_eq!(path.file_name(), parts(&path).last().copied());
    match path.split_last() {
        Some((parent, name)) => assert_eq!(parent.join(name), Ok(path)),
        None => assert!(path.is_root() && text.is_empty()),
    }
}

/// Compares with a walk that counts how deep it is, over what the standard library makes of the text.
fn resolve(cwd: &RelPath, typed: &str) {
    let mut walked: Vec<&str> = if typed.starts_with('/') { vec![] } else { parts(cwd) };
    let mut left_home = false;
    for component in Path::new(typed).components() {
        match component {
            Component::Normal(name) => walked.extend(name.to_str()),
            Component::ParentDir => left_home |= walked.pop().is_none(),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    match RelPath::resolve(cwd, typed) {
        Ok(path) => {
            assert!(!left_home, "{typed:?} in {cwd} leads out, and to {path}");
            assert_eq!(parts(&path), walked, "{typed:?} in {cwd}");
            assert_eq!(RelPath::new(path.as_str()).as_ref(), Ok(&path));
        }
        Err(RelPathError::OutsideHome) => assert!(left_home, "{typed:?} in {cwd}"),
        Err(_) => {
            let fits = walked.iter().all(|part| is_name(part)) && walked.join("/").len() <= 4096;
            assert!(left_home || !fits, "{typed:?} in {cwd}");
        }
    }
}

fn user_name(text: &str) {
    let allowed = (1..=64).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && text.chars().all(|c| matches!(c, 'a'..='z' | '0'..='9' | '_' | '.' | '-'));
    let read = UserName::new(text);
    assert_eq!(read.is_ok(), allowed, "{text:?}");
    decodes_as_it_is_checked(text, read.as_ref().ok());
    if let Ok(name) = read {
        assert_eq!(name.to_string(), text);
        // It becomes a directory's name.
        assert!(is_name(name.as_str()) && !text.contains('/'));
    }
}

fn staging_names(text: &str) {
    let minted = StagingName::parse(text);
    let owed = OwedName::parse(text);
    assert!(minted.is_none() || owed.is_none(), "{text:?} is both");
    if let Some(name) = minted {
        assert!(text == name.file_name() || text == name.journal_name(), "{text:?}");
    }
    if let Some(name) = owed {
        assert_eq!(name.file_name(), text);
    }
    // Whatever stands there under a number's name is found by it.
    let digits = text.get(..16).unwrap_or_default();
    let plain = digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if let Some(number) = u64::from_str_radix(digits, 16).ok().filter(|_| plain) {
        let name = StagingName(number);
        assert_eq!(StagingName::parse(&name.file_name()), Some(name));
        assert_eq!(StagingName::parse(&name.journal_name()), Some(name));
        assert_eq!(OwedName::parse(&OwedName(number).file_name()), Some(OwedName(number)));
    }
}

fn boot_id(text: &str) {
    if let Some(boot) = BootId::parse(text) {
        let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
        let printed: String = boot.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(printed, digits.to_lowercase(), "{text:?}");
    }
}

/// Nobody gets an unchecked value by decoding it.
fn decodes_as_it_is_checked<T>(text: &str, checked: Option<&T>)
where
    T: DeserializeOwned + PartialEq + Debug,
{
    let mut bytes = Vec::new();
    assert!(codec::encode_into(&text, &mut bytes).is_ok());
    assert_eq!(codec::decode::<T>(&bytes).ok().as_ref(), checked, "{text:?}");
}
