//! `berth ping`: round trips of echoes within the session, or the rate at which many bytes go there and back.
//!
//! The statistics are printed when the command ends, also when it is cancelled or the connection is lost, so they
//! stand in the `Drop` of what was counted.

use std::time::{Duration, Instant};

use berth_common::limits::MAX_ECHO_BYTES;
use futures_util::stream::{self, StreamExt as _};
use rust_i18n::t;
use serde_json::json;
use tokio::time::sleep_until;

use super::{Context, failed};
use crate::args::PingArgs;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::human;
use crate::looking::round_trips::{RoundTrips, milliseconds};

/// Bytes of an echo whose round trip is measured, as those of ping(8).
pub(super) const SMALL_ECHO: usize = 56;

/// Echoes that are under way at once when the rate is measured: 4 MiB, about what a put keeps on the line.
const UNDER_WAY: usize = 64;

pub(super) async fn run(context: &Context, args: &PingArgs) -> Result<Exit, Failure> {
    match args.bytes {
        Some(bytes) => measure(context, bytes).await?,
        None => ping(context, args).await?,
    }
    Ok(Exit::Success)
}

async fn ping(context: &Context, args: &PingArgs) -> Result<(), Failure> {
    let (output, details) = (&context.output, &context.details);
    let style = output.style();
    let tells = !style.json && !style.quiet;
    if tells {
        output.line(&t!(
            "PING %{server} (%{address}) %{small_echo} bytes",
            server = details.server,
            address = details.address,
            small_echo = SMALL_ECHO
        ))?;
        output.flush()?;
    }
    let mut trips = Trips { context, sent: 0, back: RoundTrips::default(), began: Instant::now() };
    for number in 1..=args.count {
        let began = Instant::now();
        let mut payload = vec![0; SMALL_ECHO];
        payload[..size_of::<u32>()].copy_from_slice(&number.to_be_bytes());
        trips.sent += 1;
        let echoed = context.session.echo(payload).await;
        let took = began.elapsed();
        echoed.map_err(|error| failed(&error).of("ping"))?;
        trips.back.add(took);
        if style.json {
            let seconds = took.as_secs_f64();
            output.json(&json!({ "seq": number, "bytes": SMALL_ECHO, "seconds": seconds }))?;
        } else if tells {
            let time = milliseconds(took);
            output.line(&t!(
                "%{small_echo} bytes: seq=%{number} time=%{time} ms",
                small_echo = SMALL_ECHO,
                number = number,
                time = time
            ))?;
        }
        output.flush()?;
        if number < args.count && !args.interval.is_zero() {
            // The next one is due when it would be if this one had taken no time. One that is never due waits.
            match began.checked_add(args.interval) {
                Some(due) => sleep_until(due.into()).await,
                None => std::future::pending().await,
            }
        }
    }
    Ok(())
}

/// The round trips so far.
struct Trips<'a> {
    context: &'a Context,
    sent: u32,
    back: RoundTrips,
    began: Instant,
}

impl Drop for Trips<'_> {
    fn drop(&mut self) {
        let output = &self.context.output;
        let (sent, back, elapsed) = (self.sent, self.back.count(), self.began.elapsed());
        let summary = self.back.summary();
        // Whoever reads has heard enough when it cannot be written.
        if output.style().json {
            let _ = output.json(&json!({ "summary": {
                "sent": sent,
                "received": back,
                "seconds": elapsed.as_secs_f64(),
                "round_trip_seconds": summary.map(|summary| summary.json()),
            }}));
        } else {
            let gap = if output.style().quiet { "" } else { "\n" };
            let server = &self.context.details.server;
            let took = human::duration(elapsed.as_secs_f64());
            let heading = t!("--- %{server} ping statistics ---", server = server);
            let _ = output.line(&format!("{gap}{heading}"));
            let _ = output.line(&t!(
                "%{sent} sent, %{back} received, time %{took}",
                sent = sent,
                back = back,
                took = took
            ));
            if let Some(summary) = summary {
                let _ = output.line(&summary.line());
            }
        }
        let _ = output.flush();
    }
}

async fn measure(context: &Context, bytes: u64) -> Result<(), Failure> {
    let mut rate = Rate { context, back: 0, began: Instant::now() };
    let whole = bytes / MAX_ECHO_BYTES as u64;
    let rest = (bytes % MAX_ECHO_BYTES as u64) as usize;
    let sizes = (0..whole).map(|_| MAX_ECHO_BYTES).chain((rest > 0).then_some(rest));
    let echoes = sizes.zip(0u64..).map(async |(size, number)| {
        // So that no two are the same.
        let mut payload = number.to_be_bytes().repeat(size.div_ceil(size_of::<u64>()));
        payload.truncate(size);
        context.session.echo(payload).await.map(|()| size as u64)
    });
    let mut echoes = stream::iter(echoes).buffer_unordered(UNDER_WAY);
    while let Some(echoed) = echoes.next().await {
        rate.back += echoed.map_err(|error| failed(&error).of("ping"))?;
    }
    Ok(())
}

/// What came back so far.
struct Rate<'a> {
    context: &'a Context,
    back: u64,
    began: Instant,
}

impl Drop for Rate<'_> {
    fn drop(&mut self) {
        let output = &self.context.output;
        let elapsed = self.began.elapsed().max(Duration::from_nanos(1)).as_secs_f64();
        let rate = (self.back as f64 / elapsed) as u64;
        // As above.
        if output.style().json {
            let _ = output.json(&json!({ "summary": {
                "bytes": self.back, "seconds": elapsed, "bytes_per_second": rate,
            }}));
        } else {
            let (bytes, rate) = (human::size(self.back), human::size(rate));
            let took = human::duration(elapsed);
            let _ = output.line(&t!(
                "%{bytes} there and back in %{took}: %{rate}/s each way",
                bytes = bytes,
                took = took,
                rate = rate
            ));
        }
        let _ = output.flush();
    }
}
