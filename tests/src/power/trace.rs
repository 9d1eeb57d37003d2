//! Reads what strace recorded of the programs under test, as calls below one directory.
//!
//! The trace is made with [`ARGUMENTS`]: each line has the thread, the time at which the call began,
//! and the path of every descriptor; all strings are in hexadecimal, so that nothing in them can be
//! taken for strace's own signs. A call that another thread's line interrupts is put together again:
//! it counts when it ended, but a sync covers only what had ended when it began.

use std::collections::HashMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use super::call::Call;

/// strace's arguments, before `-o FILE` and what is to be traced.
pub const ARGUMENTS: &[&str] = &["-f", "-qq", "-y", "-ttt", "-xx", "-s", "4194304", "-e", CALLS];

const CALLS: &str = "trace=open,openat,openat2,creat,mkdir,mkdirat,write,pwrite64,writev,pwritev,\
    pwritev2,truncate,ftruncate,fallocate,copy_file_range,sendfile,rename,renameat,renameat2,link,\
    linkat,symlink,symlinkat,unlink,unlinkat,rmdir,fsetxattr,setxattr,fremovexattr,removexattr,\
    utimensat,fsync,fdatasync,syncfs,sync";

/// A step of what happened, in order.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// When the call that it belongs to began, in seconds since the epoch.
    pub began: f64,
    /// What.
    pub step: Step,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A change, whole.
    Done(Call),
    /// A [`Call::Sync`] or [`Call::SyncAll`] has begun, with a number of its own.
    SyncBegins(usize, Call),
    /// It has ended.
    SyncEnds(usize),
}

/// Reads a trace. What lies outside of `root` is left out.
///
/// # Panics
/// When a line below `root` is not understood: a trace with a hole proves nothing.
#[must_use]
pub fn read(trace: &str, root: &Path) -> Vec<Event> {
    let mut reader = Reader { root, events: Vec::new(), begun: HashMap::new(), syncs: 0 };
    for line in trace.lines() {
        reader.line(line);
    }
    reader.events
}

struct Begun<'a> {
    text: &'a str,
    began: f64,
    sync: Option<usize>,
}

struct Reader<'a> {
    root: &'a Path,
    events: Vec<Event>,
    begun: HashMap<&'a str, Begun<'a>>,
    syncs: usize,
}

impl<'a> Reader<'a> {
    fn line(&mut self, line: &'a str) {
        let mut parts = line.splitn(2, ' ');
        let (Some(thread), Some(rest)) = (parts.next(), parts.next()) else { return };
        let Some((time, text)) = rest.trim_start().split_once(' ') else { return };
        let Ok(began) = time.parse::<f64>() else { return };
        if let Some(start) = text.strip_suffix(" <unfinished ...>") {
            // What another call does is told by its result, which is not there yet.
            let sync = Some(start).filter(|start| is_begun_sync(start));
            let sync =
                sync.and_then(|start| self.call(start, "")).map(|call| self.sync(began, call));
            self.begun.insert(thread, Begun { text: start, began, sync });
        } else if text.starts_with("<... ") {
            // One that had begun before strace was there is not understood, and not awaited.
            let Some(begun) = self.begun.remove(thread) else { return };
            let rest = text.split_once("resumed>").map_or("", |(_, rest)| rest);
            match begun.sync {
                Some(number) if succeeded(rest) => {
                    self.push(begun.began, Step::SyncEnds(number));
                }
                Some(_) => {}
                None => self.done(begun.began, begun.text, rest),
            }
        } else if text.contains('(') {
            self.done(began, text, "");
        }
    }

    fn push(&mut self, began: f64, step: Step) {
        self.events.push(Event { began, step });
    }

    fn sync(&mut self, began: f64, call: Call) -> usize {
        self.syncs += 1;
        self.push(began, Step::SyncBegins(self.syncs, call));
        self.syncs
    }

    fn done(&mut self, began: f64, start: &str, rest: &str) {
        let result = if rest.is_empty() { start } else { rest };
        if !succeeded(result) {
            return;
        }
        match self.call(start, rest) {
            Some(call) if is_sync(&call) => {
                let number = self.sync(began, call);
                self.push(began, Step::SyncEnds(number));
            }
            Some(call) => self.push(began, Step::Done(call)),
            None => {}
        }
    }

