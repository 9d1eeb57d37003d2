//! Who may log in: SCRAM logins, devices' keys, invitations, new credentials, the site secret, and failures by
//! address.
//!
//! The broker calls it with what workers relay. Everything here is plain data and arithmetic: it
//! reads no ledger, no clock and no socket; records, time and secrets are arguments. An unknown
//! user, a wrong password and a locked user take the same steps and are told the same.

mod credential;
mod crypto;
mod device;
mod failures;
mod join;
mod login;
mod site;

#[cfg(test)]
mod tests;

pub(crate) use credential::AwaitingCredential;
pub(crate) use device::DeviceLogin;
pub(crate) use failures::{AddressKey, FailurePolicy, Failures};
pub(crate) use join::{AwaitingJoin, Invited, JoinHello};
pub(crate) use login::{Accepted, AwaitingFinal, LoginHello, Refusal};
pub(crate) use site::{site_challenge, site_proof_holds};
