//! Logins and changes of password, with a real client's half.

use berth_common::credentials::{
    DeviceKey, DeviceName, InvitationSecret, NewAccount, NewCredential, login_statement,
};
use berth_common::entry::{Limits, Usage};
use berth_common::error_code::ErrorCode;
use berth_common::ids::UserName;
use berth_common::scram::{ChannelBinding, ClientFirst, ScramError, ScramVerifier};

use ring::signature::{Ed25519KeyPair, KeyPair as _};

use super::crypto::{self, Step};
use super::login::RefusalReason;
use super::*;
use crate::ledger::{DeviceRecord, Invitation, UserRecord, UserState};

const SECRET: [u8; 32] = [3; 32];
const EXPORTER: [u8; 32] = [9; 32];

fn verifier(password: &str) -> ScramVerifier {
    ScramVerifier::from_password(password, b"sixteen bytes :)".to_vec(), 4096).unwrap()
}

fn record(password: &str) -> UserRecord {
    UserRecord {
        name: UserName::new("alice").unwrap(),
        state: UserState::Active,
        locked: false,
        verifier: verifier(password),
        usage: Usage {
            limits: Limits::default(),
            used_bytes: 0,
            used_entries: 0,
            reserved_bytes: 0,
            reserved_entries: 0,
        },
        uploads: 0,
        created_s: 0,
    }
}

fn login(password: &str, record: Option<&UserRecord>) -> (Vec<u8>, Result<Accepted, Refusal>) {
    login_with(password, record, record, EXPORTER)
}

fn login_with(
    password: &str,
    before: Option<&UserRecord>,
    after: Option<&UserRecord>,
    clients_exporter: [u8; 32],
) -> (Vec<u8>, Result<Accepted, Refusal>) {
    let first = ClientFirst::new("alice", ChannelBinding::login(&clients_exporter)).unwrap();
    let hello = LoginHello::parse(first.message()).unwrap();
    assert_eq!(hello.claimed_name(), "alice");
    assert_eq!(hello.user().unwrap().as_str(), "alice");
    let (challenge, awaiting) = hello.challenge(before, &SECRET, &EXPORTER).unwrap();
    assert_eq!(awaiting.claimed_name(), "alice");
    assert_eq!(awaiting.user().unwrap().as_str(), "alice");
    let last = first.answer(password, &challenge).unwrap();
    let result = awaiting.finish(last.message(), after);
    if let Ok(accepted) = &result {
        last.verify(&accepted.server_final).unwrap();
    }
    (challenge, result)
}

fn reason(result: Result<Accepted, Refusal>) -> RefusalReason {
    result.unwrap_err().reason
}

#[test]
fn the_right_password_logs_in() {
    let (_, result) = login("secret", Some(&record("secret")));
    assert_eq!(result.unwrap().user.as_str(), "alice");
}

#[test]
fn unknown_wrong_and_locked_take_the_same_steps_and_look_alike() {
    let locked = UserRecord { locked: true, ..record("secret") };
    let creating = UserRecord { state: UserState::Creating, ..record("secret") };
    let cases = [
        ("secret", None, RefusalReason::UnknownUser),
        ("wrong", Some(record("secret")), RefusalReason::Proof(ScramError::Proof)),
        ("secret", Some(locked.clone()), RefusalReason::Locked),
        ("wrong", Some(locked), RefusalReason::Locked),
        ("secret", Some(creating), RefusalReason::Locked),
    ];
    let shape = |challenge: &[u8]| {
        let text = std::str::from_utf8(challenge).unwrap();
        let parts: Vec<&str> = text.split(',').collect();
        let names: String = parts.iter().map(|part| &part[..2]).collect();
        // Iterations are the default's in reality and fewer here, so that a test need not wait.
        (names, parts[0].len(), parts[1].len(), parts.len())
    };
    let mut seen = Vec::new();
    for (password, record, expected) in cases {
        crypto::taken();
        let (challenge, result) = login(password, record.as_ref());
        assert_eq!(crypto::taken(), [Step::Decoy, Step::Challenge, Step::Verify]);
        assert_eq!(reason(result), expected);
        seen.push(shape(&challenge));
    }
    assert!(seen.iter().all(|shape| *shape == seen[0]), "{seen:?}");
    assert_eq!(seen[0].0, "r=s=i=");
    assert_eq!(Refusal::LOGIN_CODE, ErrorCode::LoginRefused);
}

#[test]
fn a_locked_users_right_password_fails_where_a_wrong_one_does() {
    // `AwaitingProof::verify` goes one step further when a proof is right; a locked user never gets
    // there.
    let locked = UserRecord { locked: true, ..record("secret") };
    let first = ClientFirst::new("alice", ChannelBinding::login(&EXPORTER)).unwrap();
    let hello = LoginHello::parse(first.message()).unwrap();
    let (challenge, awaiting) = hello.challenge(Some(&locked), &SECRET, &EXPORTER).unwrap();
    let last = first.answer("secret", &challenge).unwrap();
    let verified = awaiting.verify_for_test(last.message());
    assert_eq!(verified, Err(ScramError::Proof));
}

