//! The pre-flight of trees that are put: walks them, asks the server what stands in the place of each piece, and makes
//! the plan, before any data moves.
//!
//! The walk goes ahead on a thread, and several questions are on their way at once, each about many paths. Trees whose
//! place is free are not asked about. The content of files that may be the same is digested here. What is decided is
//! `trees::preflight`'s.

use std::collections::HashSet;
use std::future::ready;
use std::path::PathBuf;
use std::time::Duration;

use berth::session::{RequestError, Session};
use berth::transfer::{Place, has_digest};
use berth_common::batch::{Room, StatResult};
use berth_common::error_code::ErrorCode;
use berth_common::rel_path::RelPath;
use futures_util::future::{BoxFuture, try_join3};
use futures_util::stream::{FuturesOrdered, StreamExt as _};
use rust_i18n::t;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio::time::{Instant, interval_at};

use super::put_tree::Trees;
use super::telling::{BATCHES, Telling};
use super::{Context, failed};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::trees::{
    Comparing, Local, LookedAt, Paths, Plan, Root, Sieve, Step, Takes, Told, Verdict, Walk,
    WalkError, ancestors, judge,
};

/// Parts of the manifest whose files are digested at once.
const DIGESTING: usize = 2;

/// How often the server hears of a client that digests; it waits ten minutes by default.
const ALIVE: Duration = Duration::from_secs(30);

/// A piece of a tree, as it was walked.
pub(super) struct Piece {
    pub(super) local: PathBuf,
    pub(super) remote: RelPath,
    pub(super) is: Local,
}

/// What a pre-flight is about.
pub(super) struct Manifest<'a> {
    pub(super) roots: &'a [Root],
    pub(super) sieve: &'a Sieve,
    pub(super) comparing: Comparing,
    /// No file is replaced.
    pub(super) keeps: bool,
}

/// What a pre-flight has found.
pub(super) struct Found {
    /// Local paths that are not touched.
    settled: Paths,
    /// The places of trees where nothing stands.
    free: HashSet<RelPath>,
}

impl Found {
    /// The trees, as they are to be put.
    pub(super) fn trees(self, mut roots: Vec<Root>, sieve: Sieve) -> Trees {
        for root in &mut roots {
            if self.free.contains(&root.remote) {
                root.place = Place::Free;
            }
        }
        Trees { roots, sieve, settled: self.settled }
    }
}

/// What the walk hands over.
enum Walked {
    /// Pieces that are asked about together; of a tree whose place is free they need not be.
    Pieces(Vec<Piece>, bool),
    Skipped(PathBuf),
    Failed(PathBuf, WalkError),
}

/// Pieces with what is to be done with each.
type Judged = Result<Vec<(Piece, Verdict)>, RequestError>;

