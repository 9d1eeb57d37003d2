//! Helper threads, as many as the real program has, started before seccomp; they make calls on order.

use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use crate::sys;

/// As the real programs' helpers have.
const STACK_BYTES: usize = 256 * 1024;

type Call = (u64, [u64; 6]);

/// The helpers; calls are made by the first.
pub(crate) struct Helpers(Vec<(Sender<Call>, Receiver<i64>)>);

impl Helpers {
    /// Starts them and waits until all are up.
    pub(crate) fn start(count: usize) -> io::Result<Self> {
        let start = |_| {
            let (calls, queue) = channel::<Call>();
            let (results, returned) = channel();
            thread::Builder::new().stack_size(STACK_BYTES).spawn(move || {
                let _ = results.send(0);
                while let Ok((number, arguments)) = queue.recv() {
                    let _ = results.send(sys::call(number, arguments));
                }
            })?;
            returned.recv().map_err(io::Error::other)?;
            Ok((calls, returned))
        };
        (0..count).map(start).collect::<io::Result<_>>().map(Self)
    }

    /// Makes a call on a helper, or on this thread when there is none.
    pub(crate) fn call(&self, number: u64, arguments: [u64; 6]) -> i64 {
        let Some((calls, returned)) = self.0.first() else {
            return sys::call(number, arguments);
        };
        let _ = calls.send((number, arguments));
        returned.recv().unwrap_or(i64::MIN)
    }
}
