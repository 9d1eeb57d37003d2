//! Opening an upload: resumed, superseded or begun, by what stands at its path.
//!
//! The decision is [`course`]; the rest carries it out in one transaction, with the reservation.

use berth_common::error_code::ErrorCode;
use berth_common::ids::{SessionId, StagingName, UserName};
use rusqlite::named_params;

use super::account::{self, Account};
use super::admission::Amount;
use super::model::{LedgerError, UploadOpening, UploadRequest};
use super::request::{Failure, Tx};
use super::uploads::{Upload, at_path, change_reserved, own, reserve};
use super::{memory, names, uploads};

/// What a request for an upload meets at its path.
#[derive(Debug)]
enum Course {
    Busy,
    HeldBy { session: SessionId, same_token: bool },
    Resume(Upload),
    Begin { superseding: Option<Upload> },
}

/// Decides by what stands at the path: the same source is resumed or held; another source of the
/// same client is superseded, if nobody works on it; anything else is left alone.
fn course(uploads: Vec<Upload>, session: SessionId, request: &UploadRequest) -> Course {
    let mut superseding = None;
    for upload in uploads {
        let same_token = upload.token == request.token;
        if upload.source == request.source {
            return match upload.owner {
                Some(owner) if owner == session => Course::Busy,
                Some(session) => Course::HeldBy { session, same_token },
                None if upload.committing => Course::Busy,
                None => Course::Resume(upload),
            };
        }
        if same_token && upload.is_free() && superseding.is_none() {
            superseding = Some(upload);
        }
    }
    Course::Begin { superseding }
}

pub(super) fn open(
    tx: &Tx<'_>,
    user: &UserName,
    session: SessionId,
    request: &UploadRequest,
    room: u64,
) -> Result<UploadOpening, Failure> {
    let account = account::of_active(tx, user)?;
    // With the one that it may supersede.
    memory::check_room(tx, session, 2)?;
    match course(at_path(tx, account.id, &request.path)?, session, request) {
        Course::Busy => Err(LedgerError::Refused(ErrorCode::UploadBusy).into()),
        Course::HeldBy { session, same_token } => Ok(UploadOpening::HeldBy { session, same_token }),
        Course::Resume(upload) => {
            let name = resume(tx, &account, session, request, &upload)?;
            Ok(UploadOpening::Opened { name, resumed: true, superseded: None })
        }
        Course::Begin { superseding } => {
            let superseded = superseding.as_ref().map(|upload| upload.name);
            check_number(tx, &account, superseded)?;
            let account = match &superseding {
                Some(upload) => supersede(tx, &account, session, upload)?,
                None => account,
            };
            let name = begin(tx, &account, session, request, room)?;
            Ok(UploadOpening::Opened { name, resumed: false, superseded })
        }
    }
}

/// Refuses one more upload to a user who has as many as may be: what they reserve does not bound
/// their number, since one that overwrites reserves its growth only. The one that is superseded
/// does not count, so that a changed source can always be sent; it does for the next.
fn check_number(
    tx: &Tx<'_>,
    account: &Account,
    superseded: Option<StagingName>,
) -> Result<(), Failure> {
    let others = uploads::count_up_to(tx, account.id, superseded, tx.max_uploads)?;
    if others < tx.max_uploads {
        return Ok(());
    }
    let limit = tx.max_uploads;
    Err(LedgerError::Refused(ErrorCode::TooManyUploads { limit }).into())
}

/// Goes on with an upload: what it reserves becomes what it needs now, and its token the one of who
/// has it.
fn resume(
    tx: &Tx<'_>,
    account: &Account,
    session: SessionId,
    request: &UploadRequest,
    upload: &Upload,
) -> Result<StagingName, Failure> {
    let before = upload.reserved;
    let amount = account.admit_instead(before, request.growth, request.entries)?;
    reserve(tx, upload.name, amount)?;
    tx.db.execute(
        "UPDATE uploads SET token = ?2, touched_s = ?3 WHERE name = ?1",
        (upload.name.0.cast_signed(), request.token.0, tx.now_s),
    )?;
    change_reserved(tx, account.id, before, amount)?;
    own(tx, account.id, session, upload.name)?;
    Ok(upload.name)
}

/// Takes an upload whose source has changed, with what it had reserved: the new one needs that, and
/// the old one only waits to be removed. Were it resumed after all, admission would be repeated.
fn supersede(
    tx: &Tx<'_>,
    account: &Account,
    session: SessionId,
    upload: &Upload,
) -> Result<Account, Failure> {
    reserve(tx, upload.name, Amount::default())?;
    change_reserved(tx, account.id, upload.reserved, Amount::default())?;
    own(tx, account.id, session, upload.name)?;
    Ok(account.without(upload.reserved))
}

fn begin(
    tx: &Tx<'_>,
    account: &Account,
    session: SessionId,
    request: &UploadRequest,
    room: u64,
) -> Result<StagingName, Failure> {
    account.check_leftovers()?;
    let amount = account.admit_instead(Amount::default(), request.growth, request.entries)?;
    // All of it is written beside what it replaces, and not its growth alone.
    if request.source.size > room {
        return Err(LedgerError::Refused(ErrorCode::DiskFull).into());
    }
    let name = names::mint(tx)?;
    tx.db.execute(
        "INSERT INTO uploads VALUES (:name, :user, :path, :token, :size, :mtime_ns, :ctime_ns, \
         :inode, :bytes, :entries, :now_s, :now_s)",
        named_params! {
            ":name": name.0.cast_signed(),
            ":user": account.id.0,
            ":path": request.path.as_str(),
            ":token": request.token.0,
            ":size": request.source.size.cast_signed(),
            ":mtime_ns": request.source.mtime_ns,
            ":ctime_ns": request.source.ctime_ns,
            ":inode": request.source.inode.cast_signed(),
            ":bytes": amount.bytes,
            ":entries": amount.entries,
            ":now_s": tx.now_s,
        },
    )?;
    change_reserved(tx, account.id, Amount::default(), amount)?;
    own(tx, account.id, session, name)?;
    Ok(name)
}
