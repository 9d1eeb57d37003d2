//! Bytes read ahead of rustls, handed on to it record by record; for the sockets of worker and client.
//!
//! rustls by itself asks for what its buffer has room for, a system call each, and moves what it has of the
//! next record to the front of that buffer when it is done with one. So whoever reads large pieces from the
//! socket hands them on cut where a record's header ends: nothing but these five bytes is left over, the
//! buffer keeps its size, and each record lies at its front.
//!
//! Where the cuts are is a matter of speed alone: every byte is handed on once, in its order, whatever the
//! headers say. It knows no key and decrypts nothing.

/// Bytes that one read from the socket asks for. Half a page more than whole pages, and too little for glibc to
/// map it by itself; see [`ReadAhead::is_worth_it`].
const READ_BYTES: usize = 98 * 1024;

/// rustls' reader asks for this much once its buffer has grown to its full size.
const FULL_READER: usize = 16 * 1024;

/// Bytes of a TLS record's header: its type, a version, and the length of what follows (RFC 8446, 5.1).
const HEADER_BYTES: usize = 5;

/// Bytes that were read from a socket and not yet handed on.
#[derive(Debug, Default)]
pub struct ReadAhead {
    bytes: Vec<u8>,
    /// The part of `bytes` that waits.
    start: usize,
    end: usize,
    place: Place,
}

impl ReadAhead {
    /// Whether to begin reading ahead for a reader that asks for `room` bytes.
    ///
    /// Only when rustls' buffer has its full size, and for the sake of where the memory comes to lie. glibc
    /// copies with `rep movsb`, which on some processors (an AMD EPYC, at least) is thirty times slower where the
    /// destination lies 1 to 15 bytes behind the source within their pages. rustls' buffer has 32 KiB, malloc's
    /// own 16 bytes follow, and then the memory to which it copies each plaintext from behind a header of 5
    /// bytes: 11 bytes behind, always. What is allocated between the two, of half a page more than whole pages,
    /// keeps them apart.
    #[must_use]
    pub fn is_worth_it(&self, room: usize) -> bool {
        self.has_memory() || room >= FULL_READER
    }

    /// Whether nothing waits to be handed on.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Where to read to. To be called when nothing waits; takes the memory if there is none yet.
    pub fn room(&mut self) -> &mut [u8] {
        if self.bytes.is_empty() {
            self.bytes = vec![0; READ_BYTES];
        }
        &mut self.bytes
    }

    /// So many bytes were read to the room.
    pub fn filled(&mut self, count: usize) {
        (self.start, self.end) = (0, count.min(self.bytes.len()));
    }

    /// The next bytes for a reader that takes at most `most`: at least one, if one waits.
    pub fn hand_on(&mut self, most: usize) -> &[u8] {
        let waiting = &self.bytes[self.start..self.end];
        let next = &waiting[..self.place.cut(waiting, most)];
        self.place.pass(next);
        self.start += next.len();
        next
    }

    /// These bytes were read by the reader itself, while nothing waited.
    pub fn passed_by(&mut self, bytes: &[u8]) {
        self.place.pass(bytes);
    }

    /// Gives the memory back. To be called when nothing waits.
    pub fn free(&mut self) {
        self.bytes = Vec::new();
        (self.start, self.end) = (0, 0);
    }

    /// Whether it holds memory.
    #[must_use]
    pub fn has_memory(&self) -> bool {
        !self.bytes.is_empty()
    }
}

/// A place in a stream of records.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    /// The header of the record at this place, as far as it has been seen.
    header: [u8; HEADER_BYTES],
    seen: usize,
    /// Bytes of that record behind this place, once its header has been seen.
    rest: usize,
}