#[test]
fn an_unknown_name_is_challenged_alike_every_time() {
    let salt = |challenge: Vec<u8>| {
        let text = String::from_utf8(challenge).unwrap();
        text.split_once(",s=").unwrap().1.to_owned()
    };
    assert_eq!(salt(login("x", None).0), salt(login("y", None).0));
}

#[test]
fn a_lock_a_removal_and_a_new_password_during_the_login_count() {
    let begun = record("secret");
    let locked = UserRecord { locked: true, ..begun.clone() };
    let removing = UserRecord { state: UserState::Removing, ..begun.clone() };
    for now in [Some(&locked), Some(&removing), Some(&record("new")), None] {
        let (_, result) = login_with("secret", Some(&begun), now, EXPORTER);
        assert_eq!(reason(result), RefusalReason::Changed);
    }
}

#[test]
fn a_proof_for_another_channel_is_refused_for_every_kind_of_user() {
    for record in [Some(record("secret")), None] {
        let (_, result) = login_with("secret", record.as_ref(), record.as_ref(), [8; 32]);
        assert!(result.is_err());
    }
}

#[test]
fn what_is_no_exchange_is_a_refusal() {
    for bad in [b"".as_slice(), b"n,,n=alice,r=x", b"\xff", &[b'a'; 2000]] {
        let refused = LoginHello::parse(bad).unwrap_err();
        assert!(matches!(refused.reason, RefusalReason::Exchange(_)));
    }
    for bad in [b"".as_slice(), b"c=,r=,p=", b"\xff", &[b'a'; 2000]] {
        let hello = LoginHello::parse(b"p=tls-exporter,,n=alice,r=x").unwrap();
        let good = record("secret");
        let (_, awaiting) = hello.challenge(Some(&good), &SECRET, &EXPORTER).unwrap();
        let refused = awaiting.finish(bad, Some(&good)).unwrap_err();
        assert!(matches!(refused.reason, RefusalReason::Proof(_)));
    }
    let hello = LoginHello::parse(b"p=tls-exporter,,n=../root,r=x").unwrap();
    assert_eq!(hello.user(), None);
    let (_, awaiting) = hello.challenge(None, &SECRET, &EXPORTER).unwrap();
    assert!(awaiting.finish(b"c=,r=,p=", None).is_err());
}

/// A new credential of alice, whose password is "old", its proof made for `covered` and the daemon told
/// `stated`.
fn change(
    password: &str,
    covered: &NewCredential,
    stated: &NewCredential,
    now: &UserRecord,
) -> Result<NewCredential, Refusal> {
    let alice = UserName::new("alice").unwrap();
    let binding = ChannelBinding::new_credential(&EXPORTER, covered);
    let first = ClientFirst::new("alice", binding).unwrap();
    let record = record("old");
    let (challenge, awaiting) = AwaitingCredential::begin(
        first.message(),
        stated.clone(),
        &alice,
        Some(&record),
        &EXPORTER,
    )?;
    let last = first.answer(password, &challenge).unwrap();
    let (from, to) = awaiting.finish(last.message(), Some(now))?;
    assert_eq!(from, record.verifier);
    Ok(to)
}

#[test]
fn a_password_changes_only_by_a_proof_that_covers_the_new_one() {
    let [new, other] = ["new", "other"].map(|password| NewCredential::Password(verifier(password)));
    let unchanged = record("old");
    assert_eq!(change("old", &new, &new, &unchanged), Ok(new.clone()));
    let wrong = change("guess", &new, &new, &unchanged).unwrap_err();
    assert_eq!(wrong.reason, RefusalReason::Proof(ScramError::Proof));
    let swapped = change("old", &new, &other, &unchanged).unwrap_err();
    assert_eq!(swapped.reason, RefusalReason::Proof(ScramError::Binding));
    let raced = change("old", &new, &new, &record("newer")).unwrap_err();
    assert_eq!(raced.reason, RefusalReason::Changed);
}

#[test]
fn a_device_is_registered_only_by_a_proof_that_covers_its_key_and_name() {
    let device = |byte, name| NewCredential::Device {
        key: DeviceKey([byte; 32]),
        name: DeviceName::new(name).unwrap(),
    };
    let (laptop, unchanged) = (device(1, "laptop"), record("old"));
    assert_eq!(change("old", &laptop, &laptop, &unchanged), Ok(laptop.clone()));
    let password = NewCredential::Password(verifier("new"));
    for stated in [device(2, "laptop"), device(1, "phone"), password] {
        let swapped = change("old", &laptop, &stated, &unchanged).unwrap_err();
        assert_eq!(swapped.reason, RefusalReason::Proof(ScramError::Binding));
    }
}

/// A device's key, from a seed.
fn pair(byte: u8) -> (Ed25519KeyPair, DeviceKey) {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[byte; 32]).unwrap();
    let key = DeviceKey(pair.public_key().as_ref().try_into().unwrap());
    (pair, key)
}

