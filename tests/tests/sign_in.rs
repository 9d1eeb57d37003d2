//! Signing in once: a device's key in place of the password, how it is kept, chosen, revoked and given up.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use berth::device::DeviceSecret;
use berth_common::client_protocol::{ClientToWorker, WorkerToClient};
use berth_common::error_code::ErrorCode;
use berth_common::ids::UserName;
use berth_tests::exit::{CONNECT, LOGIN, USAGE};
use berth_tests::terminal::{Key, Terminal};
use berth_tests::{Client, Options, Outcome, Raw, Server, wait_until};

fn server() -> Server {
    let server = Server::start(Options::new().set("failed_logins = 100"));
    server.add_user("alice", "a", "1MiB");
    server
}

/// A client of alice's that has signed in, and knows no password any more.
fn signed_in(server: &Server) -> Client {
    let client = server.client("alice", "a");
    client.run(&["login"]).ok().says("signed in as alice@127.0.0.1:");
    client.asked_for_password().by_profile()
}

fn profiles(client: &Client) -> PathBuf {
    client.directory().join("config/berth/profiles")
}

/// The files of profiles with this ending.
fn files(client: &Client, ending: &str) -> Vec<PathBuf> {
    let mut files = berth_tests::disk::entries(&profiles(client));
    files.retain(|path| path.extension().is_some_and(|found| found == ending));
    files
}

fn key_file(client: &Client) -> PathBuf {
    let [file] = &files(client, "key")[..] else { panic!("not one key") };
    file.clone()
}

/// The IDs of the user's devices, and which of them this client is.
fn devices(client: &Client) -> Vec<(String, bool)> {
    let listed = client.run(&["--json", "devices"]).ok().json_lines();
    let device = |line: &serde_json::Value| {
        (line["id"].as_str().unwrap().to_owned(), line["this"].as_bool().unwrap())
    };
    listed.iter().map(device).collect()
}

fn this_device(client: &Client) -> String {
    devices(client).into_iter().find(|(_, this)| *this).unwrap().0
}

#[test]
fn after_one_login_no_command_needs_a_password() {
    let server = server();
    let alice = signed_in(&server);
    alice.write("f", "content");
    alice.run(&["put", "f"]).ok();
    alice.run(&["ls"]).ok();
    // -H of the same user and server means the profile, too.
    let target = format!("alice@{}", server.address());
    alice.run(&["-H", &target, "ls"]).ok();
    let mode = |path: &PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&profiles(&alice)), 0o700);
    for ending in ["key", "toml"] {
        assert_eq!(mode(&files(&alice, ending)[0]), 0o600, "{ending}");
    }
    assert_eq!(fs::read_dir(profiles(&alice)).unwrap().count(), 2, "nothing else is left");
    let listed = alice.run(&["devices"]).ok().stdout;
    assert!(listed.lines().nth(1).unwrap().starts_with("* "), "{listed}");
}

#[test]
fn a_password_that_is_given_is_used_and_no_key_in_its_place() {
    let server = server();
    let alice = signed_in(&server);
    alice.clone().with_password("wrong").run(&["ls"]).code_is(LOGIN).says("login refused");
    alice.with_password("a").run(&["ls"]).ok();
}

#[test]
fn a_key_that_others_can_read_is_refused_and_half_a_profile_is_told() {
    let server = server();
    let alice = signed_in(&server);
    let key = key_file(&alice);
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    alice.run(&["ls"]).code_is(USAGE).says("can be read by others (mode 0644)");
    fs::remove_file(&key).unwrap();
    alice.run(&["ls"]).code_is(USAGE).says("has lost its key; sign in again by `berth login -P");
    let listed = alice.run(&["--json", "profiles"]).ok().json();
    assert!(listed["problem"].as_str().unwrap().contains("has lost its key"), "{listed}");
    alice.clone().with_password("a").run(&["login"]).ok();
    alice.run(&["ls"]).ok();
}

/// A put from a pipe that does not end: a session that stays. What is returned waits for its end.
fn stays(server: &Server, client: &Client) -> impl FnOnce() -> Outcome + use<> {
    let (running, pipe) = client.spawn_piped(&["put", "-", "--to", "stays"]);
    let _there = server.session_of("alice");
    move || {
        let outcome = running.wait();
        drop(pipe);
        outcome
    }
}

