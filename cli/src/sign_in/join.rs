//! `berth join`: an account by an invitation, on the server whose certificate the code names, and then what
//! `berth login` does.

use berth::invitation::InvitationCode;
use berth::login::{JoinError, Joining, LoginError, join};
use berth::session::Session;
use berth::target::Target;
use berth_common::error_code::ErrorCode;
use berth_common::ids::UserName;
use rust_i18n::t;

use super::login::told;
use super::register::register;
use crate::args::{Args, JoinArgs};
use crate::ask;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Output, complain};
use crate::password::{self, Password, PasswordError};
use crate::reach::{
    Settings, changed, config_dir, known_servers, login_failure, no_password, pinned,
};
use crate::wording::InWords;

pub(super) async fn run(args: &Args, join: &JoinArgs, output: &Output) -> Result<Exit, Failure> {
    let code = &join.code;
    let given = password::without_asking(args.login.password_file.as_deref());
    let given = given.map_err(no_password)?;
    let mut user = name_in(code, join.user.as_ref())?;
    if given.is_none() && !ask::somebody() {
        return Err(no_password(PasswordError::NoTerminal));
    }
    if user.is_none() && !ask::somebody() {
        return Err(Failure::usage(t!("no user name: give --user NAME, or run it on a terminal")));
    }
    check_known(args, code)?;
    // Whether it is the right server and there at all is told before anybody is asked.
    if user.is_none() || given.is_none() {
        drop(pinned(&code.server, code.fingerprint).await?);
        output.note(&t!(
            "Joining %{server}, which is the server of this invitation.",
            server = code.server
        ));
    }
    let mut password = given;
    loop {
        let (name, secret) = answers(user.take(), password.take()).await?;
        let target = Target { user: name.clone(), server: code.server.clone() };
        let settings = Settings::of_code(&args.login, target)?;
        match account(code, &secret, &settings).await {
            Ok(session) => return finish(&session, &secret, &settings, join, output).await,
            Err(failure)
                if failure.code == Some(ErrorCode::NameTaken)
                    && code.user.is_none()
                    && ask::somebody() =>
            {
                complain(&t!(
                    "Another user is called %{name} already; choose another name.",
                    name = name
                ));
                password = Some(secret);
            }
            Err(failure) => return Err(failure),
        }
    }
}

/// The user's name, if the code or the command line says it.
fn name_in(code: &InvitationCode, typed: Option<&UserName>) -> Result<Option<UserName>, Failure> {
    match (&code.user, typed) {
        (Some(invited), Some(typed)) if invited != typed => Err(Failure::usage(t!(
            "the invitation is for %{invited}, and not for %{typed}",
            invited = invited,
            typed = typed
        ))),
        (Some(name), _) | (None, Some(name)) => Ok(Some(name.clone())),
        (None, None) => Ok(None),
    }
}

/// Asks for what is not known, while no connection waits.
async fn answers(
    user: Option<UserName>,
    password: Option<Password>,
) -> Result<(UserName, Password), Failure> {
    let asked = ask::beside(move || {
        let user = match user {
            Some(user) => user,
            None => ask_name()?,
        };
        let password = match password {
            Some(password) => password,
            None => ask_password(&user)?,
        };
        Ok((user, password))
    });
    asked.await.unwrap_or(Err(PasswordError::NoTerminal)).map_err(no_password)
}

fn ask_name() -> Result<UserName, PasswordError> {
    loop {
        let typed = ask::line(&t!("User name: ")).map_err(PasswordError::Prompt)?;
        match UserName::new(&typed) {
            Ok(name) => return Ok(name),
            // Nothing is also what the end of the input is.
            Err(_) if typed.is_empty() => return Err(PasswordError::NoTerminal),
            Err(error) => complain(&error.in_words()),
        }
    }
}

fn ask_password(user: &UserName) -> Result<Password, PasswordError> {
    loop {
        match password::ask_new(&t!("New password of %{user}: ", user = user)) {
            Err(PasswordError::Differ) => complain(&t!("The two passwords differ; once more.")),
            other => return other,
        }
    }
}

/// That no other certificate is known of the server, which only a person can decide about.
fn check_known(args: &Args, code: &InvitationCode) -> Result<(), Failure> {
    if args.login.fingerprint.is_some_and(|typed| typed != code.fingerprint) {
        let sentence =
            t!("the invitation is of the server %{fingerprint}", fingerprint = code.fingerprint);
        return Err(Failure::new(Exit::Identity, sentence));
    }
    let known = known_servers(config_dir(&args.login).as_deref())?;
    match known.get(&code.server) {
        Some(other) if other != code.fingerprint => {
            Err(changed(&code.server, &known, other, code.fingerprint))
        }
        _ => Ok(()),
    }
}

