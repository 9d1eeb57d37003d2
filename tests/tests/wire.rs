//! A byte that is flipped on the wire, behind TLS, in the client under test: noticed and repaired
//! in both directions, or named when it happens again.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Context, Poll};

use berth::connect::connect;
use berth::login::{Credentials, Proof, log_in};
use berth::password::Password;
use berth::progress::Reporter;
use berth::session::Session;
use berth::transfer::plan::PlanError;
use berth::transfer::{GetJob, PutJob, TransferError, get, put};
use berth::verify::Trust;
use berth_common::entry::Existing;
use berth_common::error_code::ErrorCode;
use berth_common::ids::{UploadToken, UserName};
use berth_common::note::NoteChange;
use berth_common::rel_path::RelPath;
use berth_tests::files::{Content, assert_same};
use berth_tests::{Options, Server};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes of the file that is moved.
const SIZE: u64 = 12 << 20;

/// Which byte of the transfer is flipped first: one within the third block's data, since the
/// messages and block headers before it have some hundred bytes in all.
const FIRST: u64 = (5 << 20) / 2;

/// And how far the next ones are: so that a block that is sent again is hit again.
const STEP: u64 = 64 << 10;

/// What a test tells the stream that it has put around the connection.
#[derive(Debug, Default)]
struct Fault {
    /// Whether the login is over: bytes are counted from then on.
    armed: AtomicBool,
    /// How many bytes are still to be flipped.
    flips: AtomicU32,
}

/// Flips bytes of what passes.
#[derive(Debug)]
struct Flipper<S> {
    stream: S,
    fault: Arc<Fault>,
    /// Whether it is the incoming bytes that are hit, or the outgoing ones.
    incoming: bool,
    passed: u64,
    next: u64,
}

