//! What the daemon does once everything stands: recovers, lets clients in, and waits for signals.
//!
//! Nobody is let in before everything is replayed. [`crate::shutdown`] is how it ends.

use std::rc::Rc;

use tokio::signal::unix::{SignalKind, signal};
use tokio::task::spawn_local;

use crate::accept::accept;
use crate::daemon::Daemon;
use crate::listener::Bound;
use crate::log::say;
use crate::notify::SharedNotifier;
use crate::reload::Reloader;
use crate::run::Fatal;
use crate::shutdown::{AFTER_GRACE, Signals, stop_sessions};
use crate::{admin, expiry, heartbeat, owed, recovery, verify, watch};

/// Serves until a signal says that it is enough, and all sessions are over.
///
/// # Errors
/// When recovery cannot begin, or a socket cannot be opened.
pub(crate) async fn serve_clients(
    daemon: &Rc<Daemon>,
    reloader: &Reloader,
    notifier: &SharedNotifier,
    bound: Vec<Bound>,
) -> Result<(), Fatal> {
    let mut signals = Signals::new()?;
    // Also while it starts, when it would else end the daemon; it is answered when that is over.
    let mut hangup = signal(SignalKind::hangup())?;
    let recovered = tokio::select! {
        recovered = notifier.while_starting(recovery::at_start(daemon)) => recovered,
        name = signals.next() => {
            tracing::info!(signal = name, "stopped before serving");
            return Ok(());
        }
    };
    recovered?;
    let admin = admin::bind(&reloader.data_dir)?;
    let fingerprint = daemon.settings().identity.fingerprint();
    tracing::info!(%fingerprint, "certificate");
    say(format_args!("certificate SHA256:{fingerprint}"));
    for bound in bound {
        let listener = bound.start()?;
        let addr = listener.addr;
        daemon.listen.borrow_mut().push(addr);
        spawn_local(accept(daemon.clone(), listener));
        tracing::info!(%addr, "listening");
        say(format_args!("listening on {addr}"));
    }
    notifier.ready();
    spawn_local(verify::verify_unverified(daemon.clone()));
    let services = [
        spawn_local(admin::serve(daemon.clone(), admin)),
        spawn_local(watch::watch_tickets(daemon.clone())),
        spawn_local(heartbeat::beat(daemon.clone())),
        spawn_local(expiry::expire_uploads(daemon.clone())),
        spawn_local(owed::settle_after_outages(daemon.clone())),
        spawn_local({
            let (daemon, notifier) = (daemon.clone(), notifier.clone());
            async move { notifier.tend(&daemon).await }
        }),
    ];
    let name = loop {
        tokio::select! {
            name = signals.next() => break name,
            _ = hangup.recv() => {
                notifier.reloading();
                tokio::select! {
                    () = reloader.reload(daemon) => notifier.ready(),
                    // The files may lie on a disk that does not answer.
                    name = signals.next() => break name,
                }
            }
        }
    };
    tracing::info!(signal = name, "stopping");
    notifier.stopping(daemon.settings().config.shutdown_grace + AFTER_GRACE);
    stop_sessions(daemon, &mut signals).await;
    services.iter().for_each(tokio::task::JoinHandle::abort);
    Ok(())
}
