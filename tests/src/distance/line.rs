//! One direction of a long way: what is under way in it, when it arrives, and how much more it takes. Time is told,
//! not looked at.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// What is under way in one direction, in its order.
#[derive(Debug)]
pub(super) struct Line {
    delay: Duration,
    capacity: usize,
    under_way: usize,
    parts: VecDeque<(Instant, Vec<u8>)>,
}

impl Line {
    /// One that takes so long, and holds so many bytes at most.
    pub(super) fn new(delay: Duration, capacity: usize) -> Self {
        Self { delay, capacity, under_way: 0, parts: VecDeque::new() }
    }

    /// How many bytes may be sent into it.
    pub(super) fn room(&self) -> usize {
        self.capacity - self.under_way
    }

    /// Takes what is sent into it at this time; it must not be more than there is room for. Nothing at all stands for
    /// the end, which arrives after what was sent before it.
    pub(super) fn send(&mut self, bytes: Vec<u8>, now: Instant) {
        self.under_way += bytes.len();
        self.parts.push_back((now + self.delay, bytes));
    }

    /// When the next part arrives.
    pub(super) fn next(&self) -> Option<Instant> {
        self.parts.front().map(|(due, _)| *due)
    }

    /// The next part, if it has arrived by this time.
    pub(super) fn arrived(&mut self, now: Instant) -> Option<Vec<u8>> {
        let (_, bytes) = self.parts.pop_front_if(|(due, _)| *due <= now)?;
        self.under_way -= bytes.len();
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DELAY: Duration = Duration::from_millis(50);

    #[test]
    fn parts_arrive_in_their_order_and_not_before_their_time() {
        let (mut line, begin) = (Line::new(DELAY, 100), Instant::now());
        line.send(vec![1; 10], begin);
        line.send(vec![2; 10], begin + DELAY / 2);
        line.send(Vec::new(), begin + DELAY);
        assert_eq!(line.next(), Some(begin + DELAY));
        assert_eq!(line.arrived(begin + DELAY / 2), None);
        assert_eq!(line.arrived(begin + DELAY), Some(vec![1; 10]));
        assert_eq!(line.arrived(begin + DELAY), None);
        assert_eq!(line.arrived(begin + DELAY * 2), Some(vec![2; 10]));
        assert_eq!(line.arrived(begin + DELAY * 2), Some(Vec::new()));
        assert_eq!((line.next(), line.arrived(begin + DELAY * 3)), (None, None));
    }

    #[test]
    fn it_takes_no_more_than_it_may_hold_until_something_has_arrived() {
        let (mut line, begin) = (Line::new(DELAY, 100), Instant::now());
        line.send(vec![1; 70], begin);
        assert_eq!(line.room(), 30);
        line.send(vec![2; 30], begin);
        assert_eq!(line.room(), 0);
        line.arrived(begin + DELAY).unwrap();
        assert_eq!(line.room(), 70);
    }
}
