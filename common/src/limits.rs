//! The sizes and bounds that both ends of a channel must agree on.
//!
//! Bounds that an administrator may change are not here but in the daemon's configuration;
//! what a worker needs of them it is told in [`crate::broker_protocol::WorkerSetup`].

/// Bytes in a leaf, the unit of verification. The last leaf of a file may be shorter.
pub const LEAF_SIZE: usize = 128 * 1024;

/// Most leaves in a block.
pub const LEAVES_PER_BLOCK: usize = 8;

/// Bytes in a full block, the unit on the wire: 1 MiB.
pub const BLOCK_SIZE: usize = LEAF_SIZE * LEAVES_PER_BLOCK;

/// Most bytes in the body of a message frame between client and worker.
pub const MAX_MESSAGE_BODY: usize = 256 * 1024;

/// Most bytes in a packet on an internal channel.
pub const MAX_PACKET: usize = 128 * 1024;

/// Most descriptors that travel with one packet.
pub const MAX_PACKET_DESCRIPTORS: usize = 8;

/// Most bytes in one path component, as on every Linux file system.
pub const MAX_NAME_BYTES: usize = 255;

/// Most bytes in a path within a home.
pub const MAX_PATH_BYTES: usize = 4096;

/// Most bytes in a SCRAM message; the daemon parses nothing longer.
pub const MAX_SCRAM_MESSAGE: usize = 1024;

/// Most bytes of a client's that an echo carries.
pub const MAX_ECHO_BYTES: usize = 64 * 1024;

/// Leaf digests in one `JournalLeaves` message (64 KiB of digests).
pub const LEAVES_PER_MESSAGE: usize = 4096;

/// Most directory entries' bytes in one listing chunk, names and attributes together.
pub const LISTING_CHUNK_BYTES: usize = 32 * 1024;

/// Requests that a filer may have outstanding at the daemon.
pub const MAX_FILER_REQUESTS: usize = 32;

/// Staging names in one message, so that it always fits a packet.
pub const NAMES_PER_MESSAGE: usize = 4096;

/// Changes of a home whose intents, or settles, go in one message: as many as share a ticket.
pub const CHANGES_PER_MESSAGE: usize = 256;

/// Findings in one message, which are larger than the names that they answer; so no `Examine` has more names.
pub const FINDINGS_PER_MESSAGE: usize = 1024;

/// Reports of changes of a home in one message.
pub const REPORTS_PER_MESSAGE: usize = 1024;

/// Names of files with several that a verification tells.
pub const LINKED_NAMES: usize = 16;

/// Bytes by which the reservation of an upload of unknown size grows at a time.
pub const LEASE_BYTES: u64 = 16 * 1024 * 1024;

/// Uploads up to this size are not resumable: sending them again is cheaper than remembering them.
/// Their reservation lives in the daemon's memory and they have no journal.
pub const SMALL_UPLOAD_BYTES: u64 = BLOCK_SIZE as u64;
