//! Exit codes of `berth` and `berthctl`, said once more than in the product: a test holds the product to them.

/// Any failure that has no code of its own.
pub const FAILURE: i32 = 1;
/// The command line was wrong.
pub const USAGE: i32 = 2;
/// The server could not be reached, or the connection was lost.
pub const CONNECT: i32 = 3;
/// The login was refused.
pub const LOGIN: i32 = 4;
/// Nothing stands at the path.
pub const NOT_FOUND: i32 = 5;
/// A quota or a disk has no room.
pub const NO_ROOM: i32 = 6;
/// Data differs from its MD5.
pub const INTEGRITY: i32 = 7;
/// The server is not the one it was, or is unknown.
pub const IDENTITY: i32 = 8;
/// It could have been done or not.
pub const UNKNOWN: i32 = 9;
/// A program at the server ran into a limit.
pub const LIMIT: i32 = 124;
/// The server does not run a program.
pub const NOT_RUN: i32 = 126;
/// Interrupted by Ctrl-C or SIGTERM.
pub const INTERRUPTED: i32 = 130;
