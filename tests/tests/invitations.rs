//! Joining by an invitation: what its code allows, once, and what it does not.

use berth::invitation::InvitationCode;
use berth::trust::Fingerprint;
use berth_common::credentials::InvitationSecret;
#[cfg(debug_assertions)]
use berth_tests::exit::UNKNOWN;
use berth_tests::exit::{FAILURE, IDENTITY, LOGIN, NOT_FOUND, USAGE};
use berth_tests::terminal::Terminal;
use berth_tests::{Client, Options, Server, wait_until};

fn server() -> Server {
    Server::start(Options::new().set("failed_logins = 100"))
}

/// Invites somebody; the code.
fn invite(server: &Server, more: &[&str]) -> String {
    let printed = server.berthctl(&[&["invite", "--quota", "5MiB"], more].concat()).ok();
    assert_eq!(printed.stdout.lines().count(), 1, "{}", printed.stdout);
    assert_eq!(printed.stderr, "");
    printed.stdout.trim().to_owned()
}

/// Somebody who has a password in mind and nothing else.
fn guest(server: &Server) -> Client {
    server.client("guest", "chosen").by_profile()
}

fn users(server: &Server) -> Vec<String> {
    let listed = server.berthctl(&["--json", "user", "list"]).ok().json();
    let name = |user: &serde_json::Value| user["user"].as_str().unwrap().to_owned();
    listed.as_array().unwrap().iter().map(name).collect()
}

/// The states of all invitations.
fn states(server: &Server) -> Vec<String> {
    let listed = server.berthctl(&["--json", "invitation", "list"]).ok().json();
    let state = |one: &serde_json::Value| one["state"].as_str().unwrap().to_owned();
    listed.as_array().unwrap().iter().map(state).collect()
}

#[test]
fn who_is_invited_chooses_a_name_and_a_password_and_is_signed_in() {
    let server = server();
    let code = invite(&server, &["--entries", "7"]);
    assert!(code.starts_with(&format!("berth://{}/join/", server.address())), "{code}");
    let alice = guest(&server);
    alice.run(&["join", &code, "--user", "alice", "--name", "laptop"]).ok().says("signed in as");
    let row = server.user("alice");
    assert_eq!((&row["limit_bytes"], &row["limit_entries"]), (&(5u64 << 20).into(), &7.into()));
    // Neither a password nor a question whom to trust.
    let by_key = alice.clone().asked_for_password();
    by_key.write("f", "content");
    by_key.run(&["put", "f"]).ok();
    assert_eq!(by_key.run(&["--json", "devices"]).ok().json()["name"], "laptop");
    server.client("alice", "chosen").run(&["ls"]).ok();
    server.client("alice", "other").run(&["ls"]).code_is(LOGIN);
    server.assert_at_rest("alice");

    let again = guest(&server).run(&["join", &code, "--user", "bob"]).code_is(LOGIN);
    again.says("the invitation is not valid");
    assert_eq!(users(&server), ["alice"]);
    let listed = server.berthctl(&["--json", "invitation", "list"]).ok().json();
    assert_eq!((&listed[0]["state"], &listed[0]["used_by"]), (&"used".into(), &"alice".into()));
}

#[test]
fn an_invitation_for_one_name_is_for_no_other() {
    let server = server();
    let code = invite(&server, &["--name", "alice"]);
    assert!(code.starts_with("berth://alice@127.0.0.1:"), "{code}");
    let guest = guest(&server);
    guest.run(&["join", &code, "--user", "bob"]).code_is(USAGE).says("is for alice");
    // A code that was tampered with.
    let open = code.replace("alice@", "");
    let refused = guest.run(&["join", &open, "--user", "bob"]).code_is(FAILURE);
    refused.says("the invitation is for another user name");
    assert_eq!(users(&server), [""; 0]);
    guest.run(&["join", &code]).ok();
    assert_eq!(users(&server), ["alice"]);
    let refused = server.berthctl(&["invite", "--name", "alice"]).code_is(FAILURE);
    refused.says("alice");
}

#[test]
fn an_invitation_that_has_expired_or_was_revoked_makes_no_account() {
    let server = server();
    let revoked = invite(&server, &[]);
    let listed = server.berthctl(&["--json", "invitation", "list"]).ok().json();
    let id = listed[0]["invitation"].as_str().unwrap().to_owned();
    server.berthctl(&["invitation", "revoke", &id]).ok();
    server.berthctl(&["invitation", "revoke", &id]).code_is(NOT_FOUND);
    let join = |code: &str| guest(&server).run(&["join", code, "--user", "alice"]);
    join(&revoked).code_is(LOGIN).says("the invitation is not valid");

    let expired = invite(&server, &["--expires", "1s"]);
    wait_until("the invitation expires", || states(&server).contains(&"expired".to_owned()));
    join(&expired).code_is(LOGIN).says("the invitation is not valid");
    assert_eq!(users(&server), [""; 0]);
}

