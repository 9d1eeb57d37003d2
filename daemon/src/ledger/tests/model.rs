//! A plain model of one user: what a walk of the home would find, what is used, what is reserved.

use std::collections::BTreeMap;

use berth_common::ledger_protocol::Finding;

use super::*;

pub(super) const LIMIT: i64 = 60;
pub(super) const ENTRIES: i64 = 8;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    Reservation,
    Upload {
        path: u8,
        source: u64,
    },
    /// With the upload that it commits, and whether it stands in the home by now.
    Stage {
        size: i64,
        replaces: Option<u64>,
        upload: Option<(u8, u64)>,
        placed: bool,
    },
    /// With the bytes that stand in staging by now.
    Take {
        taken: Option<i64>,
    },
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub(super) session: Option<u64>,
    pub(super) kind: Kind,
    pub(super) bytes: i64,
    pub(super) entries: i64,
}

#[derive(Debug, Default)]
pub(super) struct Model {
    /// What a walk of the home would find.
    pub(super) home: (i64, i64),
    pub(super) used: (i64, i64),
    pub(super) rows: BTreeMap<StagingName, Row>,
}

impl Model {
    pub(super) fn reserved(&self) -> (i64, i64) {
        self.rows.values().fold((0, 0), |sum, row| (sum.0 + row.bytes, sum.1 + row.entries))
    }

    pub(super) fn admits(&self, bytes: i128, entries: i128) -> bool {
        let reserved = self.reserved();
        let fits = |used: i64, reserved: i64, growth: i128, limit: i64| {
            growth <= 0 || i128::from(used) + i128::from(reserved) + growth <= i128::from(limit)
        };
        fits(self.used.0, reserved.0, bytes, LIMIT)
            && fits(self.used.1, reserved.1, entries, ENTRIES)
    }

    pub(super) fn pick(
        &self,
        session: u64,
        pick: usize,
        wanted: impl Fn(&Kind) -> bool,
    ) -> Option<(StagingName, Row)> {
        let all: Vec<_> = self
            .rows
            .iter()
            .filter(|(_, row)| row.session == Some(session) && wanted(&row.kind))
            .collect();
        let (name, row) = all.get(pick % all.len().max(1))?;
        Some((**name, **row))
    }

    /// What a session does under the ticket: places what fits what it stated, or takes what there
    /// is.
    pub(super) fn act(&mut self, name: StagingName, limit: i64) {
        let Some(row) = self.rows.get_mut(&name) else {
            return;
        };
        match &mut row.kind {
            Kind::Stage { size, replaces, placed, .. } if !*placed => {
                let old = replaces.map(u64::cast_signed);
                if old.is_some_and(|old| self.home.0 < old || self.home.1 < 1) {
                    return;
                }
                self.home.0 += *size - old.unwrap_or(0);
                self.home.1 += i64::from(old.is_none());
                *placed = true;
            }
            Kind::Take { taken } if taken.is_none() && self.home.1 > 0 => {
                let bytes = limit.min(self.home.0);
                self.home.0 -= bytes;
                self.home.1 -= 1;
                *taken = Some(bytes);
            }
            _ => {}
        }
    }

    /// Ends an intent as its staging name shows it.
    pub(super) fn end(&mut self, name: StagingName) -> (Outcome, Finding) {
        let row = self.rows[&name];
        let file = |inode, size: i64| Finding::File { inode, size: size.cast_unsigned(), links: 1 };
        match row.kind {
            Kind::Stage { size, replaces, placed: true, .. } => {
                self.rows.remove(&name);
                let old = replaces.map(u64::cast_signed);
                self.used.0 += size - old.unwrap_or(0);
                self.used.1 += i64::from(old.is_none());
                let finding = old.map_or(Finding::Missing, |old| file(8, old));
                (Outcome::Placed { replaced: replaces }, finding)
            }
            Kind::Take { taken: Some(bytes) } => {
                self.rows.remove(&name);
                self.used.0 -= bytes;
                self.used.1 -= 1;
                let removed = Outcome::Removed { bytes: bytes.cast_unsigned(), entries: 1 };
                (removed, file(9, bytes))
            }
            Kind::Stage { upload: Some((path, source)), size, .. } => {
                self.rows.insert(name, Row { kind: Kind::Upload { path, source }, ..row });
                (Outcome::NotHappened, file(7, size))
            }
            Kind::Stage { size, .. } => {
                self.rows.remove(&name);
                (Outcome::NotHappened, file(7, size))
            }
            _ => {
                self.rows.remove(&name);
                (Outcome::NotHappened, Finding::Missing)
            }
        }
    }
}

pub(super) fn is_intent(kind: &Kind) -> bool {
    matches!(kind, Kind::Stage { .. } | Kind::Take { .. })
}

/// A resumed upload is admitted by what it grows; a new one as a whole, beside what is left without
/// the superseded one.
pub(super) fn admits_instead(
    model: &Model,
    found: &Option<(StagingName, Row)>,
    more: (i128, i128),
    growth: u64,
) -> bool {
    if found.is_some() {
        return model.admits(more.0, more.1);
    }
    // Shrinking makes no room that is not there: the whole must fit.
    let whole = |more: i128, growth: i128, used: i64, reserved: i64, limit: i64| {
        growth <= 0 || i128::from(used) + i128::from(reserved) + more <= i128::from(limit)
    };
    let reserved = model.reserved();
    whole(more.0, growth.into(), model.used.0, reserved.0, LIMIT)
        && whole(more.1, 1, model.used.1, reserved.1, ENTRIES)
}
