//! Mails, as servers that others have written get them.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Receiver},
    time::Duration,
};

use serde_json::Value;
use steeple_alerts::{Alerts, Rules, Severity, channel::Mail};
use steeple_export::{DropReason, Retry, Sink};
use steeple_metrics::indicator::Clock;

use crate::{
    START, metrics,
    support::{missing, record},
};

/// A server that ends with the test.
struct Server {
    child: Child,
    port: u64,
    lines: Receiver<Value>,
    directory: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

/// A certificate for `127.0.0.1`, which its own authority has signed.
fn certificate(directory: &Path) -> (PathBuf, PathBuf) {
    let (certificate, key) = (directory.join("cert.pem"), directory.join("key.pem"));
    let pair = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned(), "localhost".to_owned()]).unwrap();
    std::fs::write(&certificate, pair.cert.pem()).unwrap();
    std::fs::write(&key, pair.signing_key.serialize_pem()).unwrap();
    (certificate, key)
}

fn smtpd(mode: &str) -> Option<Server> {
    let python = steeple_core::test_util::peer::program("mail/bin/python")?;
    let directory = tempfile::tempdir().unwrap();
    let (certificate, key) = certificate(directory.path());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/data/smtpd.py");
    let mut child = Command::new(python)
        .args([Path::new(script), Path::new(mode), &certificate, &key])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let (tell, lines) = mpsc::channel();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    std::thread::spawn(move || {
        for line in stdout.lines().map_while(Result::ok) {
            let _gone = tell.send(serde_json::from_str::<Value>(&line).unwrap());
        }
    });
    let first = lines.recv_timeout(Duration::from_secs(60)).unwrap();
    Some(Server { child, port: first["port"].as_u64().unwrap(), lines, directory })
}

impl Server {
    fn next(&self) -> Value {
        self.lines.recv_timeout(Duration::from_secs(60)).unwrap()
    }

    fn mail(&self, scheme: &str) -> Mail {
        let url = format!("{scheme}://user%40example.org:p%3A%2F%40ss@127.0.0.1:{}", self.port);
        Mail::new(url, "Shop <alerts@example.org>").ca_file(self.directory.path().join("cert.pem"))
    }
}

fn alerts(mail: Mail) -> Alerts {
    let soon = Retry::default().max_attempts(5).base(Duration::from_millis(50)).cap(Duration::from_millis(100));
    let builder = Alerts::builder().service("Läden").environment("production").rules(Rules::mission());
    builder.channel(mail.retry(soon)).build(&metrics(&Clock::manual(START))).unwrap()
}

fn settled(alerts: &Alerts) -> std::sync::Arc<dyn Sink> {
    let sink = std::sync::Arc::clone(&alerts.sinks()[0]);
    let deadline = steeple_core::clock::now() + Duration::from_secs(60);
    let report = sink.flush(deadline);
    assert_eq!(report.left, 0, "{report:?}");
    sink
}

/// The headers of a mail, unfolded, and what comes after them.
fn parts(mail: &Value) -> (Vec<(String, String)>, String) {
    let data = mail["data"].as_str().unwrap().replace("\r\n", "\n");
    let (head, body) = data.split_once("\n\n").unwrap();
    let head = head.replace("\n ", " ").replace("\n\t", " ");
    let headers = head.lines().map(|line| line.split_once(": ").unwrap());
    (headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(), body.to_owned())
}

fn header<'a>(headers: &'a [(String, String)], name: &str) -> &'a str {
    let found: Vec<_> = headers.iter().filter(|(found, _)| found.eq_ignore_ascii_case(name)).collect();
    assert_eq!(found.len(), 1, "{name}: {headers:?}");
    &found[0].1
}

