//! From the command line to a session: whom to trust, what to ask a person, and when.
//!
//! A person is never asked while a connection waits: the server gives a client ten seconds to log
//! in. So the server is found and trusted first, then the questions come, and then it is connected
//! to again.

use std::io::{self, IsTerminal as _};
use std::path::PathBuf;

use berth_common::error_code::ErrorCode;

use crate::args::{Args, Command, LoginArgs};
use crate::ask;
use crate::connect::{ConnectError, Connected, connect};
use crate::connection::ConnectionError;
use crate::dirs;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::human;
use crate::login::{Credentials, LoginError, SiteSecret, log_in};
use crate::output::complain;
use crate::password::{self, Password, PasswordError};
use crate::session::Session;
use crate::target::{ServerAddress, Target};
use crate::trust::{Fingerprint, KnownServers};
use crate::verify::Trust;

/// A session, and what the commands need beside it.
#[derive(Debug)]
pub(crate) struct Reached {
    pub(crate) session: Session,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) password: Password,
    pub(crate) new_password: Option<Password>,
    /// For a session that outlives its connection.
    pub(crate) way: Way,
}

/// How a session was reached, with all that was asked for then, so that nobody is asked again.
#[derive(Debug)]
pub(crate) struct Way {
    login: LoginArgs,
    pub(crate) target: Target,
    credentials: Credentials,
}

impl Way {
    /// Files that were named from the working directory stay the same ones when that changes.
    fn new(login: &LoginArgs, target: &Target, credentials: Credentials) -> Self {
        let mut login = login.clone();
        for path in [&mut login.config_dir, &mut login.ca_file].into_iter().flatten() {
            if let Ok(absolute) = std::path::absolute(&*path) {
                *path = absolute;
            }
        }
        Self { login, target: target.clone(), credentials }
    }

    /// Connects and logs in again, to a server that is trusted now as it was then.
    pub(crate) async fn again(&self) -> Result<(Session, Fingerprint), Failure> {
        let connected = find(&self.target.server, &self.login).await?;
        let fingerprint = connected.fingerprint;
        Ok((log_in_to(connected, &self.target, &self.credentials).await?, fingerprint))
    }
}

async fn log_in_to(
    connected: Connected,
    target: &Target,
    credentials: &Credentials,
) -> Result<Session, Failure> {
    let session = log_in(connected.stream, &connected.exporter, credentials).await;
    session.map_err(|error| {
        login_failure(&error).of(format_args!("{}@{}", target.user, target.server))
    })
}

/// Connects and logs in as the command line says.
pub(crate) async fn reach(args: &Args) -> Result<Reached, Failure> {
    let login = &args.login;
    let target = login
        .host
        .as_ref()
        .ok_or_else(|| Failure::usage("no server: give -H USER@HOST[:PORT] or set BERTH_HOST"))?;
    let site_secret = site_secret(login)?;
    let password = password::without_asking(login.password_file.as_deref()).map_err(no_password)?;
    let new_password = match &args.command {
        Command::Passwd(args) => args.new_password_file.as_deref().map(password::from_file),
        _ => None,
    };
    let new_password = new_password.transpose().map_err(no_password)?;
    let asks_new = matches!(args.command, Command::Passwd(_)) && new_password.is_none();
    if (password.is_none() || asks_new) && !ask::somebody() {
        return Err(no_password(PasswordError::NoTerminal));
    }

    let mut connected = find(&target.server, login).await?;
    let fingerprint = connected.fingerprint;
    let mut answers = (password, new_password);
    if answers.0.is_none() || asks_new {
        drop(connected.stream);
        let whom = target.clone();
        let asked = ask::beside(move || passwords(&whom, answers, asks_new)).await;
        answers = asked.unwrap_or(Err(PasswordError::NoTerminal)).map_err(no_password)?;
        connected = again(&target.server, fingerprint).await?;
    }
    let (Some(password), new_password) = answers else {
        return Err(no_password(PasswordError::NoTerminal));
    };
    let credentials =
        Credentials { user: target.user.clone(), password: password.clone(), site_secret };
    let session = log_in_to(connected, target, &credentials).await?;
    let way = Way::new(login, target, credentials);
    Ok(Reached { session, fingerprint, password, new_password, way })
}

type Answers = (Option<Password>, Option<Password>);

fn passwords(target: &Target, known: Answers, asks_new: bool) -> Result<Answers, PasswordError> {
    let current = match known.0 {
        Some(password) => password,
        None => password::ask(&format!("Password of {}@{}: ", target.user, target.server))?,
    };
    let new = match known.1 {
        None if asks_new => Some(password::ask_new("New password: ")?),
        given => given,
    };
    Ok((Some(current), new))
}

fn no_password(error: PasswordError) -> Failure {
    match error {
        PasswordError::Interrupted => Failure::new(Exit::Interrupted, error),
        _ => Failure::usage(error),
    }
}

fn site_secret(login: &LoginArgs) -> Result<Option<SiteSecret>, Failure> {
    let Some(path) = &login.site_secret_file else {
        return Ok(None);
    };
    let content = std::fs::read(path).map_err(|error| {
        Failure::usage(format!(
            "cannot read the site secret {}: {}",
            path.display(),
            human::reason(&error)
        ))
    })?;
    Ok(Some(SiteSecret::from_file_content(&content)))
}

