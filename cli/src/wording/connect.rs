//! Why there is no connection to a server, or none any more.

use std::io;

use berth::connect::{CONNECT_TIMEOUT, ConnectError, Speaks};
use berth::connection::ConnectionError;
use berth::session::RequestError;
use berth::verify::{Distrust, TrustError};
use rust_i18n::t;

use super::InWords;
use crate::human;
use crate::language::system;

impl InWords for ConnectError {
    fn in_words(&self) -> String {
        match self {
            Self::Resolve { host, source } => t!(
                "unknown host %{host}: %{reason}",
                host = host,
                reason = system::in_words(&source.to_string())
            ),
            Self::Tcp { server, source } => {
                t!("cannot connect to %{server}: %{reason}", server = server, reason = refused(source))
            }
            Self::Mute { server } => t!(
                "%{server} accepts connections but does not answer in TLS; is it the port of a Berth server?",
                server = server
            ),
            Self::NotBerth { server, speaks: Speaks::NoTls } => t!(
                "%{server} does not speak Berth (it does not speak TLS); is it the port of a Berth server?",
                server = server
            ),
            Self::NotBerth { server, speaks: Speaks::OldTls } => t!(
                "%{server} does not speak Berth (it does not speak TLS 1.3); is it the port of a Berth server?",
                server = server
            ),
            Self::NotBerth { server, speaks: Speaks::AnotherService } => t!(
                "%{server} does not speak Berth (another TLS service); is it the port of a Berth server?",
                server = server
            ),
            Self::Closed { server } => t!(
                "%{server} closed the connection during the handshake; it may be busy, or no Berth server",
                server = server
            ),
            Self::Handshake { server, source } => t!(
                "no secure connection to %{server}: %{reason}",
                server = server,
                reason = human::reason(source)
            ),
            Self::Untrusted { server, fingerprint, reason } => t!(
                "%{server} shows the certificate %{fingerprint}, which is not trusted: %{reason}",
                server = server,
                fingerprint = fingerprint,
                reason = reason.in_words()
            ),
            Self::Trust(error) => return error.in_words(),
        }
        .into_owned()
    }
}

fn refused(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => {
            t!("connection refused; is berthd running there?").into_owned()
        }
        io::ErrorKind::TimedOut => {
            t!("no answer within %{seconds} s", seconds = CONNECT_TIMEOUT.as_secs()).into_owned()
        }
        _ => human::reason(error),
    }
}

impl InWords for TrustError {
    fn in_words(&self) -> String {
        match self {
            Self::NoCertificate { path } => t!(
                "cannot use the authorities in %{path}: it has no certificate in PEM form",
                path = path.display()
            ),
            // The words of the library that reads certificates.
            Self::Authorities { path, reason } => t!(
                "cannot use the authorities in %{path}: %{reason}",
                path = path.display(),
                reason = system::in_words(reason)
            ),
        }
        .into_owned()
    }
}

impl InWords for Distrust {
    fn in_words(&self) -> String {
        match self {
            Self::NotThePinned => t!("it is not the one that is expected"),
            Self::NoAuthorities => t!("this system trusts no authority"),
            Self::UnknownAuthority => t!("it is of no authority that is trusted"),
            Self::OtherName => t!("it is for another name"),
            Self::Expired => t!("its time is over"),
            Self::NotYetValid => t!("its time has not begun"),
            Self::Other(reason) => return reason.clone(),
        }
        .into_owned()
    }
}

impl InWords for ConnectionError {
    fn in_words(&self) -> String {
        match self {
            Self::Lost { reason, .. } => {
                t!("the connection was lost: %{reason}", reason = system::in_words(reason))
            }
            Self::Silent => t!("the connection was lost: the server does not answer any more"),
            Self::Closed => t!("the server closed the connection"),
            Self::Refused(code) => {
                t!("the server ended the session: %{reason}", reason = code.in_words())
            }
            // What exactly only who debugs a server wants to know.
            Self::Protocol(what) => t!("the server broke the protocol: %{what}", what = what),
        }
        .into_owned()
    }
}

impl InWords for RequestError {
    fn in_words(&self) -> String {
        match self {
            Self::Server(code) => code.in_words(),
            Self::Connection(error) => error.in_words(),
        }
    }
}

#[cfg(test)]
mod tests {
    use berth_common::error_code::ErrorCode;

    use super::*;

    #[test]
    fn the_english_sentences_are_those_of_the_library() {
        let server: berth::target::ServerAddress = "h:5".parse().unwrap();
        let io = |kind: io::ErrorKind| io::Error::from(kind);
        let fingerprint = berth::trust::Fingerprint::from_bytes([7; 32]);
        let mut errors = vec![
            ConnectError::Resolve { host: "h".to_owned(), source: io(io::ErrorKind::NotFound) },
            ConnectError::Mute { server: server.clone() },
            ConnectError::Closed { server: server.clone() },
            ConnectError::Handshake { server: server.clone(), source: io(io::ErrorKind::Other) },
            ConnectError::Trust(TrustError::NoCertificate { path: "p".into() }),
            ConnectError::Trust(TrustError::Authorities {
                path: "p".into(),
                reason: "x".to_owned(),
            }),
        ];
        let kinds =
            [io::ErrorKind::ConnectionRefused, io::ErrorKind::TimedOut, io::ErrorKind::Other];
        errors.extend(
            kinds.map(|kind| ConnectError::Tcp { server: server.clone(), source: io(kind) }),
        );
        let speaks = [Speaks::NoTls, Speaks::OldTls, Speaks::AnotherService];
        errors
            .extend(speaks.map(|speaks| ConnectError::NotBerth { server: server.clone(), speaks }));
        let distrusts = [
            Distrust::NotThePinned,
            Distrust::NoAuthorities,
            Distrust::UnknownAuthority,
            Distrust::OtherName,
            Distrust::Expired,
            Distrust::NotYetValid,
            Distrust::Other("x".to_owned()),
        ];
        errors.extend(distrusts.map(|reason| ConnectError::Untrusted {
            server: server.clone(),
            fingerprint,
            reason,
        }));
        for error in errors {
            assert_eq!(error.in_words(), error.to_string());
        }
        let connections = [
            ConnectionError::Lost { kind: io::ErrorKind::Other, reason: "x".to_owned() },
            ConnectionError::Silent,
            ConnectionError::Closed,
            ConnectionError::Refused(ErrorCode::Ended),
            ConnectionError::Protocol("x".to_owned()),
        ];
        for error in connections {
            assert_eq!(error.in_words(), error.to_string());
        }
    }
}
