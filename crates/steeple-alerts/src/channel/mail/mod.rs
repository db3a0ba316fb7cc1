use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
    },
    time::{Duration, Instant, SystemTime},
};

use lettre::{
    AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor,
    message::{Mailbox, MultiPart, header},
    transport::smtp::{
        Error,
        authentication::Credentials,
        client::{Certificate, CertificateStore, Tls, TlsParameters},
        extension::ClientId,
    },
};
use steeple_export::{
    Answer, DropReason, Exporter, Pipeline, Reason, Retry, Unauthorized, Verdict,
    secret::{self, Remade},
};
use steeple_scrub::{Scrubbed, Scrubber};

use super::{Channel, ChannelContext, IntoChannel};
use crate::{BuildError, Severity, message::Notification};

/// Most recipients of one channel.
const MAX_RECIPIENTS: usize = 50;

/// Sends alerts as mails, one alert a mail and one mail for each recipient, as text and HTML. The mails of one alert are a
/// thread.
///
/// The connection is encrypted, by STARTTLS or from its beginning, or nothing is sent.
///
/// # Examples
/// ```
/// use steeple_alerts::{Severity, channel::Mail};
///
/// let mail = Mail::new("smtp://user:password@mail.example.org:587", "Shop <alerts@example.org>")
///     .to("team@example.org")
///     .to_at_least("boss@example.org", Severity::Critical);
/// ```
///
/// # Source
/// RFC 5321, RFC 5322, RFC 3834 (`Auto-Submitted`), RFC 8314 (port 465).
#[derive(Clone)]
#[must_use = "a channel does nothing until alerts are built with it"]
pub struct Mail {
    url: String,
    from: String,
    to: Vec<(String, Severity)>,
    ca_file: Option<PathBuf>,
    timeout: Duration,
    retry: Retry,
}

impl std::fmt::Debug for Mail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The URL has the password, and people have a right to their addresses.
        f.debug_struct("Mail").field("recipients", &self.to.len()).finish_non_exhaustive()
    }
}

impl Mail {
    /// A server, and whom mails are from.
    ///
    /// | URL | the connection |
    /// | --- | --- |
    /// | `smtp://user:password@host:587` | STARTTLS, which the server must have. Without a port: 587 |
    /// | `smtps://user:password@host:465` | TLS from its beginning. Without a port: 465 |
    /// | `smtp://127.0.0.1:25?tls=off` | not encrypted: on this machine only |
    ///
    /// User and password are percent-encoded where they have `@`, `:` or `/`.
    pub fn new(url: impl Into<String>, from: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            from: from.into(),
            to: Vec::new(),
            ca_file: None,
            timeout: Duration::from_secs(30),
            // Servers that defer mails take them minutes later.
            retry: Retry::default()
                .max_attempts(u32::MAX)
                .max_age(Duration::from_secs(86_400))
                .base(Duration::from_secs(5))
                .cap(Duration::from_secs(900)),
        }
    }

    /// Adds a recipient of every alert: `ann@example.org`, `Ann <ann@example.org>`.
    pub fn to(self, recipient: impl Into<String>) -> Self {
        self.to_at_least(recipient, Severity::Low)
    }

    /// Adds a recipient of alerts of at least this severity.
    pub fn to_at_least(mut self, recipient: impl Into<String>, severity: Severity) -> Self {
        self.to.push((recipient.into(), severity));
        self
    }

    /// Trusts the certificates in this PEM file, in place of the system's.
    pub fn ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.ca_file = Some(path.into());
        self
    }

    /// How long a mail may take to be sent. Default: 30 seconds.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How often a mail is tried again, and how long after. Default: after 5 seconds, then less and less often, for 24 hours.
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }
}

