//! Why a text that was typed, or that a server has sent, is no path, name or number of `common`.

use berth_common::credentials::{DeviceNameError, IdError};
use berth_common::ids::UserNameError;
use berth_common::rel_path::RelPathError;
use rust_i18n::t;

use super::InWords;

impl InWords for RelPathError {
    fn in_words(&self) -> String {
        match self {
            Self::OutsideHome => t!("the path leads outside the home"),
            Self::EmptyComponent => t!("the path has an empty component"),
            Self::Nul => t!("the path has a NUL byte"),
            Self::NameTooLong => t!("a name in the path is longer than 255 bytes"),
            Self::TooLong => t!("the path is longer than 4096 bytes"),
        }
        .into_owned()
    }
}

impl InWords for UserNameError {
    fn in_words(&self) -> String {
        let Self(name) = self;
        t!(
            "%{name} is not a user name: it must match [a-z_][a-z0-9_.-]* and have at most 64 characters",
            name = format_args!("{name:?}")
        )
        .into_owned()
    }
}

impl InWords for DeviceNameError {
    fn in_words(&self) -> String {
        t!("a device's name has 1 to 64 bytes and no control characters").into_owned()
    }
}

impl InWords for IdError {
    fn in_words(&self) -> String {
        t!("an ID has 16 digits of 0-9 and a-f").into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_english_sentences_are_those_of_the_crates() {
        let paths = [
            RelPathError::OutsideHome,
            RelPathError::EmptyComponent,
            RelPathError::Nul,
            RelPathError::NameTooLong,
            RelPathError::TooLong,
        ];
        for error in paths {
            assert_eq!(error.in_words(), error.to_string());
        }
        let name = UserNameError("A\"%{name}".to_owned());
        assert_eq!(name.in_words(), name.to_string());
        assert_eq!(DeviceNameError.in_words(), DeviceNameError.to_string());
        assert_eq!(IdError.in_words(), IdError.to_string());
    }
}