#[test]
fn a_code_with_another_secret_or_certificate_is_refused() {
    let server = server();
    let code: InvitationCode = invite(&server, &[]).parse().unwrap();
    let guest = guest(&server);
    let join = |code: &InvitationCode| guest.run(&["join", &code.to_string(), "--user", "alice"]);
    let guessed = InvitationCode { secret: InvitationSecret([7; 16]), ..code.clone() };
    join(&guessed).code_is(LOGIN).says("the invitation is not valid");
    let mark = server.log().mark();
    let elsewhere =
        InvitationCode { fingerprint: Fingerprint::from_bytes([7; 32]), ..code.clone() };
    join(&elsewhere).code_is(IDENTITY).says("not the one given");
    let tried = server.log().after(mark, |line| line.message().contains("invited"));
    assert!(tried.is_empty(), "nothing of the invitation is sent: {tried:?}");
    guest.run(&["join", "berth://h/join/short", "--user", "alice"]).code_is(USAGE);
    join(&code).ok();
    // What is known of a server is not changed by a code.
    join(&elsewhere).code_is(IDENTITY).says("THE SERVER IS NOT THE ONE IT WAS");
}

#[test]
fn a_name_that_is_taken_uses_no_invitation_up() {
    let server = server();
    server.add_user("alice", "a", "1MiB");
    let code = invite(&server, &[]);
    let guest = guest(&server);
    let refused = guest.run(&["join", &code, "--user", "alice"]).code_is(FAILURE);
    refused.says("another user has this name");
    server.client("alice", "chosen").run(&["ls"]).code_is(LOGIN);
    assert_eq!(states(&server), ["open"]);
    guest.run(&["join", &code, "--user", "bob"]).ok();
    assert_eq!(states(&server), ["used"]);
}

#[test]
#[cfg(debug_assertions)]
fn who_is_cut_off_while_the_account_is_made_is_told_how_to_find_out() {
    use berth_common::points::Point;

    let points = berth_tests::Points::new();
    let mut server = Server::start(Options::new().points(&points));
    let code = invite(&server, &[]);
    let guest = guest(&server);
    let (joining, _stopped) =
        points.stop(Point::UserCreating, &guest, &["join", &code, "--user", "alice"]);
    points.disarm(Point::UserCreating);
    server.kill_daemon();
    let cut = joining.wait().code_is(UNKNOWN);
    cut.says("it is unknown whether the account was made").says("`berth login alice@127.0.0.1:");
    assert!(!guest.directory().join("config/berth/profiles").exists());
    server.restart();
    // It tells: the account was made, with the password that was chosen.
    server.client("alice", "chosen").run(&["login"]).ok();
    assert_eq!(server.user("alice")["limit_bytes"], 5u64 << 20);
}

/// Waits for a question and answers it; what is typed for a password has to be hidden.
fn answer(terminal: &mut Terminal, question: &str, text: &str, hidden: bool) {
    // Nothing is typed behind it.
    terminal.wait_for(|screen| {
        let line = screen.cursor_line();
        line.starts_with(question) && line.ends_with(':')
    });
    wait_until("what is typed is hidden, or not", || terminal.echoes() != hidden);
    terminal.type_line(text);
}

#[test]
fn a_person_is_asked_for_name_and_password_and_for_another_name() {
    let server = server();
    server.add_user("alice", "a", "1MiB");
    let code = invite(&server, &[]);
    let guest = guest(&server).asked_for_password();
    let mut terminal = guest.on_terminal(&["join", &code], 120, 30);
    terminal.wait_for_text("which is the server of this invitation");
    answer(&mut terminal, "User name:", "Not A Name", false);
    terminal.wait_for_text("is not a user name");
    answer(&mut terminal, "User name:", "alice", false);
    answer(&mut terminal, "New password of alice:", "sunshine", true);
    answer(&mut terminal, "Again:", "moonshine", true);
    terminal.wait_for_text("The two passwords differ");
    answer(&mut terminal, "New password of alice:", "sunshine", true);
    answer(&mut terminal, "Again:", "sunshine", true);
    terminal.wait_for_text("Another user is called alice already");
    answer(&mut terminal, "User name:", "bob", false);
    assert_eq!(terminal.wait_exit(), Some(0), "{}", terminal.printed());
    let printed = terminal.printed();
    assert!(printed.contains("signed in as bob@"), "{printed}");
    assert!(!printed.contains("shine"), "{printed}");
    guest.run(&["df"]).ok();
    server.client("bob", "sunshine").run(&["ls"]).ok();
}

#[test]
fn without_a_terminal_what_is_not_said_is_not_asked() {
    let server = server();
    let code = invite(&server, &[]);
    let guest = guest(&server);
    guest.run(&["join", &code]).code_is(USAGE).says("give --user NAME");
    let silent = guest.asked_for_password();
    silent.run(&["join", &code, "--user", "alice"]).code_is(USAGE).says("no password");
    assert_eq!(states(&server), ["open"]);
}

#[test]
fn a_server_that_listens_everywhere_is_named_by_its_machine_and_says_so() {
    let server = Server::start(Options::new().listen("0.0.0.0:0"));
    let printed = server.berthctl(&["invite"]).ok().says("--server HOST[:PORT]");
    let code: InvitationCode = printed.stdout.parse().unwrap();
    let machine = rustix::system::uname().nodename().to_string_lossy().to_lowercase();
    assert_eq!(code.server.host, machine);
    let printed = server.berthctl(&["--json", "invite", "--server", "files.example.org"]).ok();
    let printed = printed.json();
    let code: InvitationCode = printed["code"].as_str().unwrap().parse().unwrap();
    assert_eq!(code.server, "files.example.org:4022".parse().unwrap());
    assert_eq!(printed["invitation"], code.secret.id().to_string());
}
