//! A service whose credentials come from a team's `aws-config`: any provider of `aws-credential-types`, by the adapter that the
//! page about AWS shows. It signs with the keys that the provider gave last, with their tokens, and asks for new ones before they
//! end and when they are refused as expired.
//!
//! Started without arguments, this program is the receiver: it runs itself as the service, and checks each signature.

use std::{
    collections::BTreeMap,
    error::Error,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, SystemTime},
};

use aws_credential_types::provider::{ProvideCredentials as _, SharedCredentialsProvider};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use steeple::Steeple;
use steeple::cloudwatch::{Credentials, CredentialsError, CredentialsFuture, ProvideCredentials};

struct FromAwsConfig(SharedCredentialsProvider);

impl ProvideCredentials for FromAwsConfig {
    fn provide(&self) -> CredentialsFuture<'_> {
        Box::pin(async {
            let found = self.0.provide_credentials().await.map_err(|error| CredentialsError::new(&error))?;
            let mut ours = Credentials::new(found.access_key_id(), found.secret_access_key());
            if let Some(token) = found.session_token() {
                ours = ours.with_session_token(token);
            }
            Ok(match found.expiry() {
                Some(at) => ours.expires_at(at),
                None => ours,
            })
        })
    }
}

/// The secret and the token of a key.
fn secret(number: u32) -> String {
    format!("secret/{number}+{}", "s".repeat(30))
}

fn token(number: u32) -> Option<String> {
    // The last ones are of a user, who has no token.
    (number < 3).then(|| format!("token/{number}=="))
}

/// What a role, single sign-on or instance metadata are to `aws-config`.
#[derive(Debug)]
struct Team {
    asked: Arc<AtomicU32>,
}

impl Team {
    async fn find(&self) -> aws_credential_types::provider::Result {
        let number = self.asked.fetch_add(1, Ordering::SeqCst);
        // A provider waits for an answer, with a timer of Tokio's.
        tokio::time::sleep(Duration::from_millis(5)).await;
        let holds = match number {
            // Long, but its role is taken away.
            0 => Some(3_600),
            // Shorter than the time that is kept before the end.
            1 => Some(60),
            // The metadata service does not answer.
            2 => return Err(aws_credential_types::provider::error::CredentialsError::not_loaded("not now")),
            _ => None,
        };
        let expires = holds.map(|seconds| SystemTime::now() + Duration::from_secs(seconds));
        let id = format!("AKIATEAM{number}");
        Ok(aws_credential_types::Credentials::new(id, secret(number), token(number), expires, "team"))
    }
}

impl aws_credential_types::provider::ProvideCredentials for Team {
    fn provide_credentials<'a>(&'a self) -> aws_credential_types::provider::future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        aws_credential_types::provider::future::ProvideCredentials::new(self.find())
    }
}

const SERVICE: &str = "service";

fn main() -> Result<(), Box<dyn Error>> {
    if std::env::args().nth(1).as_deref() == Some(SERVICE) { service() } else { receiver() }
}

fn service() -> Result<(), Box<dyn Error>> {
    let asked = Arc::new(AtomicU32::new(0));
    let provider = SharedCredentialsProvider::new(Team { asked: Arc::clone(&asked) });

    let steeple = Steeple::builder_from_env()?.cloudwatch(|aws| aws.credentials(FromAwsConfig(provider))).build()?;

    let cloudwatch = steeple.cloudwatch().ok_or("a namespace is set")?;
    // How often was asked after each flush: the first asks; the second is refused with what it has; the third's ends soon, and
    // no newer one is available, so that it is used to its end; the fourth gets one without an end, which those that follow use.
    for want in [1, 2, 3, 4, 4] {
        cloudwatch.put_metric("Orders", 1.0, steeple::cloudwatch::Unit::Count, &[]);
        let report = steeple.flush();
        assert!(report.is_complete(), "{report:?}");
        assert_eq!(asked.load(Ordering::SeqCst), want);
    }
    Ok(())
}

fn receiver() -> Result<(), Box<dyn Error>> {
    the_page_shows_this_adapter()?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let endpoint = format!("http://{}", listener.local_addr()?);
    let signers = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&signers);
    thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let seen = Arc::clone(&seen);
            thread::spawn(move || answer(connection, &seen));
        }
    });
    let mut service = Command::new(std::env::current_exe()?);
    for variable in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"] {
        service.env_remove(variable);
    }
    let status = service
        .arg(SERVICE)
        .env("CLOUDWATCH_NAMESPACE", "shop")
        .env("AWS_REGION", "eu-central-1")
        .env("AWS_ENDPOINT_URL", &endpoint)
        .status()?;
    assert!(status.success(), "the service: {status}");
    let mut signers = signers.lock().map_err(|_poisoned| "a connection's thread has panicked")?.clone();
    signers.dedup();
    assert_eq!(signers, ["AKIATEAM0", "AKIATEAM1", "AKIATEAM3"]);
    println!("three keys of a team's provider signed, each with its secret and its token, and for as long as it held");
    Ok(())
}

