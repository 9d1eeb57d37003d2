//! What people hear of errors: those of this crate translate themselves, and those of crates that have no table of
//! translations (`common`, which the daemon and the sandboxed processes are made of too) get their sentences here.
//!
//! [`Failure`](crate::failure::Failure) takes nothing else, so that an error without a translation does not compile;
//! the matches are complete, so that a new variant does not either. In English the sentences are those of `Display`.

mod addresses;
mod admin;
mod checks;
mod connect;
mod discovery;
mod exec;
mod login;
mod scram;
mod server;
mod source;
mod transfer;

use std::borrow::Cow;
use std::fmt;

pub(crate) use source::of_source;
pub(crate) use transfer::about;

/// An error, or what was said of it already, as a sentence in the language that is spoken.
pub trait InWords {
    /// The sentence.
    fn in_words(&self) -> String;
}

impl<T: InWords + ?Sized> InWords for &T {
    fn in_words(&self) -> String {
        (*self).in_words()
    }
}

/// For what `Display` tells in the language that is spoken.
macro_rules! tells_itself {
    ($($sentence:ty),* $(,)?) => {
        $(impl InWords for $sentence {
            fn in_words(&self) -> String {
                self.to_string()
            }
        })*
    };
}

tells_itself!(
    str,
    String,
    Cow<'_, str>,
    fmt::Arguments<'_>,
    crate::failure::Failure,
    crate::human::DurationError,
    crate::human::SizeError,
    crate::password::PasswordError,
    crate::profiles::ChoiceError,
    crate::profiles::ProfileError,
    crate::profiles::ProfileNameError,
    crate::shell::SplitError,
    crate::trees::FillsError,
    crate::trees::PatternError,
    crate::trees::PlaceError,
    crate::state::StateError,
);
