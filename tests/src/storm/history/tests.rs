//! Histories that can be, and histories that have to be rejected.

use berth_common::entry::Existing;
use berth_common::error_code::ErrorCode;
use berth_common::rel_path::RelPath;

use super::super::content::Content;
use super::super::file::File;
use super::super::tree::{Node, Step, Tree};
use super::{End, Explained, Operation, explain};

fn path(text: &str) -> RelPath {
    RelPath::new(text).unwrap()
}

/// A file of such contents, one behind the other.
fn file(numbers: &[u64]) -> File {
    let contents = numbers.iter().map(|number| Content::new(*number, 100));
    contents.fold(File::default(), |file, content| file.with(content))
}

/// A home from its paths: a number is a file with that content.
fn tree(nodes: &[(&str, u64)]) -> Tree {
    let node = |number| match number {
        0 => Node::Directory,
        number => Node::File(file(&[number])),
    };
    Tree(nodes.iter().map(|(at, number)| (path(at), node(*number))).collect())
}

fn op(times: (u64, u64), end: End, steps: Vec<Step>) -> Operation {
    Operation {
        title: String::new(),
        session: 0,
        steps,
        begun: times.0,
        ended: times.1,
        end,
        resumed: false,
    }
}

fn put(at: &str, number: u64) -> Step {
    put_as(at, number, Existing::Replace)
}

fn append(at: &str, number: u64) -> Step {
    put_as(at, number, Existing::Append)
}

fn put_as(at: &str, number: u64, existing: Existing) -> Step {
    Step::Put { path: path(at), content: Content::new(number, 100), existing }
}

fn remove(at: &str) -> Step {
    Step::Remove { path: path(at), recursive: true }
}

fn rename(from: &str, to: &str) -> Step {
    Step::Rename { from: path(from), to: path(to), overwrite: false }
}

fn read(at: &str, number: u64) -> Step {
    Step::Read { path: path(at), content: Some(file(&[number])) }
}

fn mkdir_p(paths: &[&str]) -> Vec<Step> {
    paths.iter().map(|at| Step::MakeDirectory { path: path(at), or_there: true }).collect()
}

use End::{Acknowledged, CutOff, NotAsked};

#[test]
fn an_acknowledged_file_must_be_there_whole() {
    let ops = [op((1, 2), Acknowledged, vec![put("a", 1)])];
    assert_eq!(explain(&tree(&[]), &tree(&[("a", 1)]), &ops), Explained::Yes);
    assert_eq!(explain(&tree(&[]), &tree(&[]), &ops), Explained::No, "it is missing");
    assert_eq!(explain(&tree(&[]), &tree(&[("a", 2)]), &ops), Explained::No, "another file");
    assert_eq!(explain(&tree(&[]), &tree(&[("b", 1)]), &ops), Explained::No, "another place");
}

#[test]
fn what_nobody_deleted_must_be_there() {
    let start = tree(&[("a", 1), ("d", 0), ("d/b", 2)]);
    let ops = [op((1, 2), Acknowledged, vec![put("c", 3)])];
    assert_eq!(explain(&start, &tree(&[("a", 1), ("c", 3), ("d", 0)]), &ops), Explained::No);
}

#[test]
fn what_was_cut_off_has_happened_or_not_and_nothing_between() {
    let start = tree(&[("a", 1)]);
    let ops = [op((1, 2), CutOff, vec![put("a", 2)])];
    assert_eq!(explain(&start, &start, &ops), Explained::Yes);
    assert_eq!(explain(&start, &tree(&[("a", 2)]), &ops), Explained::Yes);
    assert_eq!(explain(&start, &tree(&[]), &ops), Explained::No, "the old file is lost");
    let not_asked = [op((1, 2), NotAsked, vec![put("a", 2)])];
    assert_eq!(explain(&start, &start, &not_asked), Explained::Yes);
    assert_eq!(explain(&start, &tree(&[("a", 2)]), &not_asked), Explained::No);
}

#[test]
fn what_was_cut_off_may_happen_after_what_was_asked_for_later() {
    let ops = [op((1, 2), CutOff, vec![put("a", 1)]), op((3, 4), Acknowledged, vec![put("a", 2)])];
    assert_eq!(explain(&tree(&[]), &tree(&[("a", 1)]), &ops), Explained::Yes);
    assert_eq!(explain(&tree(&[]), &tree(&[("a", 2)]), &ops), Explained::Yes);
}

#[test]
fn an_answer_ends_what_it_answers() {
    let ops = |second: u64| {
        [
            op((1, 3), Acknowledged, vec![put("a", 1)]),
            op((second, 5), Acknowledged, vec![put("a", 2)]),
        ]
    };
    assert_eq!(explain(&tree(&[]), &tree(&[("a", 1)]), &ops(2)), Explained::Yes, "they overlap");
    assert_eq!(explain(&tree(&[]), &tree(&[("a", 1)]), &ops(4)), Explained::No);
}

