//! The example that the library is shown by, as a program of its own.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use berth_tests::files::assert_same;
use berth_tests::{Outcome, Server, account};

use super::local;

/// `client/examples/upload.rs`, in a place where the ordinary user may run it.
struct Example<'a> {
    server: &'a Server,
    program: PathBuf,
}

impl<'a> Example<'a> {
    fn of(server: &'a Server) -> Self {
        // target/<profile>/deps/<test>: examples stand in a directory beside it.
        let test = std::env::current_exe().unwrap();
        let built = test.ancestors().nth(2).unwrap().join("examples/upload");
        assert!(built.is_file(), "{}: run `cargo build -p berth --examples`", built.display());
        let program = server.directory().join("upload");
        fs::copy(&built, &program).unwrap();
        fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
        Self { server, program }
    }

    fn run(&self, fingerprint: &str, password: &str, files: [&str; 3]) -> Outcome {
        let mut command = account::command(&self.program);
        command.args([self.server.address(), fingerprint, "alice"]).args(files);
        command.env("BERTH_PASSWORD", password).current_dir(self.server.scratch());
        Outcome::new("upload".to_owned(), &command.output().unwrap())
    }
}

#[test]
fn the_example_puts_a_file_and_gets_it_back() {
    let (server, _) = Server::with_alice("8MiB");
    let file = local(&server, "file", (5 << 20) + 3);
    let example = Example::of(&server);
    let files = ["file", "f\u{1b}", "back"];
    let outcome = example.run(server.fingerprint(), "a", files).ok();
    for told in [
        "0 of 5242883 bytes",
        "\r5242883 bytes",
        "\rfile: 5242883 bytes, 0 of them were there\n",
        "     5242883  f\\u{1b}\n",
        "back: 5242883 bytes, as they were sent\n",
    ] {
        assert!(outcome.stdout.contains(told), "{told:?} is not in {:?}", outcome.stdout);
    }
    assert_same(&file, &server.scratch().join("back"));
    assert_same(&file, &server.home("alice").join("f\u{1b}"));

    local(&server, "large", 9 << 20);
    let no_room = example.run(server.fingerprint(), "a", ["large", "g", "back"]);
    no_room.failed().says("9437184 bytes more do not fit into 8388608");
    let other = format!("SHA256:{}", "00".repeat(32));
    example.run(&other, "a", files).failed().says(server.fingerprint());
    example.run(server.fingerprint(), "b", files).failed().says("refused");
    server.wait_for_no_session_of("alice");
    server.assert_at_rest("alice");
}
