//! Mail passes the checks of `steeple-export`, before a server that speaks as much of SMTP as RFC 5321 demands.

use std::{
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
};

use steeple_export::test_util::{ExporterReceiver, ExporterSubject, Script, Turn, check_exporter};

use super::*;
use crate::message::tests::firing;

struct MailServer {
    address: SocketAddr,
    script: Arc<Script>,
}

impl MailServer {
    fn start(turn: Box<dyn Fn(usize) -> Turn + Send + Sync>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let script = Arc::new(Script::new(turn));
        let serving = Arc::clone(&script);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let script = Arc::clone(&serving);
                // A client that goes in the middle ends its connection.
                thread::spawn(move || serve(&script, &stream).ok());
            }
        });
        Self { address, script }
    }
}

fn serve(script: &Script, stream: &TcpStream) -> std::io::Result<()> {
    let (mut lines, mut out) = (BufReader::new(stream).lines(), stream);
    let mut say = |reply: &str| out.write_all(format!("{reply}\r\n").as_bytes());
    say("220 mail.example.org ESMTP")?;
    let mut turn = Turn::Accepts;
    while let Some(line) = lines.next().transpose()? {
        match line.get(..4).unwrap_or_default().to_ascii_uppercase().as_str() {
            "EHLO" | "HELO" => say("250 mail.example.org")?,
            "MAIL" => {
                turn = script.next();
                say(if turn == Turn::Forbids { "530 5.7.0 authentication required" } else { "250 2.1.0 ok" })?;
            }
            "RCPT" => say(if turn == Turn::Refuses { "550 5.1.1 no such user" } else { "250 2.1.5 ok" })?,
            "DATA" => {
                say("354 go ahead")?;
                while lines.next().transpose()?.is_some_and(|line| line != ".") {}
                match turn {
                    Turn::Defers => say("451 4.3.0 try again later")?,
                    Turn::Breaks => return stream.shutdown(std::net::Shutdown::Both),
                    Turn::Hangs => {
                        // Until the client has had enough.
                        while lines.next().transpose()?.is_some() {}
                    }
                    Turn::Holds => {
                        script.wait();
                        say("250 2.0.0 ok")?;
                    }
                    Turn::Accepts | Turn::Refuses | Turn::Forbids | _ => say("250 2.0.0 ok")?,
                }
            }
            "QUIT" => return say("221 2.0.0 bye"),
            _ => say("250 2.0.0 ok")?,
        }
    }
    Ok(())
}

impl ExporterReceiver for MailServer {
    fn seen(&self) -> usize {
        self.script.seen()
    }

    fn release(&self) {
        self.script.release();
    }
}

struct Subject;

impl ExporterSubject for Subject {
    type Exporter = Mails;
    type Receiver = MailServer;
    const BATCH: usize = 1;

    fn receiver(&self, turn: Box<dyn Fn(usize) -> Turn + Send + Sync>) -> MailServer {
        MailServer::start(turn)
    }

    fn exporter(&self, receiver: &MailServer) -> Mails {
        let url = format!("smtp://{}?tls=off", receiver.address);
        let server = Server::parse(&url).unwrap();
        let timeout = Duration::from_secs(120);
        Mails {
            transport: Remade::new(server.transport("example.org", None, timeout).unwrap()),
            renew: super::Renew { url, domain: "example.org".to_owned(), ca_file: None, timeout },
            refusals: Arc::default(),
            from: "alerts@example.org".parse().unwrap(),
            to: vec![("ann@example.org".parse().unwrap(), Severity::Low)],
            domain: "example.org".to_owned(),
            scrubber: Scrubber::default(),
            numbers: Arc::default(),
        }
    }

    fn item(&self, number: usize) -> Notification {
        Notification { rule: format!("rule_{number:010}"), ..firing() }
    }
}

#[test]
fn mails_pass_every_check() {
    check_exporter(Subject);
}