#[test]
fn a_refusal_needs_a_moment_that_it_fits() {
    let not_found = || End::Refused(ErrorCode::NotFound);
    let start = tree(&[("a", 1)]);
    let refused = [op((1, 2), not_found(), vec![remove("a")])];
    assert_eq!(explain(&start, &start, &refused), Explained::No);
    let beside = [
        op((1, 4), Acknowledged, vec![rename("a", "b")]),
        op((2, 3), not_found(), vec![remove("a")]),
    ];
    assert_eq!(explain(&start, &tree(&[("b", 1)]), &beside), Explained::Yes);
    let refused_and_done = [op((1, 2), not_found(), vec![remove("x")])];
    assert_eq!(explain(&start, &tree(&[]), &refused_and_done), Explained::No, "it did something");
}

#[test]
fn a_file_that_was_read_was_there() {
    let start = tree(&[("a", 1)]);
    let ops = |number| {
        [
            op((1, 4), Acknowledged, vec![put("a", 2)]),
            op((2, 3), Acknowledged, vec![read("a", number)]),
        ]
    };
    let end = tree(&[("a", 2)]);
    assert_eq!(explain(&start, &end, &ops(1)), Explained::Yes);
    assert_eq!(explain(&start, &end, &ops(2)), Explained::Yes);
    assert_eq!(explain(&start, &end, &ops(3)), Explained::No);
}

/// A home with `a` alone.
fn with_a(numbers: &[u64]) -> Tree {
    Tree([(path("a"), Node::File(file(numbers)))].into())
}

#[test]
fn an_append_happens_exactly_once_or_not_at_all() {
    let start = with_a(&[1]);
    let ops = |end| [op((1, 2), end, vec![append("a", 2)])];
    let cases: [(&[u64], _, _); 4] = [
        (&[1], Explained::No, Explained::Yes),
        (&[1, 2], Explained::Yes, Explained::Yes),
        (&[1, 2, 2], Explained::No, Explained::No),
        (&[2], Explained::No, Explained::No),
    ];
    for (numbers, acknowledged, cut_off) in cases {
        assert_eq!(explain(&start, &with_a(numbers), &ops(Acknowledged)), acknowledged);
        assert_eq!(explain(&start, &with_a(numbers), &ops(CutOff)), cut_off);
    }
}

#[test]
fn an_append_that_is_sent_again_after_its_answer_was_lost_may_be_there_twice() {
    let ops =
        [op((1, 2), CutOff, vec![append("a", 2)]), op((3, 4), Acknowledged, vec![append("a", 2)])];
    assert_eq!(explain(&with_a(&[1]), &with_a(&[1, 2]), &ops), Explained::Yes);
    assert_eq!(explain(&with_a(&[1]), &with_a(&[1, 2, 2]), &ops), Explained::Yes);
    assert_eq!(explain(&with_a(&[1]), &with_a(&[1]), &ops), Explained::No);
    assert_eq!(explain(&with_a(&[1]), &with_a(&[1, 2, 2, 2]), &ops), Explained::No);
}

#[test]
fn an_append_that_could_be_resumed_had_not_happened() {
    let resumed = |operation| Operation { resumed: true, ..operation };
    let cut = op((1, 2), CutOff, vec![append("a", 2)]);
    let again = resumed(op((3, 4), Acknowledged, vec![append("a", 2)]));
    let ops = [cut.clone(), again.clone()];
    assert_eq!(explain(&with_a(&[1]), &with_a(&[1, 2]), &ops), Explained::Yes);
    assert_eq!(explain(&with_a(&[1]), &with_a(&[1, 2, 2]), &ops), Explained::No, "added twice");
    // A third one may have sent it anew, after the first has happened.
    let between = op((2, 3), NotAsked, vec![append("a", 2)]);
    let later = Operation { begun: 4, ended: 5, ..again.clone() };
    let ops = [cut.clone(), between, later];
    assert_eq!(explain(&with_a(&[1]), &with_a(&[1, 2, 2]), &ops), Explained::Yes);
    // One that began before the other was cut off may have lost the upload to it.
    let beside = Operation { begun: 1, ended: 4, ..cut };
    let ops = [beside, Operation { begun: 2, ended: 3, end: CutOff, ..again }];
    assert_eq!(explain(&with_a(&[1]), &with_a(&[1, 2]), &ops), Explained::Yes);
}