/// Makes the plan, and tells what cannot be put. `told` hears of each piece, and of the paths that are skipped.
///
/// # Errors
/// When the server cannot be asked, or the trees would exceed the quota.
pub(super) async fn preflight(
    context: &Context,
    manifest: &Manifest<'_>,
    telling: &mut Telling<'_>,
    mut told: impl FnMut(&mut Telling<'_>, Seen<'_>) -> Result<(), Failure>,
) -> Result<Found, Failure> {
    let session = &context.session;
    let above = places(manifest.roots);
    let asked = try_join3(session.usage(), session.uploads(), stated(session, above.clone()));
    let (usage, uploads, stands) = asked.await.map_err(|error| failed(&error))?;
    let reserved = uploads.into_iter().map(|upload| (upload.path, upload.size));
    let mut plan = Plan::new(reserved, manifest.keeps);
    let is_missing = |stands: &StatResult| *stands == StatResult::Failed(ErrorCode::NotFound);
    let missing = above.into_iter().zip(&stands).filter(|(_, stands)| is_missing(stands));
    let missing: HashSet<RelPath> = missing.map(|(path, _)| path).collect();
    let places: HashSet<&RelPath> = manifest.roots.iter().map(|root| &root.remote).collect();
    let (free, makes): (HashSet<RelPath>, HashSet<RelPath>) =
        missing.into_iter().partition(|path| places.contains(path));
    makes.iter().for_each(|_| plan.makes_directory());
    let roots = manifest.roots.iter().map(|root| (root.clone(), free.contains(&root.remote)));
    let (mut walked, walking) = walk(roots.collect(), manifest.sieve.clone());
    let mut walking = Some(walking);
    let digesting = Semaphore::new(DIGESTING);
    let mut alive = interval_at(Instant::now() + ALIVE, ALIVE);
    let mut asked: FuturesOrdered<BoxFuture<'_, Judged>> = FuturesOrdered::new();
    let mut over = false;
    while !over || !asked.is_empty() {
        tokio::select! {
            biased;
            Some(judged) = asked.next() => {
                for (piece, verdict) in judged.map_err(|error| failed(&error))? {
                    // An earlier try of this command has put it.
                    if matches!(piece.is, Local::File(_)) && context.tries.is_done(&piece.remote) {
                        told(telling, Seen::Piece(&piece, &Told::Same))?;
                        plan.settle(&piece.local);
                        continue;
                    }
                    let said = plan.take(&piece.local, &piece.remote, &piece.is, verdict);
                    told(telling, Seen::Piece(&piece, &said))?;
                    tell(context, telling, &piece, said);
                }
            }
            walked = walked.recv(), if !over && asked.len() < BATCHES => match walked {
                Some(Walked::Pieces(pieces, true)) => {
                    let new = pieces.into_iter().map(|piece| (piece, Verdict::New)).collect();
                    asked.push_back(Box::pin(ready(Ok(new))));
                }
                Some(Walked::Pieces(pieces, false)) => {
                    let judged = judged(session, pieces, manifest.comparing, &digesting);
                    asked.push_back(Box::pin(judged));
                }
                Some(Walked::Skipped(local)) => told(telling, Seen::Skipped(&local))?,
                Some(Walked::Failed(local, error)) => {
                    plan.settle(&local);
                    telling.failed(&unwalkable(&local, &error));
                }
                None => {
                    over = true;
                    // What is missing must not be taken for what is not there.
                    if let Some(walking) = walking.take()
                        && walking.await.is_err()
                    {
                        let stopped = t!("the walk stopped before its end; nothing was sent");
                        return Err(Failure::new(Exit::Failure, stopped));
                    }
                }
            },
            // Digesting may take longer than the server waits for a word.
            _ = alive.tick() => {
                session.echo(Vec::new()).await.map_err(|error| failed(&error))?;
            }
        }
    }
    if let Some(error) = plan.growth().beyond(&usage) {
        return Err(Failure::of_server(&error).of(t!("nothing was sent")));
    }
    Ok(Found { settled: plan.into_settled(), free })
}

/// What a pre-flight comes upon.
pub(super) enum Seen<'a> {
    Piece(&'a Piece, &'a Told),
    /// Something that is neither a file nor a directory.
    Skipped(&'a PathBuf),
}

/// Why a piece of a tree cannot be put.
pub(super) fn unwalkable(local: &std::path::Path, error: &WalkError) -> Failure {
    let failure = Failure::new(error.exit(), error.about(local));
    let local = local.display();
    failure.of(format_args!("put {local}")).locally(local)
}

fn tell(context: &Context, telling: &mut Telling<'_>, piece: &Piece, said: Told) {
    let (local, remote) = (piece.local.display(), &piece.remote);
    match said {
        Told::Same if matches!(piece.is, Local::File(_)) => {
            let newly = context.tries.done(remote);
            telling.tally.unchanged += u64::from(newly);
        }
        Told::Refused(error) => {
            let failure = Failure::of_server(&error);
            let failure = match piece.is {
                Local::Directory => failure.of(t!("the directory %{remote}", remote = remote)),
                Local::File(_) => failure.of(remote),
            };
            telling.failed(&failure.of(format_args!("put {local}")).at(remote).locally(local));
        }
        Told::Same | Told::Done { .. } | Told::Beneath => {}
    }
}

/// The places of the trees and the directories above them, each once.
fn places(roots: &[Root]) -> Vec<RelPath> {
    let mut seen = HashSet::new();
    let all = roots
        .iter()
        .flat_map(|root| std::iter::once(root.remote.clone()).chain(ancestors(&root.remote)));
    all.filter(|path| seen.insert(path.clone())).collect()
}

