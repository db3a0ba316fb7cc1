//! Requests as they come over the wire, signed again by botocore.

use std::time::Duration;

use serde_json::{Value, json};
use steeple_cloudwatch::{Aws, CloudWatch, CloudWatchLogs, Credentials, Unit};
use steeple_export::test_util::{Received, Receiver, Reply};
use steeple_log::{Format, Log};
use steeple_metrics::Metrics;
use tracing_subscriber::layer::SubscriberExt;

use crate::peer;

const RESIGN: &str = "\
import sys, json, base64
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
out = []
for line in sys.stdin:
    r = json.loads(line)
    auth = SigV4Auth(Credentials(r['id'], r['secret'], r['token']), r['service'], r['region'])
    request = AWSRequest('POST', r['url'], headers=r['headers'], data=base64.b64decode(r['body']))
    request.context['timestamp'] = r['timestamp']
    auth._modify_request_before_signing(request)
    signature = auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request)
    auth._inject_signature_to_request(request, signature)
    out.append(request.headers['Authorization'])
print(json.dumps(out))
";

/// The signed request without its signature, for botocore.
fn described(received: &Received, of: &Setting, service: &str, base: &str) -> (Value, String) {
    let authorization = received.header("authorization").unwrap().to_owned();
    let (_, signed) = authorization.split_once("SignedHeaders=").unwrap();
    let signed: Vec<_> = signed.split(',').next().unwrap().split(';').collect();
    let own = ["host", "x-amz-date", "x-amz-security-token"];
    let headers: serde_json::Map<String, Value> = received
        .headers
        .iter()
        .filter(|(name, _)| signed.contains(&name.as_str()) && !own.contains(&name.as_str()))
        .map(|(name, value)| (name.clone(), value.clone().into()))
        .collect();
    let path = received.line.split(' ').nth(1).unwrap();
    let described = json!({
        "id": of.id, "secret": of.secret, "token": of.token, "region": of.region, "service": service,
        "url": format!("{base}{path}"), "headers": headers, "timestamp": received.header("x-amz-date"),
        "body": base64(&received.body),
    });
    (described, authorization)
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let bits =
            chunk.iter().enumerate().fold(0_u32, |bits, (place, byte)| bits | u32::from(*byte) << (16 - 8 * place));
        for digit in 0..4 {
            let shown = DIGITS[(bits >> (18 - 6 * digit) & 63) as usize];
            out.push(if digit <= chunk.len() { char::from(shown) } else { '=' });
        }
    }
    out
}

struct Setting {
    id: String,
    secret: String,
    token: Option<String>,
    region: &'static str,
    path: &'static str,
}

fn settings() -> impl Iterator<Item = Setting> {
    const REGIONS: [&str; 4] = ["eu-central-1", "us-east-1", "cn-north-1", "ap-southeast-2"];
    const PATHS: [&str; 10] = [
        "",
        "/",
        "/aws/emulator/",
        "/a%20b/c~d",
        "/gateway?tenant=b&Action=a&tenant=a",
        "/gr%C3%BC%C3%9Fe/%2F/(a)'b*c!;=@",
        "//a//b/",
        "/x/./y/../z",
        "/a?empty=&list=b%2Fc&list=b%20c&list=%C3%BC&Z=1&a=~-._",
        "/a/?flag&b=c%3Dd&B=c",
    ];
    (0..20_usize).map(|number| Setting {
        id: format!("AKIA{number:016}"),
        secret: format!("s/e+c=r3t{}{number}", "x".repeat(number * 7)),
        token: (number % 3 == 0).then(|| format!("token//{}+{number}==", "t".repeat(number * 31))),
        region: REGIONS[number % REGIONS.len()],
        path: PATHS[number % PATHS.len()],
    })
}

#[test]
fn two_hundred_requests_are_signed_as_botocore_signs_them() {
    let Some(python) = peer::program("python") else { return };
    let (mut input, mut ours) = (String::new(), Vec::new());
    let mut note = |received: &[Received], setting: &Setting, service: &str, base: &str| {
        for received in received {
            let (described, authorization) = described(received, setting, service, base);
            input.extend([described.to_string().as_str(), "\n"]);
            ours.push(authorization);
        }
    };
    for (number, setting) in settings().enumerate() {
        let receiver = Receiver::start(|_, _| Reply::ok("{}"));
        let base = format!("http://{}", receiver.address());
        let mut credentials = Credentials::new(setting.id.clone(), setting.secret.clone());
        if let Some(token) = &setting.token {
            credentials = credentials.with_session_token(token.clone());
        }
        let aws = Aws::new(setting.region).endpoint(format!("{base}{}", setting.path)).credentials(credentials);
        let deadline = || steeple_core::clock::now() + Duration::from_secs(60);

        let metrics = Metrics::new().unwrap();
        let cloudwatch = CloudWatch::builder(format!("shop {number}/a:b")).build(&metrics, &aws).unwrap();
        for round in 0..6_u8 {
            cloudwatch.put_metric(
                format!("m{round}"),
                f64::from(round) / 3.0,
                Unit::Percent,
                &[("Käse", "ü"), ("A", "a b&c=d")],
            );
            cloudwatch.put_metric("plain", 1e-9, Unit::Count, &[("A", "x".repeat(usize::from(round) * 50).as_str())]);
            assert!(cloudwatch.sink().flush(deadline()).is_complete());
        }
        note(&receiver.received(), &setting, "monitoring", &base);

        let receiver = Receiver::start(|_, _| Reply::ok("{}"));
        let base = format!("http://{}", receiver.address());
        let aws = aws.endpoint(format!("{base}{}", setting.path));
        let lines = CloudWatchLogs::builder().service("shop").build(&aws).unwrap();
        let sink = lines.sink();
        let guard = Log::builder().without_console().output(lines, Format::Json).build().unwrap();
        let subscriber = tracing_subscriber::registry().with(guard.layer());
        tracing::subscriber::with_default(subscriber, || {
            for round in 0..3 {
                tracing::info!("line {round} of grüße {}", "\u{1F980}".repeat(number));
                assert!(guard.flush(Duration::from_secs(60)));
                assert!(sink.flush(deadline()).is_complete());
            }
        });
        note(&receiver.received(), &setting, "logs", &base);
    }
    assert!(ours.len() >= 200, "{}", ours.len());
    let theirs = peer::python(&python, RESIGN, &input, None);
    for (number, (ours, theirs)) in ours.iter().zip(theirs.as_array().unwrap()).enumerate() {
        assert_eq!(Some(ours.as_str()), theirs.as_str(), "{}", input.lines().nth(number).unwrap());
    }
}