/// Where mails go, and how.
struct Server {
    host: String,
    port: u16,
    credentials: Option<Credentials>,
    tls: Encryption,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Encryption {
    StartTls,
    Implicit,
    Off,
}

const URL: &str = "`smtp://user:password@host:587`, or `smtps://` for TLS from the beginning; \
                   without encryption on this machine only: `smtp://127.0.0.1:25?tls=off`";

impl Server {
    fn parse(url: &str) -> Result<Self, BuildError> {
        let invalid = || BuildError::setting("mail.url", URL);
        let (rest, mut tls) = match url.split_once("://") {
            Some(("smtp", rest)) => (rest, Encryption::StartTls),
            Some(("smtps", rest)) => (rest, Encryption::Implicit),
            _ => return Err(invalid()),
        };
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let rest = rest.trim_end_matches('/');
        let (user, authority) = rest.rsplit_once('@').map_or((None, rest), |(user, rest)| (Some(user), rest));
        let authority: http::uri::Authority = authority.parse().map_err(|_invalid| invalid())?;
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        let address = host.parse::<std::net::IpAddr>();
        let is_here = host == "localhost" || address.is_ok_and(|address| address.is_loopback());
        match query {
            "" => (),
            "tls=off" if is_here && tls == Encryption::StartTls => tls = Encryption::Off,
            _ => return Err(invalid()),
        }
        let port = match (authority.port_u16(), tls) {
            (Some(port), _) => port,
            // A port that is not a number of 16 bits.
            (None, _) if authority.as_str() != authority.host() => return Err(invalid()),
            (None, Encryption::StartTls) => 587,
            (None, Encryption::Implicit) => 465,
            (None, Encryption::Off) => 25,
        };
        let credentials = match user {
            Some(user) => {
                let (name, password) = user.split_once(':').ok_or_else(invalid)?;
                let decode = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8().ok().map(Into::into);
                let (name, password): (String, String) = decode(name).zip(decode(password)).ok_or_else(invalid)?;
                Some(Credentials::new(name, password))
            }
            None => None,
        };
        if host.is_empty() {
            return Err(invalid());
        }
        Ok(Self { host, port, credentials, tls })
    }

    fn transport(
        &self,
        hello: &str,
        ca_file: Option<&PathBuf>,
        timeout: Duration,
    ) -> Result<AsyncSmtpTransport<Tokio1Executor>, BuildError> {
        let tls = if self.tls == Encryption::Off {
            Tls::None
        } else {
            if cfg!(not(any(feature = "tls-aws-lc", feature = "tls-ring"))) {
                return Err(BuildError::setting("mail.url", "a feature for TLS: `tls-ring` or `tls-aws-lc`"));
            }
            let mut parameters = TlsParameters::builder(self.host.clone());
            if let Some(path) = ca_file {
                let unreadable = || BuildError::setting("mail.ca_file", "a file with certificates in PEM");
                let pem = std::fs::read(path).map_err(|_error| unreadable())?;
                parameters = parameters
                    .certificate_store(CertificateStore::None)
                    .add_root_certificate(Certificate::from_pem(&pem).map_err(|_error| unreadable())?);
            }
            let parameters = parameters.build_rustls().map_err(|error| BuildError::channel("mail", error))?;
            match self.tls {
                Encryption::Implicit => Tls::Wrapper(parameters),
                Encryption::StartTls | Encryption::Off => Tls::Required(parameters),
            }
        };
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&self.host)
            .port(self.port)
            .tls(tls)
            .hello_name(ClientId::Domain(hello.to_owned()))
            .timeout(Some(timeout));
        if let Some(credentials) = &self.credentials {
            builder = builder.credentials(credentials.clone());
        }
        Ok(builder.build())
    }
}

impl IntoChannel for Mail {
    fn into_channel(self: Box<Self>, context: &ChannelContext) -> Result<Channel, BuildError> {
        const ADDRESS: &str = "an address such as `ann@example.org` or `Ann <ann@example.org>`";
        let server = Server::parse(&self.url)?;
        let from: Mailbox = self.from.parse().map_err(|_invalid| BuildError::setting("mail.from", ADDRESS))?;
        let to = self.to.iter().map(|(to, severity)| Some((to.parse().ok()?, *severity)));
        let to: Vec<(Mailbox, Severity)> =
            to.collect::<Option<_>>().ok_or_else(|| BuildError::setting("mail.to", ADDRESS))?;
        if to.is_empty() || to.len() > MAX_RECIPIENTS {
            return Err(BuildError::setting("mail.to", "1 to 50 recipients"));
        }
        let domain = from.email.domain().to_owned();
        let transport = server.transport(&domain, self.ca_file.as_ref(), self.timeout)?;
        let at_least = to.iter().map(|(_, severity)| *severity).min().unwrap_or_default();
        let renew = Renew { url: self.url, domain: domain.clone(), ca_file: self.ca_file, timeout: self.timeout };
        let scrubber = context.scrubber.clone();
        let refusals = Arc::new(secret::Refusals::default());
        let numbers = Arc::new(AtomicU32::new(0));
        let pipeline = Pipeline::<()>::builder("mail")
            .max_items(1_000)
            .max_bytes(4 << 20)
            .batch_items(1)
            .batch_delay(Duration::ZERO)
            .timeout(self.timeout)
            .retry(self.retry)
            .unauthorized(Unauthorized::Keep)
            .build(move || {
                Ok(Mails {
                    transport: Remade::new(transport.clone()),
                    renew: renew.clone(),
                    refusals: Arc::clone(&refusals),
                    from: from.clone(),
                    to: to.clone(),
                    domain: domain.clone(),
                    scrubber: scrubber.clone(),
                    numbers: Arc::clone(&numbers),
                })
            })
            .map_err(|error| BuildError::channel("mail", error))?;
        Ok(Channel::new(pipeline, at_least))
    }
}

