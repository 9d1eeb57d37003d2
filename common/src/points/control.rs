//! The control file: what tests and the processes under test say to each other through shared memory.
//!
//! A test arms a point. The first process that passes it claims it, leaves its number and stops itself; the
//! test sees the claim, and kills the process or lets it go on. Every access is one atomic operation, and
//! a process that is killed at any moment leaves nothing that another could trip over.

use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};

use rustix::process::{Signal, getpid, kill_process};

use super::{Point, Rule};

const OFF: u32 = 0;
/// The next passing stops.
const ONCE: u32 = 1;
/// A process has claimed the point and is stopping, or stopped.
const TAKEN: u32 = 2;

/// Bytes of the control file; a new one is all zeros, with nothing armed and no rule off.
pub const CONTROL_BYTES: usize = std::mem::size_of::<Control>();

/// What is mapped.
#[repr(C)]
pub struct Control {
    points: [Slot; Point::ALL.len()],
    rules: [AtomicU8; Rule::ALL.len()],
}

#[repr(C)]
struct Slot {
    state: AtomicU32,
    /// How many passings of an armed point do not stop yet.
    let_by: AtomicU32,
    /// Who has stopped; 0 when it goes on.
    pid: AtomicU32,
    /// How often the point was passed, armed or not.
    passed: AtomicU32,
}

impl Control {
    /// Stops this process if the point is armed. Returns at once, or when a test lets it go on.
    pub(super) fn reach(&self, point: Point) {
        let slot = self.slot(point);
        slot.passed.fetch_add(1, Ordering::SeqCst);
        if slot.state.load(Ordering::SeqCst) != ONCE || slot.lets_by() {
            return;
        }
        if slot.state.compare_exchange(ONCE, TAKEN, Ordering::SeqCst, Ordering::SeqCst).is_err() {
            return;
        }
        let own = getpid();
        slot.pid.store(own.as_raw_nonzero().get().unsigned_abs(), Ordering::SeqCst);
        // Again until it is let go on: another thread may be the one that the signal stops first, and
        // somebody else may continue us.
        while slot.state.load(Ordering::SeqCst) == TAKEN {
            if kill_process(own, Signal::STOP).is_err() {
                break;
            }
        }
        slot.pid.store(0, Ordering::SeqCst);
    }

    /// Whether this rule was taken away.
    #[must_use]
    pub fn is_off(&self, rule: Rule) -> bool {
        self.rule(rule).load(Ordering::SeqCst) != 0
    }

    /// Takes a rule away, or gives it back.
    pub fn set_rule(&self, rule: Rule, is_off: bool) {
        self.rule(rule).store(is_off.into(), Ordering::SeqCst);
    }

    /// Arms a point: the first passing after `let_by` others stops.
    pub fn arm(&self, point: Point, let_by: u32) {
        let slot = self.slot(point);
        slot.state.store(OFF, Ordering::SeqCst);
        slot.pid.store(0, Ordering::SeqCst);
        slot.let_by.store(let_by, Ordering::SeqCst);
        slot.state.store(ONCE, Ordering::SeqCst);
    }

    /// Disarms a point, and lets whoever has stopped there go on once it is continued.
    pub fn disarm(&self, point: Point) {
        self.slot(point).state.store(OFF, Ordering::SeqCst);
    }

    /// Who stands at a point, once it has claimed it.
    #[must_use]
    pub fn claimed_by(&self, point: Point) -> Option<u32> {
        let slot = self.slot(point);
        let pid = slot.pid.load(Ordering::SeqCst);
        (slot.state.load(Ordering::SeqCst) == TAKEN && pid != 0).then_some(pid)
    }

    /// Whether whoever stood at a point has left it.
    #[must_use]
    pub fn is_left(&self, point: Point) -> bool {
        self.slot(point).pid.load(Ordering::SeqCst) == 0
    }

    /// How often a point was passed since the file was made.
    #[must_use]
    pub fn passed(&self, point: Point) -> u32 {
        self.slot(point).passed.load(Ordering::SeqCst)
    }

    /// Maps a control file.
    ///
    /// # Errors
    /// When it is too short, or cannot be mapped.
    pub fn map(file: &std::fs::File) -> std::io::Result<&'static Self> {
        super::sys::map(file)
    }

    // The arrays have a place for each of the enum's numbers.
    #[allow(clippy::indexing_slicing)]
    fn slot(&self, point: Point) -> &Slot {
        &self.points[point as usize]
    }

    #[allow(clippy::indexing_slicing)]
    fn rule(&self, rule: Rule) -> &AtomicU8 {
        &self.rules[rule as usize]
    }
}

impl std::fmt::Debug for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let armed = Point::ALL
            .iter()
            .filter(|point| self.slot(**point).state.load(Ordering::SeqCst) != OFF);
        let off = Rule::ALL.iter().filter(|rule| self.is_off(**rule));
        f.debug_struct("Control")
            .field("armed", &armed.collect::<Vec<_>>())
            .field("off", &off.collect::<Vec<_>>())
            .finish()
    }
}

impl Slot {
    /// Counts one passing that is not to stop; `false` when there is none left.
    fn lets_by(&self) -> bool {
        let one_less = |left: u32| left.checked_sub(1);
        self.let_by.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn control() -> &'static Control {
        let file = tempfile::tempfile().unwrap();
        file.set_len(CONTROL_BYTES as u64).unwrap();
        Control::map(&file).unwrap()
    }

    #[test]
    fn a_file_that_is_too_short_is_refused() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(CONTROL_BYTES as u64 - 1).unwrap();
        assert!(Control::map(&file).is_err());
    }

    #[test]
    fn two_mappings_of_a_file_see_each_other() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(CONTROL_BYTES as u64).unwrap();
        let (one, other) = (Control::map(&file).unwrap(), Control::map(&file).unwrap());
        one.set_rule(Rule::R3, true);
        one.reach(Point::Acted);
        assert!(other.is_off(Rule::R3) && !other.is_off(Rule::R1));
        assert_eq!((other.passed(Point::Acted), other.passed(Point::Settled)), (1, 0));
    }

    #[test]
    fn a_point_lets_by_as_many_as_it_was_told() {
        let control = control();
        control.arm(Point::Granted, 2);
        control.reach(Point::Granted);
        control.reach(Point::Granted);
        // The third would stop this test: it is told by the countdown instead.
        assert!(!control.slot(Point::Granted).lets_by());
        control.disarm(Point::Granted);
        control.reach(Point::Granted);
        assert_eq!(control.claimed_by(Point::Granted), None);
    }

    #[test]
    fn points_and_rules_have_the_names_of_their_variants() {
        assert_eq!(Point::ALL[Point::Linked as usize].to_string(), "Linked");
        assert_eq!(Rule::R12.to_string(), "R12");
    }
}
