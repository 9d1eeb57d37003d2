//! A request to the ledger: the work, within a transaction, and its answer's way back.
//!
//! Each request runs within a savepoint: one that is refused takes back only itself, and so does one at
//! which only its own data are at fault. [`super::thread`] puts requests into transactions; it alone
//! runs and answers them.

use rusqlite::{Connection, ErrorCode as SqliteCode};
use tokio::sync::oneshot;

use super::crossings::Crossings;
use super::damage;
use super::model::LedgerError;

/// Why a request did not do its work.
pub(super) enum Failure {
    /// The request is refused; those beside it are not.
    Refused(LedgerError),
    /// The database failed; so does the whole group.
    Sqlite(rusqlite::Error),
}

impl From<LedgerError> for Failure {
    fn from(error: LedgerError) -> Self {
        Self::Refused(error)
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

/// What a request works with: the connection, within a transaction, and the time.
pub(super) struct Tx<'a> {
    pub(super) db: &'a Connection,
    pub(super) now_s: i64,
    pub(super) upload_expiry_s: i64,
    pub(super) max_uploads: u32,
    pub(super) crossings: Crossings,
    /// Whether writers are refused for the time being.
    pub(super) outage: bool,
}

/// What becomes of a request while the ledger cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It changes nothing, and is served.
    Reader,
    /// It is refused.
    Writer,
    /// It changes something, and waits for the end of the outage, in order.
    Note,
}

/// A request, with its answer's way back. It is answered once, after its transaction.
pub(super) trait Job: Send {
    fn kind(&self) -> Kind;
    /// Whether somebody still waits for the answer.
    fn is_awaited(&self) -> bool;
    /// Does the work and remembers the outcome. An error is the database's, and the whole group's.
    fn run(&mut self, tx: &Tx<'_>) -> Result<(), rusqlite::Error>;
    fn answer(self: Box<Self>);
    fn answer_unavailable(self: Box<Self>);
}

pub(super) type Outcome<T> = Result<T, LedgerError>;

struct Call<T, W> {
    kind: Kind,
    work: W,
    outcome: Option<Outcome<T>>,
    reply: oneshot::Sender<Outcome<T>>,
}

/// What a request does.
trait Work<T>: Send {
    /// `None` when it cannot be done again.
    fn run(&mut self, tx: &Tx<'_>) -> Option<Result<T, Failure>>;
}

/// A writer's, which is done once: after a failure it is refused.
struct Once<F>(Option<F>);

impl<T, F: FnOnce(&Tx<'_>) -> Result<T, Failure> + Send> Work<T> for Once<F> {
    fn run(&mut self, tx: &Tx<'_>) -> Option<Result<T, Failure>> {
        self.0.take().map(|work| work(tx))
    }
}

/// A reader's, which is done again when a writer beside it has failed; or a note's, when the outage is over.
struct Again<F>(F);

impl<T, F: FnMut(&Tx<'_>) -> Result<T, Failure> + Send> Work<T> for Again<F> {
    fn run(&mut self, tx: &Tx<'_>) -> Option<Result<T, Failure>> {
        Some((self.0)(tx))
    }
}

/// Whether a failure comes from one request's data (a row that the tables do not allow) and not from
/// the database: others must not suffer for it.
fn is_its_own(error: &rusqlite::Error) -> bool {
    match error {
        rusqlite::Error::SqliteFailure(failure, _) => {
            failure.code == SqliteCode::ConstraintViolation
        }
        rusqlite::Error::QueryReturnedNoRows => true,
        _ => false,
    }
}

/// A request, and where its answer comes.
pub(super) type Asked<T> = (Box<dyn Job>, oneshot::Receiver<Outcome<T>>);

/// A request that changes nothing. It may be run again when a writer beside it has failed.
pub(super) fn reader<T: Send + 'static>(
    work: impl FnMut(&Tx<'_>) -> Result<T, Failure> + Send + 'static,
) -> Asked<T> {
    boxed(Kind::Reader, Again(work))
}

/// A request that changes something, which is run once.
pub(super) fn writer<T: Send + 'static>(
    work: impl FnOnce(&Tx<'_>) -> Result<T, Failure> + Send + 'static,
) -> Asked<T> {
    boxed(Kind::Writer, Once(Some(work)))
}

/// A request that changes something and is not refused in an outage. It may be run again.
pub(super) fn note<T: Send + 'static>(
    work: impl FnMut(&Tx<'_>) -> Result<T, Failure> + Send + 'static,
) -> Asked<T> {
    boxed(Kind::Note, Again(work))
}

fn boxed<T: Send + 'static>(kind: Kind, work: impl Work<T> + 'static) -> Asked<T> {
    let (reply, answer) = oneshot::channel();
    (Box::new(Call { kind, work, outcome: None, reply }), answer)
}

impl<T: Send, W: Work<T>> Job for Call<T, W> {
    fn kind(&self) -> Kind {
        self.kind
    }

    fn is_awaited(&self) -> bool {
        !self.reply.is_closed()
    }

    fn run(&mut self, tx: &Tx<'_>) -> Result<(), rusqlite::Error> {
        let execute = |sql| tx.db.prepare_cached(sql)?.execute([]).map(drop);
        let crossings = tx.crossings.mark();
        let writes = self.kind != Kind::Reader;
        if writes {
            execute("SAVEPOINT request")?;
        }
        let Some(result) = self.work.run(tx) else {
            return Ok(());
        };
        let outcome = match result {
            Ok(value) => Ok(value),
            Err(Failure::Refused(error)) => Err(error),
            Err(Failure::Sqlite(error)) if damage::is_damage(&error) => {
                tracing::error!(%error, "the ledger has a row that cannot be");
                Err(LedgerError::Damaged(error.to_string()))
            }
            Err(Failure::Sqlite(error)) if is_its_own(&error) => {
                tracing::error!(%error, "a request to the ledger failed");
                Err(LedgerError::Unavailable)
            }
            Err(Failure::Sqlite(error)) => return Err(error),
        };
        if writes {
            if outcome.is_err() {
                execute("ROLLBACK TO request")?;
                tx.crossings.take_back(crossings);
            }
            execute("RELEASE request")?;
        }
        self.outcome = Some(outcome);
        Ok(())
    }

    fn answer(self: Box<Self>) {
        if let Some(outcome) = self.outcome {
            // Whoever asked may have stopped waiting.
            let _ = self.reply.send(outcome);
        }
    }

    fn answer_unavailable(self: Box<Self>) {
        let _ = self.reply.send(Err(LedgerError::Unavailable));
    }
}