#[test]
fn a_mail_is_encrypted_and_has_what_mail_programs_need() {
    for (mode, scheme) in [("starttls", "smtp"), ("smtps", "smtps")] {
        let Some(server) = smtpd(mode) else { return };
        let alerts =
            alerts(server.mail(scheme).to("Ann <ann@example.org>").to_at_least("ben@example.org", Severity::Critical));
        alerts.check("high_cpu_usage", 0.9);
        alerts.check("high_cpu_usage", 0.1);
        settled(&alerts);
        let [firing, resolved] = [server.next(), server.next()];
        assert_eq!(firing["tls"], true);
        assert_eq!((&firing["from"], &firing["user"]), (&"alerts@example.org".into(), &"user@example.org".into()));
        assert_eq!(firing["to"], serde_json::json!(["ann@example.org"]), "Ben gets critical ones alone");
        let (headers, body) = parts(&firing);
        let subject = header(&headers, "Subject");
        assert!(subject.is_ascii() && subject.contains("=?utf-8?"), "RFC 2047: {subject}");
        assert_eq!(header(&headers, "Auto-Submitted"), "auto-generated");
        assert_eq!(header(&headers, "From"), "Shop <alerts@example.org>");
        assert_eq!(header(&headers, "Date"), "Sun, 29 Nov 2026 20:51:24 +0000");
        let (kind, boundary) = header(&headers, "Content-Type").split_once("boundary=").unwrap();
        assert!(kind.starts_with("multipart/alternative"), "{kind}");
        let boundary = boundary.trim_matches(['"', ';']);
        assert!(body.contains(&format!("--{boundary}--")), "{body}");
        let (text, html) = (body.find("text/plain").unwrap(), body.find("text/html").unwrap());
        assert!(text < html, "the last is what programs show");
        assert!(body.contains("high_cpu_usage: 90 % (threshold 80 %)"), "{body}");
        // The two are a thread, and two mails.
        let (other, _) = parts(&resolved);
        assert_eq!(header(&headers, "References"), header(&other, "References"));
        assert_ne!(header(&headers, "Message-ID"), header(&other, "Message-ID"));
        assert!(firing["data"].as_str().unwrap().lines().all(|line| line.len() <= 998));
    }
}

#[test]
fn each_recipient_gets_one_mail_whatever_the_others_get() {
    let Some(server) = smtpd("starttls") else { return };
    let mail = server.mail("smtp").to("ann@example.org").to("later@example.org").to("never@example.org");
    let alerts = alerts(mail);
    alerts.check("high_cpu_usage", 0.9);
    let sink = settled(&alerts);
    let lines: Vec<_> = (0..4).map(|_| server.next()).collect();
    let to: Vec<_> = lines.iter().filter_map(|line| line["to"][0].as_str()).collect();
    assert_eq!(to, ["ann@example.org", "later@example.org"], "{lines:?}");
    assert_eq!(lines[1]["deferred"], "later@example.org");
    assert_eq!(lines.iter().filter(|line| line["refused"] == "never@example.org").count(), 1);
    assert!(server.lines.try_recv().is_err(), "it arrives once");
    let stats = sink.stats();
    assert_eq!((stats.exported, stats.dropped_total()), (1, 0));
}

#[test]
fn a_mail_that_is_deferred_arrives_and_one_that_is_refused_is_counted() {
    let Some(server) = smtpd("starttls") else { return };
    let deferred = alerts(server.mail("smtp").to("later@example.org"));
    deferred.check("high_cpu_usage", 0.9);
    let stats = settled(&deferred).stats();
    assert_eq!((stats.exported, stats.dropped_total()), (1, 0));
    assert_eq!(server.next()["deferred"], "later@example.org");
    assert_eq!(server.next()["to"][0], "later@example.org");

    let refused = alerts(server.mail("smtp").to("never@example.org"));
    refused.check("high_cpu_usage", 0.9);
    let stats = settled(&refused).stats();
    assert_eq!((stats.exported, stats.dropped(DropReason::Rejected)), (0, 1), "{stats:?}");
}

