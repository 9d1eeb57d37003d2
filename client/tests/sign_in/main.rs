//! Logins by a device's key, accounts by an invitation and new credentials, against a server in memory.

// Helpers outside a test function are part of a test all the same.
#![allow(clippy::unwrap_used)]

use berth::credentials::CredentialError;
use berth::device::DeviceSecret;
use berth::login::{Credentials, JoinError, Joining, LoginError, Proof, join as join_on, log_in};
use berth::password::Password;
use berth::session::{RequestError, Session};
use berth_common::client_protocol::{ClientToWorker, WorkerToClient};
use berth_common::credentials::{DeviceName, InvitationSecret, NewCredential, login_statement};
use berth_common::error_code::ErrorCode;
use berth_common::ids::UserName;
use berth_common::scram::{ChannelBinding, Nonce, ScramVerifier, ServerFirst};
use ring::signature::{ED25519, UnparsedPublicKey};
use tokio::io::DuplexStream;

use fake::{EXPORTER, FakeServer};

#[path = "../transfers/fake.rs"]
#[allow(dead_code, reason = "shared with the tests of transfers")]
mod fake;

const SECRET: InvitationSecret = InvitationSecret([3; 16]);

fn alice() -> UserName {
    UserName::new("alice").unwrap()
}

async fn by_key(stream: DuplexStream, key: &DeviceSecret) -> Result<Session, LoginError> {
    let proof = Proof::Device(key.clone());
    let credentials = Credentials { user: alice(), proof, site_secret: None };
    log_in(stream, &EXPORTER, &credentials).await
}

#[tokio::test]
async fn a_device_logs_in_by_one_message_that_is_of_this_channel() {
    let key = DeviceSecret::generate().unwrap();
    let (client, mut server) = fake::connection();
    let serve = async {
        server.greet().await;
        match server.message().await {
            ClientToWorker::LoginDevice { user, key: shown, signature } => {
                assert_eq!((&user, shown), (&alice(), key.key()));
                let public = UnparsedPublicKey::new(&ED25519, shown.0);
                let statement = login_statement(&EXPORTER, &user, &shown);
                public.verify(&statement, &signature).unwrap();
            }
            other => panic!("{other:?}"),
        }
        server.say(&WorkerToClient::LoginAccepted { message: vec![], user: alice() }).await;
    };
    let (session, ()) = tokio::join!(by_key(client, &key), serve);
    assert_eq!(session.unwrap().info().user, alice());
}

#[tokio::test]
async fn a_device_that_is_refused_is_told_as_such_and_tries_nothing_else() {
    let key = DeviceSecret::generate().unwrap();
    let (client, mut server) = fake::connection();
    let serve = async {
        server.greet().await;
        assert!(matches!(server.message().await, ClientToWorker::LoginDevice { .. }));
        server.say(&WorkerToClient::Refused { error: ErrorCode::LoginRefused }).await;
        assert!(server.next().await.is_none(), "it closes the connection");
    };
    let (session, ()) = tokio::join!(by_key(client, &key), serve);
    assert!(matches!(session, Err(LoginError::DeviceRefused)), "{session:?}");
}

#[tokio::test]
async fn a_server_that_lets_a_device_in_as_somebody_else_is_not_believed() {
    let key = DeviceSecret::generate().unwrap();
    let (client, mut server) = fake::connection();
    let serve = async {
        server.greet().await;
        server.message().await;
        let user = UserName::new("bob").unwrap();
        server.say(&WorkerToClient::LoginAccepted { message: vec![], user }).await;
    };
    let (session, ()) = tokio::join!(by_key(client, &key), serve);
    assert!(matches!(session, Err(LoginError::Impostor)), "{session:?}");
}

async fn joining() -> Joining {
    Joining::new(SECRET, alice(), Password::new("new".into()), None).await.unwrap()
}

/// Answers up to the invitation's proof and checks it: the server-final message if it is right.
async fn check_invitation(server: &mut FakeServer) -> Option<Vec<u8>> {
    server.greet().await;
    let ClientToWorker::JoinFirst { message, account } = server.message().await else {
        panic!("nobody joins")
    };
    assert_eq!(account.user, alice());
    let hello = ServerFirst::parse(&message).unwrap();
    assert_eq!(hello.username(), SECRET.id().to_string());
    let verifier = ScramVerifier::from_password(&SECRET.as_password(), vec![7; 16], 4096).unwrap();
    let (message, proof) = hello.challenge(verifier, &Nonce::random().unwrap()).unwrap();
    server.say(&WorkerToClient::JoinChallenge { message }).await;
    let ClientToWorker::JoinFinal { message } = server.message().await else { panic!("no proof") };
    let binding = ChannelBinding::new_account(&EXPORTER, &account);
    proof.verify(&message, &binding).ok()
}

