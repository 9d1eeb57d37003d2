//! Commands that are read from standard input.

use berth_tests::Client;

use crate::scene::server;

/// Runs the shell with these commands as its standard input.
fn script(alice: &Client, commands: &str) -> berth_tests::Outcome {
    alice.spawn_with(&["shell"], commands.as_bytes().to_vec()).wait()
}

#[test]
fn a_script_ends_at_its_first_failure_unless_it_may_fail() {
    let (server, alice) = server();
    alice.write("a b", "content");
    let outcome = script(
        &alice,
        "# what a cron job does\n\n-rm old\nmkdir in\ncd in\nput 'a b'\n!echo done\nls\n",
    )
    .ok();
    assert_eq!(outcome.stdout, "done\na b\n");
    assert!(outcome.stderr.contains("rm /old: no such file"), "{}", outcome.stderr);
    assert!(server.home("alice").join("in/a b").exists());

    let outcome = script(&alice, "ls\nrm nothing\nmkdir never\n").code_is(5);
    assert_eq!(outcome.stdout, "in\n");
    assert!(outcome.stderr.contains("stopped at line 2: rm nothing"), "{}", outcome.stderr);
    assert!(!server.home("alice").join("never").exists());

    script(&alice, "ls *.none").code_is(5).says("*.none: nothing has such a name");
    script(&alice, "frobnicate\n").code_is(2);
    script(&alice, "!exit 7\n").code_is(1).says("ended with exit code 7");
    script(&alice, "exit\nrm in\n").ok();
    script(&alice, "put\n").code_is(2).says("<LOCAL>");
    script(&alice, "put - --to x\n").code_is(2).says("standard input has the commands");
    script(&alice, "passwd\n").code_is(2).says("cannot be given in the shell");
    script(&alice, "mv in/* in nowhere\n").code_is(2).says("only be moved into one");
    let outcome = script(&alice, "mv nothing there --json\n").code_is(5);
    assert!(outcome.stderr.starts_with("{\"code\":\"NotFound\""), "{}", outcome.stderr);
    let outcome = script(&alice, "cd in\nls --json\n").ok();
    assert_eq!(outcome.json()["path"], "/in/a b");
}
