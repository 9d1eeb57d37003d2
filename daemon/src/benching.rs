//! What the benchmark of the ledger (`benches/ledger.rs`) runs: callers who go round reserve, intent and settle,
//! through the ledger's own interface.
//!
//! It is here, since nothing of the ledger is public, and in no program: only the feature `bench` has it.

use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};

use berth_common::entry::Limits;
use berth_common::ids::{SessionId, UserName};
use berth_common::ledger_protocol::{IntentItem, Outcome, SettleItem};
use berth_common::scram::ScramVerifier;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

use crate::ledger::{Ledger, LedgerError, Options};

/// What one file has.
const FILE_BYTES: u64 = 100;

/// A ledger with users, each of whom has one session.
pub struct Callers {
    runtime: Runtime,
    ledger: Ledger,
    users: Vec<(UserName, SessionId)>,
}

impl Callers {
    /// A new ledger in this directory, and so many who may call.
    ///
    /// # Errors
    /// When the ledger cannot be made.
    pub fn new(directory: &Path, most: u64) -> Result<Self, Box<dyn Error>> {
        // As in the daemon: all who ask are on one thread, the ledger on another.
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let lost = |text| tracing::error!("the ledger is lost: {text}");
        let ledger = Ledger::open(&directory.join("ledger.sqlite"), Options::new(lost))?;
        let verifier = ScramVerifier::new(vec![1; 16], 4096, [1; 32], [1; 32])?;
        let mut users = Vec::new();
        for caller in 0..most {
            let user = UserName::new(&format!("user{caller}"))?;
            runtime.block_on(ledger.add_user(&user, verifier.clone(), Limits::default()))?;
            runtime.block_on(ledger.activate_user(&user))?;
            users.push((user, SessionId(caller)));
        }
        Ok(Self { runtime, ledger, users })
    }

    /// How long the first `callers` take to go round so many times each, all at once.
    ///
    /// # Errors
    /// When the ledger refuses something.
    pub fn go_round(&self, callers: usize, times: u64) -> Result<Duration, Box<dyn Error>> {
        let begun = Instant::now();
        self.runtime.block_on(async {
            let mut tasks = JoinSet::new();
            for (user, session) in self.users.iter().take(callers).cloned() {
                let ledger = self.ledger.clone();
                tasks.spawn(async move {
                    for _ in 0..times {
                        once(&ledger, &user, session).await?;
                    }
                    Ok::<_, LedgerError>(())
                });
            }
            while let Some(ended) = tasks.join_next().await {
                ended??;
            }
            Ok(begun.elapsed())
        })
    }
}

/// The ledger's part in one put of a small, new file.
async fn once(ledger: &Ledger, user: &UserName, session: SessionId) -> Result<(), LedgerError> {
    let name = ledger.reserve(user, session, FILE_BYTES, 1).await?;
    let item = IntentItem::Stage { name, inode: 7, size: FILE_BYTES, replaces: None };
    ledger.intent(user, session, vec![item]).await?;
    let item = SettleItem { name, outcome: Outcome::Placed { replaced: None } };
    ledger.settle(user, session, vec![item]).await?;
    Ok(())
}