impl<S> Flipper<S> {
    /// Counts `bytes`, and flips those of them whose turn it is.
    fn pass(&mut self, bytes: &mut [u8]) {
        if !self.fault.armed.load(Ordering::Relaxed) {
            return;
        }
        let end = self.passed + bytes.len() as u64;
        while self.next < end {
            let left = &self.fault.flips;
            let taken =
                left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
            if taken.is_ok() && self.next >= self.passed {
                bytes[(self.next - self.passed) as usize] ^= 0x20;
            }
            self.next += STEP;
        }
        self.passed = end;
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Flipper<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let result = Pin::new(&mut this.stream).poll_read(context, buffer);
        if this.incoming {
            let fresh = &mut buffer.filled_mut()[before..];
            this.pass(fresh);
        }
        result
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Flipper<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.incoming {
            return Pin::new(&mut this.stream).poll_write(context, bytes);
        }
        // Only what the stream has taken counts, so the copy is made from the same state twice.
        let mut copy = bytes.to_vec();
        let (passed, next) = (this.passed, this.next);
        let flips = this.fault.flips.load(Ordering::Relaxed);
        this.pass(&mut copy);
        let result = Pin::new(&mut this.stream).poll_write(context, &copy);
        let taken = match &result {
            Poll::Ready(Ok(taken)) => *taken,
            _ => 0,
        };
        if taken < bytes.len() {
            (this.passed, this.next) = (passed, next);
            this.fault.flips.store(flips, Ordering::Relaxed);
            this.pass(&mut copy[..taken]);
        }
        result
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

/// Logs in with the client's own code on a stream that will flip so many bytes.
async fn session(server: &Server, incoming: bool, flips: u32) -> Session {
    let address = server.address().parse().unwrap();
    let trust = Trust::Pinned(server.fingerprint().parse().unwrap());
    let connected = connect(&address, &trust).await.unwrap();
    let credentials = Credentials {
        user: UserName::new("alice").unwrap(),
        proof: Proof::Password(Password::new("a".to_owned())),
        site_secret: None,
    };
    let fault = Arc::new(Fault::default());
    let stream = Flipper {
        stream: connected.stream,
        fault: Arc::clone(&fault),
        incoming,
        passed: 0,
        next: FIRST,
    };
    let session = log_in(stream, &connected.exporter, &credentials).await.unwrap();
    fault.flips.store(flips, Ordering::Relaxed);
    fault.armed.store(true, Ordering::Relaxed);
    session
}

/// Runs one try on a runtime of its own.
fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

fn put_job(local: &Path) -> PutJob {
    PutJob {
        local: local.to_owned(),
        remote: RelPath::new("f").unwrap(),
        token: UploadToken([7; 16]),
        existing: Existing::Replace,
        whole: true,
        note: NoteChange::Keep,
        mode: 0o644,
    }
}

fn scene() -> (Server, std::path::PathBuf) {
    let server = Server::start(Options::new());
    server.add_user("alice", "a", "unlimited");
    let local = server.scratch().join("local");
    Content::seed(1).write(&local, SIZE);
    (server, local)
}

const LEAVES: u64 = SIZE / (128 << 10);

#[test]
fn a_block_corrupted_on_the_way_up_is_sent_again() {
    let (server, local) = scene();
    let report = run(async {
        let session = session(&server, false, 1).await;
        put(&session, &put_job(&local), &Reporter::nobody()).await.unwrap()
    });
    assert!(report.moved_leaves > LEAVES, "something was sent again: {report:?}");
    assert_same(&local, &server.home("alice").join("f"));
    server.assert_at_rest("alice");
}

#[test]
fn a_block_corrupted_on_the_way_down_is_sent_again() {
    let (server, local) = scene();
    let back = server.scratch().join("back");
    let report = run(async {
        let clean = session(&server, true, 0).await;
        put(&clean, &put_job(&local), &Reporter::nobody()).await.unwrap();
        let session = session(&server, true, 1).await;
        let job = GetJob { remote: RelPath::new("f").unwrap(), local: back.clone(), force: false };
        get(&session, &job, &Reporter::nobody()).await.unwrap()
    });
    assert_eq!(report.size, SIZE);
    assert_same(&local, &back);
    server.assert_at_rest("alice");
}

/// Whether a block differed from its digest, also when it came again: found here, or told by the server.
fn is_of_its_digest(error: &TransferError) -> bool {
    matches!(
        error,
        TransferError::Plan(PlanError::Integrity { .. })
            | TransferError::Server(ErrorCode::IntegrityMismatch { .. })
    )
}

#[test]
fn a_block_corrupted_again_is_named_and_the_put_goes_on_later() {
    let (server, local) = scene();
    let error = run(async {
        let session = session(&server, false, 1000).await;
        put(&session, &put_job(&local), &Reporter::nobody()).await.unwrap_err()
    });
    let shown = error.to_string();
    assert!(shown.contains("2097152"), "the third block's offset is not in {shown:?}");
    assert!(is_of_its_digest(&error), "{error}");
    assert!(!server.home("alice").join("f").exists());
    server.wait_for_no_session_of("alice");
    let report = run(async {
        let session = session(&server, false, 0).await;
        put(&session, &put_job(&local), &Reporter::nobody()).await.unwrap()
    });
    assert_eq!((report.resumed_leaves, report.moved_leaves), (16, LEAVES - 16));
    assert_same(&local, &server.home("alice").join("f"));
    server.assert_at_rest("alice");
}

#[test]
fn a_block_corrupted_again_is_named_and_the_get_goes_on_later() {
    let (server, local) = scene();
    let back = server.scratch().join("back");
    let job = GetJob { remote: RelPath::new("f").unwrap(), local: back.clone(), force: false };
    let error = run(async {
        let clean = session(&server, true, 0).await;
        put(&clean, &put_job(&local), &Reporter::nobody()).await.unwrap();
        let session = session(&server, true, 1000).await;
        get(&session, &job, &Reporter::nobody()).await.unwrap_err()
    });
    assert!(is_of_its_digest(&error), "{error}");
    let shown = error.to_string();
    assert!(shown.contains("2097152"), "the third block's offset is not in {shown:?}");
    assert!(!back.exists());
    let report = run(async {
        let session = session(&server, true, 0).await;
        get(&session, &job, &Reporter::nobody()).await.unwrap()
    });
    assert_eq!((report.resumed_leaves, report.moved_leaves), (16, LEAVES - 16));
    assert_same(&local, &back);
}
