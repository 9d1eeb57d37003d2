//! How fast leaves are hashed: one stream, one block, and two blocks together, which is what senders and a client
//! that gets do; and what a tree digest costs when an upload of 4 GiB is resumed at its end.

#![allow(missing_docs)] // `criterion_group!` makes public functions.

use std::hint::black_box;

use berth_common::digest::{self, Md5, TreeDigest};
use berth_common::limits::{BLOCK_SIZE, LEAF_SIZE};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

/// Bytes that no hash could treat alike.
fn bytes(len: usize) -> Vec<u8> {
    (0..len as u64).map(|n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect()
}

fn hashing(criterion: &mut Criterion) {
    let block = bytes(BLOCK_SIZE);
    let other = bytes(BLOCK_SIZE + 1).split_off(1);
    let leaf = &block[..LEAF_SIZE];
    let mut group = criterion.benchmark_group("hashing");

    group.throughput(Throughput::Bytes(LEAF_SIZE as u64));
    group.bench_function("a leaf by itself", |bencher| bencher.iter(|| Md5::of(black_box(leaf))));

    group.throughput(Throughput::Bytes(BLOCK_SIZE as u64));
    group.bench_function("a block", |bencher| bencher.iter(|| digest::leaves(black_box(&block))));

    group.throughput(Throughput::Bytes(2 * BLOCK_SIZE as u64));
    group.bench_function("two blocks", |bencher| {
        bencher.iter(|| digest::leaves_of_blocks(black_box(&[&block, &other])));
    });
    group.finish();
}

fn tree_digest(criterion: &mut Criterion) {
    let leaves = vec![Md5::of(b"leaf"); (4 << 30) / LEAF_SIZE];
    let mut group = criterion.benchmark_group("tree digest");
    group.throughput(Throughput::Elements(leaves.len() as u64));
    group.bench_function("of the leaves of 4 GiB", |bencher| {
        bencher.iter(|| TreeDigest::resume(black_box(&leaves)).finish());
    });
    group.finish();
}

criterion_group!(benches, hashing, tree_digest);
criterion_main!(benches);
