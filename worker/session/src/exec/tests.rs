//! A pump over real pipes, with a client that reads, one that does not, and a daemon that says what happened.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use berth_common::broker_protocol::{DaemonToWorker, ExecStopped, WorkerToDaemon};
use berth_common::channel::Channel;
use berth_common::client_protocol::WorkerToClient;
use berth_common::exec::OutputStream;
use rustix::pipe::PipeFlags;
use tokio::task::JoinHandle;

use super::*;
use crate::connection::Parts;

const ID: RequestId = RequestId(3);
const ENOUGH: u64 = 1 << 30;

struct Scene {
    program: Program,
    pump: JoinHandle<WorkerToClient>,
    daemon: Channel<DaemonToWorker, WorkerToDaemon>,
    connection: Option<Parts>,
    outgoing: Outgoing,
}

/// The program's ends of its pipes.
struct Pipes {
    input: OwnedFd,
    output: OwnedFd,
    errors: OwnedFd,
}

impl Scene {
    fn new() -> Self {
        let (near, daemon) = Channel::pair().unwrap();
        let connection = Parts::new();
        let around = Surroundings {
            outgoing: connection.outgoing.clone(),
            broker: Broker::new(Arc::new(near)).unwrap(),
            traffic: Traffic::new(),
            stall: Duration::from_secs(3600),
        };
        let outgoing = connection.outgoing.clone();
        let (program, ends) = Program::new();
        let pump = actix_rt::spawn(pump(ID, ends, around));
        Self { program, pump, daemon, connection: Some(connection), outgoing }
    }

    fn start(&self, output_bytes: u64) -> Pipes {
        let pipe = || rustix::pipe::pipe_with(PipeFlags::CLOEXEC).unwrap();
        let ((input, to), (from_output, output), (from_errors, errors)) = (pipe(), pipe(), pipe());
        for end in [&to, &from_output, &from_errors] {
            rustix::io::ioctl_fionbio(end, true).unwrap();
        }
        self.program.tell(News::Started([to, from_output, from_errors], output_bytes));
        Pipes { input, output, errors }
    }

    /// What the client is told, to the end of the queue.
    fn read(&mut self) -> JoinHandle<Vec<WorkerToClient>> {
        let queue = self.connection.take().unwrap();
        actix_rt::spawn(queue.messages())
    }

    /// Waits until the daemon is told to end the program.
    async fn stopped(&self, why: ExecStopped) {
        self.daemon.set_nonblocking(true).unwrap();
        let received = loop {
            match self.daemon.recv() {
                Ok(received) => break received.message,
                Err(_) => tokio::task::yield_now().await,
            }
        };
        assert_eq!(received, WorkerToDaemon::ExecStop { id: ID, why });
    }

    async fn ended(
        self,
        told: JoinHandle<Vec<WorkerToClient>>,
    ) -> (WorkerToClient, Vec<WorkerToClient>) {
        let last = self.pump.await.unwrap();
        self.outgoing.finish(None);
        (last, told.await.unwrap())
    }
}

fn run<F: Future<Output = ()>>(test: F) {
    let in_time = async { tokio::time::timeout(Duration::from_secs(20), test).await };
    actix_rt::System::new().block_on(in_time).expect("the test takes too long");
}

fn written(told: &[WorkerToClient], wanted: OutputStream) -> Vec<u8> {
    let pieces = told.iter().filter_map(|message| match message {
        WorkerToClient::ExecOutput { stream, data, .. } if *stream == wanted => Some(data.clone()),
        _ => None,
    });
    pieces.flatten().collect()
}

#[test]
fn both_outputs_and_the_end_are_told_in_order() {
    run(async {
        let mut scene = Scene::new();
        let told = scene.read();
        let Pipes { input, output, errors } = scene.start(ENOUGH);
        rustix::io::write(&output, b"out").unwrap();
        rustix::io::write(&errors, b"err").unwrap();
        drop((input, output, errors));
        let end = ExecEnd::Exited { code: 3 };
        scene.program.tell(News::Ended(end));
        let (last, told) = scene.ended(told).await;
        assert_eq!(last, WorkerToClient::ExecDone { id: ID, end });
        assert_eq!(told.first(), Some(&WorkerToClient::ExecStarted { id: ID }));
        assert_eq!(written(&told, OutputStream::Stdout), b"out");
        assert_eq!(written(&told, OutputStream::Stderr), b"err");
    });
}

#[test]
fn the_end_waits_for_output_that_is_still_in_the_pipe_and_output_for_the_end() {
    run(async {
        let mut scene = Scene::new();
        let told = scene.read();
        let Pipes { input, output, errors } = scene.start(ENOUGH);
        scene.program.tell(News::Ended(ExecEnd::Exited { code: 0 }));
        tokio::task::yield_now().await;
        rustix::io::write(&output, b"late").unwrap();
        drop((input, output, errors));
        let (_, told) = scene.ended(told).await;
        assert_eq!(written(&told, OutputStream::Stdout), b"late");
    });
}

