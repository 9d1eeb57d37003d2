//! The protocol that one would build first, and the repairs that do not save it. Violations are what these
//! show; a run without any is the model's failure, but for the one that says so.

use crate::catalogue::{all, few, one_two, pairs, without_rename_over};
use crate::rules::{Faults, Rules};
use crate::run::Run;

pub(super) fn obvious(run: &mut Run) {
    let kill = Faults::kills(1, 0);
    let plain = Rules::obvious;
    run.breaks("obvious, pairs, no fault", pairs(&plain(Faults::NONE), 6));
    run.breaks("obvious, pairs, 1 session kill", pairs(&plain(kill), 6));
    run.breaks("obvious, 1 of few against 2, limit 4", one_two(&plain(Faults::NONE), 4, &few()));
    // Inode numbers in the intent, and admission repeated at the intent.
    let repaired =
        |faults| Rules { inode_in_intent: true, admit_again: true, ..Rules::obvious(faults) };
    run.breaks("repaired, pairs, no fault", pairs(&repaired(Faults::NONE), 6));
    run.breaks("repaired, pairs, 1 session kill", pairs(&repaired(kill), 6));
    run.breaks(
        "repaired, 1 of few against 2, limit 4",
        one_two(&repaired(Faults::NONE), 4, &few()),
    );
    // The most that can be had without a ticket: no rename over a file, the whole size reserved; and even a
    // system call that resolves and renames at once, which there is not.
    for (gap, label) in [(true, ""), (false, ", no gap between resolving and acting")] {
        let best = |faults| Rules {
            inode_in_intent: true,
            reserve_whole_size: true,
            resolve_under_ticket: !gap,
            ..Rules::obvious(faults)
        };
        for (faults, fault) in [(Faults::NONE, "no fault"), (kill, "1 session kill")] {
            let worlds = without_rename_over(pairs(&best(faults), 8));
            run.breaks(&format!("whole size, no rename over{label}, pairs, {fault}"), worlds);
        }
        let worlds = without_rename_over(one_two(&best(kill), 8, &all()));
        run.breaks(&format!("whole size, no rename over{label}, 1 against 2"), worlds);
    }
}
