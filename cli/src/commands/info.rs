//! `berth info`: what the server and the connection to it are.

use std::time::{Duration, Instant};

use berth_common::client_protocol::ALPN;
use berth_common::entry::Usage;
use rust_i18n::t;
use serde_json::json;

use super::ping::SMALL_ECHO;
use super::{Context, failed, show};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::human;
use crate::looking::columns::left;
use crate::looking::round_trips::{RoundTrips, milliseconds};

/// Echoes of whose round trips the median is told.
const ECHOES: usize = 5;

pub(super) async fn run(context: &Context) -> Result<Exit, Failure> {
    let of = |error| failed(&error).of("info");
    let usage = context.session.usage().await.map_err(of)?;
    let mut trips = RoundTrips::default();
    for _ in 0..ECHOES {
        let began = Instant::now();
        context.session.echo(vec![0; SMALL_ECHO]).await.map_err(of)?;
        trips.add(began.elapsed());
    }
    let latency = trips.summary().map_or(Duration::ZERO, |summary| summary.median);
    if context.output.style().json {
        print_json(context, &usage, latency)?;
    } else {
        print(context, &usage, latency)?;
    }
    Ok(Exit::Success)
}

fn print(context: &Context, usage: &Usage, latency: Duration) -> Result<(), Failure> {
    let (info, details) = (context.session.info(), &context.details);
    let limit = |limit: Option<String>| limit.unwrap_or_else(|| t!("unlimited").into_owned());
    let rows = [
        // A site with a secret does not tell.
        (
            t!("server"),
            if info.server.is_empty() { t!("not told").into_owned() } else { info.server.clone() },
        ),
        (t!("address"), format!("{} ({})", details.server, details.address)),
        (t!("fingerprint"), context.fingerprint.to_string()),
        (
            t!("protocol"),
            t!(
                "%{alpn}, version %{protocol}",
                alpn = String::from_utf8_lossy(ALPN),
                protocol = info.protocol
            )
            .into_owned(),
        ),
        (t!("encryption"), format!("{}, {}", details.tls, details.cipher_suite)),
        (t!("user"), info.user.to_string()),
        (
            t!("transfers"),
            t!("%{max_transfers} at once", max_transfers = info.max_transfers).into_owned(),
        ),
        (
            t!("bytes"),
            t!(
                "%{used_bytes} used of %{size}",
                used_bytes = human::signed_size(usage.used_bytes),
                size = limit(usage.limits.bytes.map(human::size))
            )
            .into_owned(),
        ),
        (
            t!("entries"),
            t!(
                "%{used_entries} used of %{entries}",
                used_entries = usage.used_entries,
                entries = limit(usage.limits.entries.map(|entries| entries.to_string()))
            )
            .into_owned(),
        ),
        (
            t!("latency"),
            t!(
                "%{latency} ms (median of %{echoes} echoes)",
                latency = milliseconds(latency),
                echoes = ECHOES
            )
            .into_owned(),
        ),
    ];
    for (name, value) in rows {
        // The server chose its name.
        context.output.line(&format!(
            "{}{}",
            left(&format!("{name}:"), 13),
            context.output.name(&value)
        ))?;
    }
    Ok(())
}

fn print_json(context: &Context, usage: &Usage, latency: Duration) -> Result<(), Failure> {
    let (info, details) = (context.session.info(), &context.details);
    Ok(context.output.json(&json!({
        "server": info.server,
        "host": details.server.host,
        "port": details.server.port,
        "address": details.address.to_string(),
        "fingerprint": context.fingerprint.to_string(),
        "protocol": info.protocol,
        "tls": details.tls,
        "cipher_suite": details.cipher_suite,
        "user": info.user.as_str(),
        "max_transfers": info.max_transfers,
        "quota": show::usage(usage),
        "latency_seconds": latency.as_secs_f64(),
    }))?)
}
