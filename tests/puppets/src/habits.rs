//! The program that tests run in a jail: a bad habit, or the system calls that its words say.
//!
//! It is demoted by nobody but its jail. What it finds out it writes to standard output, a line each.

use std::ffi::CString;
use std::io::{self, Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;

use crate::sys;

/// Does what the first word says with the others, and gives the exit code.
///
/// # Errors
/// When it cannot read or write what it should, or does not know the word.
pub fn run(words: Vec<std::ffi::OsString>) -> io::Result<u8> {
    let text = |at: usize| words.get(at).and_then(|word| word.to_str()).unwrap_or_default();
    let mut out = io::stdout().lock();
    match text(1) {
        "arguments" => {
            for word in &words {
                out.write_all(word.as_bytes())?;
                out.write_all(b"\0")?;
            }
        }
        "environment" => {
            for (name, value) in std::env::vars_os() {
                out.write_all(&[name.as_bytes(), b"=", value.as_bytes(), b"\n"].concat())?;
            }
        }
        "split" => split(&mut out)?,
        "close_input" => {
            sys::call(libc::SYS_close as u64, [0; 6]);
            // Whoever feeds it finds out while it goes on.
            let patience = rustix::event::Timespec { tv_sec: 0, tv_nsec: 300_000_000 };
            rustix::event::poll(&mut [], Some(&patience))?;
            writeln!(out, "closed")?;
        }
        "exit" => return Ok(text(2).parse().unwrap_or(1)),
        "segv" => sys::fault(),
        "abrt" => std::process::abort(),
        "pipe" => sys::raise(libc::SIGPIPE),
        "term" => sys::raise(libc::SIGTERM),
        "flood" => flood(&mut out)?,
        "flood_on" => loop {
            // Whatever becomes of it: nobody reads it any more.
            let _ = out.write_all(&[b'f'; 10_007]);
        },
        "flood_errors" => flood(&mut io::stderr().lock())?,
        "spin" => spin(),
        "spin_on" => {
            sys::ignore(libc::SIGXCPU);
            spin();
        }
        "hog" => hog(&mut out, text(2) == "stay")?,
        "calls" => {
            let list: Vec<&str> = words.iter().skip(2).filter_map(|word| word.to_str()).collect();
            let mut results = Vec::new();
            for words in list.split(|word| *word == ";") {
                let result = call(words, &results)?;
                results.push(result);
                writeln!(out, "{result}")?;
                out.flush()?;
            }
        }
        other => return Err(io::Error::other(format!("no habit {other:?}"))),
    }
    out.flush()?;
    Ok(0)
}

/// Each even byte to standard output, each odd one to standard error, made a letter.
fn split(out: &mut impl io::Write) -> io::Result<()> {
    let mut errors = io::BufWriter::with_capacity(100_000, io::stderr().lock());
    let (mut odd, mut piece) = (false, vec![0; 50_000]);
    loop {
        let count = io::stdin().lock().read(&mut piece)?;
        if count == 0 {
            return errors.flush();
        }
        let (mut one, mut other) = (Vec::new(), Vec::new());
        for byte in piece.iter().take(count) {
            if odd {
                other.push(b'a' + byte % 26);
            } else {
                one.push(*byte);
            }
            odd = !odd;
        }
        out.write_all(&one)?;
        errors.write_all(&other)?;
    }
}

fn flood(out: &mut impl io::Write) -> io::Result<()> {
    let piece = [b'f'; 10_007];
    loop {
        out.write_all(&piece)?;
    }
}

fn spin() {
    let mut number = 0u64;
    loop {
        number = std::hint::black_box(number.wrapping_add(1));
    }
}

/// Takes memory until there is none, and says how much there was. Keeps it for ever, if it is to stay.
fn hog(out: &mut impl io::Write, stay: bool) -> io::Result<()> {
    const PIECE: usize = 1 << 20;
    let mut all: Vec<Vec<u8>> = Vec::with_capacity(1 << 16);
    loop {
        let mut piece = Vec::new();
        if piece.try_reserve_exact(PIECE).is_err() {
            writeln!(out, "{}", all.len())?;
            out.flush()?;
            if stay {
                loop {
                    std::thread::park();
                }
            }
            return Ok(());
        }
        // Touched, so that it counts.
        piece.resize(PIECE, 1);
        all.push(piece);
    }
}

/// A system call as words: its number, then a number, `=N` for the result of the N-th call, `s:` a text, `b:` so many
/// empty bytes, or `x:` bytes in hexadecimal.
fn call(words: &[&str], results: &[i64]) -> io::Result<i64> {
    let wrong = || io::Error::other(format!("no call: {words:?}"));
    let mut numbers = Vec::new();
    for word in words {
        numbers.push(if let Some(text) = word.strip_prefix("s:") {
            let text = CString::new(text).map_err(io::Error::other)?;
            leaked(text.into_bytes_with_nul())
        } else if let Some(count) = word.strip_prefix("b:") {
            leaked(vec![0; count.parse().map_err(io::Error::other)?])
        } else if let Some(digits) = word.strip_prefix("x:") {
            let pairs = digits.as_bytes().chunks(2);
            let bytes = pairs.map(|pair| {
                let pair = std::str::from_utf8(pair).map_err(io::Error::other)?;
                u8::from_str_radix(pair, 16).map_err(io::Error::other)
            });
            leaked(bytes.collect::<io::Result<_>>()?)
        } else if let Some(number) = word.strip_prefix('=') {
            let number: usize = number.parse().map_err(io::Error::other)?;
            results.get(number).ok_or_else(wrong)?.cast_unsigned()
        } else {
            word.parse::<i64>().map_err(io::Error::other)?.cast_unsigned()
        });
    }
    let (number, arguments) = numbers.split_first().ok_or_else(wrong)?;
    let mut six = [0; 6];
    six.iter_mut().zip(arguments).for_each(|(place, argument)| *place = *argument);
    Ok(sys::call(*number, six))
}

/// The address of bytes that stay where they are.
fn leaked(bytes: Vec<u8>) -> u64 {
    Box::leak(bytes.into_boxed_slice()).as_mut_ptr().expose_provenance() as u64
}
