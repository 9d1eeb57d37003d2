//! What is asked about resumable uploads: opened, resumed, superseded, claimed, expired.

use berth_common::error_code::ErrorCode;

use super::super::model::{Kind, Model, Row, Source, Sums, fits};
use super::super::*;
use super::{User, World};

/// What an upload's opening has to answer, but for a new one's name.
enum Expected {
    Answer(Result<UploadOpening, LedgerError>),
    OverQuota,
    Resumed(StagingName),
    Begun { superseded: Option<StagingName> },
}

fn expected(model: &Model, session: u64, source: Source, growth: u64) -> Expected {
    let mut rows = model.rows.iter();
    if let Some((name, row)) = rows.find(|(_, row)| row.kind.source() == Some(source)) {
        let more = i128::from(growth) - i128::from(row.reserved.bytes);
        return match row.session {
            Some(owner) if owner == session => {
                Expected::Answer(Err(LedgerError::Refused(ErrorCode::UploadBusy)))
            }
            Some(owner) => Expected::Answer(Ok(UploadOpening::HeldBy {
                session: SessionId(owner),
                same_token: true,
            })),
            None if !model.admits(more, i128::from(1 - row.reserved.entries)) => {
                Expected::OverQuota
            }
            None => Expected::Resumed(*name),
        };
    }
    let other = Kind::Upload(Source { source: 1 - source.source, ..source });
    let superseded = model.rows.iter().find(|(_, row)| row.session.is_none() && row.kind == other);
    let given_back = superseded.map_or(Sums::default(), |(_, row)| row.reserved);
    match fits(model.left_without(given_back), growth.into(), 1) {
        true => Expected::Begun { superseded: superseded.map(|(name, _)| *name) },
        false => Expected::OverQuota,
    }
}

impl World {
    pub(super) async fn open(&mut self, user: usize, session: u64, source: Source, growth: u64) {
        let request = upload(["a", "b"][usize::from(source.path)], 1, source.source, 1);
        let request = UploadRequest { growth, ..request };
        let expected = expected(&self.users[user].model, session, source, growth);
        let opening = self.bench.ledger.open_upload(
            &self.users[user].name,
            SessionId(session),
            request,
            ROOM,
        );
        let opening = opening.await;
        let opened =
            |name, resumed, superseded| Ok(UploadOpening::Opened { name, resumed, superseded });
        let name = match expected {
            Expected::Answer(answer) => return assert_eq!(opening, answer),
            Expected::OverQuota => return assert!(over_quota(&opening.unwrap_err())),
            Expected::Resumed(name) => {
                assert_eq!(opening, opened(name, true, None));
                name
            }
            Expected::Begun { superseded } => {
                let Ok(UploadOpening::Opened { name, .. }) = opening else { panic!("{opening:?}") };
                assert_eq!(opening, opened(name, false, superseded));
                self.is_fresh(name.0);
                let old = superseded.and_then(|old| self.users[user].model.rows.get_mut(&old));
                if let Some(old) = old {
                    (old.session, old.reserved) = (Some(session), Sums::default());
                }
                name
            }
        };
        let row = Row {
            session: Some(session),
            kind: Kind::Upload(source),
            reserved: Sums::of(growth.cast_signed(), 1),
            touched_s: self.now_s,
        };
        self.users[user].model.rows.insert(name, row);
    }

    pub(super) async fn claim(&mut self, user: usize, session: u64, pick: usize) {
        let (of, model) = (self.users[user].name.clone(), &mut self.users[user].model);
        let uploads = model.rows.iter_mut().filter(|(_, row)| row.kind.source().is_some());
        let mut uploads: Vec<_> = uploads.collect();
        let many = uploads.len().max(1);
        let ledger = &self.bench.ledger;
        let Some((name, row)) = uploads.get_mut(pick % many) else {
            let refused = ledger.claim(&of, SessionId(session), StagingName(1)).await;
            return assert_eq!(refused, Err(LedgerError::Refused(ErrorCode::NoSuchUpload)));
        };
        let expected = match row.session {
            Some(owner) if owner != session => Ok(Claiming::HeldBy(SessionId(owner))),
            _ if row.kind.is_intent() => Err(LedgerError::Refused(ErrorCode::UploadBusy)),
            _ => {
                row.session = Some(session);
                Ok(Claiming::Claimed)
            }
        };
        assert_eq!(ledger.claim(&of, SessionId(session), **name).await, expected);
    }

    pub(super) async fn claim_expired(&mut self, user: usize, session: u64) {
        let old = self.now_s - EXPIRY_S;
        let User { name, model } = &mut self.users[user];
        let free =
            |row: &&mut Row| row.session.is_none() && row.kind.is_upload() && row.touched_s <= old;
        let mut expected = Vec::new();
        for (name, row) in model.rows.iter_mut() {
            if free(&row) {
                row.session = Some(session);
                expected.push(*name);
            }
        }
        let mut claimed = self.bench.ledger.claim_expired(name, SessionId(session)).await.unwrap();
        claimed.sort();
        assert_eq!(claimed, expected);
    }

    pub(super) async fn give_up_claims(&mut self, user: usize, session: u64) {
        self.bench.ledger.give_up_claims(SessionId(session)).await.unwrap();
        let model = &mut self.users[user].model;
        let own = |row: &&mut Row| row.session == Some(session) && row.kind.is_upload();
        model.rows.values_mut().filter(own).for_each(|row| row.session = None);
    }

    pub(super) async fn let_go(&mut self, user: usize, session: u64, pick: usize) {
        let now_s = self.now_s;
        let User { name: of, model } = &mut self.users[user];
        let Some((name, row)) = model.pick(session, pick, Kind::is_upload) else {
            return;
        };
        self.bench.ledger.let_go(of, SessionId(session), name).await.unwrap();
        model.rows.insert(name, Row { session: None, touched_s: now_s, ..row });
    }
}
