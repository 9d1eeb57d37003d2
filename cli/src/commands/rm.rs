//! `berth rm`: files and directories of the home go.

use super::Context;
use crate::args::RmArgs;
use crate::exit::Exit;
use crate::failure::Failure;

pub(super) async fn run(context: &Context, args: &RmArgs) -> Result<Exit, Failure> {
    context
        .for_each("rm", &args.paths, async |path| {
            Ok(context.session.remove(path, args.recursive).await?)
        })
        .await
}
