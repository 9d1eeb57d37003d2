//! Which programs a user may run.

use berth_common::exec::{MOST_ALLOWED, ProgramName};

use super::*;

fn program(name: &str) -> ProgramName {
    ProgramName::new(name).unwrap()
}

#[tokio::test]
async fn a_user_may_run_what_was_allowed_and_not_denied_since() {
    let bench = Bench::new(limits(1000, 10)).await;
    let (ledger, alice) = (&bench.ledger, &bench.alice);
    let may = async |name: &str| ledger.may_run(alice, program(name)).await.unwrap();
    assert!(!may("du").await, "nobody may run anything by default");
    ledger.allow_programs(alice, vec![program("wc"), program("du")]).await.unwrap();
    ledger.allow_programs(alice, vec![program("du")]).await.unwrap();
    assert!(may("du").await && may("wc").await && !may("sh").await && !may("DU").await);
    assert_eq!(ledger.programs(alice).await.unwrap(), [program("du"), program("wc")]);
    ledger.deny_programs(alice, vec![program("du"), program("sh")]).await.unwrap();
    assert!(!may("du").await && may("wc").await);
    ledger.deny_programs(alice, Vec::new()).await.unwrap();
    assert!(!may("wc").await);
    assert_eq!(ledger.programs(alice).await.unwrap(), []);
}

#[tokio::test]
async fn no_more_programs_are_allowed_than_a_message_holds_and_then_none_of_them() {
    let bench = Bench::new(limits(1000, 10)).await;
    let (ledger, alice) = (&bench.ledger, &bench.alice);
    let some = |count: usize| (0..count).map(|n| program(&format!("p{n:03}"))).collect::<Vec<_>>();
    ledger.allow_programs(alice, some(MOST_ALLOWED)).await.unwrap();
    let more = vec![program("p000"), program("q")];
    let refused = ledger.allow_programs(alice, more).await;
    let limit = MOST_ALLOWED as u32;
    assert_eq!(refused, Err(LedgerError::Refused(ErrorCode::TooManyPrograms { limit })));
    assert_eq!(ledger.programs(alice).await.unwrap(), some(MOST_ALLOWED));
}

#[tokio::test]
async fn programs_go_with_their_user_and_nobody_else_has_them() {
    let bench = Bench::new(limits(1000, 10)).await;
    let (ledger, alice) = (&bench.ledger, &bench.alice);
    let bob = name("bob");
    ledger.allow_programs(alice, vec![program("du")]).await.unwrap();
    assert_eq!(ledger.may_run(&bob, program("du")).await, Err(LedgerError::NoSuchUser));
    assert_eq!(
        ledger.allow_programs(&bob, vec![program("du")]).await,
        Err(LedgerError::NoSuchUser)
    );
    ledger.begin_removal(alice).await.unwrap();
    assert_eq!(ledger.may_run(alice, program("du")).await, Err(LedgerError::UserGoing));
    ledger.finish_removal(alice).await.unwrap();
    ledger.add_user(alice, verifier(1), limits(1, 1)).await.unwrap();
    ledger.activate_user(alice).await.unwrap();
    assert!(!ledger.may_run(alice, program("du")).await.unwrap());
}
