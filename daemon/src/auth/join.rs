//! An account by an invitation: a SCRAM exchange whose password is the invitation's secret, and whose channel binding
//! covers the account, so that whoever relays it can neither make one nor swap its name or password.

use berth_common::credentials::{INVITATION_ITERATIONS, InvitationId, NewAccount};
use berth_common::scram::{AwaitingProof, ChannelBinding, ScramVerifier, ServerFirst};

use super::crypto;
use super::login::{Refusal, RefusalReason};
use crate::ledger::Invitation;

/// Somebody claims to be invited.
#[derive(Debug)]
pub(crate) struct JoinHello {
    hello: berth_common::scram::ClientHello,
    account: NewAccount,
}

impl JoinHello {
    /// Reads SCRAM's client-first-message. `account` is what the proof must cover.
    ///
    /// # Errors
    /// With the reason `Exchange`.
    pub(crate) fn parse(message: &[u8], account: NewAccount) -> Result<Self, Refusal> {
        let hello = ServerFirst::parse(message).map_err(RefusalReason::Exchange)?;
        Ok(Self { hello, account })
    }

    /// The invitation to look up; `None` where the name cannot be one's. Then there is no record.
    pub(crate) fn invitation(&self) -> Option<InvitationId> {
        self.hello.username().parse().ok()
    }

    /// Makes the challenge to be relayed: the same for an invitation that is none, but for its salt.
    ///
    /// # Errors
    /// With the reason `Exchange`.
    pub(crate) fn challenge(
        self,
        record: Option<&Invitation>,
        server_secret: &[u8; 32],
        exporter: &[u8; 32],
    ) -> Result<(Vec<u8>, AwaitingJoin), Refusal> {
        let id = self.invitation();
        let decoy = decoy(server_secret, self.hello.username());
        let verifier = record.map_or(decoy, |record| record.verifier.clone());
        let invited = id.filter(|_| record.is_some()).map(|id| (id, verifier.clone()));
        let (message, awaiting) =
            crypto::challenge(self.hello, verifier).map_err(RefusalReason::Exchange)?;
        let binding = ChannelBinding::new_account(exporter, &self.account);
        Ok((message, AwaitingJoin { awaiting, binding, invited, account: self.account }))
    }
}

/// As an invitation's: with its number of iterations.
fn decoy(server_secret: &[u8; 32], name: &str) -> ScramVerifier {
    // No user's name has a space in it, so that none has the same decoy.
    let decoy = crypto::decoy(server_secret, &format!("invitation {name}"));
    let keys = (*decoy.stored_key(), *decoy.server_key());
    ScramVerifier::new(decoy.salt().to_vec(), INVITATION_ITERATIONS, keys.0, keys.1)
        .unwrap_or(decoy)
}

/// Somebody who claims to be invited was challenged.
#[derive(Debug)]
pub(crate) struct AwaitingJoin {
    awaiting: AwaitingProof,
    binding: ChannelBinding,
    invited: Option<(InvitationId, ScramVerifier)>,
    account: NewAccount,
}

/// Somebody has proved to be invited.
#[derive(Debug)]
pub(crate) struct Invited {
    /// By which invitation.
    pub(crate) invitation: InvitationId,
    /// What was proved; the ledger compares it with what it has by then.
    pub(crate) proved: ScramVerifier,
    /// The account that the proof covers.
    pub(crate) account: NewAccount,
    /// SCRAM's server-final-message, to be relayed when the account is there.
    pub(crate) server_final: Vec<u8>,
}

impl AwaitingJoin {
    /// Checks SCRAM's client-final-message.
    ///
    /// # Errors
    /// `UnknownInvitation` and `Proof`.
    pub(crate) fn finish(self, message: &[u8]) -> Result<Invited, Refusal> {
        let verified = crypto::verify(self.awaiting, message, &self.binding);
        match (verified, self.invited) {
            (_, None) => Err(RefusalReason::UnknownInvitation.into()),
            (Err(error), Some(_)) => Err(RefusalReason::Proof(error).into()),
            (Ok(server_final), Some((invitation, proved))) => {
                Ok(Invited { invitation, proved, account: self.account, server_final })
            }
        }
    }
}
