//! The bench's ledger: in memory, for one session, strict about what a filer may say.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use berth_common::entry::{Limits, SourceFingerprint, Usage};
use berth_common::error_code::{ErrorCode, Resource};
use berth_common::ids::{OpId, OwedName, StagingName, UploadToken};
use berth_common::ledger_protocol::{
    DaemonToFiler, FileReservation, FilerToDaemon, IntentItem, Outcome, ReservationResult,
    UploadRow,
};
use berth_common::limits::LEASE_BYTES;
use berth_common::rel_path::RelPath;

#[derive(Debug)]
pub struct Row {
    pub growth: u64,
    pub entries: u64,
    /// The intent, from its transaction to its settle.
    pub intent: Option<IntentItem>,
    pub upload: Option<(RelPath, SourceFingerprint, UploadToken)>,
    pub owned: bool,
}

#[derive(Debug)]
pub struct Ledger {
    staging: PathBuf,
    next_name: u64,
    pub rows: BTreeMap<StagingName, Row>,
    /// Names at which something may still stand.
    pub not_gone: BTreeSet<StagingName>,
    ticket: Option<OpId>,
    pub used_bytes: i64,
    pub used_entries: i64,
    pub limit_bytes: Option<u64>,
    /// Bytes that the disk has above its floor. It is not used up.
    pub room: u64,
    pub sync_failed: bool,
    /// Whether the home is said to be verified.
    pub reporting: bool,
    /// It cannot be written: intents are refused, but for removals.
    pub outage: bool,
    /// Every message, in order.
    pub log: Vec<FilerToDaemon>,
}

impl Ledger {
    pub fn new(staging: &Path) -> Self {
        Self {
            staging: staging.to_owned(),
            next_name: 0x10,
            rows: BTreeMap::new(),
            not_gone: BTreeSet::new(),
            ticket: None,
            used_bytes: 0,
            used_entries: 0,
            limit_bytes: None,
            room: 1 << 40,
            sync_failed: false,
            reporting: false,
            outage: false,
            log: Vec::new(),
        }
    }

    /// Whether nothing is left to be cleared, and no operation is under way.
    pub fn is_quiet(&self) -> bool {
        let left = |name: &StagingName| self.rows.get(name).is_none_or(|row| row.upload.is_none());
        !self.not_gone.iter().any(left)
            && self.rows.values().all(|row| row.intent.is_none() && !row.owned)
    }

    pub fn has_row(&self, file_name: &str) -> bool {
        StagingName::parse(file_name).is_some_and(|name| self.rows.contains_key(&name))
    }

    /// The session's process was reaped.
    pub fn forget_holder(&mut self) {
        self.ticket = None;
        for row in self.rows.values_mut() {
            row.owned = false;
        }
    }

