//! The homes that are being verified, and what sessions have reported of them since: pure.
//!
//! A window is opened while the user's ticket is held, so at an instant: every later act is reported. A
//! report that is lost, because a session died before it told, blurs the window: what was found in it
//! counts no more, and the verification begins anew.

use std::collections::{HashMap, VecDeque};

use berth_common::ids::UserName;
use berth_common::ledger_protocol::HomeReport;
use berth_common::limits::REPORTS_PER_MESSAGE;

/// Weight of the reports that wait for the walk, some 64 MiB. The walk takes them between slices of milliseconds, so
/// this bounds what a session that is out of its mind can do.
const MOST_WAITING: usize = 1 << 20;

/// The windows; at most one a user.
#[derive(Debug, Default)]
pub(crate) struct Windows {
    windows: HashMap<UserName, Window>,
}

#[derive(Debug, Default)]
struct Window {
    is_open: bool,
    is_blurred: bool,
    reports: VecDeque<HomeReport>,
    weight: usize,
}

/// What a verification is to do next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Tell the walk, in the order of events; they fit a message.
    Reports(Vec<HomeReport>),
    /// There is nothing to tell.
    Nothing,
    /// A report is lost: begin anew.
    Blurred,
    /// The user is gone.
    Gone,
}

impl Windows {
    /// A verification of this user begins, unless one is under way.
    pub(crate) fn begin(&mut self, user: &UserName) -> bool {
        let is_new = !self.windows.contains_key(user);
        self.windows.entry(user.clone()).or_default();
        is_new
    }

    /// It is over, or the user is gone.
    pub(crate) fn end(&mut self, user: &UserName) {
        self.windows.remove(user);
    }

    /// Opens the window, or opens it anew. The user's ticket must be held.
    pub(crate) fn open(&mut self, user: &UserName) {
        if let Some(window) = self.windows.get_mut(user) {
            *window = Window { is_open: true, ..Window::default() };
        }
    }

    /// Whether acts are to be reported.
    pub(crate) fn is_open(&self, user: &UserName) -> bool {
        self.windows.get(user).is_some_and(|window| window.is_open)
    }

    /// What a session did. It counts only while the window is open.
    pub(crate) fn report(&mut self, user: &UserName, reports: Vec<HomeReport>) {
        let Some(window) = self.windows.get_mut(user).filter(|window| window.is_open) else {
            return;
        };
        let is_unclear = reports.contains(&HomeReport::Unclear);
        let weight: usize = reports.iter().map(HomeReport::weight).sum();
        if is_unclear || window.weight + weight > MOST_WAITING {
            return self.blur(user);
        }
        if !window.is_blurred {
            window.weight += weight;
            window.reports.extend(reports);
        }
    }

    /// A session died before it told what it did.
    pub(crate) fn blur(&mut self, user: &UserName) {
        if let Some(window) = self.windows.get_mut(user).filter(|window| window.is_open) {
            window.is_blurred = true;
            window.reports = VecDeque::new();
            window.weight = 0;
        }
    }

    /// What to do next.
    pub(crate) fn next(&mut self, user: &UserName) -> Next {
        let Some(window) = self.windows.get_mut(user) else {
            return Next::Gone;
        };
        if window.is_blurred {
            return Next::Blurred;
        }
        let mut room = REPORTS_PER_MESSAGE;
        let mut part = Vec::new();
        while let Some(report) = window.reports.front()
            && (part.is_empty() || report.weight() <= room)
        {
            room = room.saturating_sub(report.weight());
            let next = window.reports.pop_front();
            window.weight -= next.as_ref().map_or(0, HomeReport::weight);
            part.extend(next);
        }
        if part.is_empty() { Next::Nothing } else { Next::Reports(part) }
    }
}

#[cfg(test)]
mod tests {
    use berth_common::rel_path::RelPath;

    use super::*;

    fn alice() -> UserName {
        UserName::new("alice").unwrap()
    }

    fn left(inode: u64) -> HomeReport {
        HomeReport::Left { inode }
    }

    #[test]
    fn one_verification_of_a_user_is_under_way_at_a_time() {
        let mut windows = Windows::default();
        assert!(windows.begin(&alice()));
        assert!(!windows.begin(&alice()));
        windows.end(&alice());
        assert!(windows.begin(&alice()));
    }

    #[test]
    fn reports_count_from_the_opening_on_and_come_in_their_order() {
        let mut windows = Windows::default();
        windows.begin(&alice());
        windows.report(&alice(), vec![left(1)]);
        assert!(!windows.is_open(&alice()));
        windows.open(&alice());
        assert!(windows.is_open(&alice()));
        assert_eq!(windows.next(&alice()), Next::Nothing);
        windows.report(&alice(), vec![left(2)]);
        windows.report(&alice(), vec![left(3), left(4)]);
        assert_eq!(windows.next(&alice()), Next::Reports(vec![left(2), left(3), left(4)]));
        assert_eq!(windows.next(&alice()), Next::Nothing);
        windows.end(&alice());
        assert_eq!(windows.next(&alice()), Next::Gone);
    }

    #[test]
    fn a_lost_or_unclear_report_blurs_until_the_window_is_opened_anew() {
        let mut windows = Windows::default();
        windows.begin(&alice());
        windows.blur(&alice());
        for unclear in [false, true] {
            windows.open(&alice());
            windows.report(&alice(), vec![left(1)]);
            if unclear {
                windows.report(&alice(), vec![left(2), HomeReport::Unclear]);
            } else {
                windows.blur(&alice());
            }
            windows.report(&alice(), vec![left(3)]);
            assert_eq!(windows.next(&alice()), Next::Blurred);
        }
        windows.open(&alice());
        assert_eq!(windows.next(&alice()), Next::Nothing);
    }

    #[test]
    fn long_paths_are_told_in_more_messages_and_too_many_reports_blur() {
        let mut windows = Windows::default();
        windows.begin(&alice());
        windows.open(&alice());
        let place = RelPath::new(&["d"; 2000].join("/")).unwrap();
        let moved = HomeReport::Moved { inode: 1, place };
        windows.report(&alice(), vec![moved; 40]);
        let Next::Reports(part) = windows.next(&alice()) else { panic!() };
        assert!(part.len() < 40, "{}", part.len());
        for _ in 0..=MOST_WAITING / 1024 {
            windows.report(&alice(), vec![left(1); 1024]);
        }
        assert_eq!(windows.next(&alice()), Next::Blurred);
    }
}