#[test]
fn without_encryption_nothing_is_sent() {
    let Some(server) = smtpd("plain") else { return };
    let alerts = alerts(server.mail("smtp").to("ann@example.org"));
    alerts.check("high_cpu_usage", 0.9);
    let sink = std::sync::Arc::clone(&alerts.sinks()[0]);
    for _ in 0..6_000 {
        if !matches!(sink.stats().health, steeple_export::Health::Ok) {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let stats = sink.stats();
    assert_eq!(stats.exported, 0);
    let health = format!("{:?}", stats.health);
    assert!(!health.contains("p:/@ss") && !health.contains("p%3A"), "{health}");
    assert!(server.lines.try_recv().is_err());
}

#[test]
fn a_header_cannot_be_injected() {
    let Some(server) = smtpd("starttls") else { return };
    let metrics = metrics(&Clock::manual(START));
    let mail = server.mail("smtp").to("ann@example.org");
    let alerts = Alerts::builder().service("shop\r\nBcc: evil@example.org").channel(mail).build(&metrics).unwrap();
    alerts.error(&steeple_alerts::Failure {
        kind: "io::Error\r\nBcc: evil@example.org",
        route: "GET /\r\n\r\n.\r\nMAIL FROM:<evil@example.org>",
        message: "a\r\n.\r\nRCPT TO:<evil@example.org>",
        fingerprint: None,
    });
    settled(&alerts);
    let mail = server.next();
    assert_eq!(mail["to"], serde_json::json!(["ann@example.org"]));
    let (headers, _) = parts(&mail);
    assert!(headers.iter().all(|(name, _)| !name.eq_ignore_ascii_case("bcc")), "{headers:?}");
    assert!(server.lines.try_recv().is_err(), "it is one mail");
}

/// A Postfix that delivers nothing, in a separate directory.
struct Postfix {
    directory: tempfile::TempDir,
    port: u16,
}

impl Postfix {
    /// On the `PATH`, or where Debian puts servers.
    fn find() -> Option<PathBuf> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let servers = ["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from);
        let places = std::env::split_paths(&path).chain(servers);
        places.map(|place| place.join("postfix")).find(|postfix| postfix.is_file())
    }

    fn run(directory: &Path, command: &str) -> std::process::Output {
        let postfix = Self::find().unwrap();
        Command::new(postfix).args(["-c", directory.to_str().unwrap(), command]).output().unwrap()
    }

    fn start() -> Option<Self> {
        if Self::find().is_none() {
            missing("postfix", &"it is not on the PATH, nor where Debian puts servers");
            return None;
        }
        let is_root = Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout == b"0\n");
        if !is_root {
            missing("postfix", &"it starts as root alone");
            return None;
        }
        record("postfix", true);
        let directory = tempfile::Builder::new().prefix("steeple-postfix").tempdir_in("/var/tmp").unwrap();
        let path = directory.path();
        let (certificate, key) = certificate(path);
        for name in ["queue", "data"] {
            std::fs::create_dir(path.join(name)).unwrap();
        }
        let owner = Command::new("chown").args(["postfix", path.join("data").to_str().unwrap()]).status().unwrap();
        assert!(owner.success());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let show = |path: &Path| path.display().to_string();
        let main = format!(
            "compatibility_level = 3.6\nqueue_directory = {queue}\ndata_directory = {data}\nmyhostname = mail.example.org\n\
             mydestination = example.org\nlocal_recipient_maps =\nlocal_transport = discard:\nalias_maps =\n\
             inet_interfaces = 127.0.0.1\ninet_protocols = ipv4\nmynetworks = 127.0.0.0/8\n\
             smtpd_tls_security_level = encrypt\nsmtpd_tls_cert_file = {cert}\nsmtpd_tls_key_file = {key}\n\
             maillog_file = {log}\nmaillog_file_prefixes = /var, /tmp\nheader_checks = regexp:{checks}\n",
            checks = show(&path.join("header_checks")),
            queue = show(&path.join("queue")),
            data = show(&path.join("data")),
            cert = show(&certificate),
            key = show(&key),
            log = show(&path.join("log")),
        );
        // What it took for the subject is in its log.
        std::fs::write(path.join("header_checks"), "/^Subject:/ WARN\n").unwrap();
        std::fs::write(path.join("main.cf"), main).unwrap();
        let master = std::fs::read_to_string("/usr/share/postfix/master.cf.dist").unwrap();
        let master: String = master
            .lines()
            .map(|line| {
                let words: Vec<_> = line.split_whitespace().collect();
                match words[..] {
                    ["smtp", "inet", ..] => format!("127.0.0.1:{port} inet n - n - - smtpd\n"),
                    [name, kind, private, unprivileged, "y", ref rest @ ..] if !name.starts_with('#') => {
                        format!("{name} {kind} {private} {unprivileged} n {}\n", rest.join(" "))
                    }
                    _ => format!("{line}\n"),
                }
            })
            .collect();
        std::fs::write(path.join("master.cf"), master).unwrap();
        let started = Self::run(path, "start");
        let server = Self { directory, port };
        assert!(started.status.success(), "{started:?} {}", server.log());
        Some(server)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        let _stopped = Self::run(self.directory.path(), "stop");
    }
}

#[test]
fn postfix_takes_a_mail_over_starttls_and_delivers_it() {
    let Some(server) = Postfix::start() else { return };
    let mail = Mail::new(format!("smtp://127.0.0.1:{}", server.port), "Shop <alerts@example.org>")
        .to("ann@example.org")
        .ca_file(server.directory.path().join("cert.pem"));
    let alerts = alerts(mail);
    alerts.check("high_cpu_usage", 0.9);
    let stats = settled(&alerts).stats();
    assert_eq!((stats.exported, stats.dropped_total()), (1, 0), "{stats:?}\n{}", server.log());
    for _ in 0..6_000 {
        let log = server.log();
        if log.contains("status=sent") {
            // RFC 2047: `Läden` is not ASCII.
            let subject = log.lines().find(|line| line.contains("header Subject:")).unwrap_or(&log);
            assert!(
                subject.contains("=?utf-8?") && subject.is_ascii() && !subject.contains("den in prod"),
                "{subject}"
            );
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("{}", server.log());
}