impl Place {
    /// Goes on within a header, or within what follows it. Returns how many of the bytes that took.
    fn step(&mut self, bytes: &[u8]) -> usize {
        let taken;
        if self.seen < HEADER_BYTES {
            taken = bytes.len().min(HEADER_BYTES - self.seen);
            self.header[self.seen..self.seen + taken].copy_from_slice(&bytes[..taken]);
            self.seen += taken;
            self.rest = usize::from(u16::from_be_bytes([self.header[3], self.header[4]]));
        } else {
            taken = bytes.len().min(self.rest);
            self.rest -= taken;
        }
        if self.seen == HEADER_BYTES && self.rest == 0 {
            self.seen = 0;
        }
        taken
    }

    fn pass(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let taken = self.step(bytes);
            bytes = &bytes[taken..];
        }
    }

    /// How many of `bytes` to hand on at once: as many as end with a header, or all if there is no such cut.
    fn cut(mut self, bytes: &[u8], most: usize) -> usize {
        let bytes = &bytes[..bytes.len().min(most)];
        let (mut at, mut cut) = (0, bytes.len());
        while at < bytes.len() {
            let in_header = self.seen < HEADER_BYTES;
            at += self.step(&bytes[at..]);
            if in_header && self.seen == HEADER_BYTES {
                cut = at;
            }
        }
        cut
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn records(lens: &[u16]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for len in lens {
            bytes.extend([23, 3, 3]);
            bytes.extend(len.to_be_bytes());
            bytes.extend((0..*len).map(|n| n as u8));
        }
        bytes
    }

    fn filled(bytes: &[u8]) -> ReadAhead {
        let mut ahead = ReadAhead::default();
        ahead.room()[..bytes.len()].copy_from_slice(bytes);
        ahead.filled(bytes.len());
        ahead
    }

    #[test]
    fn full_records_are_handed_on_one_by_one_each_with_the_next_header() {
        let mut ahead = filled(&records(&[16401, 16401, 16401, 100]));
        let sizes: Vec<_> = std::iter::from_fn(|| Some(ahead.hand_on(18_000).len()))
            .take_while(|taken| *taken > 0)
            .collect();
        assert_eq!(sizes, [16411, 16406, 16406, 100]);
        assert!(ahead.is_empty() && ahead.has_memory());
        ahead.free();
        assert!(!ahead.has_memory());
    }

    #[test]
    fn small_records_travel_together_and_what_was_read_by_others_counts() {
        let bytes = records(&[10, 20, 16401, 0, 3]);
        let mut ahead = ReadAhead::default();
        ahead.passed_by(&bytes[..7]);
        ahead.room()[..bytes.len() - 7].copy_from_slice(&bytes[7..]);
        ahead.filled(bytes.len() - 7);
        assert_eq!(ahead.hand_on(4096).len(), 8 + 25 + 5, "up to the large record");
        assert_eq!(ahead.hand_on(4096).len(), 4096, "which does not fit");
        assert_eq!(ahead.hand_on(usize::MAX).len(), 16401 - 4096 + 5 + 5);
        assert_eq!(ahead.hand_on(usize::MAX).len(), 3);
        assert!(ahead.hand_on(usize::MAX).is_empty());
    }

    proptest! {
        #[test]
        fn every_byte_is_handed_on_once_and_in_order(
            bytes in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..2000),
                prop::collection::vec(0u16..300, 0..20).prop_map(|lens| records(&lens)),
            ],
            pieces in prop::collection::vec((1usize..700, any::<bool>()), 1..40),
            room in 1usize..500,
        ) {
            let mut ahead = ReadAhead::default();
            let (mut got, mut left) = (Vec::new(), &bytes[..]);
            for (len, direct) in pieces.into_iter().cycle() {
                if left.is_empty() {
                    break;
                }
                let (piece, behind) = left.split_at(len.min(left.len()));
                left = behind;
                if direct {
                    ahead.passed_by(piece);
                    got.extend_from_slice(piece);
                    continue;
                }
                ahead.room()[..piece.len()].copy_from_slice(piece);
                ahead.filled(piece.len());
                while !ahead.is_empty() {
                    let next = ahead.hand_on(room);
                    prop_assert!((1..=room).contains(&next.len()));
                    got.extend_from_slice(next);
                }
            }
            prop_assert_eq!(got, bytes);
        }
    }
}
