//! `berth uploads`: uploads that were begun and not finished; they count against the quota.

use berth_common::entry::UploadSummary;
use berth_common::ids::StagingName;
use rust_i18n::t;
use serde_json::{Value, json};

use super::{Context, failed, show};
use crate::args::UploadsArgs;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::human;
use crate::looking::columns::left;
use crate::looking::columns::right;

pub(super) async fn run(context: &Context, args: &UploadsArgs) -> Result<Exit, Failure> {
    match args.abort {
        Some(upload) => abort(context, upload).await,
        None => list(context).await,
    }
}

async fn abort(context: &Context, upload: StagingName) -> Result<Exit, Failure> {
    let aborted = context.session.abort_upload(upload).await;
    let id = upload.file_name();
    aborted.map_err(|error| failed(&error).of(format_args!("uploads --abort {id}")))?;
    Ok(Exit::Success)
}

async fn list(context: &Context) -> Result<Exit, Failure> {
    let uploads = context.session.uploads().await.map_err(|error| failed(&error).of("uploads"))?;
    let output = &context.output;
    if output.style().json {
        for upload in &uploads {
            output.json(&as_json(upload))?;
        }
        return Ok(Exit::Success);
    }
    if uploads.is_empty() {
        output.note(&t!("no unfinished uploads"));
        return Ok(Exit::Success);
    }
    output.line(&format!(
        "{} {} {} {} {} {} {}",
        left(&t!("ID"), 16),
        right(&t!("RECEIVED"), 10),
        right(&t!("SIZE"), 10),
        right(&t!("DONE"), 5),
        left(&t!("EXPIRES"), 19),
        left(&t!("ACTIVE"), 6),
        t!("PATH")
    ))?;
    for upload in &uploads {
        output.line(&format!(
            "{:<16} {:>10} {:>10} {:>4}% {:<19} {} {}",
            upload.upload.file_name(),
            human::size(upload.received),
            human::size(upload.size),
            human::percent(upload.received, upload.size),
            show::local_time(upload.expires_s.saturating_mul(1_000_000_000)),
            left(&if upload.active { t!("yes") } else { t!("no") }, 6),
            output.name(&upload.path.to_string()),
        ))?;
    }
    Ok(Exit::Success)
}

fn as_json(upload: &UploadSummary) -> Value {
    json!({
        "id": upload.upload.file_name(),
        "path": upload.path.to_string(),
        "size": upload.size,
        "received": upload.received,
        "opened": show::utc_time(upload.opened_s.saturating_mul(1_000_000_000)),
        "expires": show::utc_time(upload.expires_s.saturating_mul(1_000_000_000)),
        "active": upload.active,
    })
}
