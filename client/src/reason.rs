//! What the operating system says, in the sentences of this library's errors.

use std::io;

/// The reason without the number that only a program needs.
pub(crate) fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::StorageFull => "the disk is full".to_owned(),
        io::ErrorKind::QuotaExceeded => "the disk quota is exceeded".to_owned(),
        io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => {
            let text = error.to_string();
            match text.rsplit_once(" (os error ") {
                Some((reason, _)) => reason.to_owned(),
                None => text,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_an_error_is_left_to_programs() {
        let busy = io::Error::from(rustix::io::Errno::BUSY);
        assert!(!reason(&busy).contains("os error"), "{}", reason(&busy));
        assert!(!reason(&busy).is_empty());
        let full = io::Error::from(rustix::io::Errno::NOSPC);
        assert_eq!(reason(&full), "the disk is full");
        assert_eq!(reason(&io::Error::other("as it is")), "as it is");
    }
}
