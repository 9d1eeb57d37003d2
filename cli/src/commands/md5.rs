//! `berth md5`: the MD5 of files as `md5sum` prints it, which is not the tree digest.

use berth_common::digest::Md5;
use serde_json::json;

use super::Context;
use crate::args::Md5Args;
use crate::exit::Exit;
use crate::failure::Failure;

pub(super) async fn run(context: &Context, args: &Md5Args) -> Result<Exit, Failure> {
    let mut typed = args.paths.iter();
    context
        .for_each("md5", &args.paths, async |path| {
            // In the order in which `for_each` takes them.
            let typed = typed.next().map_or("", String::as_str);
            let (md5, size) = context.session.md5(path).await?;
            let output = &context.output;
            if output.style().json {
                let path = path.to_string();
                let value = json!({ "path": path, "md5": md5.to_string(), "size": size });
                return Ok(output.json(&value)?);
            }
            Ok(output.line(&output.name(&line(&md5, typed)))?)
        })
        .await
}

/// The name as it was typed, so that `md5sum -c` finds a local copy, and a line for each file
/// whatever its name is: with a backslash before it where there is one within the name.
fn line(md5: &Md5, name: &str) -> String {
    if name.contains(['\\', '\n', '\r']) {
        let name = name.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r");
        format!("\\{md5}  {name}")
    } else {
        format!("{md5}  {name}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_as_md5sum_escapes_them() {
        let md5 = Md5::of(b"");
        assert_eq!(line(&md5, "a b"), format!("{md5}  a b"));
        assert_eq!(line(&md5, "a\n\\\rb"), format!("\\{md5}  a\\n\\\\\\rb"));
    }
}