/// The adapter above is the one on the page about AWS and in the documentation of the crate.
fn the_page_shows_this_adapter() -> Result<(), Box<dyn Error>> {
    let (page, this) = (include_str!("../../../../docs/aws.md"), include_str!("main.rs"));
    let (_, code) =
        page.split_once("come\nfrom a team's `aws-config`:\n\n```rust,ignore\n").ok_or("the page has no adapter")?;
    let (code, _) = code.split_once("```").ok_or("a block ends")?;
    // Imports come first.
    for part in code.split("\n\n").skip(1) {
        assert!(this.contains(part.trim()), "the page shows code that is not here:\n{part}");
    }
    let (_, rustdoc) = include_str!("../../../../crates/steeple-cloudwatch/src/credentials/mod.rs")
        .split_once("/// ```ignore\n")
        .ok_or("the documentation has no adapter")?;
    let (rustdoc, _) = rustdoc.split_once("/// ```\n").ok_or("a block ends")?;
    let lines: Vec<_> = rustdoc.lines().map(|line| line.trim_start_matches("///").trim_start_matches(' ')).collect();
    let (_, adapter) = lines.split_at(lines.iter().position(|line| line.is_empty()).ok_or("imports come first")?);
    let here: Vec<_> = this.lines().map(str::trim_start).collect();
    assert!(here.windows(adapter.len()).any(|window| window == adapter), "the documentation shows code that is not here");
    Ok(())
}

/// A request, as it came over the wire.
struct Received {
    target: String,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

/// Takes requests for as long as the connection is open.
fn answer(connection: TcpStream, signers: &Mutex<Vec<String>>) -> Option<()> {
    let mut reader = BufReader::new(connection.try_clone().ok()?);
    let mut writer = connection;
    loop {
        let received = read(&mut reader)?;
        let signer = signer(&received).unwrap_or_else(|| "not signed".to_owned());
        let mut signers = signers.lock().ok()?;
        let is_refused = signer == "AKIATEAM0" && signers.contains(&signer);
        signers.push(signer);
        drop(signers);
        let (status, body) = if is_refused {
            (
                "403 Forbidden",
                r#"{"__type":"ExpiredToken","message":"The security token included in the request is expired"}"#,
            )
        } else {
            ("200 OK", "{}")
        };
        write!(writer, "HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).ok()?;
    }
}

fn read(reader: &mut impl BufRead) -> Option<Received> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let target = line.split(' ').nth(1)?.to_owned();
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let mut body = vec![0; headers.get("content-length")?.parse().ok()?];
    reader.read_exact(&mut body).ok()?;
    Some(Received { target, headers, body })
}

/// The key that signed a request, if its signature is right by the secret of that key.
fn signer(received: &Received) -> Option<String> {
    let authorization = received.headers.get("authorization")?.strip_prefix("AWS4-HMAC-SHA256 ")?;
    let field = |name: &str| authorization.split(", ").find_map(|field| field.strip_prefix(name));
    let (id, scope) = field("Credential=")?.split_once('/')?;
    let number = id.strip_prefix("AKIATEAM")?.parse().ok()?;
    if received.headers.get("x-amz-security-token").cloned() != token(number) {
        return Some(format!("{id} with the token of another"));
    }
    let signed = field("SignedHeaders=")?;
    let (path, query) = received.target.split_once('?').unwrap_or((&received.target, ""));
    let mut canonical = format!("POST\n{path}\n{query}\n");
    for name in signed.split(';') {
        canonical.push_str(&format!("{name}:{}\n", received.headers.get(name)?));
    }
    canonical.push_str(&format!("\n{signed}\n{}", hex(&Sha256::digest(&received.body))));
    let at = received.headers.get("x-amz-date")?;
    let to_sign = format!("AWS4-HMAC-SHA256\n{at}\n{scope}\n{}", hex(&Sha256::digest(canonical)));
    let mut key = format!("AWS4{}", secret(number)).into_bytes();
    for part in scope.split('/').chain([to_sign.as_str()]) {
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).ok()?;
        mac.update(part.as_bytes());
        key = mac.finalize().into_bytes().to_vec();
    }
    let is_right = field("Signature=") == Some(&hex(&key)) && scope.ends_with("/eu-central-1/monitoring/aws4_request");
    Some(if is_right { id.to_owned() } else { format!("{id} with a wrong signature") })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
