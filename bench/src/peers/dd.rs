//! `dd conv=fsync`, which copies the large file on one machine: what the disk allows, without network or checks.

use std::io;
use std::path::PathBuf;
use std::process::Command;

use super::{Name, Peer, need};
use crate::account;
use crate::place::Place;
use crate::server::{Server, StartError};
use crate::workload::Work;

pub(super) struct Dd {
    program: PathBuf,
    place: Place,
}

impl Dd {
    pub(super) fn start(place: &Place) -> Result<Self, StartError> {
        Ok(Self { program: need("dd")?, place: place.clone() })
    }
}

impl Peer for Dd {
    fn name(&self) -> Name {
        Name::Dd
    }

    fn client(&self, work: Work) -> io::Result<Option<Command>> {
        if work != Work::PutDisk {
            return Ok(None);
        }
        let mut dd = account::ordinary(&self.program);
        dd.arg(format!("if={}", self.place.source(work.shape()).display()))
            .arg(format!("of={}", self.place.stored().join("file").display()))
            .args(["bs=1M", "conv=fsync"]);
        Ok(Some(dd))
    }

    fn place(&self) -> &Place {
        &self.place
    }

    fn server(&self) -> Option<&Server> {
        None
    }
}
