//! The requests that are made at random, and how often each.

use proptest::prelude::*;

use super::super::model::{Source, Sums};

/// One request, by one of a user's sessions.
#[derive(Clone, Debug)]
pub(super) struct Turn {
    pub(super) user: usize,
    pub(super) session: u64,
    pub(super) op: Op,
}

#[derive(Clone, Debug)]
pub(super) enum Op {
    Reserve {
        bytes: u64,
        entries: u64,
    },
    Lease {
        entries: u64,
        room: u64,
    },
    Extend {
        pick: usize,
        least: u64,
        room: u64,
    },
    Open {
        source: Source,
        growth: u64,
    },
    Claim {
        pick: usize,
    },
    ClaimExpired,
    GiveUpClaims,
    LetGo {
        pick: usize,
    },
    Drop {
        pick: usize,
    },
    Intend {
        items: Vec<Item>,
    },
    /// What the session does in the home.
    Act {
        pick: usize,
        most: Sums,
    },
    Settle {
        picks: Vec<usize>,
    },
    SettleAndIntend {
        picks: Vec<usize>,
        items: Vec<Item>,
    },
    /// A delete while the ledger cannot be written.
    Owe {
        most: Sums,
    },
    /// What is owed is taken under an intent.
    TakeOwed,
    Limit {
        bytes: Option<u64>,
        entries: Option<u64>,
    },
    Gone,
    End,
    Later {
        seconds: i64,
    },
    /// The daemon ends and starts again.
    Restart,
    /// The daemon is killed, and another starts on what is on disk.
    Crash,
}

/// An intent of a batch.
#[derive(Clone, Copy, Debug)]
pub(super) enum Item {
    Stage { pick: usize, size: u64, replaces: Option<u64> },
    Take,
    Over,
}

pub(super) fn turn() -> impl Strategy<Value = Turn> {
    (0..2_usize, 0..3_u64, op()).prop_map(|(user, session, op)| Turn { user, session, op })
}

fn op() -> impl Strategy<Value = Op> {
    let pick = || any::<usize>();
    let picks = || proptest::collection::vec(any::<usize>(), 1..4);
    let items = || proptest::collection::vec(item(), 1..4);
    let most = || (0..30_i64, 1..3_i64).prop_map(|(bytes, entries)| Sums::of(bytes, entries));
    let room = || prop_oneof![0..40_u64, Just(1_u64 << 50)];
    let limit = |most: u64| proptest::option::of(0..most);
    let source = (0..2_u8, 0..2_u64).prop_map(|(path, source)| Source { path, source });
    prop_oneof![
        4 => (size(), 0..2_u64).prop_map(|(bytes, entries)| Op::Reserve { bytes, entries }),
        2 => (0..2_u64, room()).prop_map(|(entries, room)| Op::Lease { entries, room }),
        2 => (pick(), size(), room())
            .prop_map(|(pick, least, room)| Op::Extend { pick, least, room }),
        5 => (source, size()).prop_map(|(source, growth)| Op::Open { source, growth }),
        2 => pick().prop_map(|pick| Op::Claim { pick }),
        1 => Just(Op::ClaimExpired),
        1 => Just(Op::GiveUpClaims),
        2 => pick().prop_map(|pick| Op::LetGo { pick }),
        1 => pick().prop_map(|pick| Op::Drop { pick }),
        8 => items().prop_map(|items| Op::Intend { items }),
        10 => (pick(), most()).prop_map(|(pick, most)| Op::Act { pick, most }),
        5 => picks().prop_map(|picks| Op::Settle { picks }),
        4 => (picks(), items())
            .prop_map(|(picks, items)| Op::SettleAndIntend { picks, items }),
        1 => most().prop_map(|most| Op::Owe { most }),
        2 => Just(Op::TakeOwed),
        2 => (limit(90), limit(12)).prop_map(|(bytes, entries)| Op::Limit { bytes, entries }),
        1 => Just(Op::Gone),
        2 => Just(Op::End),
        2 => (1..800_i64).prop_map(|seconds| Op::Later { seconds }),
        1 => Just(Op::Restart),
        2 => Just(Op::Crash),
    ]
}

fn item() -> impl Strategy<Value = Item> {
    let replaces = || proptest::option::of(0..20_u64);
    prop_oneof![
        4 => (any::<usize>(), size(), replaces())
            .prop_map(|(pick, size, replaces)| Item::Stage { pick, size, replaces }),
        1 => Just(Item::Take),
        1 => Just(Item::Over),
    ]
}

/// Mostly what fits; now and then what nothing has room for.
fn size() -> impl Strategy<Value = u64> {
    prop_oneof![9 => 0..30_u64, 1 => Just(u64::MAX)]
}
