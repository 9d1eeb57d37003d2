//! The sections of the manual pages that no command line has: files, examples, and where to read on.

/// The end of berth(1).
pub(crate) const BERTH: &str = r#"
.SH FILES
.TP
.I $XDG_CONFIG_HOME/berth/known_hosts
The servers that are known, with the fingerprints of their certificates.
.TP
.IR $XDG_CONFIG_HOME/berth/profiles/ NAME .toml,\~ NAME .key
A profile, and this device's key.
Whoever can read the key can log in until the device is revoked: it has mode 0600, and is refused with another one that lets others read it.
.TP
.I $XDG_STATE_HOME/berth/client.key
A key that tells the server that an unfinished upload is this client's, so that it can be gone on with at once.
.TP
.I $XDG_STATE_HOME/berth/history
The last thousand lines that were typed in the shell; those that begin with a blank are left out.
.TP
.IR NAME .part,\~ NAME .part.journal,\~ NAME .part.meta
What has arrived of a file that is being fetched, and which of it was checked.
The same get goes on with them and removes them when the file is whole.
.SH "SEE ALSO"
.BR md5sum (1),
.BR berthctl (8),
.BR berthd (8)
"#;

/// The end of berthctl(8).
pub(crate) const BERTHCTL: &str = r#"
.SH ENVIRONMENT
.TP
.B BERTH_DATA_DIR
The daemon's data directory, unless
.B \-\-data\-dir
is given.
.TP
.B BERTH_PASSWORD
A new password, unless
.B \-\-password\-file
is given.
.SH FILES
.TP
.I /var/lib/berth/admin/admin.sock
The daemon's socket for administrators.
It is open to the daemon's user and to root.
.SH EXAMPLES
.TP
.B berthctl user add alice \-\-quota 10GiB \-\-entries 100000
Makes a user, whose password is asked for.
.TP
.B berthctl invite \-\-quota 5GiB \-\-expires 7d
Prints a code, by which somebody makes an account with
.BR "berth join" .
.TP
.B berthctl device revoke alice \-\-all
Signs all of a user's devices out.
.TP
.B berthctl quota set alice \-\-bytes unlimited
Takes a limit away, for running sessions too.
.TP
.B berthctl quota verify
Compares the ledger of every user with what stands on the disk.
.TP
.B berthctl ledger backup /backup/ledger.sqlite
Copies the running ledger.
.TP
.B berthctl \-\-json status
Shows how the server is, for programs.
.SH "SEE ALSO"
.BR berth (1),
.BR berthd.toml (5),
.BR berthd (8)
"#;

/// The end of berthd.toml(5).
pub(crate) const BERTHD_TOML: &str = r#"
.SH FILES
.TP
.I /etc/berth/berthd.toml
The configuration of the packaged service.
.SH "SEE ALSO"
.BR berthctl (8),
.BR berthd (8)
"#;
