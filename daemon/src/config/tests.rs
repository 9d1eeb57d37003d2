//! Tests of the configuration, the shipped example included.

use super::*;

const EXAMPLE: &str = include_str!("../../../systemd/berthd.toml");

fn complaints(text: &str) -> Vec<String> {
    let mut sentences = Vec::new();
    let raw = FileConfig::parse(text, &mut sentences);
    Config::check(&raw, &mut sentences);
    sentences
}

/// All keys that the file type knows, as serde itself lists them.
fn keys() -> Vec<String> {
    let error =
        "nonsense = 1".parse::<toml::Table>().unwrap().try_into::<FileConfig>().unwrap_err();
    let (_, list) = error.message().split_once("expected one of ").unwrap();
    list.split(", ").map(|key| key.trim_matches('`').to_owned()).collect()
}

#[test]
fn the_defaults_are_valid() {
    assert_eq!(complaints(""), Vec::<String>::new());
}

#[test]
fn the_shipped_example_equals_the_defaults() {
    let mut sentences = Vec::new();
    assert_eq!(FileConfig::parse(EXAMPLE, &mut sentences), FileConfig::default());
    assert_eq!(sentences, Vec::<String>::new());
}

#[test]
fn the_shipped_example_documents_every_key() {
    let stated = |key: &str| {
        EXAMPLE.lines().any(|line| {
            let line = line.strip_prefix('#').unwrap_or(line);
            line.split_once(" = ").is_some_and(|(left, _)| left == key)
        })
    };
    for key in keys() {
        assert!(stated(&key), "{key}");
    }
    let uncommented: String = EXAMPLE
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(key) if !key.starts_with(' ') => format!("{key}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    assert_eq!(complaints(&uncommented), Vec::<String>::new());
}

#[test]
fn all_complaints_come_at_once() {
    let text = r#"
        listen = ["localhost", "127.0.0.1:1", "127.0.0.1:1"]
        user = "root"
        key = "k.pem"
        sandbox = "none"
        log_format = "xml"
        backlog = 0
        login_seconds = "ten"
        max_conections = 5
        min_free_bytes = -1
        max_transfers = 17
    "#;
    let got = complaints(text);
    for expected in [
        "listen: \"localhost\" is not",
        "listen: 127.0.0.1:1 is there twice",
        "user: \"root\"",
        "certificate: it is needed",
        "log_format: \"xml\"",
        "sandbox: \"none\" is neither",
        "backlog: 0 is not between 1 and 65535",
        "login_seconds: ",
        "max_conections: there is no such key",
        "min_free_bytes: -1",
        "max_transfers: 17",
    ] {
        assert!(got.iter().any(|line| line.starts_with(expected)), "{expected} in {got:#?}");
    }
    assert_eq!(got.len(), 11, "{got:#?}");
}

#[test]
fn a_file_that_is_no_toml_says_where() {
    let got = complaints("backlog = 5\nlisten = [\n");
    assert_eq!(got.len(), 1);
    assert!(got[0].contains("line"), "{got:?}");
}

#[test]
fn port_0_may_be_there_more_than_once() {
    assert_eq!(complaints(r#"listen = ["127.0.0.1:0", "127.0.0.1:0"]"#), Vec::<String>::new());
}

#[test]
fn the_command_line_replaces_the_file() {
    let overrides = Overrides {
        data_dir: Some("/x".into()),
        listen: vec!["[::1]:0".to_owned()],
        log_format: Some(LogFormat::Json),
    };
    let config = Config::load(None, overrides).unwrap();
    assert_eq!(config.data_dir, PathBuf::from("/x"));
    assert_eq!(config.listen, ["[::1]:0".parse().unwrap()]);
    assert_eq!(config.log_format, LogFormat::Json);
    let bad = Overrides { listen: vec!["nowhere".to_owned()], ..Overrides::default() };
    let error = Config::load(None, bad).unwrap_err().to_string();
    assert!(error.contains("the command line") && error.contains("nowhere"), "{error}");
}

#[test]
fn the_daemon_needs_more_descriptors_than_a_filer_may_have_however_few_connections_there_are() {
    let mut config = Config::load(None, Overrides::default()).unwrap();
    for (connections, needed) in
        [(1, 8192), (512, 8192), (1290, 8192), (1291, 8194), (4096, 25_024)]
    {
        config.max_connections = connections;
        assert_eq!(config.descriptors_needed(), needed, "{connections} connections");
    }
}
