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
  as they are. Names have colours on a terminal, unless NO_COLOR is set or TERM is dumb; --color
  always uses them in a pipe too, and escapes names there. With --json, standard output has one
  JSON object a line: for ls, tree and stat an entry, for du a directory, for put and get a file
  that was moved, for sync one that was moved or deleted, for uploads an upload, for md5 and note a file, for df the quota, for info the server, for
  ping an echo, for devices a device, for discover a server, for profiles, login and join a profile. With put -r, get -r, sync, tree and ping the last one is `summary`.
  Commands that print nothing print nothing with --json either. A failure is then an object on
  standard error too: `error` (the sentence) and `exit`, and where they are known `path`, `local`,
  and what the server said as `code` and `data`, with sizes in bytes. So is a note: `note`. Only
  mistakes in the command line are always told in words.

Losses:
  When the connection of a put, get or sync is lost, or the server starts again, it is tried to connect
  again: after half a second at first, then after longer and longer waits of up to 15 s. Then what
  was under way is resumed. It is given up, with 3, when no byte has moved for the time of
  --retry-for (five minutes); 0 gives up at once. A note, or on a terminal a line in the place of
  the bars, says so. Whoever cannot connect in the first place fails at once, and so does what another
  try would not mend: a login that is refused, or another certificate.

Signing in:
  `berth login` makes a key for this device, has the server register it and keeps both as a
  profile; `berth join` makes an account by an invitation first. From then on commands log in by the
  key, without a password. Of several profiles -P names one, or BERTH_PROFILE; -H USER@HOST means the
  profile of this user there, if there is one. What is typed beats the environment. A password that
  is given (--password-file, BERTH_PASSWORD) is used instead of a key. A key that the server does not
  accept any more ends with 4, and nothing else is tried.

Trust:
  A server is known by the fingerprint of its certificate. The first connection shows it and asks;
  from then on the server must have the same certificate. Without a terminal nobody is asked: give
  --fingerprint, --ca-file or --accept-new. A certificate of an authority that this system trusts,
  for the server's name, needs no question.

Environment:
  BERTH_HOST              the user and the server, unless -H or -P is given
  BERTH_PROFILE           the profile to log in by, unless -P or -H is given
  BERTH_PASSWORD          the password, unless --password-file is given
  BERTH_SITE_SECRET_FILE  the file with the secret of the site, unless --site-secret-file is given
  NO_COLOR                set to anything, it keeps colours away; --color always is stronger
  LS_COLORS               the colours of names, see dircolors(1) [default: those of GNU ls]
  COLUMNS                 the width of the screen, where the terminal does not tell
  LC_ALL, LC_CTYPE, LANG  whether tree draws with box characters
  XDG_CONFIG_HOME         its berth/known_hosts holds the known servers, its berth/profiles the
                          profiles with their keys [default: ~/.config]
  XDG_STATE_HOME          its berth/client.key lets this client go on with its uploads at once, and
                          its berth/history has the lines of the shell [default: ~/.local/state]
  SHELL                   runs the local commands of the shell [default: /bin/sh]

Examples:
  berth discover                           list the servers of the local network
  berth login alice@files.example.org      sign in once; what follows needs no password
  berth put holiday.tar                    send a file; the same command again goes on after a cut
  berth put *.jpg --to pictures/           send several files into a directory
  berth put -r photos                      send a directory with all that is in it
  tar c photos | berth put - --to p.tar    send what a command writes
  berth put scan.pdf --note 'page 3'       keep a note with a file; ls --notes shows it
  berth get holiday.tar --to /tmp/         fetch a file into a directory
  berth get p.tar --to - | tar x           hand a file to a command
  berth get -r photos --to /backup/        fetch a directory with all that is in it
  berth get -r photos --limit-rate 2M -j 1 the same with 2 MiB a second, one file at a time
  berth uploads                            list what was begun and is not finished
  berth sync -n --delete photos :photos    what it would take to make photos there what it is here
  berth sync --exclude '*.o' src :src      send what changed, without what matches
  berth sync :docs docs                    fetch what changed
  berth ls -l pictures                     list a directory
  berth tree -L 2                          draw the home, two directories deep
  berth du -d 1 --human                    how much is in each directory
  berth ping -c 20 -i 0.1                  measure the line to the server
  berth exec -- du -sh .                   run a program there that the administrator has allowed
  berth md5 holiday.tar | md5sum -c        compare the file in the home with the one here
  berth devices revoke --all-others        lock all your other devices out
  berth shell                              give many commands on one connection
  berth shell < nightly.berth              the same from a file
  berth --json df                          the quota and its use, for programs";