/// What the transport is made of, where the file of its URL has another password.
#[derive(Clone)]
struct Renew {
    url: String,
    domain: String,
    ca_file: Option<PathBuf>,
    timeout: Duration,
}

struct Mails {
    transport: Remade<AsyncSmtpTransport<Tokio1Executor>>,
    renew: Renew,
    refusals: Arc<secret::Refusals>,
    from: Mailbox,
    to: Vec<(Mailbox, Severity)>,
    domain: String,
    scrubber: Scrubber,
    numbers: Arc<AtomicU32>,
}

/// An alert, with an id that stays the same whenever it is sent.
struct Letter {
    alert: Notification,
    id: String,
    /// Which recipients need no further attempt.
    is_done: Vec<AtomicBool>,
}

/// RFC 3834: so that nothing answers, as those who are on holiday would.
#[derive(Clone)]
struct AutoSubmitted;

impl header::Header for AutoSubmitted {
    fn name() -> header::HeaderName {
        header::HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_text: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self)
    }

    fn display(&self) -> header::HeaderValue {
        header::HeaderValue::new(Self::name(), "auto-generated".to_owned())
    }
}

impl Renew {
    /// The transport for the URL that the file has now. `None`: that cannot be used.
    fn transport(&self) -> Option<AsyncSmtpTransport<Tokio1Executor>> {
        let Self { url, domain, ca_file, timeout } = self;
        let current = secret::current(url);
        let server = Server::parse(current.as_deref().unwrap_or(url)).ok()?;
        server.transport(domain, ca_file.as_ref(), *timeout).ok()
    }
}

impl Mails {
    /// The first mail of an alert's thread has this id.
    fn root(&self, alert: &Notification) -> String {
        let plain = |text: &str| -> String { text.chars().filter(char::is_ascii_alphanumeric).take(64).collect() };
        let place = plain(alert.instance.as_deref().unwrap_or_default());
        format!("<{}.{}.{place}@{}>", plain(&alert.rule), alert.since.as_millis(), self.domain)
    }

    fn message(&self, letter: &Letter, number: usize, to: &Mailbox) -> Result<Message, lettre::error::Error> {
        let alert = &letter.alert;
        let root = self.root(alert);
        Message::builder()
            .from(self.from.clone())
            .to(to.clone())
            .subject(alert.subject())
            .date(SystemTime::UNIX_EPOCH.checked_add(alert.at).unwrap_or(SystemTime::UNIX_EPOCH))
            .message_id(Some(format!("<{}.{number}@{}>", letter.id, self.domain)))
            .in_reply_to(root.clone())
            .references(root)
            .header(AutoSubmitted)
            .multipart(MultiPart::alternative_plain_html(alert.text(), alert.html()))
    }
}

/// What became of a mail to one recipient.
enum Sent {
    Done,
    /// The recipient will never get it.
    Refused(Reason),
    Later(Reason),
    /// The server does not let us send.
    Paused(Reason),
}

impl Exporter for Mails {
    type Item = Notification;
    type Ready = Letter;

    fn size(item: &Notification) -> usize {
        item.size()
    }

    fn scrub(&mut self, item: Notification) -> Scrubbed<Letter> {
        let number = self.numbers.fetch_add(1, Relaxed);
        let id = format!("{}.{}.{number}", item.at.as_millis(), std::process::id());
        let is_done = self.to.iter().map(|(_, severity)| AtomicBool::new(item.severity < *severity)).collect();
        let scrubbed = item.scrub(&self.scrubber);
        // Number and flags hold no text of anybody's.
        self.scrubber.scrub_with(Letter { alert: scrubbed.into_inner(), id, is_done }, |_, _| ())
    }

