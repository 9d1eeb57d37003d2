//! SCRAM's two messages as the daemon reads them, and a client's half that has nothing in common with its own.
//!
//! An input is a letter, whose bits say what is wrong with the client, its first message, a newline, and then
//! pairs of bytes: where its last message is changed, and into what. With [`RAW`] they are its last message.
//! The users are `alice`, who may log in, and `bob`, who is locked.

use berth_common::credentials::NewCredential;
use berth_common::entry::{Limits, Usage};
use berth_common::ids::UserName;
use berth_common::limits::MAX_SCRAM_MESSAGE;
use berth_common::scram::ScramVerifier;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

use crate::auth::{AwaitingCredential, LoginHello};
use crate::ledger::{UserRecord, UserState};

/// The client does not know the password.
const WRONG_KEY: u8 = 1;
/// It is on another TLS channel.
const WRONG_CHANNEL: u8 = 2;
/// The password is changed while it answers.
const CHANGED: u8 = 4;
/// It sends its last message as the input has it.
const RAW: u8 = 8;
/// It is logged in and changes its password.
const PASSWORD: u8 = 16;

const HEADER: &str = "p=tls-exporter,,";
const EXPORTER: [u8; 32] = [9; 32];
const CLIENT_KEY: [u8; 32] = [5; 32];

/// Runs one exchange.
pub fn logins(data: &[u8]) {
    let Some((&flaws, rest)) = data.split_first() else { return };
    let mut parts = rest.splitn(2, |byte| *byte == b'\n');
    let first = parts.next().unwrap_or_default();
    let edits = parts.next().unwrap_or_default();
    if flaws & PASSWORD == 0 { login(flaws, first, edits) } else { password(flaws, first, edits) }
}

fn login(flaws: u8, first: &[u8], edits: &[u8]) {
    let Ok(hello) = LoginHello::parse(first) else { return };
    assert!(first.len() <= MAX_SCRAM_MESSAGE && first.starts_with(HEADER.as_bytes()));
    let name = hello.claimed_name().to_owned();
    assert!(!name.is_empty());
    assert_eq!(hello.user().is_some(), UserName::new(&name).is_ok());
    let record = record(&name);
    let Ok((challenge, awaiting)) = hello.challenge(record.as_ref(), &[3; 32], &EXPORTER) else {
        return;
    };
    assert!(challenge.len() <= MAX_SCRAM_MESSAGE);
    let client = Client { flaws, first, challenge: &challenge, covered: None };
    let (last, honest) = client.last(edits);
    let mut now = record;
    if let Some(now) = now.as_mut().filter(|_| flaws & CHANGED != 0) {
        now.verifier = verifier(b"another salt of 32 bytes or less", [6; 32]);
    }
    let result = awaiting.finish(&last, now.as_ref());
    let expected = honest && flaws & CHANGED == 0 && name == "alice";
    assert_eq!(result.is_ok(), expected, "{name:?} with {:?}", String::from_utf8_lossy(&last));
    if let Ok(accepted) = result {
        assert_eq!(accepted.user.as_str(), "alice");
        assert!(accepted.server_final.starts_with(b"v="));
    }
}

/// Of the session's user, who is alice.
fn password(flaws: u8, first: &[u8], edits: &[u8]) {
    let (Some(record), Ok(user)) = (record("alice"), UserName::new("alice")) else { return };
    let new = verifier(b"sixteen more :-)", [7; 32]);
    let begun = AwaitingCredential::begin(
        first,
        NewCredential::Password(new.clone()),
        &user,
        Some(&record),
        &EXPORTER,
    );
    let Ok((challenge, awaiting)) = begun else { return };
    assert!(first.starts_with(b"p=tls-exporter,,n=alice,"));
    // On another channel, a relay has put a verifier of its own into the place of the client's.
    let covered = match flaws & WRONG_CHANNEL {
        0 => new.clone(),
        _ => verifier(b"sixteen more :-)", [8; 32]),
    };
    let flaws = flaws & !WRONG_CHANNEL;
    let swapped = covered != new;
    let client = Client { flaws, first, challenge: &challenge, covered: Some(covered) };
    let (last, honest) = client.last(edits);
    let mut now = record.clone();
    now.locked = flaws & CHANGED != 0;
    let result = awaiting.finish(&last, Some(&now));
    let expected = honest && !swapped && !now.locked;
    assert_eq!(result.is_ok(), expected, "{:?}", String::from_utf8_lossy(&last));
    if let Ok((proved, stored)) = result {
        assert!(proved == record.verifier && stored == NewCredential::Password(new));
    }
}