/// Connects to a server that the command line, the file of known servers, an authority or a
/// person trusts.
async fn find(server: &ServerAddress, login: &LoginArgs) -> Result<Connected, Failure> {
    if let Some(fingerprint) = login.fingerprint {
        return connect(server, &Trust::Pinned(fingerprint)).await.map_err(|error| match error {
            ConnectError::Untrusted { fingerprint: seen, .. } => Failure::new(
                Exit::Identity,
                format!("{server} shows the certificate {seen}, not the one given"),
            ),
            other => connect_failure(&other),
        });
    }
    if let Some(path) = &login.ca_file {
        let trust = Trust::Authorities(path.clone());
        return connect(server, &trust).await.map_err(|error| connect_failure(&error));
    }
    let mut known = KnownServers::load(&config_dir(login)?)
        .map_err(|error| Failure::new(Exit::Identity, error))?;
    if let Some(fingerprint) = known.get(server) {
        return connect(server, &Trust::Pinned(fingerprint)).await.map_err(|error| match error {
            ConnectError::Untrusted { fingerprint: seen, .. } => {
                changed(server, &known, fingerprint, seen)
            }
            other => connect_failure(&other),
        });
    }
    match connect(server, &Trust::SystemAuthorities).await {
        Ok(connected) => Ok(connected),
        Err(ConnectError::Untrusted { fingerprint, .. }) => {
            introduce(server, fingerprint, login.accept_new).await?;
            known.add(server, fingerprint).map_err(|error| Failure::new(Exit::Failure, error))?;
            again(server, fingerprint).await
        }
        Err(other) => Err(connect_failure(&other)),
    }
}

/// Connects again to the server that was found. That it has another certificate now, seconds
/// later, is nobody's good intention.
async fn again(server: &ServerAddress, fingerprint: Fingerprint) -> Result<Connected, Failure> {
    connect(server, &Trust::Pinned(fingerprint)).await.map_err(|error| connect_failure(&error))
}

fn config_dir(login: &LoginArgs) -> Result<PathBuf, Failure> {
    login
        .config_dir
        .clone()
        .or_else(dirs::config)
        .ok_or_else(|| Failure::usage("no configuration directory: set HOME or give --config-dir"))
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
    let refused = |why: &str| {
        let sentence = format!("{server} is not known, with the certificate {fingerprint}; {why}");
        Failure::new(Exit::Identity, sentence)
    };
    if !ask::somebody() || !io::stderr().is_terminal() {
        return Err(refused("give --fingerprint, --ca-file or --accept-new"));
    }
    complain(&format!("The server {server} is not known yet. Its certificate has the fingerprint"));
    complain(&format!("  {fingerprint}"));
    complain("Compare it with what berthd printed at its start.");
    let question = "Trust this server from now on? (yes/no) ";
    match ask::beside(|| ask::line(question)).await {
        Some(Ok(answer)) if answer.eq_ignore_ascii_case("yes") => Ok(()),
        _ => Err(refused("it was not trusted")),
    }
}

fn changed(
    server: &ServerAddress,
    known: &KnownServers,
    expected: Fingerprint,
    seen: Fingerprint,
) -> Failure {
    Failure::new(
        Exit::Identity,
        format!(
            "THE SERVER IS NOT THE ONE IT WAS; somebody may be between you and it. {server} shows the certificate {seen}, and {expected} is known; if its administrator \
             confirms the change, delete the line of {server} from {} and connect again",
            known.path().display()
        ),
    )
}

fn connect_failure(error: &ConnectError) -> Failure {
    let exit = match error {
        ConnectError::Untrusted { .. } => Exit::Identity,
        ConnectError::Trust(_) => Exit::Usage,
        ConnectError::Resolve { .. }
        | ConnectError::Tcp { .. }
        | ConnectError::Mute { .. }
        | ConnectError::NotBerth { .. }
        | ConnectError::Closed { .. }
        | ConnectError::Handshake { .. } => Exit::Connect,
    };
    Failure::new(exit, error)
}

fn login_failure(error: &LoginError) -> Failure {
    let code = match error {
        LoginError::Refused(code) | LoginError::Connection(ConnectionError::Refused(code)) => {
            Some(code)
        }
        _ => None,
    };
    let exit = match error {
        LoginError::Refused(code) => login_exit(code),
        LoginError::Connection(ConnectionError::Refused(code)) => login_exit(code),
        LoginError::Connection(_) | LoginError::TimedOut => Exit::Connect,
        LoginError::SiteSecretMissing | LoginError::SiteSecretWrong => Exit::Login,
        LoginError::Impostor => Exit::Identity,
        LoginError::Scram(_) => Exit::Login,
    };
    let failure = Failure::new(exit, error);
    match code {
        Some(code) => failure.coded(code),
        None => failure,
    }
}

fn login_exit(code: &ErrorCode) -> Exit {
    match Exit::of_server_error(code) {
        Exit::Connect => Exit::Connect,
        _ => Exit::Login,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_not_to_get_in_has_its_code() {
        let login = [
            (LoginError::Refused(ErrorCode::LoginRefused), Exit::Login),
            (LoginError::Refused(ErrorCode::TooManySessions { limit: 1 }), Exit::Login),
            (LoginError::Refused(ErrorCode::Version), Exit::Connect),
            (LoginError::Connection(ConnectionError::Closed), Exit::Connect),
            (LoginError::SiteSecretMissing, Exit::Login),
            (LoginError::Impostor, Exit::Identity),
        ];
        for (error, exit) in login {
            assert_eq!(login_failure(&error).exit, exit, "{error}");
        }
    }

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
