//! Chinese: what real programs say in a Chinese locale, in which order the variables decide, what stays English, and
//! that tables, bars and prompts with wide characters stand where they should.

use berth_tests::terminal::{Key, Screen, Terminal};
use berth_tests::{Client, Options, Server, wait_until};
use serde_json::json;

const CHINESE: &str = "zh_CN.UTF-8";

fn server() -> (Server, Client) {
    let (server, alice) = Server::with_alice("10MiB");
    (server, alice.env("LC_ALL", CHINESE))
}

fn is_chinese(text: &str) -> bool {
    text.contains(|letter| ('\u{4e00}'..='\u{9fff}').contains(&letter))
}

#[test]
fn results_errors_help_and_the_administrators_tool_speak_chinese() {
    let (server, alice) = server();
    alice.write("文件.txt", "content");

    // What a put says, and what stands in both languages alike.
    let put = alice.run(&["put", "文件.txt"]).ok();
    assert!(put.stderr.contains("文件.txt -> /文件.txt: 7 B，用时 "), "{}", put.stderr);
    alice.run(&["get", "文件.txt"]).ok().says("文件.txt：已在本地，没有变化");

    // The server's refusals, the system's, and those of the client itself; the exit codes are the same.
    alice.run(&["stat", "nothing"]).code_is(5).says("berth: stat /nothing: 没有那个文件或目录\n");
    alice.run(&["put", "nothing"]).code_is(5).says("无法打开：没有那个文件或目录");
    alice.write("large", vec![7; 11 << 20]);
    let full = alice.run(&["put", "large"]).code_is(6);
    full.says("berth: put large: 超出配额：还需要 11.0 MiB，而上限 10.0 MiB 中剩余 10.0 MiB（已用 7 B，预留 0 B）\n");
    alice.run(&["get", "/"]).code_is(1).says("是一个目录；要连同其中的内容一起下载，请加 -r");
    alice.clone().with_password("wrong").run(&["df"]).code_is(4).says("登录被拒绝");
    alice
        .clone()
        .at("127.0.0.1:1", server.fingerprint())
        .run(&["df"])
        .code_is(3)
        .says("连接被拒绝；berthd 在那里运行吗？");

    // The command line.
    alice.run(&["lss"]).code_is(2).says("错误：没有命令“lss”\n\n  提示：有 “ls”\n\n用法：berth [OPTIONS] <COMMAND>\n\n详情请用“--help”查看。\n");
    alice.run(&["get"]).code_is(2).says("错误：没有给出必需的参数：\n  <REMOTE>...\n");
    alice.run(&["du", "-s", "-d", "1"]).code_is(2).says("不能与");
    alice.run(&["ping", "-c", "0"]).code_is(2).says("它不在 1..=1000000 的范围内");
    alice
        .clone()
        .without_fingerprint()
        .run(&["--fingerprint", "x", "df"])
        .code_is(2)
        .says("指纹是 SHA256: 加 64 个十六进制数字");
    alice
        .run(&["login", "-H", "a@h", "b@h"])
        .code_is(2)
        .says("错误：用户和服务器给出了两次，一次用 -H，一次没有用\n");
    let help = alice.run(&["put", "--help"]).ok().stdout;
    assert!(help.starts_with("把文件发送到主目录；被中断的 put 再次执行时继续\n\n"), "{help}");
    assert!(help.contains("\n用法：berth put [OPTIONS] <LOCAL>...\n\n参数:\n"), "{help}");
    for english in ["Usage", "Options:", "Arguments:", "default:", "Print help"] {
        assert!(!help.contains(english), "{english}: {help}");
    }
    assert!(
        alice.run(&["help", "devices"]).ok().stdout.contains("命令:\n  revoke  不再允许设备登录")
    );

    // The administrator's tool.
    let ctl = |arguments: &[&str]| server.berthctl_in(CHINESE, arguments);
    let locked = ctl(&["user", "lock", "alice"]).ok().stdout;
    assert_eq!(locked, "用户 alice 已锁定；其所有会话已结束\n");
    ctl(&["user", "show", "bob"]).code_is(5).says("berthctl: 没有用户 bob\n");
    ctl(&["quota", "set", "alice"]).code_is(2);
    ctl(&["session", "kill", "x"]).code_is(2).says("请写一个数字，即 session list 所列的编号");
    assert!(ctl(&["--help"]).ok().stdout.contains("用法：berthctl [OPTIONS] <COMMAND>"));
}

