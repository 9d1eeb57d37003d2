//! A plain model of one user: what a walk of the home would find, what is used, what is reserved.
//!
//! It is arithmetic on a handful of rows, for the random test. It knows no SQL, no sessions' deaths and
//! no time but the one that it is told.

use std::collections::BTreeMap;
use std::ops::{Add, Sub};

use berth_common::ledger_protocol::Finding;

use super::*;

/// Bytes and entries.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Sums {
    pub(super) bytes: i64,
    pub(super) entries: i64,
}

impl Sums {
    pub(super) fn of(bytes: i64, entries: i64) -> Self {
        Self { bytes, entries }
    }

    /// Whether neither is more than in the other.
    pub(super) fn is_within(self, other: Self) -> bool {
        self.bytes <= other.bytes && self.entries <= other.entries
    }
}

impl Add for Sums {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self::of(self.bytes + other.bytes, self.entries + other.entries)
    }
}

impl Sub for Sums {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self::of(self.bytes - other.bytes, self.entries - other.entries)
    }
}

/// What an upload is of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Source {
    pub(super) path: u8,
    pub(super) source: u64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    Reservation,
    Upload(Source),
    /// With the upload that it commits, and whether it stands in the home by now.
    Stage {
        size: i64,
        replaces: Option<i64>,
        upload: Option<Source>,
        placed: bool,
    },
    /// A delete, or a rename over a file; with what stands in staging by now.
    Take {
        over: bool,
        taken: Option<Sums>,
    },
}

impl Kind {
    pub(super) fn is_intent(&self) -> bool {
        matches!(self, Self::Stage { .. } | Self::Take { .. })
    }

    pub(super) fn is_upload(&self) -> bool {
        matches!(self, Self::Upload(_))
    }

    pub(super) fn is_open(&self) -> bool {
        !self.is_intent()
    }

    /// The upload, open or being committed.
    pub(super) fn source(&self) -> Option<Source> {
        match *self {
            Self::Upload(source) => Some(source),
            Self::Stage { upload, .. } => upload,
            Self::Reservation | Self::Take { .. } => None,
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub(super) session: Option<u64>,
    pub(super) kind: Kind,
    pub(super) reserved: Sums,
    /// When somebody had to do with it; of an upload only.
    pub(super) touched_s: i64,
}

#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) limit: Sums,
    /// What a walk of the home would find.
    pub(super) home: Sums,
    pub(super) used: Sums,
    pub(super) rows: BTreeMap<StagingName, Row>,
    /// What was deleted without an intent, and still counts as used.
    pub(super) owed: Vec<Sums>,
}

impl Model {
    pub(super) fn reserved(&self) -> Sums {
        self.rows.values().fold(Sums::default(), |sum, row| sum + row.reserved)
    }

    pub(super) fn owed(&self) -> Sums {
        self.owed.iter().fold(Sums::default(), |sum, one| sum + *one)
    }

    /// What may still be reserved.
    pub(super) fn left(&self) -> Sums {
        self.left_without(Sums::default())
    }

    /// The same once so much is given back.
    pub(super) fn left_without(&self, given_back: Sums) -> Sums {
        let left = self.limit - self.used - self.reserved() + given_back;
        Sums::of(left.bytes.max(0), left.entries.max(0))
    }

    /// What does not grow is not refused, whatever the limit.
    pub(super) fn admits(&self, bytes: i128, entries: i128) -> bool {
        fits(self.left(), bytes, entries)
    }

    pub(super) fn pick(
        &self,
        session: u64,
        pick: usize,
        wanted: impl Fn(&Kind) -> bool,
    ) -> Option<(StagingName, Row)> {
        let fits = |row: &Row| row.session == Some(session) && wanted(&row.kind);
        let all: Vec<_> = self.rows.iter().filter(|(_, row)| fits(row)).collect();
        let (name, row) = all.get(pick % all.len().max(1))?;
        Some((**name, **row))
    }

    /// Takes out of the home what there is of so much.
    pub(super) fn take_out(&mut self, most: Sums) -> Option<Sums> {
        if self.home.entries < 1 {
            return None;
        }
        let (bytes, entries) = (most.bytes.min(self.home.bytes), most.entries.max(1));
        let taken = Sums::of(bytes, entries.min(self.home.entries));
        self.home = self.home - taken;
        Some(taken)
    }

    /// What a session does under the ticket: places what fits what it stated, or takes what there is.
    pub(super) fn act(&mut self, name: StagingName, most: Sums) {
        let Some(mut row) = self.rows.get(&name).copied() else {
            return;
        };
        match &mut row.kind {
            Kind::Stage { size, replaces, placed, .. } if !*placed => {
                let gone = replaces.map_or(Sums::default(), |old| Sums::of(old, 1));
                if !gone.is_within(self.home) {
                    return;
                }
                self.home = self.home - gone + Sums::of(*size, 1);
                *placed = true;
            }
            Kind::Take { over, taken } if taken.is_none() => {
                let entries = if *over { 1 } else { most.entries };
                *taken = self.take_out(Sums { entries, ..most });
            }
            _ => {}
        }
        self.rows.insert(name, row);
    }

    /// Ends an intent as its staging name shows it.
    pub(super) fn end(&mut self, name: StagingName) -> (Outcome, Finding) {
        let row = self.rows[&name];
        let file =
            |inode, size: i64, links| Finding::File { inode, size: size.cast_unsigned(), links };
        self.rows.remove(&name);
        match row.kind {
            Kind::Stage { size, replaces, placed: true, .. } => {
                self.used = self.used + Sums::of(size, 1);
                let Some(old) = replaces else {
                    return (Outcome::Placed { replaced: None }, Finding::Missing);
                };
                self.used = self.used - Sums::of(old, 1);
                (Outcome::Placed { replaced: Some(old.cast_unsigned()) }, file(8, old, 1))
            }
            Kind::Stage { size, upload, .. } => {
                if let Some(source) = upload {
                    self.rows.insert(name, Row { kind: Kind::Upload(source), ..row });
                }
                (Outcome::NotHappened, file(7, size, 1))
            }
            Kind::Take { taken: Some(taken), .. } => {
                self.used = self.used - taken;
                let (bytes, entries) = (taken.bytes.cast_unsigned(), taken.entries.cast_unsigned());
                let finding = match entries {
                    1 => file(9, taken.bytes, 1),
                    _ => Finding::Directory { inode: 9, bytes, entries },
                };
                (Outcome::Removed { bytes, entries }, finding)
            }
            // The pin may have been made, and nothing else.
            Kind::Take { over: true, .. } if name.0.is_multiple_of(2) => {
                (Outcome::NotHappened, file(9, 1, 2))
            }
            _ => (Outcome::NotHappened, Finding::Missing),
        }
    }
}

pub(super) fn fits(left: Sums, bytes: i128, entries: i128) -> bool {
    bytes <= i128::from(left.bytes) && entries <= i128::from(left.entries)
}
