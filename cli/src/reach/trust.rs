//! Whom to trust: connects to the server that the command line, the profile, the file of known servers, an authority
//! or a person trusts.

use std::borrow::Cow;
use std::io::{self, IsTerminal as _};
use std::path::Path;

use berth::connect::{ConnectError, Connected, connect};
use berth::target::ServerAddress;
use berth::trust::{Fingerprint, KnownServers};
use berth::verify::Trust;
use rust_i18n::t;

use super::failures::connect_failure;
use super::settings::Settings;
use crate::ask;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::complain;

/// A server that is trusted.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) connected: Connected,
    /// By which it is found again.
    pub(crate) trust: Trust,
    /// Whether a person was shown its certificate just now.
    pub(crate) shown: bool,
}

impl Found {
    fn new(connected: Connected, trust: Trust) -> Self {
        Self { connected, trust, shown: false }
    }
}

/// Connects to a server that the command line, the file of known servers, an authority or a
/// person trusts. Where a key is what is logged in by, a server proves by its certificate alone who it is: then
/// --accept-new trusts no other than it was signed in at, and only a person may.
pub(super) async fn find(settings: &Settings, by_key: bool) -> Result<Found, Failure> {
    let server = &settings.target.server;
    if let Some(fingerprint) = settings.fingerprint {
        return pinned(server, fingerprint).await;
    }
    if let Some(path) = &settings.ca_file {
        let trust = Trust::Authorities(path.clone());
        let connected = connect(server, &trust).await.map_err(|error| connect_failure(&error))?;
        return Ok(Found::new(connected, trust));
    }
    let mut known = known_servers(settings.config_dir.as_deref())?;
    if let Some(fingerprint) = known.get(server) {
        let trust = Trust::Pinned(fingerprint);
        return match connect(server, &trust).await {
            Ok(connected) => Ok(Found::new(connected, trust)),
            Err(ConnectError::Untrusted { fingerprint: seen, .. }) => {
                Err(changed(server, &known, fingerprint, seen))
            }
            Err(other) => Err(connect_failure(&other)),
        };
    }
    match connect(server, &Trust::SystemAuthorities).await {
        Ok(connected) => Ok(Found::new(connected, Trust::SystemAuthorities)),
        Err(ConnectError::Untrusted { fingerprint, .. }) => {
            // Who logs in by a key has signed in at a server that was known.
            let accept_new = settings.accept_new && !by_key;
            introduce(server, fingerprint, accept_new).await?;
            known.add(server, fingerprint).map_err(|error| Failure::new(Exit::Failure, error))?;
            let connected = again(server, fingerprint).await?;
            Ok(Found { connected, trust: Trust::Pinned(fingerprint), shown: !accept_new })
        }
        Err(other) => Err(connect_failure(&other)),
    }
}

/// Connects to the server that has this certificate and to no other.
pub(crate) async fn pinned(
    server: &ServerAddress,
    fingerprint: Fingerprint,
) -> Result<Found, Failure> {
    let trust = Trust::Pinned(fingerprint);
    match connect(server, &trust).await {
        Ok(connected) => Ok(Found::new(connected, trust)),
        Err(ConnectError::Untrusted { fingerprint: seen, .. }) => Err(Failure::new(
            Exit::Identity,
            t!(
                "%{server} shows the certificate %{seen}, not the one given",
                server = server,
                seen = seen
            ),
        )),
        Err(other) => Err(connect_failure(&other)),
    }
}

/// The file of known servers. One that cannot be read trusts nobody.
pub(crate) fn known_servers(config_dir: Option<&Path>) -> Result<KnownServers, Failure> {
    let dir = config_dir.ok_or_else(|| {
        Failure::usage(t!("no configuration directory: set HOME or give --config-dir"))
    })?;
    KnownServers::load(dir).map_err(|error| Failure::new(Exit::Identity, error))
}

/// Connects again to the server that was found. That it has another certificate now, seconds
/// later, is nobody's good intention.
async fn again(server: &ServerAddress, fingerprint: Fingerprint) -> Result<Connected, Failure> {
    connect(server, &Trust::Pinned(fingerprint)).await.map_err(|error| connect_failure(&error))
}

/// Decides whether a server that nobody knows is trusted from now on.
async fn introduce(
    server: &ServerAddress,
    fingerprint: Fingerprint,
    accept_new: bool,
) -> Result<(), Failure> {
    if accept_new {
        return Ok(());
    }
    let refused = |why: Cow<'static, str>| {
        let sentence = t!(
            "%{server} is not known, with the certificate %{fingerprint}; %{why}",
            server = server,
            fingerprint = fingerprint,
            why = why
        );
        Failure::new(Exit::Identity, sentence)
    };
    if !ask::somebody() || !io::stderr().is_terminal() {
        return Err(refused(t!("give --fingerprint, --ca-file or --accept-new")));
    }
    complain(&t!(
        "The server %{server} is not known yet. Its certificate has the fingerprint",
        server = server
    ));
    complain(&format!("  {fingerprint}"));
    complain(&t!("Compare it with what berthd printed at its start."));
    let question = t!("Trust this server from now on? (yes/no) ");
    match ask::beside(move || ask::line(&question)).await {
        Some(Ok(answer)) if answer.eq_ignore_ascii_case("yes") => Ok(()),
        _ => Err(refused(t!("it was not trusted"))),
    }
}

pub(crate) fn changed(
    server: &ServerAddress,
    known: &KnownServers,
    expected: Fingerprint,
    seen: Fingerprint,
) -> Failure {
    Failure::new(
        Exit::Identity,
        t!(
            "THE SERVER IS NOT THE ONE IT WAS; somebody may be between you and it. %{server} shows the certificate %{seen}, and %{expected} is known; if its administrator \
             confirms the change, delete the line of %{server} from %{path} and connect again",
            server = server,
            seen = seen,
            expected = expected,
            path = known.path().display()
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn without_a_terminal_an_unknown_server_is_refused() {
        let server = "host:1".parse().unwrap();
        let fingerprint = Fingerprint::from_bytes([1; 32]);
        assert_eq!(introduce(&server, fingerprint, true).await, Ok(()));
        // Under cargo's test harness standard error is no terminal, or standard input is none.
        if !io::stdin().is_terminal() {
            let failure = introduce(&server, fingerprint, false).await.unwrap_err();
            assert_eq!(failure.exit, Exit::Identity);
            assert!(failure.sentence.contains(&fingerprint.to_string()));
        }
    }
}
