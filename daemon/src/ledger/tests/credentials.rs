//! Devices, and accounts made by invitation.

use berth_common::credentials::{
    DeviceId, DeviceKey, DeviceName, InvitationId, MAX_DEVICES, NewAccount,
};

use super::*;

const DAY_S: i64 = 24 * 3600;
const INVITED: InvitationId = InvitationId([7; 8]);

fn key(byte: u8) -> DeviceKey {
    DeviceKey([byte; 32])
}

fn device_name(text: &str) -> DeviceName {
    DeviceName::new(text).unwrap()
}

fn account(user: &str) -> NewAccount {
    NewAccount { user: name(user), verifier: verifier(5) }
}

fn invitation(user: Option<&str>) -> Invitation {
    Invitation { verifier: verifier(9), user: user.map(name), limits: limits(10, 2) }
}

fn refused<T>(code: ErrorCode) -> Result<T, LedgerError> {
    Err(LedgerError::Refused(code))
}

impl Bench {
    async fn register(&self, byte: u8, text: &str) -> Result<(), LedgerError> {
        let (key, name) = (key(byte), device_name(text));
        self.ledger.register_device(&self.alice, verifier(1), key, name).await
    }

    async fn devices(&self) -> Vec<(DeviceId, String, Option<i64>)> {
        let devices = self.ledger.devices(&self.alice).await.unwrap();
        let row = |device: DeviceSummary| (device.device, device.name.into(), device.used_s);
        devices.into_iter().map(row).collect()
    }

    async fn join(&self, proved: u8, user: &str) -> Result<(), LedgerError> {
        self.ledger.join(INVITED, verifier(proved), account(user)).await
    }
}

#[tokio::test]
async fn devices_are_registered_used_and_revoked_and_kept_by_the_file() {
    let mut bench = Bench::new(Limits::default()).await;
    bench.register(1, "laptop").await.unwrap();
    bench.register(2, "phone").await.unwrap();
    bench.register(1, "desk").await.unwrap();
    bench.at(200);
    let alice = bench.alice.clone();
    bench.ledger.device_used(&alice, key(2)).await.unwrap();
    bench.reopen().await;
    let both = [(key(1).id(), "desk".into(), None), (key(2).id(), "phone".into(), Some(200))];
    assert_eq!(bench.devices().await, both);

    let used_s = async |byte| {
        let device = bench.ledger.device(&alice, key(byte)).await.unwrap();
        device.map(|device| (device.user.name, device.used_s))
    };
    assert_eq!(used_s(2).await, Some((alice.clone(), Some(200))));
    assert_eq!(used_s(3).await, None);
    assert!(bench.ledger.device(&name("nobody"), key(2)).await.unwrap().is_none());

    let revoke = async |devices| bench.ledger.revoke_devices(&alice, devices).await.unwrap();
    assert_eq!(revoke(Some(vec![key(9).id(), key(2).id()])).await, [key(2).id()]);
    assert_eq!(used_s(2).await, None);
    assert_eq!(revoke(None).await, [key(1).id()]);
    assert_eq!(bench.devices().await, []);
}

#[tokio::test]
async fn a_device_is_registered_by_the_password_of_now_alone_and_there_are_not_too_many() {
    let bench = Bench::new(Limits::default()).await;
    let (ledger, alice) = (&bench.ledger, &bench.alice);
    let stale = ledger.register_device(alice, verifier(2), key(1), device_name("x")).await;
    assert_eq!(stale, refused(ErrorCode::PasswordRefused));
    ledger.set_locked(alice, true).await.unwrap();
    assert_eq!(bench.register(1, "x").await, refused(ErrorCode::PasswordRefused));
    ledger.set_locked(alice, false).await.unwrap();
    for byte in 0..MAX_DEVICES as u8 {
        bench.register(byte, "x").await.unwrap();
    }
    let limit = MAX_DEVICES as u32;
    assert_eq!(bench.register(99, "x").await, refused(ErrorCode::TooManyDevices { limit }));
    bench.register(3, "another name").await.unwrap();
}