    /// The call, if it changes or syncs something below the root.
    fn call(&self, start: &str, rest: &str) -> Option<Call> {
        let (name, arguments) = start.split_once('(')?;
        let text = format!("{arguments}{rest}");
        let (arguments, result) = split(&text);
        let argument = |index: usize| arguments.get(index).map_or("", String::as_str);
        let of_descriptor = |index| self.below(&path_of_descriptor(argument(index))?);
        let at = |directory, name| self.below(&joined(argument(directory), argument(name))?);
        let number = |index| argument(index).parse::<usize>().ok();
        match name {
            "open" | "creat" | "openat" | "openat2" => {
                let path = self.below(&path_of_descriptor(&result)?)?;
                let flags = arguments.join(" ");
                let made = name == "creat" || flags.contains("O_CREAT");
                let truncate = name == "creat" || flags.contains("O_TRUNC");
                (made || truncate).then_some(Call::Create { path, truncate })
            }
            "mkdirat" => Some(Call::MakeDirectory { path: at(0, 1)? }),
            "mkdir" => Some(Call::MakeDirectory { path: self.below(&bytes_path(argument(0))?)? }),
            "write" | "writev" | "pwrite64" | "pwritev" | "pwritev2" => {
                let path = of_descriptor(0)?;
                let bytes = strings(argument(1)).concat();
                let offset = if name == "pwrite64" || name.starts_with("pwritev") {
                    Some(number(3).unwrap_or_else(|| panic!("an offset in {start}")))
                } else {
                    None
                };
                Some(Call::Write { path, offset, bytes })
            }
            "copy_file_range" => Some(Call::Copy {
                from: of_descriptor(0)?,
                from_offset: in_brackets(argument(1)),
                to: of_descriptor(2)?,
                to_offset: in_brackets(argument(3)),
                // What was copied may be less than what was asked for.
                length: result.parse().unwrap_or_else(|_| panic!("a length in {start}{rest}")),
            }),
            "ftruncate" => Some(Call::Truncate { path: of_descriptor(0)?, length: number(1)? }),
            "rename" | "renameat" | "renameat2" => {
                let paths = match name {
                    "rename" => [0, 1].map(|index| self.below(&bytes_path(argument(index))?)),
                    _ => [at(0, 1), at(2, 3)],
                };
                let [Some(from), Some(to)] = paths else { return None };
                Some(Call::Rename { from, to, exchange: argument(4).contains("RENAME_EXCHANGE") })
            }
            "linkat" => Some(Call::Link { from: at(0, 1)?, to: at(2, 3)? }),
            "unlinkat" => Some(Call::Unlink { path: at(0, 1)? }),
            "unlink" | "rmdir" => {
                Some(Call::Unlink { path: self.below(&bytes_path(argument(0))?)? })
            }
            "fsetxattr" => Some(Call::SetAttribute {
                path: of_descriptor(0)?,
                name: String::from_utf8(strings(argument(1)).concat()).ok()?,
                value: strings(argument(2)).concat(),
            }),
            "fremovexattr" => Some(Call::RemoveAttribute {
                path: of_descriptor(0)?,
                name: String::from_utf8(strings(argument(1)).concat()).ok()?,
            }),
            "utimensat" => {
                let path = of_descriptor(0)?;
                Some(Call::SetTimes { path, mtime_ns: modified(argument(2)) })
            }
            "fsync" | "fdatasync" => Some(Call::Sync { path: of_descriptor(0)? }),
            "syncfs" => of_descriptor(0).map(|_| Call::SyncAll),
            "sync" => Some(Call::SyncAll),
            _ => {
                let touches = |argument: &String| {
                    path_of_descriptor(argument).and_then(|path| self.below(&path)).is_some()
                };
                assert!(!arguments.iter().any(touches), "not simulated: {start}{rest}");
                None
            }
        }
    }

