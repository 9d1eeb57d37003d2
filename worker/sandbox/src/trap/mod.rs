//! What happens to a call that the table does not have: one line on standard error names it, and the process
//! ends by SIGSYS.
//!
//! The kernel has refused the call before any of this runs, so that code which gets in the way of the handler
//! wins nothing but silence.

#[allow(unsafe_code)]
mod sys;

pub(crate) use sys::install;

use crate::names;

/// A line of text, made without memory from the heap: the thread may hold the allocator's lock.
struct Line {
    bytes: [u8; 96],
    length: usize,
}

impl Line {
    /// What is said of a forbidden call.
    fn of_call(number: i64) -> Self {
        let mut line = Self { bytes: [0; 96], length: 0 };
        line.push("forbidden system call ");
        line.push_number(number);
        if let Some(name) = names::name(number) {
            line.push(" (");
            line.push(name);
            line.push(")");
        }
        line.push("\n");
        line
    }

    /// What does not fit is left out.
    fn push(&mut self, text: &str) {
        for (place, byte) in self.bytes.iter_mut().skip(self.length).zip(text.bytes()) {
            *place = byte;
            self.length += 1;
        }
    }

    fn push_number(&mut self, number: i64) {
        if number < 0 {
            self.push("-");
        }
        let mut digits = [0; 20];
        let mut first = digits.len();
        let mut rest = number.unsigned_abs();
        loop {
            first -= 1;
            if let Some(place) = digits.get_mut(first) {
                *place = b'0' + (rest % 10) as u8;
            }
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        let digits = digits.get(first..).unwrap_or_default();
        self.push(std::str::from_utf8(digits).unwrap_or_default());
    }

    fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forbidden_call_is_told_by_number_and_name() {
        let text = |number| String::from_utf8(Line::of_call(number).as_bytes().to_vec()).unwrap();
        let ptrace = libc::SYS_ptrace;
        assert_eq!(text(ptrace), format!("forbidden system call {ptrace} (ptrace)\n"));
        assert_eq!(text(123_456), "forbidden system call 123456\n");
        assert_eq!(text(0x3fff_ffff_ffff), "forbidden system call 70368744177663\n");
        assert_eq!(text(-7), "forbidden system call -7\n");
    }
}
