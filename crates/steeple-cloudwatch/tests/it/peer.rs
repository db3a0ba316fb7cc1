//! moto, a server that answers as AWS does, and botocore, AWS's own client. `.ci/peers-moto.sh` installs both.

use std::{
    io::Write,
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use serde_json::Value;
use steeple_cloudwatch::{Aws, Credentials};

/// A program in moto's environment. `None`, which is printed, when it is not installed; with `STEEPLE_REQUIRE_PEERS=1` that is a
/// failure.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    steeple_core::test_util::peer::program(&format!("moto/bin/{name}"))
}

/// Runs a Python program with botocore, feeding it this. Returns what it printed.
pub(crate) fn python(python: &PathBuf, code: &str, input: &str, endpoint: Option<&str>) -> Value {
    let mut command = Command::new(python);
    command.args(["-c", code]).stdin(Stdio::piped()).stdout(Stdio::piped());
    for (name, value) in [
        ("AWS_ACCESS_KEY_ID", "AKIATEST"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("AWS_DEFAULT_REGION", "eu-central-1"),
        ("AWS_ENDPOINT_URL", endpoint.unwrap_or("http://127.0.0.1:9")),
    ] {
        command.env(name, value);
    }
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    let feeding = thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().unwrap();
    feeding.join().unwrap().unwrap();
    assert!(output.status.success(), "{code}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// moto, on a free port until this is dropped.
pub(crate) struct Moto {
    child: Child,
    address: SocketAddr,
    python: PathBuf,
}

impl Moto {
    pub(crate) fn start() -> Option<Self> {
        let (server, python) = (program("moto_server")?, program("python")?);
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let child = Command::new(server)
            .args(["-H", "127.0.0.1", "-p", &address.port().to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let moto = Self { child, address, python };
        let began = steeple_core::clock::now();
        while TcpStream::connect(address).is_err() {
            assert!(began.elapsed() < Duration::from_secs(120), "moto does not start");
            thread::sleep(Duration::from_millis(50));
        }
        Some(moto)
    }

    pub(crate) fn aws(&self) -> Aws {
        Aws::new("eu-central-1").endpoint(self.url()).credentials(Credentials::new("AKIATEST", "secret"))
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What AWS's own client reads: a Python expression over `cloudwatch` and `logs`.
    pub(crate) fn read(&self, expression: &str) -> Value {
        let code = format!(
            "import boto3, json, datetime\n\
             cloudwatch, logs = boto3.client('cloudwatch'), boto3.client('logs')\n\
             now = datetime.datetime.now(datetime.timezone.utc)\n\
             hour = datetime.timedelta(hours=1)\n\
             print(json.dumps({expression}, default=str))"
        );
        python(&self.python, &code, "", Some(&self.url()))
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _gone_already = self.child.kill();
        let _reaped = self.child.wait();
    }
}
