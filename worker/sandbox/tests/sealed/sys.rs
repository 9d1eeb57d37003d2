//! Raw system calls and faults, for the process that tries them.

use std::ffi::CString;

/// What a raw call gave: its result, or the negative error number.
pub(crate) type Answer = i64;

/// `struct open_how`.
#[repr(C)]
struct OpenHow {
    flags: u64,
    mode: u64,
    resolve: u64,
}

/// Makes the call that these words say: a number and arguments. `p:TEXT` is a pointer to a string, `h:FLAGS`
/// one to an `open_how`, `z` one to 4 KiB of zeros.
pub(crate) fn call(words: &[&str]) -> Answer {
    let number: i64 = words[0].parse().unwrap();
    let mut texts = Vec::new();
    let mut hows = Vec::new();
    let zeros = vec![0u8; 4096];
    let mut arguments = [0i64; 6];
    for (argument, word) in arguments.iter_mut().zip(&words[1..]) {
        *argument = if let Some(text) = word.strip_prefix("p:") {
            let text = CString::new(text).unwrap();
            let address = text.as_ptr() as i64;
            texts.push(text);
            address
        } else if let Some(flags) = word.strip_prefix("h:") {
            let how = Box::new(OpenHow { flags: flags.parse().unwrap(), mode: 0, resolve: 0 });
            let address = &raw const *how as i64;
            hows.push(how);
            address
        } else if *word == "z" {
            zeros.as_ptr() as i64
        } else {
            word.parse().unwrap()
        };
    }
    let [a, b, c, d, e, f] = arguments;
    // SAFETY: the pointers are to memory that outlives the call; what the tests ask for writes to none but
    // the zeros, and a call that would do worse is what the sandbox is to end.
    match unsafe { libc::syscall(number, a, b, c, d, e, f) } {
        -1 => -i64::from(std::io::Error::last_os_error().raw_os_error().unwrap()),
        result => result,
    }
}

/// Crashes.
pub(crate) fn write_to_nowhere() {
    // SAFETY: none; the fault is what is wanted.
    unsafe { std::ptr::with_exposed_provenance_mut::<u8>(16).write_volatile(1) }
}

/// Makes a 32-bit call: `getpid`, which is 20 there and `writev` here.
#[cfg(target_arch = "x86_64")]
pub(crate) fn call_as_32_bit() -> Answer {
    let mut number = 20i64;
    // SAFETY: getpid takes no arguments; r8 to r11 are lost on such a call.
    unsafe {
        std::arch::asm!("int 0x80", inout("rax") number, out("r8") _, out("r9") _, out("r10") _, out("r11") _);
    }
    number
}
