//! What a frame between client and worker costs besides its bytes' way: a data block's header, and the messages of
//! a put and a get of one small file, by which a transfer of many is bounded.

#![allow(clippy::unwrap_used, missing_docs)] // `criterion_group!` makes public functions.

use std::hint::black_box;

use berth_common::client_protocol::{ClientToWorker, Put, WorkerToClient};
use berth_common::digest::{self, Md5};
use berth_common::entry::{
    Entry, EntryKind, Existing, HomeFingerprint, Limits, SourceEnd, SourceFingerprint, Usage,
};
use berth_common::frame::{self, BlockHeader, FrameHeader, HEADER_BYTES};
use berth_common::ids::{RequestId, UploadToken};
use berth_common::limits::{BLOCK_SIZE, LISTING_CHUNK_BYTES};
use berth_common::note::NoteChange;
use berth_common::rel_path::RelPath;
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use serde::Serialize;
use serde::de::DeserializeOwned;

const ID: RequestId = RequestId(70_000);

fn blocks(criterion: &mut Criterion) {
    let data = vec![0x5a; BLOCK_SIZE];
    let header = BlockHeader { transfer: ID, offset: 1 << 30, leaves: digest::leaves(&data) };
    let mut frame = header.encode(data.len()).unwrap();
    frame.extend_from_slice(&data);
    let mut group = criterion.benchmark_group("block");
    group.bench_function("encode its header", |bencher| {
        bencher.iter(|| black_box(&header).encode(black_box(data.len())).unwrap());
    });
    group.bench_function("decode its headers", |bencher| {
        bencher.iter(|| {
            let (first, body) = black_box(&frame).split_first_chunk::<HEADER_BYTES>().unwrap();
            FrameHeader::decode(*first).unwrap();
            BlockHeader::decode(body).unwrap()
        });
    });
    group.finish();
}

fn path() -> RelPath {
    RelPath::new("photos/2026/10/a picture of the harbour.jpg").unwrap()
}

fn source() -> SourceFingerprint {
    let time_ns = 1_790_000_000_123_456_789;
    SourceFingerprint { size: 4096, mtime_ns: time_ns, ctime_ns: time_ns, inode: 1_234_567 }
}

fn entry(name: &str) -> Entry {
    Entry {
        name: name.into(),
        kind: EntryKind::File,
        size: 4096,
        mtime_ns: source().mtime_ns,
        mode: 0o644,
        digest: None,
        note: None,
    }
}

/// Both directions of one message, as whole frames.
fn both<M: Serialize + DeserializeOwned>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    message: &M,
) {
    let frame = frame::encode_message(message).unwrap();
    group.throughput(Throughput::Bytes(frame.len() as u64));
    group.bench_function(format!("encode {name}"), |bencher| {
        bencher.iter(|| frame::encode_message(black_box(message)).unwrap());
    });
    group.bench_function(format!("decode {name}"), |bencher| {
        bencher.iter(|| frame::decode_message::<M>(black_box(&frame[HEADER_BYTES..])).unwrap());
    });
}

fn messages(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("message");
    let put = Put {
        id: ID,
        path: path(),
        source: source().into(),
        token: UploadToken([7; 16]),
        mode: 0o644,
        existing: Existing::Keep,
        base: None,
        note: NoteChange::Keep,
    };
    both(&mut group, "Put", &ClientToWorker::Put(put));
    let end = SourceEnd::from(source());
    both(
        &mut group,
        "PutEnd",
        &ClientToWorker::PutEnd { id: ID, digest: Md5::of(b""), source: end },
    );
    let usage = Usage {
        limits: Limits { bytes: Some(1 << 40), entries: Some(1 << 20) },
        used_bytes: 1 << 39,
        used_entries: 1 << 19,
        reserved_bytes: 4096,
        reserved_entries: 1,
    };
    both(&mut group, "PutDone", &WorkerToClient::PutDone { id: ID, replaced: false, usage });
    both(&mut group, "Get", &ClientToWorker::Get { id: ID, path: path(), resume: None });
    let fingerprint = HomeFingerprint {
        inode: 1_234_567,
        ctime_ns: source().ctime_ns,
        size: 4096,
        digest: Some(Md5::of(b"")),
    };
    let ready =
        WorkerToClient::GetReady { id: ID, entry: entry("a picture.jpg"), fingerprint, leaves: 0 };
    both(&mut group, "GetReady", &ready);

    // As long as a listing's chunk may be.
    let name = "a name of thirty-two characters!";
    let mut entries = Vec::new();
    let mut size = 0;
    while size < LISTING_CHUNK_BYTES {
        entries.push(entry(name));
        size += frame::encode_message(&entry(name)).unwrap().len() - HEADER_BYTES;
    }
    both(&mut group, "Entries", &WorkerToClient::Entries { id: ID, entries, last: false });
    group.finish();
}

criterion_group!(benches, blocks, messages);
criterion_main!(benches);
