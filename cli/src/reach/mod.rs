//! From the command line to a session: whom to trust, what to ask a person, and when.
//!
//! A person is never asked while a connection waits: the server gives a client ten seconds to log
//! in. So the server is found and trusted first, then the questions come, and then it is connected
//! to again. What was found and answered is a [`Way`], by which a session is reached again.

mod failures;
mod questions;
mod settings;
mod trust;

use berth::connect::{Connected, Details, connect};
use berth::login::{Credentials, LoginError, log_in};
use berth::session::Session;
use berth::trust::Fingerprint;
use berth::verify::Trust;
pub(crate) use failures::{connect_failure, login_failure, no_password};
pub(crate) use questions::Purpose;
use questions::Questions;
use rust_i18n::t;
pub(crate) use settings::{Settings, config_dir, profiles};
pub(crate) use trust::{changed, known_servers, pinned};

use crate::args::Args;
use crate::ask;
use crate::failure::Failure;
use crate::output::complain;
use crate::password::{self, Password, PasswordError};

/// A session, and the way on which it was reached.
#[derive(Debug)]
pub(crate) struct Reached {
    pub(crate) session: Session,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) details: Details,
    pub(crate) way: Way,
}

/// A session, and the connection that it has.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) session: Session,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) details: Details,
}

/// A way to a session on which nothing is asked any more: all was found and answered.
#[derive(Clone, Debug)]
pub(crate) struct Way {
    /// What it was found by.
    pub(crate) settings: Settings,
    trust: Trust,
    credentials: Credentials,
    /// The user's, if it was given or asked for.
    pub(crate) password: Option<Password>,
    /// For a change of it.
    pub(crate) new_password: Option<Password>,
}

impl Way {
    /// Connects and logs in, without a question, to whoever is trusted as before and as before.
    pub(crate) async fn again(&self) -> Result<Opened, Failure> {
        let connected = connect(&self.settings.target.server, &self.trust).await;
        self.log_in(connected.map_err(|error| connect_failure(&error))?).await
    }

    async fn log_in(&self, connected: Connected) -> Result<Opened, Failure> {
        let target = &self.settings.target;
        let Connected { stream, exporter, fingerprint, details, .. } = connected;
        let session = log_in(stream, &exporter, &self.credentials).await.map_err(|error| {
            let failure = login_failure(&error);
            let failure = match (&error, &self.settings.profile) {
                (LoginError::DeviceRefused, Some(name)) => Failure {
                    sentence: t!(
                        "%{failure}: sign in again by `berth login -P %{name}`",
                        failure = failure,
                        name = name
                    )
                    .into_owned(),
                    ..failure
                },
                _ => failure,
            };
            failure.of(format_args!("{}@{}", target.user, target.server))
        })?;
        Ok(Opened { session, fingerprint, details })
    }
}

/// Connects and logs in as the command line says.
pub(crate) async fn reach(args: &Args) -> Result<Reached, Failure> {
    reach_by(args, Settings::of(&args.login)?).await
}

/// Connects and logs in as these settings say, with the passwords of the command line.
pub(crate) async fn reach_by(args: &Args, settings: Settings) -> Result<Reached, Failure> {
    let purpose = Purpose::of(args);
    let site_secret = settings.site_secret()?;
    let given = password::without_asking(args.login.password_file.as_deref());
    let key = || settings.profile.as_ref().map(|name| settings.profiles.key(name));
    let mut questions = Questions::new(&purpose, given.map_err(no_password)?, key)?;
    questions.check()?;

    let trust::Found { connected, trust, shown } =
        trust::find(&settings, questions.are_by_key()).await?;
    if purpose == Purpose::SignIn && !shown && !args.quiet && !args.json {
        let (server, fingerprint) = (&settings.target.server, connected.fingerprint);
        complain(&t!(
            "%{server} has the certificate %{fingerprint}",
            server = server,
            fingerprint = fingerprint
        ));
    }
    let connected = if questions.are_open() {
        drop(connected);
        let whom = settings.target.clone();
        let asked = ask::beside(move || questions.ask(&whom)).await;
        questions = asked.unwrap_or(Err(PasswordError::NoTerminal)).map_err(no_password)?;
        None
    } else {
        Some(connected)
    };
    let user = settings.target.user.clone();
    let credentials = Credentials { user, proof: questions.proof()?, site_secret };
    let (password, new_password) = (questions.current.known(), questions.new.known());
    let way = Way { settings, trust, credentials, password, new_password };
    let opened = match connected {
        Some(connected) => way.log_in(connected).await?,
        None => way.again().await?,
    };
    let Opened { session, fingerprint, details } = opened;
    Ok(Reached { session, fingerprint, details, way })
}

#[cfg(test)]
impl Way {
    /// To a server that is not there, for tests of commands that have a session.
    pub(crate) fn nowhere() -> Self {
        let args = Args::read("berth -H alice@h --config-dir /none df".split(' '));
        let settings = Settings::of(&args.unwrap().login).unwrap();
        let (user, password) = (settings.target.user.clone(), Password::new(String::new()));
        let proof = berth::login::Proof::Password(password);
        let credentials = Credentials { user, proof, site_secret: None };
        let trust = Trust::SystemAuthorities;
        Self { settings, trust, credentials, password: None, new_password: None }
    }
}