fn record(name: &str) -> Option<UserRecord> {
    let user = UserName::new(name).ok().filter(|_| name == "alice" || name == "bob")?;
    let usage = Usage {
        limits: Limits::default(),
        used_bytes: 0,
        used_entries: 0,
        reserved_bytes: 0,
        reserved_entries: 0,
    };
    Some(UserRecord {
        name: user,
        state: UserState::Active,
        locked: name == "bob",
        verifier: verifier(b"sixteen bytes :)", CLIENT_KEY),
        usage,
        uploads: 0,
        created_s: 0,
    })
}

fn verifier(salt: &[u8], client_key: [u8; 32]) -> ScramVerifier {
    let stored_key = Sha256::digest(client_key).into();
    match ScramVerifier::new(salt.to_vec(), 4096, stored_key, [4; 32]) {
        Ok(verifier) => verifier,
        Err(error) => panic!("{error}"),
    }
}

/// A client, by RFC 5802 alone.
struct Client<'a> {
    flaws: u8,
    first: &'a [u8],
    challenge: &'a [u8],
    covered: Option<ScramVerifier>,
}

impl Client<'_> {
    /// Its last message, and whether it is what an honest client with the right password sends.
    fn last(&self, edits: &[u8]) -> (Vec<u8>, bool) {
        if self.flaws & RAW != 0 {
            return (edits.to_vec(), false);
        }
        let honest = self.proof();
        let mut last = honest.clone();
        for edit in edits.chunks_exact(2) {
            let at = usize::from(edit[0]) % (last.len() + 1);
            match last.get_mut(at) {
                Some(byte) => *byte = edit[1],
                None => last.push(edit[1]),
            }
        }
        let is_honest = last == honest && self.flaws & (WRONG_KEY | WRONG_CHANNEL) == 0;
        (last, is_honest)
    }

    fn proof(&self) -> Vec<u8> {
        let key = if self.flaws & WRONG_KEY == 0 { CLIENT_KEY } else { [1; 32] };
        let channel = if self.flaws & WRONG_CHANNEL == 0 { EXPORTER } else { [8; 32] };
        let mut bound = [HEADER.as_bytes(), &channel].concat();
        if let Some(new) = &self.covered {
            let mut hash = Sha256::new_with_prefix(b"berth/1 new verifier");
            hash.update([new.salt().len() as u8]);
            hash.update(new.salt());
            hash.update(new.iterations().to_be_bytes());
            hash.update(new.stored_key());
            hash.update(new.server_key());
            bound.extend_from_slice(&hash.finalize());
        }
        let nonce = self.challenge.split(|byte| *byte == b',').next().unwrap_or_default();
        let without_proof = [b"c=", base64(&bound).as_bytes(), b",", nonce].concat();
        let bare = self.first.get(HEADER.len()..).unwrap_or_default();
        let signed = [bare, b",", self.challenge, b",", &without_proof].concat();
        let stored_key: [u8; 32] = Sha256::digest(key).into();
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&stored_key) else {
            panic!("HMAC takes a key of any length");
        };
        mac.update(&signed);
        let signature: [u8; 32] = mac.finalize().into_bytes().into();
        let proof: Vec<u8> = key.iter().zip(signature).map(|(a, b)| a ^ b).collect();
        [&without_proof, &b",p="[..], base64(&proof).as_bytes()].concat()
    }
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let bits = three.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte));
        let bits = bits << (8 * (3 - three.len()));
        for digit in 0..4 {
            let index = (bits >> (18 - 6 * digit)) as usize & 63;
            text.push(if digit > three.len() { '=' } else { char::from(DIGITS[index]) });
        }
    }
    text
}
