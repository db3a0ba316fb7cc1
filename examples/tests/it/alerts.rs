//! Each of the six rules fires and is resolved in the task board, over HTTP; a webhook's receiver is the witness.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use serde_json::Value;
use steeple::core::clock;

use crate::process::{Program, ask, example, until};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// How long an alert may take on a machine that is busy with other things.
const LONG: Duration = Duration::from_mins(3);

type Told = Arc<Mutex<Vec<Value>>>;

/// Plays the webhook's receiver. Returns its address and what it got.
fn receiver() -> (String, Told) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let told = Told::default();
    let posts = Arc::clone(&told);
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let posts = Arc::clone(&posts);
            thread::spawn(move || answer(&stream, &posts));
        }
    });
    (url, told)
}

fn answer(mut stream: &std::net::TcpStream, posts: &Told) -> Option<()> {
    let mut lines = BufReader::new(stream);
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if lines.read_line(&mut line).ok()? == 0 {
                return None;
            }
            if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if line == "\r\n" {
                break;
            }
        }
        let mut body = vec![0; length];
        lines.read_exact(&mut body).ok()?;
        posts.lock().unwrap().push(serde_json::from_slice(&body).unwrap());
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").ok()?;
    }
}

struct Board {
    program: Program,
    told: Told,
}

impl Board {
    /// The notifications of a rule: `firing`, `resolved`.
    fn of(&self, rule: &str) -> Vec<Value> {
        let told = self.told.lock().unwrap();
        told.iter().map(|post| post["data"].clone()).filter(|data| data["rule"] == rule).collect()
    }

    /// Does something until the witness has been told this of the rule, as the `nth` from 1 on.
    #[track_caller]
    fn until(&self, rule: &str, nth: usize, status: &str, mut act: impl FnMut(&Program)) -> Value {
        let begin = clock::now();
        loop {
            if let Some(data) = self.of(rule).get(nth - 1) {
                assert_eq!(data["status"], status, "{data:#}");
                return data.clone();
            }
            assert!(clock::now() - begin < LONG, "{rule} is not {status}: {:#?}", self.of(rule));
            act(&self.program);
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// Fires while it acts, and is resolved while all is well.
    #[track_caller]
    fn fires_and_is_resolved(&self, rule: &str, act: impl FnMut(&Program)) -> [Value; 2] {
        // It may have fired before, for another reason.
        let before = self.of(rule).len();
        assert_eq!(before % 2, 0, "{rule} fires already: {:#?}", self.of(rule));
        let firing = self.until(rule, before + 1, "firing", act);
        let resolved = self.until(rule, before + 2, "resolved", fine);
        [firing, resolved]
    }
}

fn fine(program: &Program) {
    assert_eq!(program.get("/lab/status/200").status, 200);
}

#[test]
fn each_of_the_six_rules_fires_and_is_resolved() {
    let (url, told) = receiver();
    let mut command = example("taskboard");
    command.args(["--listen", "127.0.0.1:0", "--alert-windows", "short", "--cpu-limit", "30", "--memory-limit", "256"]);
    command.env("ALERTS_WEBHOOK_URL", url).env("ALERTS_WEBHOOK_SECRET", SECRET).env("SERVICE_NAME", "taskboard");
    let board = Board { program: Program::start(&mut command), told };

    // Without guards, a service without users has too few from the beginning.
    board.until("low_user_activity", 1, "firing", fine);
    for number in 0..15 {
        use_it(&board.program, number);
    }
    board.until("low_user_activity", 2, "resolved", fine);

    let [firing, resolved] = board.fires_and_is_resolved("payment_failures", |program| {
        assert_eq!(program.get("/lab/payment?fail=5").status, 200);
    });
    assert!(firing["value"].as_f64().unwrap() > 3.0 && resolved["peak"].as_f64().unwrap() > 3.0, "{firing} {resolved}");
    assert_eq!((&firing["threshold"], &firing["severity"]), (&3.0.into(), &"high".into()));

    let [firing, _] = board.fires_and_is_resolved("high_error_rate", |program| {
        assert_eq!(program.get("/lab/fail").status, 500);
    });
    assert_eq!(firing["routes"][0]["route"], "GET /lab/fail", "{firing:#}");

    let [firing, _] = board.fires_and_is_resolved("slow_response_time", |program| {
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| assert_eq!(program.get("/lab/slow?ms=5000").status, 200));
            }
        });
    });
    assert!(firing["value"].as_f64().unwrap() > 2.0, "{firing:#}");

    let mut burns = 0;
    board.fires_and_is_resolved("high_cpu_usage", |program| {
        // Burning goes on for as long as it takes, and no longer.
        if burns == 0 {
            let answer = program.get("/lab/burn-cpu?cores=4&ms=5000");
            assert!(matches!(answer.status, 202 | 429), "{answer:?}");
        }
        burns = (burns + 1) % 10;
    });

    let mut holds = 0;
    board.fires_and_is_resolved("high_memory_usage", |program| {
        if holds % 100 == 0 {
            let answer = program.get("/lab/hold-memory?mib=300&ms=12000");
            assert!(matches!(answer.status, 202 | 429), "{answer:?}");
        }
        holds += 1;
    });

    for rule in ["low_user_activity", "payment_failures", "high_error_rate", "slow_response_time", "high_memory_usage"]
    {
        let told: Vec<_> = board.of(rule).iter().map(|data| data["status"].clone()).collect();
        let alternates = told.iter().enumerate().all(|(n, status)| status == ["firing", "resolved"][n % 2]);
        assert!(alternates, "{rule}: {told:?}");
    }
    let ended = board.program.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
}

