//! What stands before the cursor: the user, the server and the directory in the home.

use berth::target::Target;
use berth_common::rel_path::RelPath;

use crate::looking::columns::end_within;
use crate::output::escaped;

/// Longest directory that is shown whole, in columns.
const LONGEST: usize = 40;

/// `alice@host:/photos> `. A directory's name cannot drive the terminal, and of a long path the end is shown.
pub(super) fn prompt(target: &Target, cwd: &RelPath) -> String {
    let path = cwd.to_string();
    let path = escaped(&path);
    let shown = end_within(&path, LONGEST);
    format!("{}@{}:{shown}> ", target.user, escaped(&target.server.host))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::looking::columns;

    #[test]
    fn a_prompt_shows_who_and_where() {
        let target = "alice@host:99".parse().unwrap();
        let at = |path: &str| prompt(&target, &RelPath::new(path).unwrap());
        assert_eq!(at(""), "alice@host:/> ");
        assert_eq!(at("a b/日本"), "alice@host:/a b/日本> ");
        assert_eq!(at("a\u{1b}[2J\n"), "alice@host:/a\\u{1b}[2J\\n> ");
        let long = at(&"0123456789/".repeat(9).trim_end_matches('/').replace('0', "日"));
        assert!(long.starts_with("alice@host:…") && long.ends_with("/日123456789> "), "{long}");
        let columns = columns::width(&long) - "alice@host:> ".len();
        assert!((LONGEST - 1..=LONGEST).contains(&columns), "{columns}");
    }
}