    async fn export(&mut self, batch: &[Scrubbed<Letter>], _deadline: Instant) -> Answer {
        let transport = self.transport.get(|_former| self.renew.transport());
        let mut verdicts = Vec::with_capacity(batch.len());
        for letter in batch {
            let (mut refused, mut later, mut sent) = (None, None, false);
            for (number, ((to, _), is_done)) in self.to.iter().zip(&letter.is_done).enumerate() {
                if is_done.load(Relaxed) {
                    continue;
                }
                let result = match self.message(letter, number, to) {
                    Ok(message) => judge(transport.send(message).await.err().as_ref()),
                    Err(error) => Sent::Refused(Reason::of_error(&error)),
                };
                match result {
                    Sent::Done => {
                        is_done.store(true, Relaxed);
                        sent = true;
                    }
                    Sent::Refused(reason) => {
                        is_done.store(true, Relaxed);
                        refused = Some(reason);
                    }
                    Sent::Later(reason) => later = Some(reason),
                    Sent::Paused(reason) => {
                        // It is tried again later: with the new password, if the file has one.
                        self.refusals.reread().await;
                        return Answer::Paused(reason);
                    }
                }
            }
            verdicts.push(match (later, refused) {
                (Some(reason), _) if batch.len() == 1 => {
                    return Answer::Retry { after: None, cause: DropReason::Unavailable, why: reason };
                }
                (Some(_), _) => Verdict::Retry,
                (None, Some(reason)) if !sent => Verdict::Poison(reason),
                (None, Some(reason)) => {
                    // The others have it. No address is shown.
                    tracing::warn!(target: "steeple::alerts", reason = reason.as_str(), "a recipient of an alert was refused");
                    Verdict::Stored
                }
                (None, None) => Verdict::Stored,
            });
        }
        Answer::Items(verdicts)
    }
}

/// # Source
/// RFC 5321, 4.2.1: 4yz is temporary, 5yz is for good. RFC 4954: 530, 534, 535 and 538 are about credentials.
fn judge(error: Option<&Error>) -> Sent {
    let Some(error) = error else { return Sent::Done };
    let reason = Reason::of_error(error);
    let code = error.status().map(u16::from);
    match code {
        Some(530 | 534 | 535 | 538) => Sent::Paused(reason),
        _ if error.is_permanent() => Sent::Refused(reason),
        // No STARTTLS, or no way to log in that both know: an administrator has to change something.
        _ if error.is_client() => Sent::Paused(reason),
        _ => Sent::Later(reason),
    }
}

#[cfg(test)]
mod every_pipeline;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_connection_is_encrypted_but_on_this_machine() {
        let found = |url: &str| Server::parse(url).ok().map(|server| (server.host, server.port, server.tls));
        let server = |host: &str, port, tls: Encryption| Some((host.to_owned(), port, tls));
        assert!(found("smtp://mail.example.org") == server("mail.example.org", 587, Encryption::StartTls));
        assert!(found("smtp://u:p@mail.example.org:2525/") == server("mail.example.org", 2525, Encryption::StartTls));
        assert!(found("smtps://u:p@mail.example.org") == server("mail.example.org", 465, Encryption::Implicit));
        assert!(found("smtp://127.0.0.1:25?tls=off") == server("127.0.0.1", 25, Encryption::Off));
        assert!(found("smtp://[::1]:25?tls=off") == server("::1", 25, Encryption::Off));
        for bad in [
            "smtp://mail.example.org:25?tls=off",
            "smtps://127.0.0.1?tls=off",
            "smtp://127.0.0.1?tls=maybe",
            "http://mail.example.org",
            "mail.example.org:25",
            "smtp://",
            "smtp://user@mail.example.org",
            "smtp://mail.example.org:99999",
        ] {
            let error = Server::parse(bad).map(|_| ()).unwrap_err();
            assert!(error.is_channel() && !error.to_string().contains("user@"), "{bad}: {error}");
        }
    }

    #[test]
    fn a_password_may_have_any_character() {
        let server = Server::parse("smtp://user%40example.org:p%3A%2F%40ss@mail.example.org").unwrap();
        let want = Credentials::new("user@example.org".to_owned(), "p:/@ss".to_owned());
        assert!(server.credentials == Some(want));
    }

    #[test]
    fn addresses_are_checked_and_are_in_no_error() {
        let context = || ChannelContext {
            group_wait: None,
            scrubber: Scrubber::default(),
            #[cfg(feature = "http")]
            http: steeple_export::ClientBuilder::default(),
        };
        let url = "smtp://127.0.0.1:9?tls=off";
        for (from, to) in [
            ("alerts@example.org\r\nBcc: x@example.org", "team@example.org"),
            ("alerts@example.org", "team@example.org\nBcc: x@example.org"),
            ("alerts", "team@example.org"),
            ("alerts@example.org", ""),
        ] {
            let error = Box::new(Mail::new(url, from).to(to)).into_channel(&context()).unwrap_err();
            assert!(error.is_channel() && !error.to_string().contains("x@example"), "{error}");
        }
        assert!(Box::new(Mail::new(url, "a@example.org")).into_channel(&context()).is_err(), "no recipient");
        let debug = format!("{:?}", Mail::new("smtp://u:hunter2@h", "a@b.c").to("ann@example.org"));
        assert!(!debug.contains("hunter2") && !debug.contains("ann"), "{debug}");
    }
}
