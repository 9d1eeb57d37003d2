//! `README.zh-CN.md` is the same page as `README.md`: the same commands, the same documents, the same exit codes.

use std::fs;
use std::path::Path;

use berth_cli::exit::EXIT_CODES;

use crate::tables::translations;

fn page(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join(name);
    fs::read_to_string(path).unwrap()
}

/// What stands between the lines that begin with three backticks, those included.
fn blocks(page: &str) -> Vec<String> {
    let parts: Vec<&str> = page.split("\n```").collect();
    parts.chunks(2).filter_map(|pair| Some((*pair.get(1)?).to_owned())).collect()
}

/// The targets of links and pictures, without those to the page in the other language.
fn targets(page: &str) -> Vec<&str> {
    let targets = page.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0));
    targets.filter(|target| !target.starts_with("README")).collect()
}

#[test]
fn both_pages_have_the_same_commands_and_lead_to_the_same_documents() {
    let (english, chinese) = (page("README.md"), page("README.zh-CN.md"));
    assert!(blocks(&english).len() > 6);
    assert_eq!(blocks(&chinese), blocks(&english));
    assert_eq!(targets(&chinese), targets(&english));
    let headings = |page: &str| page.lines().filter(|line| line.starts_with('#')).count();
    assert_eq!(headings(&chinese), headings(&english));
    assert!(english.contains("(README.zh-CN.md)") && chinese.contains("(README.md)"));
}

#[test]
fn the_chinese_page_has_the_table_of_exit_codes() {
    let (page, translations) = (page("README.zh-CN.md"), translations());
    let row = |code: u8, meaning: &str| format!("| {code} | {} |\n", translations[meaning].text);
    let table: String =
        EXIT_CODES.iter().map(|(exit, meaning)| row(exit.code(), meaning)).collect();
    assert!(page.contains(&table), "README.zh-CN.md should have\n{table}");
}
