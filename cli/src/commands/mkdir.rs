//! `berth mkdir`: directories in the home.

use super::Context;
use crate::args::MkdirArgs;
use crate::exit::Exit;
use crate::failure::Failure;

pub(super) async fn run(context: &Context, args: &MkdirArgs) -> Result<Exit, Failure> {
    context
        .for_each("mkdir", &args.paths, async |path| {
            Ok(context.session.make_directory(path, args.parents).await?)
        })
        .await
}
