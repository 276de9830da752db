//! The process: how it starts, how it is asked whether it is ready, how it ends.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, ChildStderr, Command, ExitStatus, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};

pub(super) fn laghound(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_laghound"));
    command.args(arguments).env_clear().stdin(Stdio::null());
    command
}

/// `laghound serve` on free ports. Killed if a test ends before it.
pub(super) struct Serving {
    child: Child,
    log: BufReader<ChildStderr>,
    http: SocketAddr,
    pub(super) admin: SocketAddr,
}

impl Serving {
    pub(super) fn start(arguments: &[&str]) -> Serving {
        let free = [
            "--receiver.grpc.endpoint=127.0.0.1:0",
            "--receiver.http.endpoint=127.0.0.1:0",
            "--admin.endpoint=127.0.0.1:0",
            "--log.format=json",
        ];
        let arguments = [&["serve"], &free[..], arguments].concat();
        let mut child = laghound(&arguments).stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut listening = |what: &str| loop {
            let event = next_event(&mut log).expect("it starts");
            if event["message"] == "listening" && event["what"] == what {
                return event["addr"].as_str().unwrap().parse().unwrap();
            }
        };
        let http = listening("otlp_http");
        let admin = listening("admin");
        Serving { child, log, http, admin }
    }

    fn signal(&self, signal: Signal) {
        let process = Pid::from_child(&self.child);
        kill_process(process, signal).unwrap();
    }

    /// Waits for its end; gives how it ended and what it logged on the way.
    fn end(mut self) -> (ExitStatus, String) {
        let mut log = String::new();
        self.log.read_to_string(&mut log).unwrap();
        (self.child.wait().unwrap(), log)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn next_event(log: &mut impl BufRead) -> Option<serde_json::Value> {
    let mut line = String::new();
    log.read_line(&mut line).unwrap();
    serde_json::from_str(&line).ok()
}

pub(super) fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn health(endpoint: &str) -> Output {
    laghound(&["health", "--endpoint", endpoint]).output().unwrap()
}

#[test]
fn a_port_in_use_ends_the_start_and_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for key in ["receiver.grpc.endpoint", "receiver.http.endpoint", "admin.endpoint"] {
        let mut arguments = vec!["serve".to_owned()];
        for other in ["receiver.grpc.endpoint", "receiver.http.endpoint", "admin.endpoint"] {
            let value = if other == key { &address } else { "127.0.0.1:0" };
            arguments.push(format!("--{other}={value}"));
        }
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let output = laghound(&arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{key}");
        let shown = text(&output.stderr);
        let last = shown.lines().last().unwrap();
        assert!(last.contains(&address) && last.contains(key), "{shown}");
    }
}

#[test]
fn it_is_ready_until_a_signal_and_then_ends_in_order() {
    for signal in [Signal::TERM, Signal::INT] {
        let serving = Serving::start(&[]);
        let admin = serving.admin.to_string();
        let output = health(&admin);
        assert_eq!((output.status.code(), text(&output.stdout)), (Some(0), "ready\n"));
        serving.signal(signal);
        let (status, log) = serving.end();
        assert_eq!(status.code(), Some(0), "{log}");
        assert!(log.contains("stopped"), "{log}");
        let output = health(&admin);
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stderr).contains(&admin));
    }
}

#[test]
fn while_it_ends_it_is_not_ready_and_a_second_signal_ends_it_at_once() {
    let mut serving = Serving::start(&["--shutdown.grace=1h", "--connections.request_timeout=1h"]);
    // A request whose body does not come holds the end up. That it is asked for means that it is under way.
    let mut busy = TcpStream::connect(serving.http).unwrap();
    let head = "POST /v1/traces HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n\
                expect: 100-continue\r\ncontent-length: 9\r\n\r\n";
    busy.write_all(head.as_bytes()).unwrap();
    let mut first = [0; 12];
    busy.read_exact(&mut first).unwrap();
    assert_eq!(text(&first), "HTTP/1.1 100");
    serving.signal(Signal::TERM);
    while next_event(&mut serving.log).expect("goes on")["message"] != "stopping" {}
    let admin = serving.admin.to_string();
    let mut asked = (0..1_000).map(|_| health(&admin));
    let not_ready = asked.find(|output| output.status.code() == Some(1)).expect("not ready");
    // It still answers, and says why.
    assert!(text(&not_ready.stderr).contains("503"), "{}", text(&not_ready.stderr));
    serving.signal(Signal::TERM);
    let (status, log) = serving.end();
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(log.contains("second signal"), "{log}");
}