#[test]
fn a_device_that_another_one_revokes_is_out_at_once() {
    let server = server();
    let (laptop, phone) = (signed_in(&server), signed_in(&server));
    let (own, other) = (this_device(&laptop), this_device(&phone));
    assert_eq!(devices(&laptop).len(), 2);
    laptop.run(&["devices", "revoke", "ffffffffffffffff"]).code_is(5);
    let ended = stays(&server, &phone);
    laptop.run(&["devices", "revoke", &other[..12]]).ok().says("revoked 1 device");
    ended().failed();
    let refused = phone.run(&["ls"]).code_is(LOGIN);
    refused.says("this device is not signed in any more").says("`berth login -P alice@");
    assert_eq!(devices(&laptop), [(own, true)]);
    phone.clone().with_password("a").run(&["login"]).ok();
    phone.run(&["ls"]).ok();
    phone.run(&["devices", "revoke", "--all-others"]).ok();
    laptop.run(&["ls"]).code_is(LOGIN);
    assert_eq!(devices(&phone).len(), 1);
}

#[test]
fn a_device_that_the_administrator_revokes_is_out_at_once() {
    let server = server();
    let (laptop, phone) = (signed_in(&server), signed_in(&server));
    let listed = server.berthctl(&["--json", "device", "list", "alice"]).ok().json();
    assert_eq!(listed.as_array().unwrap().len(), 2);
    let ended = stays(&server, &phone);
    let id = this_device(&phone);
    server.berthctl(&["device", "revoke", "alice", &id]).ok();
    server.berthctl(&["device", "revoke", "alice", &id]).code_is(5);
    ended().failed();
    phone.run(&["ls"]).code_is(LOGIN).says("not signed in any more");
    laptop.run(&["ls"]).ok();
    server.berthctl(&["device", "revoke", "alice", "--all"]).ok();
    laptop.run(&["ls"]).code_is(LOGIN);
    server.client("alice", "a").run(&["ls"]).ok();
    let text = server.berthctl(&["device", "list", "alice"]).ok().stdout;
    assert_eq!(text.lines().count(), 1, "a heading alone: {text}");
}

#[test]
fn signing_in_again_replaces_the_key_and_revokes_the_old_one() {
    let server = server();
    let alice = signed_in(&server);
    let before = this_device(&alice);
    let copy = fs::read(key_file(&alice)).unwrap();
    // As if an earlier login had been cut off before the server heard of its key, or after.
    let pending = key_file(&alice).with_extension("pending");
    fs::write(&pending, "half a k").unwrap();
    let named = ["login", "--name", "the new one"];
    alice.clone().with_password("a").run(&named).ok();
    assert!(!pending.exists());
    let listed = alice.run(&["--json", "devices"]).ok().json();
    assert_eq!((&listed["name"], &listed["this"]), (&"the new one".into(), &true.into()));
    assert_ne!(this_device(&alice), before);
    let key = key_file(&alice);
    fs::write(&key, copy).unwrap();
    alice.run(&["ls"]).code_is(LOGIN);
}

#[test]
fn a_login_that_is_refused_leaves_what_was_there() {
    let server = server();
    let alice = signed_in(&server);
    alice.clone().with_password("wrong").run(&["login"]).code_is(LOGIN);
    alice.run(&["ls"]).ok();
    assert_eq!(devices(&alice).len(), 1);
    let stranger = server.client("alice", "wrong");
    stranger.run(&["login"]).code_is(LOGIN);
    assert!(!profiles(&stranger).exists());
}

