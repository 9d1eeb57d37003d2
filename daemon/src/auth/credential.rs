//! A new credential within a session: a second SCRAM exchange, with the password, whose channel binding covers the
//! credential, so that whoever relays it can neither make one nor swap it.

use berth_common::credentials::NewCredential;
use berth_common::ids::UserName;
use berth_common::scram::{AwaitingProof, ChannelBinding, ScramVerifier, ServerFirst};

use super::crypto;
use super::login::{Refusal, RefusalReason};
use crate::ledger::UserRecord;

/// The session's client was challenged for a new credential.
#[derive(Debug)]
pub(crate) struct AwaitingCredential {
    awaiting: AwaitingProof,
    binding: ChannelBinding,
    current: ScramVerifier,
    new: NewCredential,
}

impl AwaitingCredential {
    /// Reads SCRAM's client-first-message and makes the challenge. `user` is the session's;
    /// `record` is the ledger's of this user; `new` is what the proof must cover.
    ///
    /// # Errors
    /// `Exchange`, `OtherUser`, or `Locked` where the user may not log in any more. The session
    /// goes on.
    pub(crate) fn begin(
        message: &[u8],
        new: NewCredential,
        user: &UserName,
        record: Option<&UserRecord>,
        exporter: &[u8; 32],
    ) -> Result<(Vec<u8>, Self), Refusal> {
        let hello = ServerFirst::parse(message).map_err(RefusalReason::Exchange)?;
        if hello.username() != user.as_str() {
            return Err(RefusalReason::OtherUser.into());
        }
        let record = record.filter(|record| record.may_log_in()).ok_or(RefusalReason::Locked)?;
        let current = record.verifier.clone();
        let (challenge, awaiting) =
            crypto::challenge(hello, current.clone()).map_err(RefusalReason::Exchange)?;
        let binding = ChannelBinding::new_credential(exporter, &new);
        Ok((challenge, Self { awaiting, binding, current, new }))
    }

    /// Checks SCRAM's client-final-message; gives the verifier that was proved, and what is to be
    /// stored. `now` is the record as it is now.
    ///
    /// # Errors
    /// `Proof` and `Changed`. The session goes on.
    pub(crate) fn finish(
        self,
        message: &[u8],
        now: Option<&UserRecord>,
    ) -> Result<(ScramVerifier, NewCredential), Refusal> {
        crypto::verify(self.awaiting, message, &self.binding).map_err(RefusalReason::Proof)?;
        match now {
            Some(now) if now.may_log_in() && now.verifier == self.current => {
                Ok((self.current, self.new))
            }
            _ => Err(RefusalReason::Changed.into()),
        }
    }
}
