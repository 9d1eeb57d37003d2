//! A command that goes on when the connection was lost: connects again, with longer and longer waits, and carries the
//! same command out once more, which finds what is finished and resumes the rest.
//!
//! For `put`, `get` and `sync` alone, and only for what was under way: whoever cannot connect at first fails at once. What
//! cannot be done twice (standard input, standard output, an append whose end was sent) is never tried again, nor is a
//! login that is refused or a server with another certificate.

mod backoff;
mod tries;

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::time::{Duration, Instant};

use rust_i18n::t;
use tokio::time::{sleep, timeout};

use self::backoff::Backoff;
use self::tries::Loss;
pub(crate) use self::tries::Tries;
use crate::args::Command;
use crate::commands::{self, Context};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::human;
use crate::progress::{Mode, Notice};
use crate::reach::Opened;

/// How often what is left of a wait is shown.
const SHOWN_EVERY: Duration = Duration::from_secs(1);

/// How long a try to connect has at least, also at the end of the time.
const SHORTEST_TRY: Duration = Duration::from_secs(1);

/// Carries a command out, and goes on after each loss for as long as `within` without a byte moved.
///
/// # Cancel safety
/// As the command's own.
pub(crate) async fn run(
    context: &mut Context,
    command: &Command,
    within: Duration,
) -> Result<Exit, Failure> {
    let more = command.is_resumable() && !within.is_zero();
    context.tries = if more { Tries::new() } else { Tries::only_one() };
    let mut backoff: Option<Backoff> = None;
    loop {
        context.session.limit_rate(command.rate());
        let outcome = commands::run(context, command).await;
        context.session.limit_rate(None);
        let (lost, finished) = context.tries.end();
        let loss = match (lost, outcome) {
            (_, Err(failure)) if failure.lost && more => Loss { failure, held: 1 },
            (Some(loss), Ok(_)) => loss,
            (_, outcome) => return outcome,
        };
        if finished || context.session.has_moved_data() {
            backoff = None;
        }
        let backoff = backoff.get_or_insert_with(|| {
            let backoff = Backoff::new(Instant::now(), within, RandomState::new().hash_one(()));
            if context.progress != Mode::Bars {
                context.output.note(&waiting(SHOWN_EVERY, within));
            }
            backoff
        });
        if !context.session.has_ended() {
            // Else the server might still hold what is asked for again.
            context.session.settled().await;
            context.session.clone().close().await;
        }
        context.session.quiet().await;
        match reconnect(context, backoff).await? {
            Some(Opened { session, fingerprint, details }) => {
                // What is finished is so at the server of before, which may be another one of the same name.
                if fingerprint != context.fingerprint {
                    let sentence =
                        t!("the server has another certificate now; give the same command again");
                    return Err(Failure::new(Exit::Identity, sentence));
                }
                context.session = session;
                context.details = details;
            }
            None => return Err(given_up(context, loss, within)?),
        }
    }
}

/// Connects as before; `None` when the time is over.
async fn reconnect(context: &Context, backoff: &mut Backoff) -> Result<Option<Opened>, Failure> {
    let notice = Notice::new(context.progress);
    while let Some(wait) = backoff.wait(Instant::now()) {
        let until = Instant::now() + wait;
        loop {
            let now = Instant::now();
            let left = until.saturating_duration_since(now);
            if left.is_zero() {
                break;
            }
            notice.say(&waiting(left, backoff.left(now)));
            sleep(left.min(SHOWN_EVERY)).await;
        }
        let left = backoff.left(Instant::now());
        notice.say(&t!(
            "connection lost; connecting again (gives up in %{left})",
            left = seconds(left)
        ));
        match timeout(left.max(SHORTEST_TRY), context.way.again()).await {
            Ok(Ok(opened)) => return Ok(Some(opened)),
            Ok(Err(failure)) if !failure.lost => return Err(failure),
            Ok(Err(_)) | Err(_) => {}
        }
    }
    Ok(None)
}

/// Why it ends, with what has come of it till then.
fn given_up(context: &Context, loss: Loss, within: Duration) -> Result<Failure, Failure> {
    if let Some((mut tally, started)) = context.tries.trees() {
        tally.failed += loss.held;
        let elapsed = started.elapsed();
        if context.output.style().json {
            context.output.json(&tally.json(elapsed))?;
        } else {
            context.output.note(&tally.line(elapsed));
        }
    }
    let sentence = t!(
        "%{failure} (tried for %{within} to go on)",
        failure = loss.failure,
        within = seconds(within)
    );
    let exit = context.tries.first_exit().unwrap_or(loss.failure.exit);
    Ok(Failure { sentence: sentence.into_owned(), exit, ..loss.failure })
}

fn waiting(wait: Duration, left: Duration) -> String {
    let (wait, left) = (seconds(wait), seconds(left));
    t!("connection lost; trying again in %{wait} (gives up in %{left})", wait = wait, left = left)
        .into_owned()
}

/// Whole seconds, rounded up: nothing happens in 0 s.
fn seconds(duration: Duration) -> String {
    match duration.as_secs_f64().ceil() {
        few if few < 60.0 => format!("{few} s"),
        many => human::duration(many),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_told_in_whole_seconds() {
        let (wait, left) = (Duration::from_millis(3200), Duration::from_secs(270));
        let told = "connection lost; trying again in 4 s (gives up in 4 min 30 s)";
        assert_eq!(waiting(wait, left), told);
    }
}
