//! What `berth --help` says below the options, and the manual page besides.

/// What `berth --help` says below the options, and a manual page besides.
pub(super) const MANUAL: &str = "\
Paths:
  Remote paths start from the home, or from the directory of -C; a leading / means the home too.
  `.` and `..` are understood and never lead outside the home. Wildcards mean nothing, so a name
  may hold any of `* ? [ ]`, spaces and even newlines; only within `berth shell` do they stand for
  names, unless they are quoted.

Output:
  Listings and reports go to standard output; progress, notes and errors to standard error. On a
  terminal, control characters in names are shown escaped (a newline as \\n); a pipe gets the names
  as they are. With --json, standard output has one JSON object a line: for ls and stat an entry,
  for put and get a file that was moved, and with -r a last one, `summary`, for uploads an upload, for md5 a file, for df the quota.
  Commands that print nothing print nothing with --json either. A failure is then an object on
  standard error too: `error` (the sentence) and `exit`, and where they are known `path`, `local`,
  and what the server said as `code` and `data`, with sizes in bytes. So is a note: `note`. Only
  mistakes in the command line are always told in words.

Trust:
  A server is known by the fingerprint of its certificate. The first connection shows it and asks;
  from then on the server must have the same certificate. Without a terminal nobody is asked: give
  --fingerprint, --ca-file or --accept-new. A certificate of an authority that this system trusts,
  for the server's name, needs no question.

Environment:
  BERTH_HOST              the user and the server, unless -H is given
  BERTH_PASSWORD          the password, unless --password-file is given
  BERTH_SITE_SECRET_FILE  the file with the secret of the site, unless --site-secret-file is given
  XDG_CONFIG_HOME         its berth/known_hosts holds the known servers [default: ~/.config]
  XDG_STATE_HOME          its berth/client.key lets this client go on with its uploads at once, and
                          its berth/history has the lines of the shell [default: ~/.local/state]
  SHELL                   runs the local commands of the shell [default: /bin/sh]

Examples:
  export BERTH_HOST=alice@files.example.org
  berth put holiday.tar                    send a file; the same command again goes on after a cut
  berth put *.jpg --to pictures/           send several files into a directory
  berth put -r photos                      send a directory with all that is in it
  tar c photos | berth put - --to p.tar    send what a command writes
  berth get holiday.tar --to /tmp/         fetch a file into a directory
  berth get p.tar --to - | tar x           hand a file to a command
  berth get -r photos --to /backup/        fetch a directory with all that is in it
  berth ls -l pictures                     list a directory
  berth md5 holiday.tar | md5sum -c        compare the file in the home with the one here
  berth shell                              give many commands on one connection
  berth shell < nightly.berth              the same from a file
  berth --json df                          the quota and its use, for programs";