/// What stands at any number of paths.
async fn stated(session: &Session, paths: Vec<RelPath>) -> Result<Vec<StatResult>, RequestError> {
    let mut all = Vec::with_capacity(paths.len());
    let mut paths = paths.into_iter().peekable();
    while paths.peek().is_some() {
        let mut room = Room::default();
        let next = |path: &RelPath| room.take(path.as_str(), 0);
        let part: Vec<RelPath> = std::iter::from_fn({
            let (paths, mut next) = (&mut paths, next);
            move || paths.next_if(|path| next(path))
        })
        .collect();
        all.extend(session.stat_files(part).await?);
    }
    Ok(all)
}

/// Asks about pieces, and digests those whose content decides.
async fn judged(
    session: &Session,
    pieces: Vec<Piece>,
    comparing: Comparing,
    digesting: &Semaphore,
) -> Judged {
    let paths = pieces.iter().map(|piece| piece.remote.clone()).collect();
    let there = session.stat_files(paths).await?;
    let judged: Vec<(Piece, Verdict)> = pieces
        .into_iter()
        .zip(&there)
        .map(|(piece, there)| {
            let verdict = judge(&piece.is, there, comparing);
            (piece, verdict)
        })
        .collect();
    if !judged.iter().any(|(_, verdict)| matches!(verdict, Verdict::Compare(_))) {
        return Ok(judged);
    }
    // It is never closed.
    let _turn = digesting.acquire().await;
    let compared = tokio::task::spawn_blocking(move || {
        judged.into_iter().map(|(piece, verdict)| compared(piece, verdict)).collect()
    });
    // It has panicked, or the runtime is going down.
    compared.await.map_err(|_| berth::connection::ConnectionError::Closed.into())
}

fn compared(piece: Piece, verdict: Verdict) -> (Piece, Verdict) {
    let verdict = match (&piece.is, verdict) {
        (Local::File(file), Verdict::Compare(digest)) => {
            match has_digest(&piece.local, file, digest) {
                true => Verdict::Same,
                false => Verdict::Replace(file.size),
            }
        }
        (_, verdict) => verdict,
    };
    (piece, verdict)
}

/// Walks the trees on a thread of its own. With each it is said whether its place is free.
fn walk(roots: Vec<(Root, bool)>, sieve: Sieve) -> (mpsc::Receiver<Walked>, JoinHandle<()>) {
    let (walked, taken) = mpsc::channel(2);
    let walking = tokio::task::spawn_blocking(move || {
        // It is over when nobody takes what is found any more.
        let _ = roots.into_iter().try_for_each(|(root, is_free)| {
            walk_one(Walk::new(vec![root], Takes::Looks).without(sieve.clone()), is_free, &walked)
        });
    });
    (taken, walking)
}

fn walk_one(walk: Walk, is_free: bool, walked: &mpsc::Sender<Walked>) -> Result<(), ()> {
    let send = |found| walked.blocking_send(found).map_err(drop);
    let (mut pieces, mut room) = (Vec::new(), Room::default());
    for step in walk {
        let piece = match step {
            Step::Directory(found) => {
                Piece { local: found.local, remote: found.remote, is: Local::Directory }
            }
            Step::LookedAt(LookedAt { local, remote, file }) => {
                Piece { local, remote, is: Local::File(file) }
            }
            Step::Skipped { local, .. } => {
                send(Walked::Skipped(local))?;
                continue;
            }
            Step::Failed { local, error } => {
                send(Walked::Failed(local, error))?;
                continue;
            }
            // A walk that only looks opens none.
            Step::File(_) | Step::Small(_) => continue,
        };
        if !room.take(piece.remote.as_str(), 0) {
            send(Walked::Pieces(std::mem::take(&mut pieces), is_free))?;
            room = Room::default();
            let _ = room.take(piece.remote.as_str(), 0);
        }
        pieces.push(piece);
    }
    if pieces.is_empty() { Ok(()) } else { send(Walked::Pieces(pieces, is_free)) }
}