/// A new user signs in and does something.
fn use_it(program: &Program, number: u32) {
    let user = format!(r#"{{"email":"user{number}@example.com","name":"Ann","source":"web"}}"#);
    assert_eq!(ask(program.address, "POST /api/users", &[], &user).status, 201);
    let session = format!(r#"{{"email":"user{number}@example.com","method":"sso"}}"#);
    let session: Value = serde_json::from_str(&ask(program.address, "POST /api/sessions", &[], &session).body).unwrap();
    let authorization = format!("authorization: Bearer {}", session["token"].as_str().unwrap());
    assert_eq!(ask(program.address, "GET /lab/status/200", &[&authorization], "").status, 200);
}

#[test]
fn loads_are_refused_off_this_machine_and_beyond_their_bounds() {
    let program = Program::taskboard();
    for load in ["/lab/burn-cpu?ms=1", "/lab/hold-memory?ms=1", "/lab/payment"] {
        for header in
            ["x-forwarded-for: 127.0.0.1", "forwarded: for=127.0.0.1", "x-real-ip: 127.0.0.1", "via: 1.1 nginx"]
        {
            let answer = ask(program.address, &format!("GET {load}"), &[header], "");
            assert_eq!(answer.status, 403, "{load} {header}: {answer:?}");
        }
        assert!(matches!(program.get(load).status, 200 | 202), "{load}");
    }
    for beyond in
        ["burn-cpu?cores=5", "burn-cpu?ms=60001", "hold-memory?mib=1025", "hold-memory?ms=120001", "payment?fail=1001"]
    {
        assert_eq!(program.get(&format!("/lab/{beyond}")).status, 400, "{beyond}");
    }
    // All together: a port in use is not available to another.
    until(|| (program.get("/lab/burn-cpu?cores=4&ms=3000").status == 202).then_some(()));
    assert_eq!(program.get("/lab/burn-cpu?cores=1&ms=1").status, 429);
    until(|| (program.get("/lab/hold-memory?mib=700&ms=3000").status == 202).then_some(()));
    assert_eq!(program.get("/lab/hold-memory?mib=700&ms=1").status, 429);
}
