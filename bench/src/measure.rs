//! One work, by all peers in turns. What arrives is compared with what was sent after each run, beside the clock.

use std::path::Path;
use std::time::Duration;

use crate::client::{self, RunError};
use crate::figures::{Figure, Figures, Runs};
use crate::files;
use crate::peers::Peer;
use crate::place::Place;
use crate::runs::{self, Turns};
use crate::workload::Work;

/// A peer that takes part in a work.
struct Participant<'a> {
    peer: &'a dyn Peer,
    runs: Result<Runs, String>,
}

/// Measures a work: one turn that is not counted, then as many as are wanted.
pub(crate) fn measure(
    place: &Place,
    peers: &[Box<dyn Peer>],
    work: Work,
    turns: Turns,
    figures: &mut Figures,
) -> Result<(), RunError> {
    let title = work.title(figures.sizes);
    println!("{title}");
    let mut participants = Vec::new();
    for peer in peers {
        let lacks = peer.lacks(work);
        if lacks.is_none() && peer.client(work)?.is_none() {
            continue;
        }
        let runs = lacks.map_or_else(|| Ok(Runs::default()), |reason| Err(reason.to_owned()));
        participants.push(Participant { peer: peer.as_ref(), runs });
    }
    for turn in 0..=turns.wanted {
        for index in runs::order(participants.len(), turn) {
            participants[index].take_turn(place, work, turn > 0, turns.patience);
        }
    }
    for Participant { peer, runs } in participants {
        let name = peer.name();
        if let Err(reason) = &runs {
            println!("  {}: not measured: {reason}", name.text());
        }
        figures.add(Figure { work, name, runs });
        if let Some(rate) = figures.rate(work, name) {
            println!("  {}: {rate:.0} {}", name.text(), work.unit());
        }
    }
    Ok(())
}

impl Participant<'_> {
    fn take_turn(&mut self, place: &Place, work: Work, counts: bool, patience: Duration) {
        let Ok(runs) = &mut self.runs else {
            return;
        };
        if !runs::goes_on(&runs.seconds, patience) {
            return;
        }
        match once(self.peer, place, work, !counts) {
            // One that is too slow for another turn is told of by its first.
            Ok((seconds, server_cpu)) if counts || seconds >= patience.as_secs_f64() => {
                runs.seconds.push(seconds);
                runs.server_cpu.extend(server_cpu);
            }
            Ok(_) => {}
            Err(error) => {
                self.runs = Err(error.to_string());
                // What a failed run leaves is nobody else's.
                let _ = self.peer.clear(work);
            }
        }
    }
}

/// One run: seconds of the client, and of the server's processor time.
fn once(
    peer: &dyn Peer,
    place: &Place,
    work: Work,
    contents: bool,
) -> Result<(f64, Option<f64>), RunError> {
    let Some(client) = peer.client(work)? else {
        return Err(RunError::Differs("it has no client for this".to_owned()));
    };
    // What earlier runs left unwritten, on a disk also where this one is in memory, so that nobody pays for another.
    rustix::fs::sync();
    let before = peer.server().map(|server| (server.processes(), server.cpu_seconds()));
    let output = place.root().join("client-output");
    let seconds = match work.is_kept() {
        true => client::run(client, &output)?,
        false => client::run_unheard(client, &output)?,
    };
    let server_cpu = peer.server().zip(before).map(|(server, (processes, cpu))| {
        server.wait_for_rest(processes);
        server.cpu_seconds() - cpu
    });
    if work.is_kept() {
        check(&place.source(work.shape()), &peer.written(work), contents)?;
    }
    peer.clear(work)?;
    Ok((seconds, server_cpu))
}

fn check(sent: &Path, arrived: &Path, contents: bool) -> Result<(), RunError> {
    files::difference(sent, arrived, contents)?.map_or(Ok(()), |what| Err(RunError::Differs(what)))
}
