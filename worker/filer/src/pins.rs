//! Looks at the home without the ticket, for which a pin is no second name.
//!
//! A file that is just being renamed over has a second link, its pin, at a name in staging. That link is made
//! and gone under the ticket (R14, R15), so that who holds it never meets one; who does not would take the file
//! for one that an administrator has linked, which is not served. Nothing here changes anything.

use berth_common::error_code::ErrorCode;
use rustix::io::Errno;

use crate::errors::report;
use crate::home::{Place, Seen, What};
use crate::session::Session;
use crate::walk::next_names;

/// How often something is looked at that changes while it is.
const TRIES: usize = 3;

/// What stands at a place, for who does not hold the ticket.
pub(crate) fn look(session: &Session, place: &Place) -> Result<Option<Seen>, ErrorCode> {
    let look = || Ok(place.look()?.map(|seen| (seen, ())));
    Ok(steadily(session, look)?.map(|(seen, ())| seen))
}

/// What `look` finds, with the links that the file has in the home. It is asked again when the file had lost
/// its name or its pin meanwhile.
pub(crate) fn steadily<T>(
    session: &Session,
    look: impl Fn() -> Result<Option<(Seen, T)>, ErrorCode>,
) -> Result<Option<(Seen, T)>, ErrorCode> {
    for _ in 1..TRIES {
        let (seen, found) = match look()? {
            Some((seen, found)) if seen.what == What::File && seen.links != 1 => (seen, found),
            other => return Ok(other),
        };
        if seen.links == 2 && is_pinned(session, seen.inode)? {
            return Ok(Some((Seen { links: 1, ..seen }, found)));
        }
    }
    look()
}

/// Whether a file of the home stands in staging too. What stands there and not in the home has one link.
fn is_pinned(session: &Session, inode: u64) -> Result<bool, ErrorCode> {
    let pinned = || -> Result<bool, Errno> {
        let directory = session.staging.reopen()?;
        loop {
            let names = next_names(&directory)?;
            if names.is_empty() {
                return Ok(false);
            }
            for (name, _) in names {
                let seen = name.to_str().map_or(Ok(None), |name| session.staging.look(name))?;
                if seen.is_some_and(|seen| seen.inode == inode) {
                    return Ok(true);
                }
            }
        }
    };
    pinned().map_err(|errno| report("look for a pin", errno))
}