async fn account(
    code: &InvitationCode,
    password: &Password,
    settings: &Settings,
) -> Result<Session, Failure> {
    let user = settings.target.user.clone();
    let site_secret = settings.site_secret()?;
    let joining = Joining::new(code.secret, user, password.clone(), site_secret).await;
    let joining = joining.map_err(|error| Failure::new(Exit::Failure, error))?;
    let connected = pinned(&code.server, code.fingerprint).await?.connected;
    let joined = join(connected.stream, &connected.exporter, &joining).await;
    joined.map_err(|error| failure(&error, &settings.target))
}

fn failure(error: &JoinError, target: &Target) -> Failure {
    let whom = format!("{}@{}", target.user, target.server);
    match error {
        JoinError::Before(LoginError::Refused(code)) => Failure::of_server(code),
        JoinError::Before(error) => login_failure(error),
        // One that cannot prove that it knows the invitation has made no account either.
        JoinError::Unknown(error @ LoginError::Impostor) => login_failure(error),
        JoinError::Unknown(_) => Failure::new(
            Exit::Unknown,
            t!("%{error}; `berth login %{whom}` tells", error = error.in_words(), whom = whom),
        ),
        JoinError::After(inner) => {
            let sentence = t!(
                "%{error}; `berth login %{whom}` signs this device in",
                error = error.in_words(),
                whom = whom
            );
            Failure { sentence: sentence.into_owned(), ..login_failure(inner) }
        }
    }
    .of(target.server.to_string())
}

async fn finish(
    session: &Session,
    password: &Password,
    settings: &Settings,
    join: &JoinArgs,
    output: &Output,
) -> Result<Exit, Failure> {
    let finished = async {
        let mut known = known_servers(settings.config_dir.as_deref())?;
        let (server, fingerprint) = (&settings.target.server, join.code.fingerprint);
        if known.get(server) != Some(fingerprint) {
            known.add(server, fingerprint).map_err(|error| Failure::new(Exit::Failure, error))?;
        }
        register(session, password, settings, join.name.as_ref(), output).await
    };
    let name = finished.await.map_err(|failure| {
        let whom = format!("{}@{}", settings.target.user, settings.target.server);
        let sentence = t!(
            "the account was made, but: %{failure}; `berth login %{whom}` signs this device in",
            failure = failure,
            whom = whom
        );
        Failure { sentence: sentence.into_owned(), ..failure }
    })?;
    session.clone().close().await;
    told(settings, &name, output)
}

#[cfg(test)]
mod tests {

    use berth::connection::ConnectionError;

    use super::*;

    #[test]
    fn the_name_is_the_invitations_where_it_has_one() {
        let token = "A".repeat(64);
        let code = |user: &str| format!("berth://{user}h/join/{token}").parse().unwrap();
        let (alice, bob) = (UserName::new("alice").unwrap(), UserName::new("bob").unwrap());
        let (open, fixed): (InvitationCode, InvitationCode) = (code(""), code("alice@"));
        assert_eq!(name_in(&open, None), Ok(None));
        assert_eq!(name_in(&open, Some(&bob)), Ok(Some(bob.clone())));
        assert_eq!(name_in(&fixed, None), Ok(Some(alice.clone())));
        assert_eq!(name_in(&fixed, Some(&alice)), Ok(Some(alice)));
        assert_eq!(name_in(&fixed, Some(&bob)).unwrap_err().exit, Exit::Usage);
    }

    #[test]
    fn it_is_told_whether_there_is_an_account() {
        let target = "alice@h".parse().unwrap();
        let told = |error| failure(&error, &target);
        let refused = |code| JoinError::Before(LoginError::Refused(code));
        assert_eq!(told(refused(ErrorCode::NotInvited)).exit, Exit::Login);
        assert_eq!(told(refused(ErrorCode::NameTaken)).exit, Exit::Failure);
        let closed = || LoginError::Connection(ConnectionError::Closed);
        assert_eq!(told(JoinError::Before(closed())).exit, Exit::Connect);
        let unknown = told(JoinError::Unknown(closed()));
        assert_eq!(unknown.exit, Exit::Unknown);
        assert!(unknown.sentence.contains("`berth login alice@h:4022` tells"), "{unknown}");
        let after = told(JoinError::After(closed()));
        assert_eq!(after.exit, Exit::Connect);
        assert!(after.sentence.contains("the account was made, but"), "{after}");
        assert_eq!(told(JoinError::Unknown(LoginError::Impostor)).exit, Exit::Identity);
    }
}
