//! `berth md5`: the MD5 of files as `md5sum` prints it, which is not the tree digest.

use serde_json::json;

use super::Context;
use crate::args::Md5Args;
use crate::exit::{Exit, Failure};

pub(super) async fn run(context: &Context, args: &Md5Args) -> Result<Exit, Failure> {
    context
        .for_each("md5", &args.paths, async |path| {
            let (md5, size) = context.session.md5(path).await?;
            let output = &context.output;
            let path = path.to_string();
            if output.style().json {
                let value = json!({ "path": path, "md5": md5.to_string(), "size": size });
                return Ok(output.json(&value)?);
            }
            Ok(output.line(&format!("{md5}  {}", output.name(&path)))?)
        })
        .await
}