    /// The path relative to the root. SQLite's index of its log is left out: it is written through a
    /// mapping, which no trace shows, and made anew at each start.
    fn below(&self, path: &Path) -> Option<PathBuf> {
        let inner = path.strip_prefix(self.root).ok()?;
        (!inner.as_os_str().to_string_lossy().ends_with("-shm")).then(|| inner.to_owned())
    }
}

fn is_sync(call: &Call) -> bool {
    matches!(call, Call::Sync { .. } | Call::SyncAll)
}

/// The same of a call's beginning.
fn is_begun_sync(start: &str) -> bool {
    ["fsync(", "fdatasync(", "syncfs(", "sync("].iter().any(|name| start.starts_with(name))
}

/// Whether the text ends with a result that is no error.
fn succeeded(text: &str) -> bool {
    text.rsplit_once(") = ").is_some_and(|(_, result)| !result.starts_with(['-', '?']))
}

/// The arguments, at the top level, and the result.
fn split(text: &str) -> (Vec<String>, String) {
    let (mut arguments, mut now, mut depth, mut quoted) = (Vec::new(), String::new(), 0, false);
    for (index, sign) in text.char_indices() {
        match sign {
            '"' => quoted = !quoted,
            '(' | '[' | '{' if !quoted => depth += 1,
            ')' if !quoted && depth == 0 => {
                arguments.push(now.trim().to_owned());
                let result = text[index + 1..].trim().trim_start_matches("= ").to_owned();
                return (arguments, result);
            }
            ')' | ']' | '}' if !quoted => depth -= 1,
            ',' if !quoted && depth == 0 => {
                arguments.push(now.trim().to_owned());
                now.clear();
                continue;
            }
            _ => {}
        }
        now.push(sign);
    }
    arguments.push(now.trim().to_owned());
    (arguments, String::new())
}

/// The bytes of a string in hexadecimal: `\x61\x62`.
fn bytes(text: &str) -> Vec<u8> {
    let pairs = text.split("\\x").skip(1);
    pairs.map(|pair| u8::from_str_radix(pair, 16).expect("two digits")).collect()
}

/// All quoted strings in an argument: one of a buffer, several of a vector.
fn strings(argument: &str) -> Vec<Vec<u8>> {
    argument.split('"').skip(1).step_by(2).map(bytes).collect()
}

fn bytes_path(argument: &str) -> Option<PathBuf> {
    argument.starts_with('"').then(|| OsString::from_vec(strings(argument).concat()).into())
}

/// Of a descriptor that is a file, and still has a name: `7<\x2f…>`.
fn path_of_descriptor(argument: &str) -> Option<PathBuf> {
    let (_, rest) = argument.split_once('<')?;
    let (path, after) = rest.split_once('>')?;
    if !path.starts_with("\\x2f") || after.starts_with("(deleted)") {
        return None;
    }
    Some(OsString::from_vec(bytes(path)).into())
}

fn joined(directory: &str, name: &str) -> Option<PathBuf> {
    // An absolute name takes the directory's place.
    Some(path_of_descriptor(directory)?.join(bytes_path(name)?))
}

/// An offset that the call was handed and has changed: `[4] => [12]`, or `[4]`.
fn in_brackets(argument: &str) -> usize {
    let number = argument.trim_start_matches('[').split(']').next().unwrap_or_default();
    number.parse().unwrap_or_else(|_| panic!("an offset in {argument}"))
}