#[test]
fn input_is_written_as_it_is_read_acknowledged_and_bounded() {
    run(async {
        let mut scene = Scene::new();
        let told = scene.read();
        let pipes = scene.start(ENOUGH);
        let piece = || vec![7; MAX_EXEC_DATA];
        for _ in 0..EXEC_INPUT_WINDOW / MAX_EXEC_DATA {
            scene.program.take(piece()).unwrap();
        }
        assert_eq!(scene.program.take(vec![1]), Err(Unwanted), "the window is used up");
        let reader = std::thread::spawn(move || {
            let mut all = Vec::new();
            std::io::Read::read_to_end(&mut std::fs::File::from(pipes.input), &mut all).unwrap();
            (all.len(), pipes.output, pipes.errors)
        });
        while scene.program.window.get() < EXEC_INPUT_WINDOW {
            tokio::task::yield_now().await;
        }
        scene.program.take(b"more".to_vec()).unwrap();
        scene.program.end_input().unwrap();
        assert_eq!(scene.program.end_input(), Err(Unwanted));
        assert_eq!(scene.program.take(b"x".to_vec()), Err(Unwanted));
        while !reader.is_finished() {
            tokio::task::yield_now().await;
        }
        let (count, output, errors) = reader.join().unwrap();
        assert_eq!(count, EXEC_INPUT_WINDOW + 4);
        drop((output, errors));
        scene.program.tell(News::Ended(ExecEnd::Exited { code: 0 }));
        let (_, told) = scene.ended(told).await;
        let taken = told.iter().map(|message| match message {
            WorkerToClient::ExecInputTaken { bytes, .. } => *bytes as usize,
            _ => 0,
        });
        assert_eq!(taken.sum::<usize>(), EXEC_INPUT_WINDOW + 4);
    });
}

#[test]
fn input_that_nobody_reads_any_more_is_thrown_away() {
    run(async {
        let mut scene = Scene::new();
        let told = scene.read();
        let Pipes { input, output, errors } = scene.start(ENOUGH);
        drop(input);
        for _ in 0..20 {
            scene.program.take(vec![7; MAX_EXEC_DATA]).unwrap();
            while scene.program.window.get() < EXEC_INPUT_WINDOW {
                tokio::task::yield_now().await;
            }
        }
        drop((output, errors));
        scene.program.tell(News::Ended(ExecEnd::Exited { code: 0 }));
        let (last, _) = scene.ended(told).await;
        assert!(matches!(last, WorkerToClient::ExecDone { .. }), "{last:?}");
    });
}

#[test]
fn output_is_cut_at_the_bound_and_the_daemon_is_told_once() {
    run(async {
        let mut scene = Scene::new();
        let told = scene.read();
        let Pipes { input, output, errors } = scene.start(5);
        rustix::io::write(&output, b"1234567").unwrap();
        rustix::io::write(&errors, b"89").unwrap();
        scene.stopped(ExecStopped::Output).await;
        scene.program.tell(News::Ended(ExecEnd::Signalled { signal: 9 }));
        drop((input, output, errors));
        let (last, told) = scene.ended(told).await;
        let end = ExecEnd::TooMuchOutput { bytes: 5 };
        assert_eq!(last, WorkerToClient::ExecDone { id: ID, end });
        let all =
            written(&told, OutputStream::Stdout).len() + written(&told, OutputStream::Stderr).len();
        assert_eq!(all, 5);
    });
}

#[test]
fn a_program_that_is_not_run_or_not_wanted_any_more_has_failed() {
    run(async {
        for started in [false, true] {
            let mut scene = Scene::new();
            let told = scene.read();
            let pipes = started.then(|| scene.start(ENOUGH));
            let error = if started { ErrorCode::Cancelled } else { ErrorCode::ProgramNotAllowed };
            scene.program.tell(News::Failed(error.clone()));
            let (last, _) = scene.ended(told).await;
            assert_eq!(last, WorkerToClient::Failed { id: ID, error });
            drop(pipes);
        }
    });
}

#[test]
fn pipes_that_cannot_be_waited_for_end_the_program_and_its_end_is_waited_for() {
    run(async {
        let mut scene = Scene::new();
        let told = scene.read();
        // A directory takes no part in epoll.
        let file = || OwnedFd::from(std::fs::File::open("/").unwrap());
        scene.program.tell(News::Started([file(), file(), file()], ENOUGH));
        scene.stopped(ExecStopped::Cancelled).await;
        assert!(!scene.pump.is_finished(), "the number is in use until the program is gone");
        scene.program.tell(News::Failed(ErrorCode::Cancelled));
        let (last, told) = scene.ended(told).await;
        assert_eq!(last, WorkerToClient::Failed { id: ID, error: ErrorCode::Internal });
        assert!(told.is_empty(), "{told:?}");
    });
}

#[test]
fn a_client_that_takes_nothing_leaves_the_rest_in_the_pipe() {
    run(async {
        let scene = Scene::new();
        let Pipes { input, output, errors } = scene.start(ENOUGH);
        rustix::io::ioctl_fionbio(&output, true).unwrap();
        let mut count = 0;
        // The queue fills, then the pipe; after that nothing more goes in, however often it is tried.
        let mut refused = 0;
        while refused < 1000 {
            match rustix::io::write(&output, &[1; 4096]) {
                Ok(written) => (count, refused) = (count + written, 0),
                Err(_) => refused += 1,
            }
            tokio::task::yield_now().await;
        }
        assert!((1 << 20..4 << 20).contains(&count), "{count}");
        drop((input, output, errors));
        drop(scene.connection);
    });
}