#[test]
fn who_logs_out_is_forgotten_here_and_there() {
    let server = server();
    let (alice, other) = (signed_in(&server), signed_in(&server));
    let (key, profile) = (key_file(&alice), files(&alice, "toml").remove(0));
    let copies = [fs::read(&key).unwrap(), fs::read(&profile).unwrap()];
    alice.run(&["logout"]).ok().says("was removed");
    assert_eq!(fs::read_dir(profiles(&alice)).unwrap().count(), 0);
    alice.run(&["ls"]).code_is(USAGE).says("berth login USER@HOST");
    assert_eq!(devices(&other).len(), 1);
    // Whoever has copied the files has nothing.
    for (path, content) in [key, profile].iter().zip(copies) {
        fs::write(path, content).unwrap();
        berth_tests::account::give(path);
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    alice.run(&["ls"]).code_is(LOGIN);
}

#[test]
fn without_the_server_a_logout_removes_nothing_unless_told_to() {
    let mut server = server();
    let alice = signed_in(&server);
    server.kill_daemon();
    let refused = alice.run(&["logout"]).code_is(CONNECT);
    refused.says("nothing was removed").says("berth logout --local -P alice@127.0.0.1:");
    assert_eq!(files(&alice, "key").len(), 1);
    alice.run(&["logout", "--local"]).ok().says("the server may know device");
    assert_eq!(fs::read_dir(profiles(&alice)).unwrap().count(), 0);
}

#[test]
fn of_several_profiles_the_one_that_is_named_is_used() {
    let server = server();
    server.add_user("bob", "b", "2MiB");
    let (alice, bob) = (format!("alice@{}", server.address()), format!("bob@{}", server.address()));
    let client = server.client("nobody", "").asked_for_password().by_profile();
    let fingerprint = ["--fingerprint", server.fingerprint()];
    let login = |user: &str, password: &str, more: &[&str]| {
        let arguments = [&["login", user], more, &fingerprint].concat();
        client.clone().with_password(password).run(&arguments).ok();
    };
    login(&alice, "a", &["-P", "work"]);
    login(&bob, "b", &[]);
    let limit = |client: &Client, arguments: &[&str]| {
        let df = client.run(&[arguments, &["--json", "df"]].concat()).ok().json();
        df["bytes"]["limit"].as_u64().unwrap() >> 20
    };
    let (of_alice, of_bob) = (1, 2);
    client.run(&["df"]).code_is(USAGE).says(&format!("several profiles ({bob}, work)"));
    assert_eq!(limit(&client, &["-P", "work"]), of_alice);
    assert_eq!(limit(&client, &["-H", &bob]), of_bob);
    let by_variable = client.clone().env("BERTH_PROFILE", "work");
    assert_eq!(limit(&by_variable, &[]), of_alice);
    assert_eq!(limit(&by_variable, &["-P", &bob]), of_bob, "what is typed beats a variable");
    assert_eq!(limit(&by_variable, &["-H", &bob]), of_bob);
    let by_host = client.clone().env("BERTH_HOST", &bob);
    assert_eq!(limit(&by_host, &[]), of_bob);
    assert_eq!(limit(&by_host, &["-P", "work"]), of_alice);
    by_host.env("BERTH_PROFILE", "work").run(&["df"]).code_is(USAGE).says("are both set");
    client.run(&["-H", &bob, "-P", "work", "df"]).code_is(USAGE);
    client.run(&["-P", "none", "df"]).code_is(USAGE).says("there is no profile none");
    let taken = client.run(&["login", &bob, "-P", "work"]).code_is(USAGE);
    taken.says(&format!("it is of {alice}"));
    let listed = client.run(&["--json", "profiles"]).ok().json_lines();
    assert_eq!(listed[1]["profile"], "work");
    assert_eq!(listed[1]["account"], alice);
    client.run(&["-P", "work", "logout"]).ok();
    assert_eq!(limit(&client, &[]), of_bob, "the only one");
}

#[test]
fn what_was_given_at_login_is_not_given_again() {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let secret = directory.path().join("site.secret");
    fs::write(&secret, "open sesame").unwrap();
    berth_tests::account::give(&secret);
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    let server = Server::start(Options::new().set(&format!("site_secret_file = {secret:?}")));
    server.add_user("alice", "a", "1MiB");
    let alice = server.client("alice", "a");
    alice.write("secret", "open sesame");
    alice.run(&["login"]).code_is(LOGIN).says("asks for a site secret");
    // The path is kept from the root; the certificate was given, too, and is in no other file.
    alice.run(&["login", "--site-secret-file", "secret"]).ok();
    let by_key = alice.asked_for_password().by_profile();
    by_key.run(&["ls"]).ok();
    assert!(!by_key.directory().join("config/berth/known_hosts").exists());
    by_key.write("other", "another");
    let refused = by_key.run(&["ls", "--site-secret-file", "other"]).code_is(LOGIN);
    refused.says("refused the site secret");
}

#[test]
fn a_signature_is_of_no_use_on_another_connection() {
    let server = server();
    let alice = signed_in(&server);
    let key = DeviceSecret::load(&key_file(&alice)).unwrap();
    let user = UserName::new("alice").unwrap();
    let (mut one, mut other) = (Raw::connect(&server), Raw::connect(&server));
    let signature = key.sign_login(one.exporter(), &user);
    let login = ClientToWorker::LoginDevice { user, key: key.key(), signature };
    other.hello();
    other.send(&login);
    assert_eq!(other.closing(), Some(ErrorCode::LoginRefused));
    one.hello();
    one.send(&login);
    let answer = one.message();
    assert!(matches!(answer, WorkerToClient::LoginAccepted { .. }), "{answer:?}");
    one.send(&login);
    assert_eq!(one.closing(), Some(ErrorCode::Protocol));
}

#[test]
fn a_password_is_changed_by_the_current_one_also_where_a_key_logs_in() {
    let server = server();
    let alice = signed_in(&server);
    let new = alice.write("new", "changed\n").display().to_string();
    let passwd = ["passwd", "--new-password-file", &new];
    alice.run(&passwd).code_is(USAGE).says("no password");
    let mut terminal = alice.on_terminal(&passwd, 80, 24);
    answer(&mut terminal, "Password of alice@", "wrong");
    assert_eq!(terminal.wait_exit(), Some(1));
    terminal.wait_for_text("the current password is wrong; nothing was changed");
    let mut terminal = alice.on_terminal(&passwd, 80, 24);
    answer(&mut terminal, "Password of alice@", "a");
    assert_eq!(terminal.wait_exit(), Some(0), "{}", terminal.printed());
    alice.run(&["ls"]).ok();
    server.client("alice", "changed").run(&["ls"]).ok();
}

/// Waits for a question whose answer is hidden, and answers it.
fn answer(terminal: &mut Terminal, question: &str, secret: &str) {
    // Nothing is typed behind it.
    terminal.wait_for(|screen| {
        let line = screen.cursor_line();
        line.starts_with(question) && line.ends_with(':')
    });
    wait_until("what is typed is hidden", || !terminal.echoes());
    terminal.type_line(secret);
}

#[test]
fn a_person_is_shown_the_servers_certificate_and_asked_once() {
    let server = Server::start(Options::new().set("failed_logins = 100"));
    server.add_user("alice", "right as rain", "1MiB");
    let alice = server.client("alice", "").asked_for_password().by_profile();
    let target = format!("alice@{}", server.address());

    let mut wrong = alice.on_terminal(&["login", &target], 100, 24);
    let screen = wrong.wait_for_text("Trust this server from now on? (yes/no)");
    assert!(screen.text().contains(server.fingerprint()), "{}", screen.text());
    wrong.type_line("yes");
    answer(&mut wrong, "Password of alice@", "wrong as rain");
    assert_eq!(wrong.wait_exit(), Some(LOGIN));
    assert!(!profiles(&alice).exists());

    let mut right = alice.on_terminal(&["login", &target], 100, 24);
    right.wait_for_text(&format!("has the certificate {}", server.fingerprint()));
    answer(&mut right, "Password of alice@", "right as rain");
    assert_eq!(right.wait_exit(), Some(0), "{}", right.printed());
    let printed = right.printed();
    assert!(printed.contains("signed in as alice@"), "{printed}");
    assert!(!printed.contains("rain"), "{printed}");
    assert_eq!(printed.matches("Password").count(), 1, "{printed}");
    alice.run(&["ls"]).ok();

    let mut left = alice.on_terminal(&["login"], 100, 24);
    left.wait_for_text("Password of alice@");
    left.press(Key::CtrlC);
    assert_eq!(left.wait_exit(), Some(130));
    alice.run(&["ls"]).ok();
}
