//! Both halves against each other, against the RFC's example and against what is wrong.

use super::*;
use crate::credentials::NewCredential;
use crate::limits::MAX_SCRAM_MESSAGE;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;

const EXPORTER: [u8; 32] = [9; 32];

fn verifier(password: &str) -> ScramVerifier {
    ScramVerifier::from_password(password, b"sixteen bytes :)".to_vec(), 4096).unwrap()
}

/// A whole exchange for alice, the client bound to `client`, the server to `server`.
fn exchange(
    password: &str,
    verifier: ScramVerifier,
    client: ChannelBinding,
    server: &ChannelBinding,
) -> Result<(), ScramError> {
    let first = ClientFirst::new("alice", client)?;
    let hello = ServerFirst::parse(first.message())?;
    assert_eq!(hello.username(), "alice");
    let (challenge, awaiting) = hello.challenge(verifier, &Nonce::random()?)?;
    let last = first.answer(password, &challenge)?;
    assert_eq!(awaiting.username(), "alice");
    let signature = awaiting.verify(last.message(), server)?;
    last.verify(&signature)
}

fn login() -> ChannelBinding {
    ChannelBinding::login(&EXPORTER)
}

#[test]
fn agrees_with_the_example_of_rfc_7677() {
    const NONE: &str = "n,,";
    let binding = ChannelBinding::from_bytes(Vec::new());
    let nonce = Nonce::fixed("rOprNGfwEbeRWgbNEkqO");
    let first = ClientFirst::with(NONE, "user", nonce, binding.clone()).unwrap();
    assert_eq!(first.message(), b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO");

    let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
    let verifier = ScramVerifier::from_password("pencil", salt, 4096).unwrap();
    let hello = ServerFirst::parse_with(NONE, first.message()).unwrap();
    let nonce = Nonce::fixed("%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0");
    let (challenge, awaiting) = hello.challenge(verifier, &nonce).unwrap();
    let expected = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                    s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
    assert_eq!(challenge, expected.as_bytes());

    let last = first.answer("pencil", &challenge).unwrap();
    let expected = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                    p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
    assert_eq!(last.message(), expected.as_bytes());

    let signature = awaiting.verify(last.message(), &binding).unwrap();
    assert_eq!(signature, b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
    last.verify(&signature).unwrap();
}

#[test]
fn the_right_password_on_the_same_channel_logs_in() {
    assert_eq!(exchange("secret", verifier("secret"), login(), &login()), Ok(()));
}

#[test]
fn a_wrong_password_or_a_decoy_does_not() {
    let wrong = exchange("Secret", verifier("secret"), login(), &login());
    assert_eq!(wrong, Err(ScramError::Proof));
    let decoy = ScramVerifier::decoy(&[3; 32], "alice");
    let cheap =
        ScramVerifier::new(decoy.salt().to_vec(), 4096, *decoy.stored_key(), *decoy.server_key());
    let unknown = exchange("secret", cheap.unwrap(), login(), &login());
    assert_eq!(unknown, Err(ScramError::Proof));
}

#[test]
fn a_proof_for_another_channel_does_not() {
    let other = ChannelBinding::login(&[8; 32]);
    let relayed = exchange("secret", verifier("secret"), other, &login());
    assert_eq!(relayed, Err(ScramError::Binding));
}

#[test]
fn a_proof_covers_the_new_verifier() {
    let covering = |new: &ScramVerifier| {
        ChannelBinding::new_credential(&EXPORTER, &NewCredential::Password(new.clone()))
    };
    let new = verifier("new");
    let changed = exchange("old", verifier("old"), covering(&new), &covering(&new));
    assert_eq!(changed, Ok(()));
    let swapped = [
        verifier("mallory"),
        ScramVerifier::new(new.salt().to_vec(), 4097, *new.stored_key(), *new.server_key())
            .unwrap(),
        ScramVerifier::new(vec![0; 16], 4096, *new.stored_key(), *new.server_key()).unwrap(),
        ScramVerifier::new(new.salt().to_vec(), 4096, *new.stored_key(), [0; 32]).unwrap(),
    ];
    for swapped in swapped {
        let result = exchange("old", verifier("old"), covering(&new), &covering(&swapped));
        assert_eq!(result, Err(ScramError::Binding));
    }
    let login_proof = exchange("old", verifier("old"), login(), &covering(&new));
    assert_eq!(login_proof, Err(ScramError::Binding));
    let change_proof = exchange("old", verifier("old"), covering(&new), &login());
    assert_eq!(change_proof, Err(ScramError::Binding));
}

#[test]
fn a_replayed_proof_does_not_fit_the_next_challenge() {
    let first = ClientFirst::new("alice", login()).unwrap();
    let challenge = || {
        let hello = ServerFirst::parse(first.message()).unwrap();
        hello.challenge(verifier("secret"), &Nonce::random().unwrap()).unwrap()
    };
    let (message, awaiting) = challenge();
    let (_, next) = challenge();
    let last = first.answer("secret", &message).unwrap();
    assert!(awaiting.verify(last.message(), &login()).is_ok());
    assert_eq!(next.verify(last.message(), &login()), Err(ScramError::Nonce));
}

#[test]
fn a_server_that_does_not_know_the_user_is_found_out() {
    let impostor = verifier("secret");
    let impostor = ScramVerifier::new(
        impostor.salt().to_vec(),
        impostor.iterations(),
        *impostor.stored_key(),
        [0; 32],
    );
    let result = exchange("secret", impostor.unwrap(), login(), &login());
    assert_eq!(result, Err(ScramError::ServerSignature));
}

#[test]
fn names_with_commas_and_equals_signs_pass_through() {
    let first = ClientFirst::new("a,b=c", login()).unwrap();
    assert!(first.message().starts_with(b"p=tls-exporter,,n=a=2Cb=3Dc,r="));
    assert_eq!(ServerFirst::parse(first.message()).unwrap().username(), "a,b=c");
    for bad in ["", "\u{ad}", "a\u{7}"] {
        assert_eq!(ClientFirst::new(bad, login()).unwrap_err(), ScramError::UserName);
    }
    let long = "a".repeat(MAX_SCRAM_MESSAGE);
    assert_eq!(ClientFirst::new(&long, login()).unwrap_err(), ScramError::TooLong);
}

#[test]
fn the_server_refuses_malformed_first_messages() {
    use ScramError::{Header, Malformed, MandatoryExtension};
    let table = [
        ("", Header),
        ("n,,n=a,r=x", Header),
        ("y,,n=a,r=x", Header),
        ("p=tls-unique,,n=a,r=x", Header),
        ("p=tls-exporter,a=b,n=a,r=x", Header),
        ("p=tls-exporter,n=a,r=x", Header),
        ("P=tls-exporter,,n=a,r=x", Header),
        ("p=tls-exporter,,m=x,n=a,r=x", MandatoryExtension),
        ("p=tls-exporter,,n=a,m=x,r=x", MandatoryExtension),
        ("p=tls-exporter,,n=a,r=x,m=x", MandatoryExtension),
        ("p=tls-exporter,,", Malformed("the user name")),
        ("p=tls-exporter,,n=,r=x", Malformed("the user name")),
        ("p=tls-exporter,,n=a=,r=x", Malformed("the user name")),
        ("p=tls-exporter,,r=x,n=a", Malformed("the user name")),
        ("p=tls-exporter,,N=a,r=x", Malformed("the user name")),
        ("p=tls-exporter,,n=a", Malformed("the nonce")),
        ("p=tls-exporter,,n=a,", Malformed("the nonce")),
        ("p=tls-exporter,,n=a,r=", Malformed("the nonce")),
        ("p=tls-exporter,,n=a,r=x y", Malformed("the nonce")),
        ("p=tls-exporter,,n=a,r=x\n", Malformed("the nonce")),
        ("p=tls-exporter,,n=a,r=x,", Malformed("an extension")),
        ("p=tls-exporter,,n=a,r=x,x=y", Malformed("an extension")),
    ];
    for (text, expected) in table {
        assert_eq!(ServerFirst::parse(text.as_bytes()).unwrap_err(), expected, "{text:?}");
    }
    let not_text = ServerFirst::parse(b"p=tls-exporter,,n=\xff,r=x");
    assert_eq!(not_text.unwrap_err(), Malformed("not UTF-8"));
    let long = format!("{}n=a,r={}", message::HEADER, "x".repeat(MAX_SCRAM_MESSAGE));
    assert_eq!(ServerFirst::parse(long.as_bytes()).unwrap_err(), ScramError::TooLong);
}

#[test]
fn a_client_nonce_that_leaves_no_room_is_refused() {
    let text = format!("{}n=a,r={}", message::HEADER, "x".repeat(250));
    let hello = ServerFirst::parse(text.as_bytes()).unwrap();
    let refused = hello.challenge(verifier("x"), &Nonce::random().unwrap());
    assert_eq!(refused.unwrap_err(), ScramError::TooLong);
}

#[test]
fn the_client_refuses_malformed_challenges() {
    use ScramError::{Malformed, MandatoryExtension, Verifier};
    const SALT: &str = "c2l4dGVlbiBieXRlcyEhIQ==";
    let table = [
        (format!("r=minex,s={SALT},i=4096,x=y"), Malformed("an extension")),
        (format!("m=x,r=minex,s={SALT},i=4096"), MandatoryExtension),
        (format!("r=minex,s={SALT},i=4096,m=x"), MandatoryExtension),
        (format!("s={SALT},r=minex,i=4096"), Malformed("the nonce")),
        (format!("r=minex,i=4096,s={SALT}"), Malformed("the salt")),
        (format!("r=minex,s={SALT}"), Malformed("the iterations")),
        (format!("r=minex,s={SALT},i=04096"), Malformed("the iterations")),
        ("r=minex,s=*,i=4096".into(), Malformed("the salt")),
        (format!("r=mine,s={SALT},i=4096"), ScramError::Nonce),
        (format!("r=other,s={SALT},i=4096"), ScramError::Nonce),
        (format!("r=min,s={SALT},i=4096"), ScramError::Nonce),
        (format!("r=minex,s={SALT},i=4095"), Verifier(ScramVerifierError::Iterations(4095))),
        (format!("r=minex,s={SALT},i=1000001"), Verifier(ScramVerifierError::Iterations(1000001))),
        ("r=minex,s=,i=4096".into(), Verifier(ScramVerifierError::Salt(0))),
        ("r=minex,s=c2FsdA==,i=4096".into(), Verifier(ScramVerifierError::Salt(4))),
        ("e=other-error".into(), Malformed("the nonce")),
        ("x".repeat(MAX_SCRAM_MESSAGE + 1), ScramError::TooLong),
    ];
    for (text, expected) in table {
        let first = ClientFirst::with(message::HEADER, "a", Nonce::fixed("mine"), login()).unwrap();
        assert_eq!(first.answer("secret", text.as_bytes()).unwrap_err(), expected, "{text}");
    }
    let first = ClientFirst::with(message::HEADER, "a", Nonce::fixed("mine"), login()).unwrap();
    let challenge = format!("r=minex,s={SALT},i=4096");
    assert_eq!(first.answer("", challenge.as_bytes()).unwrap_err(), ScramError::Password);
}

/// A client and a server that has challenged it, with the client's proof.
fn at_the_proof() -> (ClientFinal, AwaitingProof) {
    let first = ClientFirst::new("alice", login()).unwrap();
    let hello = ServerFirst::parse(first.message()).unwrap();
    let (challenge, awaiting) =
        hello.challenge(verifier("secret"), &Nonce::random().unwrap()).unwrap();
    (first.answer("secret", &challenge).unwrap(), awaiting)
}

#[test]
fn the_server_refuses_malformed_proofs() {
    use ScramError::{Malformed, MandatoryExtension};
    type Edit = fn(&str) -> String;
    let edits: [(Edit, ScramError); 11] = [
        (|good| format!("{good},x=y"), Malformed("an extension")),
        (|good| format!("{good},m=y"), MandatoryExtension),
        (|good| format!("m=y,{good}"), MandatoryExtension),
        (|good| good.replace(",p=", ",m=y,p="), MandatoryExtension),
        (|good| good.replace(",p=", ",x=y,p="), Malformed("the proof")),
        (|good| good.replace("c=", "C="), Malformed("the binding")),
        (|good| good.replace("c=", "c=!"), Malformed("the binding")),
        (|good| good.split(",p=").next().unwrap().into(), Malformed("the proof")),
        (|good| format!("{}AA==", good.trim_end_matches('=')), Malformed("the proof")),
        (|good| good.replace(",p=", "x,p="), ScramError::Nonce),
        (|_| "x".repeat(MAX_SCRAM_MESSAGE + 1), ScramError::TooLong),
    ];
    for (number, (edit, expected)) in edits.into_iter().enumerate() {
        let (last, awaiting) = at_the_proof();
        let text = edit(std::str::from_utf8(last.message()).unwrap());
        assert_eq!(awaiting.verify(text.as_bytes(), &login()), Err(expected), "{number}");
    }
}

#[test]
fn the_client_refuses_other_answers_to_its_proof() {
    use ScramError::{Malformed, MandatoryExtension};
    let table = [
        ("e=invalid-proof", ScramError::Refused),
        ("v=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", ScramError::ServerSignature),
        ("v=AAAA", Malformed("the signature")),
        ("v=", Malformed("the signature")),
        ("", Malformed("the signature")),
        ("m=x", MandatoryExtension),
        ("v=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=,x=y", Malformed("an extension")),
    ];
    for (text, expected) in table {
        let (last, _) = at_the_proof();
        assert_eq!(last.verify(text.as_bytes()), Err(expected), "{text}");
    }
}

#[test]
fn nothing_secret_is_shown() {
    let (last, awaiting) = at_the_proof();
    let shown = format!("{last:?} {awaiting:?} {:?} {:?}", login(), Nonce::fixed("abc"));
    let expected = "ClientFinal(…) AwaitingProof(\"alice\", …) ChannelBinding(32 bytes) Nonce(…)";
    assert_eq!(shown, expected);
}

/// Half noise, half what looks like a message, so that it gets past the first checks.
fn garbage() -> impl Strategy<Value = Vec<u8>> {
    let noise = proptest::collection::vec(any::<u8>(), 0..200);
    let alike = "(p=tls-exporter,,)?([nrcspivme]=[a-zA-Z0-9+/=]{0,8},?){0,5}";
    prop_oneof![noise, alike.prop_map(String::into_bytes)]
}

proptest! {
    #[test]
    fn garbage_never_panics_and_never_passes(bytes in garbage()) {
        let _ = ServerFirst::parse(&bytes);
        let first = ClientFirst::with(message::HEADER, "a", Nonce::fixed("mine"), login());
        prop_assert!(first.unwrap().answer("x", &bytes).is_err());
        let hello = ServerFirst::parse(b"p=tls-exporter,,n=a,r=x").unwrap();
        let decoy = ScramVerifier::decoy(&[0; 32], "a");
        let (_, awaiting) = hello.challenge(decoy, &Nonce::fixed("y")).unwrap();
        prop_assert!(awaiting.verify(&bytes, &login()).is_err());
    }
}
