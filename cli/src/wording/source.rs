//! The errors that clap keeps behind a value that it refuses, by what they are.

use std::error::Error;

use berth::invitation::InvitationCodeError;
use berth::target::TargetError;
use berth::trust::FingerprintError;
use berth_common::credentials::{DeviceNameError, IdError};
use berth_common::exec::ProgramNameError;
use berth_common::ids::UserNameError;

use super::InWords;

/// What a value parser has said. Sentences that were translated already come as they are.
pub(crate) fn of_source(source: &(dyn Error + 'static)) -> String {
    fn told<E: Error + InWords + 'static>(source: &(dyn Error + 'static)) -> Option<String> {
        source.downcast_ref::<E>().map(InWords::in_words)
    }
    told::<UserNameError>(source)
        .or_else(|| told::<DeviceNameError>(source))
        .or_else(|| told::<IdError>(source))
        .or_else(|| told::<ProgramNameError>(source))
        .or_else(|| told::<TargetError>(source))
        .or_else(|| told::<FingerprintError>(source))
        .or_else(|| told::<InvitationCodeError>(source))
        .unwrap_or_else(|| source.to_string())
}
