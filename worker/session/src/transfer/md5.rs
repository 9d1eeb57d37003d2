//! The plain MD5 of a file, as `md5sum` prints it: stored with the file, or computed now and kept.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use berth_common::digest::{Md5, Md5Stream};
use berth_common::error_code::ErrorCode;
use berth_common::limits::BLOCK_SIZE;
use berth_common::rel_path::RelPath;

use super::Services;
use crate::filesystem::{Answer, CloseRead, KeepMd5, OpenFile, OpenRead, Reading};

/// The MD5 and the size of a file. Computing it takes the helper a block at a time, so that transfers
/// go on in between.
///
/// # Errors
/// The filer's, and `SourceChanged` when the file changed meanwhile.
pub(crate) async fn md5_of(
    path: RelPath,
    reading: &Reading,
    services: &Services,
) -> Answer<(Md5, u64)> {
    let opened = reading.open.send(OpenRead(path)).await.unwrap_or(Err(ErrorCode::Internal))?;
    let OpenFile { handle, file, entry, md5, .. } = opened;
    let (file, size) = (File::from(file), entry.size);
    let found = match md5 {
        Some(md5) => {
            drop(file);
            Ok(md5)
        }
        None => {
            let computed = compute(file, size, services).await;
            match computed {
                Ok(md5) => match reading.keep_md5.send(KeepMd5 { handle, md5 }).await {
                    // The MD5 is of no content that the file ever had.
                    Ok(Err(ErrorCode::SourceChanged)) => Err(ErrorCode::SourceChanged),
                    // It is an answer also when it cannot be kept.
                    _ => Ok(md5),
                },
                Err(error) => Err(error),
            }
        }
    };
    let _ = reading.close.send(CloseRead(handle)).await;
    Ok((found?, size))
}

async fn compute(file: File, size: u64, services: &Services) -> Answer<Md5> {
    let file = Arc::new(file);
    let mut stream = Md5Stream::new();
    let mut offset = 0;
    while offset < size {
        let len = usize::try_from(size - offset).unwrap_or(BLOCK_SIZE).min(BLOCK_SIZE);
        let mut buffer = services.pool.take(len);
        let file = Arc::clone(&file);
        let read = services.helpers.io.run(move || {
            let read = file.read_exact_at(&mut buffer, offset);
            if read.is_ok() {
                stream.update(&buffer);
            }
            (read, stream, buffer)
        });
        let (read, hashed, buffer) = read.await.map_err(|_| ErrorCode::Internal)?;
        services.pool.give(buffer);
        read.map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => ErrorCode::SourceChanged,
            _ => ErrorCode::Internal,
        })?;
        stream = hashed;
        offset += len as u64;
    }
    Ok(stream.finish())
}