/// What is answered to a request with these headers, without TLS.
fn get(address: SocketAddr, path: &str, headers: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let head = format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{headers}\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn no_secret_is_in_the_log_the_metrics_an_answer_or_the_report_of_a_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &str| {
        std::fs::write(folder.path().join(name), content).unwrap();
        folder.path().join(name).display().to_string()
    };
    let (tokens, passwords) =
        (file("tokens", "s3cret-token\n"), file("users", "prom:s3cret-word\n"));
    let config = file(
        "laghound.yaml",
        &format!(
            "admin:\n  auth:\n    bearer_token_file: {tokens}\n    password_file: {passwords}\nreceiver:\n  auth:\n    bearer_token_file: {tokens}\n"
        ),
    );
    let serving = Serving::start(&["--config", &config, "--log.level=trace"]);
    let right = "authorization: Bearer s3cret-token\r\n";
    let mut shown = String::new();
    for (address, path) in [(serving.admin, "/metrics"), (serving.http, "/v1/traces")] {
        for headers in ["", "authorization: Bearer gu3ss\r\n", "authorization: Basic Z3Uzc3M6\r\n"]
        {
            let answer = get(address, path, headers);
            assert!(answer.starts_with("HTTP/1.1 401"), "{path} {headers}: {answer}");
            shown += &answer;
        }
    }
    let metrics = get(serving.admin, "/metrics", right);
    assert!(
        metrics.contains("laghound_requests_denied_total{listener=\"admin\",reason=\"wrong\"} 2")
    );
    assert!(metrics.starts_with("HTTP/1.1 200"), "{metrics}");
    assert!(get(serving.admin, "/readyz", "").starts_with("HTTP/1.1 200"));
    let report = laghound(&["check-config", &config]).output().unwrap();
    assert_eq!(report.status.code(), Some(0));
    serving.signal(Signal::TERM);
    let (status, log) = serving.end();
    assert_eq!(status.code(), Some(0), "{log}");
    shown = [&shown, &metrics, &log, text(&report.stdout), text(&report.stderr)].concat();
    for secret in ["s3cret", "gu3ss", "Z3Uzc3M6"] {
        assert!(!shown.contains(secret), "{secret} is shown");
    }
}

#[test]
fn a_changed_configuration_is_taken_over_whole_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let (config, tokens) = (folder.path().join("laghound.yaml"), folder.path().join("tokens"));
    let write = |text: &str| std::fs::write(&config, text).unwrap();
    std::fs::write(&tokens, "old\n").unwrap();
    write("");
    let mut serving = Serving::start(&["--config", &config.display().to_string()]);
    let reloads = |serving: &Serving, headers: &str| {
        let answer = get(serving.admin, "/metrics", headers);
        let line = answer
            .lines()
            .find_map(|line| line.strip_prefix("laghound_config_last_reload_successful "));
        line.map(str::to_owned)
    };
    let said = |serving: &mut Serving, part: &str| loop {
        let event = next_event(&mut serving.log).expect("goes on");
        if event["message"].as_str().is_some_and(|message| message.contains(part)) {
            return event;
        }
    };
    // Files are looked at besides, so that a line of the log may be about what they said before.
    let until = |serving: &mut Serving, headers: &str, expected: Option<&str>| {
        for _ in 0..10 {
            if reloads(serving, headers).as_deref() == expected {
                return;
            }
            serving.signal(Signal::HUP);
            said(serving, "taken over");
        }
        panic!("{headers:?} never gets {expected:?}");
    };
    assert_eq!(reloads(&serving, "").as_deref(), Some("1"));

    // Half of it is right; nothing of it is taken.
    let auth = format!("admin:\n  auth:\n    bearer_token_file: {}\n", tokens.display());
    write(&format!("{auth}connections:\n  max: none of this\n"));
    serving.signal(Signal::HUP);
    said(&mut serving, "cannot be taken over");
    until(&mut serving, "", Some("0"));

    // What can change does, what cannot is named.
    write(&format!("{auth}engine:\n  threads: 3\n"));
    serving.signal(Signal::HUP);
    assert_eq!(said(&mut serving, "next start")["key"], "engine.threads");
    said(&mut serving, "is taken over");
    until(&mut serving, "", None);
    until(&mut serving, "authorization: Bearer old\r\n", Some("1"));

    // A file that the configuration is made of counts as much.
    std::fs::write(&tokens, "new\n").unwrap();
    serving.signal(Signal::HUP);
    said(&mut serving, "is taken over");
    until(&mut serving, "authorization: Bearer old\r\n", None);
    until(&mut serving, "authorization: Bearer new\r\n", Some("1"));
}

#[test]
fn a_shop_that_has_nobody_to_send_to_says_so() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for (endpoint, code) in [(format!("http://{free}"), 1), ("no address".to_owned(), 2)] {
        let output = laghound(&["demo", "--to", &endpoint]).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{endpoint}");
        assert!(text(&output.stderr).contains(&endpoint), "{}", text(&output.stderr));
    }
}

/// Runs in a process of its own, started by the test below.
#[test]
#[ignore = "ends its process"]
fn panics_on_a_thread() {
    laghound::live::panics::end_the_process();
    tracing_subscriber::fmt().json().with_writer(std::io::stderr).init();
    let thread = std::thread::Builder::new().name("shard-7".to_owned());
    let _ = thread.spawn(|| panic!("on purpose")).unwrap().join();
    println!("it went on");
}

#[test]
fn a_panic_on_any_thread_ends_the_process_and_says_where() {
    let itself = std::env::current_exe().unwrap();
    let arguments =
        ["--exact", "transport::process::panics_on_a_thread", "--ignored", "--nocapture"];
    let output = Command::new(itself).args(arguments).output().unwrap();
    let (shown, log) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), None, "ended by a signal: {shown} {log}");
    assert!(!shown.contains("it went on"), "{shown}");
    for part in ["panic: on purpose", "shard-7", "process.rs"] {
        assert!(log.contains(part), "{part}: {log}");
    }
}
