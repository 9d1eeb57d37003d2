//! Renames of staged files to places where nothing stands, many under one ticket, on the thread that makes small files.
//!
//! For what that thread makes in staging the kernel locks the directory. Another that renames there at the
//! same time waits for that lock by spinning, which costs more than the rename itself.

use std::sync::Arc;
use std::time::{Duration, Instant};

use berth_common::ids::StagingName;
use berth_common::points::{Point, reach};
use rustix::fs::RenameFlags;
use rustix::io::Errno;

use crate::home::Place;
use crate::staging::Staging;

/// So many are carried out where they are: to hand them over would take longer.
pub(crate) const FEW: usize = 4;

/// So long they are carried out at least, also where the ticket's time was used up by what came before.
const LEAST: Duration = Duration::from_millis(10);

/// One of them, whose place was resolved under the ticket.
#[derive(Debug)]
pub(crate) struct Rename {
    pub(crate) staging: Arc<Staging>,
    pub(crate) name: StagingName,
    pub(crate) inode: u64,
    pub(crate) bytes: u64,
    pub(crate) place: Place,
}

impl Rename {
    fn carry_out(&self) -> Result<(), Errno> {
        into_home(&self.staging, self.name, &self.place, RenameFlags::NOREPLACE)
    }
}

/// Gives what is staged a place in the home.
pub(crate) fn into_home(
    staging: &Staging,
    name: StagingName,
    place: &Place,
    flags: RenameFlags,
) -> Result<(), Errno> {
    let staging = staging.directory();
    rustix::fs::renameat_with(staging, name.file_name(), place.parent(), place.name(), flags)
}

/// What each rename came to, in their order; those for which there was no time are not carried out.
pub(crate) fn carry_out(
    renames: Vec<Rename>,
    until: Instant,
) -> Vec<(Rename, Option<Result<(), Errno>>)> {
    let until = until.max(Instant::now() + LEAST);
    let mut is_over = false;
    let each = renames.into_iter().enumerate().map(|(index, rename)| {
        if index > 0 && !is_over {
            reach(Point::BetweenActs);
            is_over = Instant::now() >= until;
        }
        let renamed = (!is_over).then(|| {
            let renamed = rename.carry_out();
            reach(Point::Acted);
            renamed
        });
        (rename, renamed)
    });
    each.collect()
}

#[cfg(test)]
mod tests {
    use berth_common::rel_path::RelPath;
    use std::fs::{self, File};

    use super::*;
    use crate::home::Home;
    use berth_common::ledger_protocol::StagingSync;

    /// Renames of `count` staged files to `d/0` and up.
    fn renames(dir: &std::path::Path, count: u64) -> Vec<Rename> {
        fs::create_dir(dir.join("d")).unwrap();
        let opened = || File::open(dir).unwrap();
        let home = Home::new(opened()).unwrap();
        let staging = Arc::new(Staging::new(opened(), StagingSync::FileSystem).unwrap());
        let rename = |number| {
            let name = StagingName(number);
            fs::write(dir.join(name.file_name()), number.to_string()).unwrap();
            let place = home.place(&RelPath::new(&format!("d/{number}")).unwrap()).unwrap();
            Rename { staging: Arc::clone(&staging), name, inode: number, bytes: 1, place }
        };
        (0..count).map(rename).collect()
    }

    #[test]
    fn each_has_its_own_result_in_their_order() {
        let dir = tempfile::tempdir().unwrap();
        let renames = renames(dir.path(), 4);
        fs::write(dir.path().join("d/1"), "stands there").unwrap();
        fs::remove_file(dir.path().join(renames[2].name.file_name())).unwrap();
        let until = Instant::now() + Duration::from_secs(3600);
        let results: Vec<_> =
            carry_out(renames, until).into_iter().map(|(it, result)| (it.inode, result)).collect();
        let expected = [Ok(()), Err(Errno::EXIST), Err(Errno::NOENT), Ok(())];
        assert_eq!(results, (0..).zip(expected.map(Some)).collect::<Vec<_>>());
        assert_eq!(fs::read_to_string(dir.path().join("d/1")).unwrap(), "stands there");
        assert_eq!(fs::read_to_string(dir.path().join("d/3")).unwrap(), "3");
    }

    #[test]
    fn after_the_time_some_are_carried_out_and_the_rest_stays() {
        const MANY: u64 = 3_000;
        let dir = tempfile::tempdir().unwrap();
        let renamed = carry_out(renames(dir.path(), MANY), Instant::now());
        let done = renamed.iter().take_while(|(_, result)| *result == Some(Ok(()))).count();
        assert!(done > 0);
        assert!(renamed[done..].iter().all(|(_, result)| result.is_none()));
        let stays = |rename: &Rename| dir.path().join(rename.name.file_name()).exists();
        assert_eq!(
            renamed.iter().filter(|(rename, _)| stays(rename)).count(),
            renamed.len() - done
        );
    }
}