#[test]
fn an_append_gives_way_to_others_only_if_there_are_any() {
    let refused = op((1, 12), End::Refused(ErrorCode::Busy), vec![append("d/a", 9)]);
    let start = tree(&[("d", 0)]);
    let ops = |count: u64, at: &str| {
        let others = (1..=count).map(|n| op((2 * n, 2 * n + 1), Acknowledged, vec![put(at, n)]));
        others.chain([refused.clone()]).collect::<Vec<_>>()
    };
    let end = |number| tree(&[("d", 0), ("d/a", number)]);
    assert_eq!(explain(&start, &end(4), &ops(4, "d/a")), Explained::Yes);
    assert_eq!(explain(&start, &end(3), &ops(3, "d/a")), Explained::No, "too few");
    let elsewhere = tree(&[("d", 0), ("d/b", 4)]);
    assert_eq!(explain(&start, &elsewhere, &ops(4, "d/b")), Explained::No, "another file");
}

#[test]
fn no_append_takes_away_what_another_has_added() {
    let ops = [
        op((1, 3), Acknowledged, vec![append("a", 2)]),
        op((2, 4), Acknowledged, vec![append("a", 3)]),
    ];
    assert_eq!(explain(&with_a(&[1]), &with_a(&[1, 2, 3]), &ops), Explained::Yes);
    assert_eq!(explain(&with_a(&[1]), &with_a(&[1, 3, 2]), &ops), Explained::Yes);
    assert_eq!(explain(&with_a(&[1]), &with_a(&[1, 3]), &ops), Explained::No);
    let later = [ops[0].clone(), Operation { begun: 4, ended: 5, ..ops[1].clone() }];
    assert_eq!(explain(&with_a(&[1]), &with_a(&[1, 3, 2]), &later), Explained::No);
}

#[test]
fn a_directory_and_its_parents_are_made_one_after_the_other() {
    let paths = ["d", "d/e"];
    let whole = tree(&[("d", 0), ("d/e", 0)]);
    let cut = [op((1, 2), CutOff, mkdir_p(&paths))];
    for end in [tree(&[]), tree(&[("d", 0)]), whole.clone()] {
        assert_eq!(explain(&tree(&[]), &end, &cut), Explained::Yes, "{end}");
    }
    let done = [op((1, 2), Acknowledged, mkdir_p(&paths))];
    assert_eq!(explain(&tree(&[]), &tree(&[("d", 0)]), &done), Explained::No);
    let full = ErrorCode::Busy;
    let refused = [op((1, 2), End::Refused(full), mkdir_p(&paths))];
    assert_eq!(explain(&tree(&[]), &tree(&[("d", 0)]), &refused), Explained::Yes);
    assert_eq!(explain(&tree(&[]), &whole, &refused), Explained::No);
}

#[test]
fn a_directory_that_is_moved_takes_what_is_put_into_it_along() {
    let start = tree(&[("d", 0)]);
    let ops = [
        op((1, 4), Acknowledged, vec![put("d/a", 1)]),
        op((2, 3), Acknowledged, vec![rename("d", "e")]),
    ];
    assert_eq!(explain(&start, &tree(&[("e", 0), ("e/a", 1)]), &ops), Explained::Yes);
    assert_eq!(explain(&start, &tree(&[("e", 0)]), &ops), Explained::No, "the file is lost");
}

#[test]
fn many_operations_side_by_side_are_searched_quickly() {
    let names = ["a", "b", "c"];
    let ops: Vec<Operation> = (0..24)
        .map(|n| {
            let end = if n % 3 == 0 { CutOff } else { Acknowledged };
            op((n, n + 3), end, vec![put(names[n as usize % 3], n + 1)])
        })
        .collect();
    let end = tree(&[("a", 19), ("b", 23), ("c", 24)]);
    assert_eq!(explain(&tree(&[]), &end, &ops), Explained::Yes);
}

#[test]
fn batches_that_a_daemon_took_with_it_are_searched_quickly() {
    let names = ["a", "b", "c", "d/a", "d/b", "d/c"];
    let batch = |session: u64| {
        names.into_iter().zip(1..).map(move |(at, place)| {
            let number = 10 * session + place;
            let step = if place % 3 == 0 { remove(at) } else { put(at, number) };
            op((2, 30), CutOff, vec![step])
        })
    };
    let mut ops = vec![op((0, 1), Acknowledged, vec![put("a", 1)])];
    ops.extend((1..=3).flat_map(batch));
    ops.push(op((31, 32), Acknowledged, vec![rename("d", "e")]));
    let start = tree(&[("c", 2), ("d", 0), ("d/c", 3)]);
    let end = tree(&[("a", 21), ("b", 1), ("e", 0), ("e/a", 14), ("e/b", 35)]);
    assert_eq!(explain(&start, &end, &ops), Explained::No, "nobody has renamed a to b");
    let end = tree(&[("a", 21), ("b", 12), ("e", 0), ("e/a", 14), ("e/b", 35)]);
    assert_eq!(explain(&start, &end, &ops), Explained::Yes);
}
