//! What is wrong with a program that is to be run and with a note that is to be kept, and how a program ended.

use berth_common::exec::{
    ArgumentsError, ExecEnd, MAX_ARGUMENT_BYTES, MAX_ARGUMENTS, ProgramNameError,
};
use berth_common::note::{MAX_NOTE_BYTES, NoteError};
use rust_i18n::t;

use super::InWords;

impl InWords for ProgramNameError {
    fn in_words(&self) -> String {
        let Self(name) = self;
        t!(
            "%{name} is not the name of a program: it must match [A-Za-z0-9_][A-Za-z0-9._+-]* and have at most 64 characters",
            name = format_args!("{name:?}")
        )
        .into_owned()
    }
}

impl InWords for ArgumentsError {
    fn in_words(&self) -> String {
        match self {
            Self::Count => t!("a program may have %{most} arguments at most", most = MAX_ARGUMENTS),
            Self::Length => {
                t!(
                    "a program's arguments may have %{most} bytes together",
                    most = MAX_ARGUMENT_BYTES
                )
            }
            Self::Nul => t!("an argument cannot have a NUL byte"),
        }
        .into_owned()
    }
}

impl InWords for NoteError {
    fn in_words(&self) -> String {
        match self {
            Self::Empty => t!("the note is empty"),
            Self::TooLong => t!("the note is longer than %{most} bytes", most = MAX_NOTE_BYTES),
            Self::Control => t!("the note has a line break, a tab or another control character"),
        }
        .into_owned()
    }
}

impl InWords for ExecEnd {
    fn in_words(&self) -> String {
        match self {
            Self::Exited { code } => t!("exit code %{code}", code = code),
            Self::Signalled { signal } => t!("ended by signal %{signal}", signal = signal),
            Self::OutOfTime { seconds } => t!(
                "ended by the server, which lets a program run for %{seconds} s",
                seconds = seconds
            ),
            Self::OutOfCpu { seconds } => t!(
                "ended by the server, which gives a program %{seconds} s of the processor",
                seconds = seconds
            ),
            Self::TooMuchOutput { bytes } => t!(
                "ended by the server, which takes %{bytes} bytes of output from a program",
                bytes = bytes
            ),
        }
        .into_owned()
    }
}

#[cfg(test)]
mod tests {
    use berth_common::exec::ProgramName;

    use super::*;

    #[test]
    fn the_english_sentences_are_those_of_the_crate() {
        let name = ProgramName::new("a/b").unwrap_err();
        assert_eq!(name.in_words(), name.to_string());
        for error in [ArgumentsError::Count, ArgumentsError::Length, ArgumentsError::Nul] {
            assert_eq!(error.in_words(), error.to_string());
        }
        for error in [NoteError::Empty, NoteError::TooLong, NoteError::Control] {
            assert_eq!(error.in_words(), error.to_string());
        }
        let ends = [
            ExecEnd::Exited { code: 3 },
            ExecEnd::Signalled { signal: 9 },
            ExecEnd::OutOfTime { seconds: 3 },
            ExecEnd::OutOfCpu { seconds: 3 },
            ExecEnd::TooMuchOutput { bytes: 3 },
        ];
        for end in ends {
            assert_eq!(end.in_words(), end.to_string());
        }
    }
}
