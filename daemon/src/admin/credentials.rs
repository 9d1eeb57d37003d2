//! Users' devices, and invitations.

use std::rc::Rc;

use berth_common::admin_protocol::{AdminError, DaemonToAdmin};
use berth_common::credentials::{DeviceId, InvitationId};
use berth_common::ids::UserName;

use super::PER_PAGE;
use super::users::because;
use crate::daemon::Daemon;
use crate::ledger::{Invitation, LedgerError, MOST_INVITATIONS};

pub(super) async fn devices(daemon: &Daemon, user: &UserName) -> Result<DaemonToAdmin, AdminError> {
    daemon.ledger.devices(user).await.map(DaemonToAdmin::Devices).map_err(because(user))
}

pub(super) async fn revoke_device(
    daemon: &Rc<Daemon>,
    user: UserName,
    device: Option<DeviceId>,
) -> Result<DaemonToAdmin, AdminError> {
    let which = device.map(|device| vec![device]);
    let revoked = daemon.revoke_devices(&user, which, None).await.map_err(because(&user))?;
    match device {
        Some(device) if revoked.is_empty() => Err(AdminError::NoSuchDevice(user, device)),
        _ => Ok(DaemonToAdmin::Done),
    }
}

pub(super) async fn invite(
    daemon: &Daemon,
    id: InvitationId,
    invitation: Invitation,
    valid_s: u32,
) -> Result<DaemonToAdmin, AdminError> {
    // What it grants is told before it is used.
    if let Some(user) = &invitation.user
        && daemon.ledger.user(user).await.map_err(|_| AdminError::Ledger)?.is_some()
    {
        return Err(AdminError::UserExists(user.clone()));
    }
    match daemon.ledger.add_invitation(id, invitation, valid_s).await {
        Ok(()) => Ok(DaemonToAdmin::Done),
        Err(LedgerError::Refused(_)) => Err(AdminError::TooManyInvitations(MOST_INVITATIONS)),
        Err(_) => Err(AdminError::Ledger),
    }
}

pub(super) async fn invitations(
    daemon: &Daemon,
    after: Option<InvitationId>,
) -> Result<DaemonToAdmin, AdminError> {
    let page = daemon.ledger.invitations(after, PER_PAGE).await;
    let invitations = page.map_err(|_| AdminError::Ledger)?;
    let last = invitations.len() < PER_PAGE;
    Ok(DaemonToAdmin::Invitations { invitations, last })
}

pub(super) async fn revoke_invitation(
    daemon: &Daemon,
    id: InvitationId,
) -> Result<DaemonToAdmin, AdminError> {
    match daemon.ledger.revoke_invitation(id).await {
        Ok(true) => Ok(DaemonToAdmin::Done),
        Ok(false) => Err(AdminError::NoSuchInvitation(id)),
        Err(_) => Err(AdminError::Ledger),
    }
}
