//! The README at the top is true.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value};
use steeple_examples::taskboard::cli;

use crate::process::{Program, ask, example, is_access};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn readme() -> String {
    fs::read_to_string(root().join("README.md")).unwrap()
}

/// The blocks of code in this language.
fn blocks(readme: &str, language: &str) -> Vec<String> {
    let begin = format!("```{language}\n");
    readme.split(&*begin).skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

/// The first cells of the table below this heading.
fn table(readme: &str, heading: &str) -> Vec<String> {
    let (_, rest) = readme.split_once(&format!("\n## {heading}\n")).unwrap();
    let section = rest.split("\n## ").next().unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| [`"));
    let mut names: Vec<_> = rows.map(|row| row.split('`').next().unwrap().to_owned()).collect();
    names.sort();
    names
}

/// The task that the README's line tells of, and a request that hangs up.
fn do_as_it_says(program: &Program) {
    let post = |path: &str, token: &str, body: &str| {
        let authorization = format!("authorization: Bearer {token}");
        let answer = ask(program.address, &format!("POST {path}"), &[&authorization, "user-agent: curl/7.88.1"], body);
        assert_eq!(answer.status, 201, "{path}: {answer:?}");
        serde_json::from_str::<Value>(&answer.body).unwrap()
    };
    post("/api/users", "", r#"{"email":"ann@example.com","name":"Ann"}"#);
    let session = post("/api/sessions", "", r#"{"email":"ann@example.com"}"#);
    let token = session["token"].as_str().unwrap();
    post("/api/projects", token, r#"{"name":"Steeple"}"#);
    post("/api/projects/1/tasks?from=mail&access_token=s3cr3t-s3cr3t", token, r#"{"title":"Ring the bell"}"#);
    crate::process::hang_up(program.address, "GET /lab/slow?ms=20000");
}

#[test]
fn the_log_line_and_the_series_are_those_of_a_real_request() {
    let readme = readme();
    let mut command = example("taskboard");
    let service = [("SERVICE_NAME", "taskboard"), ("SERVICE_VERSION", "0.1.0"), ("DEPLOYMENT_ENVIRONMENT", "staging")];
    let program = Program::start(command.args(["--listen", "127.0.0.1:0"]).envs(service));
    do_as_it_says(&program);
    // A request may end between two series of one page.
    let is_over = |page: &String| page.contains("\"cancelled\"") && page.contains("\nhttp_requests_in_flight 1\n");
    let page = crate::process::until(|| Some(program.get("/metrics").body).filter(is_over));
    let ended = program.stop();

    let [shown] = &*blocks(&readme, "json") else { panic!("one line is shown") };
    let line =
        ended.stdout.lines().find(|line| line.contains("\"message\":\"POST /api/projects/{id}/tasks 201\"")).unwrap();
    let (shown_keys, keys) = (keys(shown), keys(line));
    assert_eq!(shown_keys, keys, "fields and their order");
    let [shown, line]: [Map<String, Value>; 2] = [shown, line].map(|text| serde_json::from_str(text).unwrap());
    for (key, shown) in &shown {
        let real = &line[key];
        match &**key {
            "timestamp" | "request_id" | "trace_id" | "span_id" => {
                assert_eq!(shape(shown), shape(real), "{key}: {shown} {real}");
            }
            "duration_ms" | "response_head_ms" => assert!(shown.is_f64() && real.is_f64(), "{key}: {shown} {real}"),
            _ => assert_eq!(shown, real, "{key}"),
        }
    }
    assert!(ended.lines().iter().filter(|line| is_access(line)).count() == 5, "{}", ended.stdout);

    let series = blocks(&readme, "text").pop().unwrap();
    assert!(series.lines().count() >= 5, "{series}");
    for shown in series.lines() {
        // How long a request took is its own affair; that it is in some bucket is not.
        let (name, _) = shown.rsplit_once(' ').unwrap();
        let exact = if name.contains("_bucket{") { format!("\n{name} ") } else { format!("\n{shown}\n") };
        assert!(page.contains(&exact), "no {shown} in {page}");
    }
}

/// The fields of a flat object, in their order.
fn keys(object: &str) -> Vec<&str> {
    object
        .split('"')
        .collect::<Vec<_>>()
        .windows(2)
        .filter(|pair| pair[1].starts_with(':'))
        .map(|pair| pair[0])
        .collect()
}

/// Letters and digits, each made one: `2026-11-23T…` is `0000-00-00a…`.
fn shape(value: &Value) -> String {
    let text = value.as_str().unwrap();
    text.chars().map(|c| if c.is_ascii_hexdigit() { '0' } else { c }).collect()
}

/// The examples of this package, not those of the crates.
fn own_examples(readme: &str) -> Vec<String> {
    table(readme, "Examples").into_iter().filter(|name| !name.starts_with("-p ")).collect()
}

/// The names in a directory.
fn names_in(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// The examples of the crates, as arguments of `cargo run`.
fn examples_of_crates() -> Vec<(String, PathBuf)> {
    let mut examples = Vec::new();
    for name in names_in(&root().join("crates")) {
        let directory = root().join("crates").join(&name).join("examples");
        for file in names_in(&directory) {
            let command = format!("-p {name} … {}", file.strip_suffix(".rs").unwrap());
            examples.push((command, directory.join(file)));
        }
    }
    examples.sort();
    examples
}

#[test]
fn the_commands_are_the_ones_that_work() {
    let commands = blocks(&readme(), "sh").concat();
    let [run, test] = *commands.lines().collect::<Vec<_>>() else { panic!("two commands: {commands}") };
    let flags = run.strip_prefix("cargo run -p steeple-examples --example taskboard -- ").unwrap();
    assert!(matches!(cli::parse(flags.split(' ').map(OsString::from)), Ok(cli::Command::Run(_))), "{flags}");
    let ci = fs::read_to_string(root().join(".ci/test")).unwrap();
    assert!(ci.lines().any(|line| line.starts_with(test)), "{test} is what .ci/test runs");
}

#[test]
fn the_three_lines_are_those_of_the_example_that_is_run() {
    let [lines] = &*blocks(&readme(), "rust") else { panic!("one block") };
    let example = fs::read_to_string(root().join("examples/axum-quickstart/main.rs")).unwrap();
    assert_eq!(lines.lines().count(), 3);
    for line in lines.lines() {
        assert!(example.lines().any(|other| other.trim() == line), "{line}");
    }
}

#[test]
fn every_crate_and_every_example_is_in_its_table_and_every_link_leads_somewhere() {
    let readme = readme();
    assert_eq!(table(&readme, "Crates"), names_in(&root().join("crates")));
    let manifest = fs::read_to_string(root().join("examples/Cargo.toml")).unwrap();
    let examples = manifest.split("[[example]]\nname = \"").skip(1);
    let mut examples: Vec<_> = examples.map(|rest| rest.split('"').next().unwrap().to_owned()).collect();
    examples.sort();
    assert_eq!(own_examples(&readme), examples);
    let shown = table(&readme, "Examples").into_iter().filter(|name| name.starts_with("-p "));
    let mut shown: Vec<_> = shown.map(|name| name.split(" --features").next().unwrap().to_owned()).collect();
    shown.sort();
    assert_eq!(shown, examples_of_crates().into_iter().map(|(command, _)| command).collect::<Vec<_>>());
    for link in readme.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
        assert!(root().join(link).exists(), "{link}");
    }
}

#[test]
fn the_smaller_examples_are_small() {
    let own = own_examples(&readme()).into_iter().filter(|name| name != "taskboard");
    let own = own.map(|name| root().join(format!("examples/{name}/main.rs")));
    for path in own.chain(examples_of_crates().into_iter().map(|(_, path)| path)) {
        let lines = fs::read_to_string(&path).unwrap().lines().count();
        // What a team writes itself may be a little longer.
        let writes = ["write-an-observer", "write-a-protocol", "events-custom-sink"];
        let most = if writes.iter().any(|name| path.to_string_lossy().contains(name)) { 80 } else { 60 };
        assert!(lines < most, "{} has {lines} lines", path.display());
    }
}