/// The second of the two times of `utimensat`.
fn modified(times: &str) -> i128 {
    let after = |name: &str| {
        let (_, rest) = times.rsplit_once(name).unwrap_or_else(|| panic!("{name} in {times}"));
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        rest[..end].parse::<i128>().unwrap_or_else(|_| panic!("{name} in {times}"))
    };
    after("tv_sec=") * 1_000_000_000 + after("tv_nsec=")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As strace prints it with `-xx`.
    fn hex(text: &str) -> String {
        text.bytes().map(|byte| format!("\\x{byte:02x}")).collect()
    }

    fn steps(lines: &[String]) -> Vec<Step> {
        let trace = lines.join("\n");
        read(&trace, Path::new("/d")).into_iter().map(|event| event.step).collect()
    }

    #[test]
    fn reads_calls_with_the_paths_of_their_descriptors() {
        let (d, a, b) = (hex("/d"), hex("a"), hex("b,\")"));
        let outside = hex("/etc/x");
        let lines = [
            format!("7 1.5 openat(3<{d}>, \"{a}\", O_RDWR|O_CREAT, 0600) = 4<{d}\\x2f{a}>"),
            format!("7 1.5 openat(3<{d}>, \"{a}\", O_RDONLY) = 4<{d}\\x2f{a}>"),
            format!("7 1.5 openat(3<{d}>, \"{a}\", O_CREAT) = -1 ENOENT (No such file)"),
            format!("7 1.5 pwrite64(4<{d}\\x2f{a}>, \"\\x01\\xff\", 2, 3) = 2"),
            format!(
                "7 1.5 writev(4<{d}\\x2f{a}>, [{{iov_base=\"\\x01\", iov_len=1}}, {{iov_base=\"\\x02\", iov_len=1}}], 2) = 2"
            ),
            format!("7 1.5 renameat2(3<{d}>, \"{a}\", 3<{d}>, \"{b}\", RENAME_EXCHANGE) = 0"),
            format!("7 1.5 unlinkat(AT_FDCWD<{outside}>, \"{a}\", 0) = 0"),
            format!(
                "7 1.5 utimensat(4<{d}\\x2f{a}>, NULL, [UTIME_OMIT, {{tv_sec=2, tv_nsec=7}} /* 1970 */], 0) = 0"
            ),
        ];
        let path = PathBuf::from;
        let expected = [
            Call::Create { path: path("a"), truncate: false },
            Call::Write { path: path("a"), offset: Some(3), bytes: vec![1, 255] },
            Call::Write { path: path("a"), offset: None, bytes: vec![1, 2] },
            Call::Rename { from: path("a"), to: path("b,\")"), exchange: true },
            Call::SetTimes { path: path("a"), mtime_ns: 2_000_000_007 },
        ];
        assert_eq!(steps(&lines), expected.map(Step::Done));
    }

    #[test]
    fn a_sync_that_is_interrupted_begins_and_ends_apart() {
        let (d, a) = (hex("/d"), hex("/d/a"));
        let lines = [
            format!("7 1.0 fsync(3<{d}> <unfinished ...>"),
            format!("8 1.1 ftruncate(4<{a}>, 5 <unfinished ...>"),
            "7 1.2 <... fsync resumed>) = 0".to_owned(),
            "8 1.3 <... ftruncate resumed>) = 0".to_owned(),
            format!("8 1.4 syncfs(3<{d}>) = 0"),
            "9 1.5 <... fsync resumed>) = 0".to_owned(),
        ];
        let expected = [
            Step::SyncBegins(1, Call::Sync { path: PathBuf::new() }),
            Step::SyncEnds(1),
            Step::Done(Call::Truncate { path: "a".into(), length: 5 }),
            Step::SyncBegins(2, Call::SyncAll),
            Step::SyncEnds(2),
        ];
        assert_eq!(steps(&lines), expected);
    }

    #[test]
    fn a_copy_that_is_interrupted_is_read_when_its_result_is_there() {
        let (a, b) = (hex("/d/a"), hex("/d/b"));
        let lines = [
            format!("7 1.0 copy_file_range(3<{a}>, [0], 4<{b}>, [5], 9, 0 <unfinished ...>"),
            "7 1.1 <... copy_file_range resumed>) = 7".to_owned(),
        ];
        let (from, to) = ("a".into(), "b".into());
        let copy = Call::Copy { from, from_offset: 0, to, to_offset: 5, length: 7 };
        assert_eq!(steps(&lines), [Step::Done(copy)]);
    }

    #[test]
    #[should_panic(expected = "not simulated")]
    fn a_call_that_is_not_simulated_is_not_passed_over() {
        let a = hex("/d/a");
        let _ = steps(&[format!("7 1.0 fallocate(4<{a}>, 0, 0, 9) = 0")]);
    }
}