#[tokio::test]
async fn who_joins_proves_the_invitation_for_this_account_and_logs_in_on_the_same_connection() {
    let (client, mut server) = fake::connection();
    let joining = joining().await;
    let serve = async {
        let message = check_invitation(&mut server).await.unwrap();
        server.say(&WorkerToClient::Joined { message }).await;
        server.check_password("new").await;
    };
    let (session, ()) = tokio::join!(join_on(client, &EXPORTER, &joining), serve);
    assert_eq!(session.unwrap().info().user, alice());
}

/// What joining comes to when the server does this once it has the proof.
async fn after_the_proof(answer: Option<WorkerToClient>) -> JoinError {
    let (client, mut server) = fake::connection();
    let joining = joining().await;
    let serve = async move {
        check_invitation(&mut server).await.unwrap();
        if let Some(answer) = answer {
            server.say(&answer).await;
        }
    };
    let (session, ()) = tokio::join!(join_on(client, &EXPORTER, &joining), serve);
    session.unwrap_err()
}

#[tokio::test]
async fn a_connection_that_is_lost_leaves_the_account_unknown_only_after_the_proof() {
    let error = after_the_proof(None).await;
    assert!(matches!(error, JoinError::Unknown(LoginError::Connection(_))), "{error}");
    let shutting = WorkerToClient::Refused { error: ErrorCode::ShuttingDown };
    let error = after_the_proof(Some(shutting)).await;
    assert!(matches!(error, JoinError::Unknown(LoginError::Refused(_))), "{error}");
    let (client, mut server) = fake::connection();
    let serve = async move { server.greet().await };
    let joining = joining().await;
    let (session, ()) = tokio::join!(join_on(client, &EXPORTER, &joining), serve);
    assert!(matches!(session, Err(JoinError::Before(_))), "{session:?}");
}

#[tokio::test]
async fn a_refusal_says_that_there_is_no_account() {
    for code in [ErrorCode::NameTaken, ErrorCode::OtherName, ErrorCode::NotInvited] {
        let error = after_the_proof(Some(WorkerToClient::Refused { error: code.clone() })).await;
        match error {
            JoinError::Before(LoginError::Refused(refused)) => assert_eq!(refused, code),
            other => panic!("{other}"),
        }
    }
}

#[tokio::test]
async fn a_server_that_does_not_know_the_invitation_is_an_impostor() {
    let joined = WorkerToClient::Joined {
        message: b"v=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=".to_vec(),
    };
    let error = after_the_proof(Some(joined)).await;
    assert!(matches!(error, JoinError::Unknown(LoginError::Impostor)), "{error}");
}

#[tokio::test]
async fn an_account_whose_first_login_fails_is_made_all_the_same() {
    let (client, mut server) = fake::connection();
    let joining = joining().await;
    let serve = async move {
        let message = check_invitation(&mut server).await.unwrap();
        server.say(&WorkerToClient::Joined { message }).await;
    };
    let (session, ()) = tokio::join!(join_on(client, &EXPORTER, &joining), serve);
    assert!(matches!(session, Err(JoinError::After(_))), "{session:?}");
}

/// Registers a device at a server that knows this password; whether its proof covers what was sent.
async fn register(real: &str) -> (Result<(), CredentialError>, bool) {
    let (session, mut server) = fake::session().await;
    let (key, name) = (DeviceSecret::generate().unwrap(), DeviceName::new("laptop").unwrap());
    let password = Password::new("secret".into());
    let serve = async {
        let ClientToWorker::CredentialFirst { id, message, credential } = server.message().await
        else {
            panic!("no credential")
        };
        assert_eq!(credential, NewCredential::Device { key: key.key(), name: name.clone() });
        let hello = ServerFirst::parse(&message).unwrap();
        let verifier = ScramVerifier::from_password(real, vec![7; 16], 4096).unwrap();
        let (message, proof) = hello.challenge(verifier, &Nonce::random().unwrap()).unwrap();
        server.say(&WorkerToClient::CredentialChallenge { id, message }).await;
        let ClientToWorker::CredentialFinal { message, .. } = server.message().await else {
            panic!("no proof")
        };
        let binding = ChannelBinding::new_credential(&EXPORTER, &credential);
        let proven = proof.verify(&message, &binding).is_ok();
        server
            .say(&match proven {
                true => WorkerToClient::Done { id },
                false => WorkerToClient::Failed { id, error: ErrorCode::PasswordRefused },
            })
            .await;
        proven
    };
    tokio::join!(session.register_device(&password, key.key(), name.clone()), serve)
}

#[tokio::test]
async fn a_device_is_registered_by_a_proof_that_covers_it() {
    let (registered, proven) = register("secret").await;
    assert!(registered.is_ok() && proven, "{registered:?}");
    let (registered, proven) = register("another").await;
    let refused = CredentialError::Request(RequestError::Server(ErrorCode::PasswordRefused));
    assert_eq!(registered.unwrap_err().to_string(), refused.to_string());
    assert!(!proven);
}