    /// The kinds of the messages, for assertions about their order.
    pub fn said(&self) -> Vec<&'static str> {
        self.log.iter().map(kind).collect()
    }

    pub fn usage(&self) -> Usage {
        Usage {
            limits: Limits { bytes: self.limit_bytes, entries: None },
            used_bytes: self.used_bytes,
            used_entries: self.used_entries,
            reserved_bytes: self.rows.values().map(|row| row.growth).sum(),
            reserved_entries: self.rows.values().map(|row| row.entries).sum(),
        }
    }

    pub fn hear(&mut self, message: FilerToDaemon) -> Option<DaemonToFiler> {
        self.log.push(message.clone());
        Some(match message {
            FilerToDaemon::Reserve { op, stages: Some(bytes), .. } if bytes > self.room => {
                DaemonToFiler::Refused { op, error: ErrorCode::DiskFull }
            }
            FilerToDaemon::Reserve { op, growth, entries, .. } => match self.admit(growth) {
                Err(error) => DaemonToFiler::Refused { op, error },
                Ok(()) => {
                    let name = self.mint();
                    self.open(name, growth, entries, None);
                    DaemonToFiler::Reserved { op, name }
                }
            },
            FilerToDaemon::ReserveFiles { op, files } => self.reserve_files(op, &files),
            FilerToDaemon::Room { op } => DaemonToFiler::Room { op, bytes: self.room },
            FilerToDaemon::Lease { op, entries, .. } => {
                let (name, bytes) = (self.mint(), self.left().min(LEASE_BYTES).min(self.room));
                self.open(name, bytes, entries, None);
                DaemonToFiler::Leased { op, name, bytes }
            }
            FilerToDaemon::Extend { op, name, least } => self.extend(op, name, least),
            FilerToDaemon::ReserveUpload { op, path, source, token, growth, entries } => {
                self.reserve_upload(op, (path, source, token), growth, entries)
            }
            FilerToDaemon::Claim { op, name } => match self.rows.get_mut(&name) {
                Some(row) if !row.owned => {
                    row.owned = true;
                    DaemonToFiler::Done { op }
                }
                Some(_) => DaemonToFiler::Refused { op, error: ErrorCode::UploadBusy },
                None => DaemonToFiler::Refused { op, error: ErrorCode::NoSuchUpload },
            },
            FilerToDaemon::Drop { op, name } => {
                self.assert_gone(name);
                let row = self.rows.remove(&name).expect("only a row can be dropped");
                assert!(row.owned && row.intent.is_none(), "{name} is dropped while {row:?}");
                self.not_gone.remove(&name);
                DaemonToFiler::Done { op }
            }
            FilerToDaemon::LetGo { name } => {
                let row = self.rows.get_mut(&name).expect("only a row can be let go");
                assert!(row.upload.is_some() && row.owned && row.intent.is_none(), "{row:?}");
                row.owned = false;
                return None;
            }
            FilerToDaemon::Intent { op, items, .. }
                if self.outage && items == [IntentItem::Take] =>
            {
                self.grant(op);
                self.next_name += 1;
                DaemonToFiler::Owing { op, name: OwedName(self.next_name) }
            }
            FilerToDaemon::Intent { op, .. } if self.outage => {
                DaemonToFiler::Refused { op, error: ErrorCode::LedgerUnavailable }
            }
            FilerToDaemon::Intent { op, items, settle } => {
                assert_eq!(settle, None, "the bench hands a settle in by itself");
                self.intent(op, items)
            }
            FilerToDaemon::Ticket { op } => {
                self.grant(op);
                DaemonToFiler::Granted { op, names: vec![], reporting: self.reporting }
            }
            FilerToDaemon::Reports { .. } => {
                assert!(self.reporting, "nobody wants to know");
                return None;
            }
            FilerToDaemon::Released { op } => {
                assert_eq!(self.ticket.take(), Some(op), "the holder releases");
                return None;
            }
            FilerToDaemon::Settle { op, items } => {
                assert!(!self.sync_failed, "nothing is settled after a failed sync");
                for item in items {
                    self.settle(item.name, item.outcome);
                }
                DaemonToFiler::Settled { op, usage: self.usage() }
            }
            FilerToDaemon::Gone { names } => {
                for name in names {
                    self.assert_gone(name);
                    assert!(!self.rows.contains_key(&name), "{name} has a row");
                    assert!(self.not_gone.remove(&name), "{name} was gone before");
                }
                return None;
            }
            FilerToDaemon::Usage { op } => DaemonToFiler::Usage { op, usage: self.usage() },
            FilerToDaemon::Uploads { op, after } => self.uploads(op, after),
            FilerToDaemon::StagingSyncFailed => {
                self.sync_failed = true;
                return None;
            }
            FilerToDaemon::OutcomeUnknown => {
                assert!(self.sync_failed, "only a failed sync leaves it open");
                return None;
            }
            other => panic!("a serving filer said {other:?}"),
        })
    }

    /// The name that is minted next.
    pub fn next_name(&self) -> StagingName {
        StagingName(self.next_name + 1)
    }

    fn mint(&mut self) -> StagingName {
        self.next_name += 1;
        let name = StagingName(self.next_name);
        self.not_gone.insert(name);
        name
    }

    fn open(
        &mut self,
        name: StagingName,
        growth: u64,
        entries: u64,
        upload: Option<(RelPath, SourceFingerprint, UploadToken)>,
    ) {
        self.rows.insert(name, Row { growth, entries, intent: None, upload, owned: true });
    }

    fn extend(&mut self, op: OpId, name: StagingName, least: u64) -> DaemonToFiler {
        let row = &self.rows[&name];
        assert!(row.owned && row.intent.is_none() && row.upload.is_none(), "{name}: {row:?}");
        let (before, left) = (row.growth, self.left());
        let missing = least.saturating_sub(before);
        match self.admit(missing) {
            Err(error) => DaemonToFiler::Refused { op, error },
            Ok(()) => {
                if missing > self.room {
                    return DaemonToFiler::Refused { op, error: ErrorCode::DiskFull };
                }
                let bytes = before + missing.max(LEASE_BYTES).min(left).min(self.room);
                self.rows.get_mut(&name).unwrap().growth = bytes;
                DaemonToFiler::Extended { op, bytes }
            }
        }
    }

    fn left(&self) -> u64 {
        let usage = self.usage();
        let sum = usage.used_bytes + i64::try_from(usage.reserved_bytes).unwrap();
        self.limit_bytes.map_or(1 << 40, |limit| limit.saturating_sub(sum.max(0) as u64))
    }

    fn admit(&self, growth: u64) -> Result<(), ErrorCode> {
        let usage = self.usage();
        let sum = usage.used_bytes + i64::try_from(usage.reserved_bytes + growth).unwrap();
        match self.limit_bytes {
            Some(limit) if sum > i64::try_from(limit).unwrap() => Err(ErrorCode::QuotaExceeded {
                resource: Resource::Bytes,
                limit,
                used: usage.used_bytes,
                reserved: usage.reserved_bytes,
                requested: growth,
            }),
            _ => Ok(()),
        }
    }

    fn reserve_upload(
        &mut self,
        op: OpId,
        upload: (RelPath, SourceFingerprint, UploadToken),
        growth: u64,
        entries: u64,
    ) -> DaemonToFiler {
        let same_path = |row: &Row| {
            row.upload
                .as_ref()
                .is_some_and(|(path, _, token)| (path, token) == (&upload.0, &upload.2))
        };
        let found = self.rows.iter().find(|(_, row)| same_path(row)).map(|(name, _)| *name);
        let mut superseded = None;
        if let Some(name) = found {
            let row = self.rows.get_mut(&name).unwrap();
            if row.owned {
                return DaemonToFiler::Refused { op, error: ErrorCode::UploadBusy };
            }
            row.owned = true;
            if row.upload.as_ref().unwrap().1 == upload.1 {
                return DaemonToFiler::UploadReserved { op, name, resumed: true, superseded };
            }
            superseded = Some(name);
        }
        if let Err(error) = self.admit(growth) {
            return DaemonToFiler::Refused { op, error };
        }
        if upload.1.size > self.room {
            return DaemonToFiler::Refused { op, error: ErrorCode::DiskFull };
        }
        let name = self.mint();
        self.open(name, growth, entries, Some(upload));
        DaemonToFiler::UploadReserved { op, name, resumed: false, superseded }
    }

    fn grant(&mut self, op: OpId) {
        assert_eq!(self.ticket, None, "the release precedes the next question for the ticket");
        self.ticket = Some(op);
    }

    fn intent(&mut self, op: OpId, items: Vec<IntentItem>) -> DaemonToFiler {
        let mut names = Vec::new();
        for item in &items {
            if let IntentItem::Stage { name, size, replaces, .. } = item {
                let row = self.rows.get_mut(name).expect("staged under a reservation");
                assert!(row.owned && row.intent.is_none(), "{row:?}");
                let held = row.growth;
                row.growth = 0;
                let growth = size.saturating_sub(replaces.unwrap_or(0));
                let admitted = self.admit(growth);
                let row = self.rows.get_mut(name).unwrap();
                row.growth = if admitted.is_ok() { growth } else { held };
                if let Err(error) = admitted {
                    return DaemonToFiler::Refused { op, error };
                }
            }
        }
        for item in items {
            let name = match item {
                IntentItem::Stage { name, .. } => name,
                IntentItem::Take | IntentItem::Over => {
                    let name = self.mint();
                    self.open(name, 0, 0, None);
                    name
                }
            };
            self.rows.get_mut(&name).unwrap().intent = Some(item);
            names.push(name);
        }
        self.grant(op);
        DaemonToFiler::Granted { op, names, reporting: self.reporting }
    }

    fn settle(&mut self, name: StagingName, outcome: Outcome) {
        let row = self.rows.get_mut(&name).expect("an intent is settled once");
        let intent = row.intent.take().expect("only an intent can be settled");
        match (outcome, intent) {
            (Outcome::NotHappened, _) => {
                if row.upload.is_none() {
                    self.rows.remove(&name);
                }
                return;
            }
            (Outcome::Placed { replaced }, IntentItem::Stage { size, replaces, .. }) => {
                assert!(
                    replaced.unwrap_or(0) >= replaces.unwrap_or(0),
                    "no more than was admitted"
                );
                self.used_bytes += i64::try_from(size).unwrap();
                self.used_bytes -= i64::try_from(replaced.unwrap_or(0)).unwrap();
                self.used_entries += i64::from(replaced.is_none());
                if replaced.is_none() && row.upload.is_none() {
                    self.not_gone.remove(&name);
                }
            }
            (Outcome::Removed { bytes, entries }, IntentItem::Take | IntentItem::Over) => {
                self.used_bytes -= i64::try_from(bytes).unwrap();
                self.used_entries -= i64::try_from(entries).unwrap();
            }
            (outcome, intent) => panic!("{intent:?} was settled as {outcome:?}"),
        }
        self.rows.remove(&name);
    }

    /// Two rows a part.
    fn uploads(&self, op: OpId, after: Option<StagingName>) -> DaemonToFiler {
        let mut rows = self.rows.iter().filter(|(name, _)| after.is_none_or(|last| **name > last));
        let mut uploads = Vec::new();
        for (name, row) in rows.by_ref().take(2) {
            let Some((path, source, _)) = row.upload.clone() else {
                continue;
            };
            let (name, active) = (*name, row.owned);
            uploads.push(UploadRow { name, path, source, opened_s: 1, expires_s: 2, active });
        }
        DaemonToFiler::Uploads { op, uploads, last: rows.next().is_none() }
    }

    fn reserve_files(&mut self, op: OpId, files: &[FileReservation]) -> DaemonToFiler {
        if files.iter().map(|file| file.stages).sum::<u64>() > self.room {
            return DaemonToFiler::Refused { op, error: ErrorCode::DiskFull };
        }
        let mut reserve = |file: &FileReservation| match self.admit(file.growth) {
            Err(error) => ReservationResult::Refused(error),
            Ok(()) => {
                let name = self.mint();
                self.open(name, file.growth, file.entries, None);
                ReservationResult::Reserved(name)
            }
        };
        DaemonToFiler::FilesReserved { op, results: files.iter().map(&mut reserve).collect() }
    }

    fn assert_gone(&self, name: StagingName) {
        for file in [name.file_name(), name.journal_name()] {
            assert!(!self.staging.join(&file).exists(), "{file} still stands in staging");
        }
    }
}

