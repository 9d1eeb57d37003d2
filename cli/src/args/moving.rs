//! The arguments that `berth put` and `berth get` share: how fast, and how many at once.

use std::time::Duration;

use berth_common::limits::BLOCK_SIZE;
use rust_i18n::t;

use crate::human;

/// The lowest rate. Linux tells a server that there is room again when a third of a socket's buffer is free, which
/// may be more than 1 MiB: with less than this the server could see no byte move for a minute.
const SLOWEST: u64 = 64 * 1024;

/// How files move.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Moving {
    /// Move at most so many bytes a second, of all files together: 2M, 500k, 1MiB; at least 64k
    #[arg(long, value_name = "RATE", value_parser = rate)]
    pub limit_rate: Option<u64>,
    /// Move so many files at once, if the server allows as many; 1 is one after the other [default:
    /// 8, with -r 16]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub jobs: Option<u32>,
}

/// At a low rate each of several files still has a block in so many seconds, half of what the server waits for one.
const BLOCK_WITHIN_S: u64 = 30;

impl Moving {
    /// How many move at once, where nothing is said `by_default`.
    #[must_use]
    pub fn at_once(&self, by_default: u32) -> u32 {
        let most = self.jobs.unwrap_or(by_default);
        let Some(rate) = self.limit_rate else { return most };
        let blocks = rate.saturating_mul(BLOCK_WITHIN_S) / BLOCK_SIZE as u64;
        most.min(u32::try_from(blocks).unwrap_or(u32::MAX)).max(1)
    }
}

fn rate(text: &str) -> Result<u64, String> {
    match human::parse_size(text) {
        Ok(rate) if rate >= SLOWEST => Ok(rate),
        Ok(_) => {
            Err(t!("the server would take it for a connection that stalls; give at least 64k")
                .to_owned()
                .into_owned())
        }
        Err(error) => Err(error.to_string()),
    }
}

/// How long it is tried to go on; 0 is not at all.
pub(super) fn retry_for(text: &str) -> Result<Duration, String> {
    if text.trim() == "0" {
        return Ok(Duration::ZERO);
    }
    human::parse_seconds(text).map(Duration::from_secs).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_as_sizes_and_none_is_so_low_that_it_stalls() {
        let table = [("2M", 2 << 20), ("500k", 500 << 10), ("1MiB", 1 << 20), ("64k", SLOWEST)];
        for (text, expected) in table {
            assert_eq!(rate(text), Ok(expected), "{text}");
        }
        for text in ["0", "1k", "fast", "-1"] {
            assert!(rate(text).is_err(), "{text}");
        }
    }

    #[test]
    fn fewer_files_move_at_once_at_a_low_rate() {
        let at_once = |limit_rate, jobs| Moving { limit_rate, jobs }.at_once(16);
        assert_eq!((at_once(None, None), at_once(None, Some(3))), (16, 3));
        assert_eq!((at_once(Some(SLOWEST), None), at_once(Some(SLOWEST), Some(3))), (1, 1));
        assert_eq!(at_once(Some(256 << 10), None), 7);
        assert_eq!((at_once(Some(2 << 20), None), at_once(Some(2 << 20), Some(3))), (16, 3));
    }

    #[test]
    fn nothing_is_tried_again_for_0() {
        assert_eq!(retry_for("0"), Ok(Duration::ZERO));
        assert_eq!(retry_for("5m"), Ok(Duration::from_secs(300)));
        assert!(retry_for("5").is_err());
    }
}