#[tokio::test]
async fn a_user_who_comes_again_has_no_device_of_the_one_before() {
    let bench = Bench::new(Limits::default()).await;
    let (ledger, alice) = (&bench.ledger, &bench.alice);
    bench.register(1, "laptop").await.unwrap();
    ledger.begin_removal(alice).await.unwrap();
    ledger.finish_removal(alice).await.unwrap();
    ledger.add_user(alice, verifier(1), Limits::default()).await.unwrap();
    ledger.activate_user(alice).await.unwrap();
    assert!(ledger.device(alice, key(1)).await.unwrap().is_none());
}

#[tokio::test]
async fn an_invitation_makes_one_account_with_its_quota() {
    let bench = Bench::new(Limits::default()).await;
    let ledger = &bench.ledger;
    ledger.add_invitation(INVITED, invitation(None), 100).await.unwrap();
    assert_eq!(bench.join(8, "bob").await, refused(ErrorCode::NotInvited), "another secret");
    assert_eq!(bench.join(9, "alice").await, refused(ErrorCode::NameTaken));
    bench.join(9, "bob").await.unwrap();
    let bob = ledger.user(&name("bob")).await.unwrap().unwrap();
    assert_eq!(
        (bob.state, bob.verifier, bob.usage.limits),
        (UserState::Creating, verifier(5), limits(10, 2))
    );
    assert_eq!(bench.join(9, "carol").await, refused(ErrorCode::NotInvited));
    assert_eq!(ledger.invitations(None, 9).await.unwrap()[0].used_by, Some(name("bob")));
    assert_eq!(ledger.revoke_invitation(INVITED).await, Ok(false), "it was used");

    // Its directories cannot be made.
    ledger.take_back_join(INVITED, &name("bob")).await.unwrap();
    assert!(ledger.user(&name("bob")).await.unwrap().is_none());
    bench.join(9, "carol").await.unwrap();
    ledger.activate_user(&name("carol")).await.unwrap();
    let late = ledger.take_back_join(INVITED, &name("carol")).await;
    assert_eq!(late, Err(LedgerError::UserExists));
}

#[tokio::test]
async fn an_invitation_for_a_name_is_for_no_other_and_ends_when_it_expires_or_is_revoked() {
    let bench = Bench::new(Limits::default()).await;
    let ledger = &bench.ledger;
    let add = async |valid_s| {
        ledger.add_invitation(INVITED, invitation(Some("bob")), valid_s).await.unwrap();
    };
    add(100).await;
    assert_eq!(bench.join(9, "carol").await, refused(ErrorCode::OtherName));
    assert!(ledger.invitation(INVITED).await.unwrap().is_some());
    assert_eq!(ledger.revoke_invitation(INVITED).await, Ok(true));
    assert_eq!(bench.join(9, "bob").await, refused(ErrorCode::NotInvited));
    add(100).await;
    bench.at(200);
    assert!(ledger.invitation(INVITED).await.unwrap().is_none());
    assert_eq!(bench.join(9, "bob").await, refused(ErrorCode::NotInvited));
    assert_eq!(ledger.invitations(None, 9).await.unwrap().len(), 1, "it can be looked at");
    bench.at(200 + 30 * DAY_S);
    assert_eq!(ledger.invitations(None, 9).await.unwrap(), []);
    add(100).await;
}

#[tokio::test]
async fn invitations_come_in_pages_and_are_bounded() {
    let bench = Bench::new(Limits::default()).await;
    let ledger = &bench.ledger;
    let id = |number: u32| InvitationId(u64::from(number).to_be_bytes());
    for number in 0..MOST_INVITATIONS {
        ledger.add_invitation(id(number), invitation(None), 100).await.unwrap();
    }
    let one_more = ledger.add_invitation(id(MOST_INVITATIONS), invitation(None), 100).await;
    assert_eq!(one_more, refused(ErrorCode::Busy));
    let ids = async |after, count| -> Vec<InvitationId> {
        let page = ledger.invitations(after, count).await.unwrap();
        page.into_iter().map(|invitation| invitation.invitation).collect()
    };
    assert_eq!(ids(None, 2).await, [id(0), id(1)]);
    assert_eq!(ids(Some(id(1)), 2).await, [id(2), id(3)]);
    assert_eq!(ids(Some(id(MOST_INVITATIONS - 1)), 2).await, []);
    bench.at(200);
    ledger.add_invitation(id(MOST_INVITATIONS), invitation(None), 100).await.unwrap();
}