pub fn kind(message: &FilerToDaemon) -> &'static str {
    match message {
        FilerToDaemon::Ready => "Ready",
        FilerToDaemon::Joined => "Joined",
        FilerToDaemon::Lease { .. } => "Lease",
        FilerToDaemon::Extend { .. } => "Extend",
        FilerToDaemon::Room { .. } => "Room",
        FilerToDaemon::ReserveUpload { .. } => "ReserveUpload",
        FilerToDaemon::Reserve { .. } => "Reserve",
        FilerToDaemon::ReserveFiles { .. } => "ReserveFiles",
        FilerToDaemon::Claim { .. } => "Claim",
        FilerToDaemon::Drop { .. } => "Drop",
        FilerToDaemon::LetGo { .. } => "LetGo",
        FilerToDaemon::Intent { .. } => "Intent",
        FilerToDaemon::Ticket { .. } => "Ticket",
        FilerToDaemon::Reports { .. } => "Reports",
        FilerToDaemon::Released { .. } => "Released",
        FilerToDaemon::Settle { .. } => "Settle",
        FilerToDaemon::Gone { .. } => "Gone",
        FilerToDaemon::Usage { .. } => "Usage",
        FilerToDaemon::Uploads { .. } => "Uploads",
        FilerToDaemon::StagingSyncFailed => "StagingSyncFailed",
        FilerToDaemon::OutcomeUnknown => "OutcomeUnknown",
        FilerToDaemon::Alive => "Alive",
        FilerToDaemon::Findings { .. } => "Findings",
        FilerToDaemon::OwedNames { .. } => "OwedNames",
        FilerToDaemon::Listed { .. } => "Listed",
        FilerToDaemon::Walked { .. } => "Walked",
        FilerToDaemon::Done { .. } => "Done",
        FilerToDaemon::Failed { .. } => "Failed",
        FilerToDaemon::SyncFailed { .. } => "SyncFailed",
    }
}