#[test]
fn the_first_variable_that_is_set_decides_and_everything_else_is_english() {
    let (_server, alice) = Server::with_alice("1MiB");
    let said = |variables: &[(&str, &str)]| {
        let client =
            variables.iter().fold(alice.clone(), |client, (name, value)| client.env(name, value));
        let said = client.run(&["stat", "nothing"]).code_is(5).stderr;
        match said.as_str() {
            "berth: stat /nothing: no such file or directory\n" => "English",
            "berth: stat /nothing: 没有那个文件或目录\n" => "Chinese",
            other => panic!("{variables:?}: {other}"),
        }
    };
    assert_eq!(said(&[]), "English");
    for locale in ["zh_CN.UTF-8", "zh_CN", "zh_SG.utf8", "zh", "zh_Hans_CN.UTF-8"] {
        assert_eq!(said(&[("LANG", locale)]), "Chinese", "{locale}");
    }
    for locale in [
        "C",
        "POSIX",
        "C.UTF-8",
        "de_DE.UTF-8",
        "zh_TW.UTF-8",
        "zh_HK.UTF-8",
        "zh_CN.GBK",
        "\u{1b}[2J",
    ] {
        assert_eq!(said(&[("LANG", locale)]), "English", "{locale:?}");
    }
    let (lang, messages, all) = ("LANG", "LC_MESSAGES", "LC_ALL");
    assert_eq!(said(&[(lang, CHINESE), (all, "C")]), "English");
    assert_eq!(said(&[(lang, "C"), (all, CHINESE)]), "Chinese");
    assert_eq!(said(&[(lang, CHINESE), (messages, "C")]), "English");
    assert_eq!(said(&[(lang, "C"), (messages, CHINESE)]), "Chinese");
    assert_eq!(said(&[(messages, CHINESE), (all, "en_US.UTF-8")]), "English");
    assert_eq!(said(&[(lang, CHINESE), (messages, ""), (all, "")]), "Chinese");
    // The encoding of letters says nothing of the language.
    assert_eq!(said(&[("LC_CTYPE", CHINESE)]), "English");
}

