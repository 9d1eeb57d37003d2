//! Who may log in: SCRAM logins and changes of password, the site secret, and failures by address.
//!
//! The broker calls it with what workers relay. Everything here is plain data and arithmetic: it
//! reads no ledger, no clock and no socket; records, time and secrets are arguments. An unknown
//! user, a wrong password and a locked user take the same steps and are told the same.

mod crypto;
mod failures;
mod login;
mod password;
mod site;

#[cfg(test)]
mod tests;

pub(crate) use failures::{AddressKey, FailurePolicy, Failures};
pub(crate) use login::{Accepted, AwaitingFinal, LoginHello, Refusal};
pub(crate) use password::AwaitingPassword;
pub(crate) use site::{site_challenge, site_proof_holds};