fn device_login(signer: u8, exporter: &[u8; 32], signed_for: &str) -> DeviceLogin {
    let ((pair, _), (_, key)) = (pair(signer), pair(1));
    let signed_for = UserName::new(signed_for).unwrap();
    let statement = login_statement(exporter, &signed_for, &key);
    let signature = pair.sign(&statement).as_ref().try_into().unwrap();
    DeviceLogin { user: UserName::new("alice").unwrap(), key, signature }
}

#[test]
fn a_device_logs_in_by_its_own_signature_for_this_channel_and_user() {
    assert_eq!(device_login(1, &EXPORTER, "alice").verify(&EXPORTER), Ok(()));
    let refused = Err(Refusal { reason: RefusalReason::Signature });
    for login in [
        device_login(2, &EXPORTER, "alice"),
        device_login(1, &[8; 32], "alice"),
        device_login(1, &EXPORTER, "bob"),
    ] {
        assert_eq!(login.verify(&EXPORTER), refused);
    }
}

#[test]
fn a_device_that_is_not_registered_or_whose_user_is_locked_is_refused() {
    let accept = |record: Option<DeviceRecord>| {
        let accepted = device_login(1, &EXPORTER, "alice").accept(record.as_ref());
        accepted.map(|accepted| accepted.device).map_err(|refusal| refusal.reason)
    };
    let device = |locked| DeviceRecord { user: UserRecord { locked, ..record("x") }, used_s: None };
    assert_eq!(accept(Some(device(false))), Ok(Some(pair(1).1)));
    assert_eq!(accept(Some(device(true))), Err(RefusalReason::Locked));
    assert_eq!(accept(None), Err(RefusalReason::UnknownDevice));
}

/// Somebody joins by the secret `typed`, with a proof for `covered` and the daemon told `stated`.
fn join(
    typed: InvitationSecret,
    invited: Option<InvitationSecret>,
    covered: &NewAccount,
    stated: &NewAccount,
) -> Result<Invited, RefusalReason> {
    let binding = ChannelBinding::new_account(&EXPORTER, covered);
    let first = ClientFirst::new(&typed.id().to_string(), binding).unwrap();
    let hello = JoinHello::parse(first.message(), stated.clone()).unwrap();
    assert_eq!(hello.invitation(), Some(typed.id()));
    let record = invited.map(|secret| Invitation {
        verifier: verifier(&secret.as_password()),
        user: None,
        limits: Limits::default(),
    });
    let (challenge, awaiting) = hello.challenge(record.as_ref(), &SECRET, &EXPORTER).unwrap();
    let last = first.answer(&typed.as_password(), &challenge).unwrap();
    let invited = awaiting.finish(last.message()).map_err(|refusal| refusal.reason)?;
    last.verify(&invited.server_final).unwrap();
    Ok(invited)
}

#[test]
fn an_account_is_made_by_whoever_knows_the_secret_as_the_proof_covers_it() {
    let account = |name, password| NewAccount {
        user: UserName::new(name).unwrap(),
        verifier: verifier(password),
    };
    let (secret, bob) = (InvitationSecret([1; 16]), account("bob", "b"));
    let invited = join(secret, Some(secret), &bob, &bob).unwrap();
    assert_eq!((invited.invitation, &invited.account), (secret.id(), &bob));
    for stated in [account("eve", "b"), account("bob", "eve's")] {
        let swapped = join(secret, Some(secret), &bob, &stated).unwrap_err();
        assert_eq!(swapped, RefusalReason::Proof(ScramError::Binding));
    }
    let other = InvitationSecret([2; 16]);
    let wrong = join(secret, Some(other), &bob, &bob).unwrap_err();
    assert_eq!(wrong, RefusalReason::Proof(ScramError::Proof));
    let unknown = join(secret, None, &bob, &bob).unwrap_err();
    assert_eq!(unknown, RefusalReason::UnknownInvitation);
}

#[test]
fn a_session_changes_no_one_elses_password_and_a_locked_user_none() {
    let new = NewCredential::Password(verifier("new"));
    let first = ClientFirst::new("alice", ChannelBinding::new_credential(&EXPORTER, &new)).unwrap();
    let begin = |user: &str, record: Option<&UserRecord>| {
        let user = UserName::new(user).unwrap();
        AwaitingCredential::begin(first.message(), new.clone(), &user, record, &EXPORTER)
            .unwrap_err()
            .reason
    };
    assert_eq!(begin("bob", Some(&record("old"))), RefusalReason::OtherUser);
    let locked = UserRecord { locked: true, ..record("old") };
    assert_eq!(begin("alice", Some(&locked)), RefusalReason::Locked);
    assert_eq!(begin("alice", None), RefusalReason::Locked);
}

#[test]
fn refusals_show_no_secret() {
    let hello = LoginHello::parse(b"p=tls-exporter,,n=alice,r=x").unwrap();
    let (_, awaiting) = hello.challenge(None, &SECRET, &EXPORTER).unwrap();
    let shown = format!("{awaiting:?}");
    assert!(!shown.contains('['), "{shown}");
}
