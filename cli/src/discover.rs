//! `berth discover`: the servers that are announced on the local network. It needs no login and connects to nothing.
//!
//! What is shown was chosen by whoever likes to send a packet: all of it is escaped, in a pipe too, and nothing is
//! remembered or trusted.

use std::net::IpAddr;
use std::time::Duration;

use berth::target::ServerAddress;
use berth_common::client_protocol::DEFAULT_PORT;
use berth_discovery::browse::{MOST_SERVERS, Server, browse};
use serde_json::{Value, json};

use crate::args::DiscoverArgs;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::looking::columns::width;
use crate::output::{Output, escaped};

/// Between two columns.
const GAP: usize = 2;

const HEADINGS: [&str; 4] = ["NAME", "SERVER", "HOST", "VERSION"];

/// Listens, and prints what was found. Nothing found is no failure, as with a listing of an empty directory.
pub(crate) async fn run(args: DiscoverArgs, output: &Output) -> Result<Exit, Failure> {
    let found = browse(Duration::from_secs(args.seconds.into())).await;
    let found = found.map_err(|error| Failure::new(Exit::Failure, error).of("discover"))?;
    if output.style().json {
        for server in &found.servers {
            output.json(&as_json(server))?;
        }
    } else if !found.servers.is_empty() {
        for line in table(&found.servers) {
            output.line(&line)?;
        }
    }
    output.flush()?;
    if found.servers.is_empty() {
        output.note("no server is announced on the local network");
    }
    if found.more {
        output.note(&format!(
            "more than {MOST_SERVERS} servers were announced; the others are left out"
        ));
    }
    Ok(Exit::Success)
}

/// A server takes a line, and one more for each further address.
fn table(servers: &[Server]) -> Vec<String> {
    let mut rows = vec![HEADINGS.map(str::to_owned)];
    for server in servers {
        let places = places(server);
        let mut texts =
            [Some(server.name.as_str()), Some(server.host.as_str()), server.version.as_deref()]
                .map(|text| escaped(text.unwrap_or("-")).into_owned());
        for place in places {
            let [name, host, version] = std::mem::take(&mut texts);
            rows.push([name, escaped(&place).into_owned(), host, version]);
        }
    }
    let widest = |column: usize| rows.iter().map(|row| width(&row[column])).max().unwrap_or(0);
    let widths: Vec<_> = (0..HEADINGS.len()).map(widest).collect();
    let line = |row: &[String; 4]| {
        let mut line = String::new();
        for (text, widest) in row.iter().zip(&widths) {
            line.push_str(text);
            line.extend(std::iter::repeat_n(' ', widest - width(text) + GAP));
        }
        line.truncate(line.trim_end_matches(' ').len());
        line
    };
    rows.iter().map(line).collect()
}

/// What can stand behind `USER@` in -H, one for each address; the host's name where none is known.
fn places(server: &Server) -> Vec<String> {
    let with_port = |host: &str| match server.port {
        DEFAULT_PORT => host.to_owned(),
        port => ServerAddress { host: host.to_owned(), port }.to_string(),
    };
    match &server.addresses[..] {
        [] => vec![with_port(&server.host)],
        addresses => addresses.iter().map(IpAddr::to_string).map(|it| with_port(&it)).collect(),
    }
}

fn as_json(server: &Server) -> Value {
    json!({
        "name": server.name,
        "host": server.host,
        "port": server.port,
        "addresses": server.addresses.iter().map(IpAddr::to_string).collect::<Vec<_>>(),
        "protocol": server.protocol,
        "version": server.version,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(name: &str, addresses: &[&str], port: u16) -> Server {
        Server {
            name: name.to_owned(),
            host: "nas-berth.local".to_owned(),
            addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
            port,
            protocol: Some("1".to_owned()),
            version: None,
        }
    }

    #[test]
    fn what_is_shown_can_be_given_to_the_option_h() {
        for (addresses, port) in
            [(&["10.0.0.1", "fd00::1"][..], 4022), (&["10.0.0.1", "fd00::1"], 99), (&[], 99)]
        {
            let server = server("files", addresses, port);
            for place in places(&server) {
                let read: ServerAddress = place.parse().unwrap();
                assert_eq!(read.port, port);
                assert!(addresses.is_empty() || addresses.contains(&read.host.as_str()), "{place}");
            }
        }
    }

    #[test]
    fn wide_names_are_aligned_and_further_addresses_stand_beneath() {
        let servers = [
            Server {
                version: Some("0.1.0".to_owned()),
                ..server("文件", &["10.0.0.1", "fd00::1"], 4022)
            },
            server("files", &["10.0.0.2"], 4023),
        ];
        assert_eq!(
            table(&servers),
            [
                "NAME   SERVER         HOST             VERSION",
                "文件   10.0.0.1       nas-berth.local  0.1.0",
                "       fd00::1",
                "files  10.0.0.2:4023  nas-berth.local  -",
            ]
        );
    }

    #[test]
    fn what_drives_a_terminal_is_escaped() {
        let mut hostile = server("\x1b[2J\n\u{202e}", &[], 4022);
        hostile.host = "a\x07b.local".to_owned();
        hostile.version = Some("\u{9b}1m".to_owned());
        let text = table(&[hostile]).join("|");
        assert!(!text.chars().any(|c| c.is_control() || c == '\u{202e}'), "{text:?}");
        assert!(text.contains("\\u{1b}[2J\\n\\u{202e}  a\\u{7}b.local"), "{text}");
    }
}