#[test]
fn what_programs_read_is_the_same_in_every_locale() {
    let (server, alice) = server();
    let english = alice.clone().env("LC_ALL", "C");
    alice.write("a", "content");
    for arguments in [
        &["--json", "put", "a"][..],
        &["--json", "get", "nothing"],
        &["--json", "df"],
        &["--json", "ls", "-l"],
    ] {
        let outcomes = [&alice, &english].map(|client| client.run(arguments));
        for outcome in &outcomes {
            assert!(
                !is_chinese(&outcome.stdout) && !is_chinese(&outcome.stderr),
                "{}",
                outcome.stderr
            );
        }
        assert_eq!(outcomes[0].code, outcomes[1].code, "{arguments:?}");
    }
    let failed = alice.run(&["--json", "stat", "nothing"]).code_is(5);
    let told: serde_json::Value = serde_json::from_str(failed.stderr.trim()).unwrap();
    let expected = json!({ "error": "stat /nothing: no such file or directory", "exit": 5, "path": "/nothing", "code": "NotFound" });
    assert_eq!(told, expected);
    // In the shell the option counts for its line.
    let lines = "stat --json nothing\n".to_owned() + "-stat nothing\n";
    let lines = "-".to_owned() + &lines;
    let shell = alice.spawn_with(&["shell"], lines.into_bytes()).wait().ok().stderr;
    assert!(shell.contains(r#""error":"stat /nothing: no such file or directory""#), "{shell}");
    assert!(shell.contains("berth: stat /nothing: 没有那个文件或目录"), "{shell}");

    let listed = server.berthctl_in(CHINESE, &["--json", "user", "list"]).ok();
    assert_eq!(listed.json()[0]["user"], "alice");
    let refused = server.berthctl_in(CHINESE, &["--json", "user", "show", "bob"]).code_is(5);
    assert!(refused.stderr.contains("there is no user bob"), "{}", refused.stderr);
}

/// The last column that each of these texts covers.
fn ends(screen: &Screen, row: u16, text: &str) -> u16 {
    let (found, column) =
        screen.find(text).unwrap_or_else(|| panic!("no {text:?}:\n{}", screen.text()));
    assert_eq!(found, row, "{text:?} in\n{}", screen.text());
    column + u16::try_from(columns(text)).unwrap()
}

/// How many columns a text takes, where Chinese characters take two.
fn columns(text: &str) -> usize {
    text.chars().map(|letter| if letter.is_ascii() { 1 } else { 2 }).sum()
}

fn drawn(client: &Client, arguments: &[&str], columns: u16) -> Screen {
    let mut terminal = client.on_terminal(arguments, columns, 30);
    assert_eq!(terminal.wait_exit(), Some(0), "{}", terminal.printed());
    terminal.screen()
}

#[test]
fn tables_with_wide_characters_are_aligned() {
    let (server, alice) = server();
    let alice = alice.env("NO_COLOR", "1");
    alice.write("中文名.txt", "content");
    alice.write("b", "c");
    alice.run(&["put", "中文名.txt", "b"]).ok();

    // Names behind columns of figures.
    let listed = drawn(&alice, &["ls", "-l"], 100);
    let (first, second) = (listed.find("b"), listed.find("中文名.txt"));
    assert_eq!(
        first.map(|(_, column)| column),
        second.map(|(_, column)| column),
        "{}",
        listed.text()
    );

    // Headings that are as wide as what stands below them, on the right.
    let df = drawn(&alice, &["df"], 100);
    for (heading, below) in [("已用", "8 B"), ("预留", "0 B"), ("上限", "10.0 MiB")] {
        assert_eq!(ends(&df, 0, heading), ends(&df, 1, below), "{}", df.text());
    }
    assert_eq!(ends(&df, 0, "上限"), ends(&df, 2, "不限"), "{}", df.text());
    let bar = df.find("[").unwrap();
    assert_eq!(df.find("占用"), Some((0, bar.1)), "{}", df.text());

    let laptop = server.client("alice", alice_password()).env("LC_ALL", CHINESE);
    laptop.run(&["login", "--name", "笔记本电脑"]).ok().says("已以 alice@");
    let devices = drawn(&laptop.clone().by_profile(), &["devices"], 100);
    let name = devices.find("笔记本电脑").map(|(_, column)| column);
    assert_eq!(devices.find("名称").map(|(_, column)| column), name, "{}", devices.text());
    assert_eq!(devices.find("登记时间"), Some((0, 19)), "{}", devices.text());
    assert_eq!(devices.find("从未").or(devices.find("20")).map(|(row, _)| row), Some(1));
    let profiles = drawn(&laptop.by_profile(), &["profiles"], 100);
    assert_eq!(
        profiles.find("账户").map(|it| it.1),
        profiles.text().lines().nth(1).unwrap().find("  ").map(|it| it as u16 + 2)
    );

    let mut users = server.berthctl_on_terminal(CHINESE, &["user", "list"], 120);
    assert_eq!(users.wait_exit(), Some(0), "{}", users.printed());
    let users = users.screen();
    assert_eq!(
        users.find("状态"),
        users.find("正常").map(|(_, column)| (0, column)),
        "{}",
        users.text()
    );
    for (heading, below) in [("配额", "10.0 MiB"), ("条目上限", "不限")] {
        assert_eq!(ends(&users, 0, heading), ends(&users, 1, below), "{}", users.text());
    }
    let mut shown = server.berthctl_on_terminal(CHINESE, &["user", "show", "alice"], 120);
    assert_eq!(shown.wait_exit(), Some(0));
    let shown = shown.screen();
    let values = ["正常", "8 B", "10.0 MiB", "不限"].map(|value| shown.find(value).unwrap().1);
    assert!(values.iter().all(|column| *column == values[0]), "{values:?}\n{}", shown.text());
}

/// What `Server::with_alice` has given her.
fn alice_password() -> &'static str {
    "a"
}

#[test]
fn a_bar_with_a_wide_name_keeps_to_its_line() {
    let (_server, alice) = server();
    let name = format!("{}.bin", "很长的中文文件名".repeat(4));
    alice.write(&name, vec![3; 4 << 20]);
    let mut terminal = alice.on_terminal(&["put", "--limit-rate", "1M", &name], 70, 12);
    let during = terminal.wait_for(|screen| screen.text().contains('%'));
    let lines = during.lines();
    let bar = lines.iter().find(|line| line.contains('%')).unwrap();
    assert!(bar.starts_with('…') && bar.contains("文件名.bin "), "{bar}");
    assert!(columns(bar) <= 70 + 1, "{bar}");
    assert_eq!(lines.iter().filter(|line| line.contains(".bin")).count(), 1, "{lines:#?}");
    terminal.press(Key::CtrlC);
    assert_eq!(terminal.wait_exit(), Some(130));
    let said = terminal.screen().text();
    assert!(said.contains("berth: 已中断；再次执行同样的命令即可继续"), "{said}");
}

#[test]
fn questions_and_the_shell_are_in_chinese() {
    let server = Server::start(Options::new());
    server.add_user("alice", "right as rain", "1MiB");
    let alice = server.client("alice", "").asked_for_password().env("LC_ALL", CHINESE);
    let mut terminal: Terminal = alice.on_terminal(&["shell"], 80, 30);
    let asked = terminal.wait_for_text("的密码：");
    assert!(asked.text().contains("alice@127.0.0.1"), "{}", asked.text());
    wait_until("what is typed is hidden", || !terminal.echoes());
    terminal.type_line("right as rain");
    terminal.wait_for_text("alice@127.0.0.1:/> ");
    terminal.type_line("mkdir 照片");
    terminal.wait_for(|screen| {
        screen.text().contains("mkdir 照片") && screen.cursor_line() == "alice@127.0.0.1:/>"
    });
    terminal.type_line("cd 照片");
    let there = terminal.wait_for(|screen| screen.cursor_line() == "alice@127.0.0.1:/照片>");
    // The cursor stands behind two wide characters and a blank.
    assert_eq!(usize::from(there.cursor().1), columns("alice@127.0.0.1:/照片> "));
    let at_prompt = |screen: &Screen| screen.cursor_line() == "alice@127.0.0.1:/照片>";
    terminal.type_line("help");
    terminal.wait_for_text("'put' 和 'get'");
    let help = terminal.wait_for(at_prompt);
    assert!(
        help.text().contains("命令:") || terminal.printed().contains("命令:"),
        "{}",
        help.text()
    );
    terminal.type_line("cd nowhere");
    terminal.wait_for_text("berth: cd /照片/nowhere: 没有那个文件或目录");
    terminal.wait_for(at_prompt);
    terminal.type_line("passwd");
    terminal.wait_for_text("passwd 不能在 shell 中使用");
    terminal.wait_for(at_prompt);
    terminal.type_line("get");
    terminal.wait_for_text("/照片: 没有可选的文件");
    terminal.wait_for(at_prompt);
    terminal.press(Key::CtrlD);
    assert_eq!(terminal.wait_exit(), Some(0), "{}", terminal.printed());
}
