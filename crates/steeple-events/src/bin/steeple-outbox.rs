//! Looks into the directory of the events (`EVENTS_DIR`), also while its service runs.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use serde_json::{Value, json};
use steeple_export::store::{
    NewRow, StoreError,
    spool::offline::{Database, databases},
};

const USAGE: &str = "\
steeple-outbox [--dir DIRECTORY] [--json] COMMAND

  ls                   what waits for each sink, and dead letters
  show ID              one event
  export [SINK]        all events that are kept, or the dead letters of a sink: one JSON line each
  requeue SINK         has the dead letters of a sink sent again
  erase USER           removes the events of a user, by the id that the application sets
  check                reads every row and checks the files

The directory is that of EVENTS_DIR, unless --dir names another.
";

/// What went wrong, in a line.
type Failure = Box<dyn std::error::Error>;

struct Call {
    directory: PathBuf,
    json: bool,
    command: String,
    argument: Option<String>,
}

fn main() -> ExitCode {
    let call = match parse(std::env::args().skip(1)) {
        Ok(Some(call)) => call,
        Ok(None) => {
            let _closed = io::stdout().write_all(USAGE.as_bytes());
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            let _closed = writeln!(io::stderr(), "steeple-outbox: {error}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match run(&call, &mut io::stdout().lock()) {
        Ok(is_good) => ExitCode::from(u8::from(!is_good)),
        Err(error) => {
            let _closed = writeln!(io::stderr(), "steeple-outbox: {error}");
            ExitCode::FAILURE
        }
    }
}

/// `None`: help was asked for.
fn parse(arguments: impl Iterator<Item = String>) -> Result<Option<Call>, Failure> {
    let mut directory = std::env::var_os("EVENTS_DIR").map(PathBuf::from);
    let (mut json, mut words) = (false, Vec::new());
    let mut arguments = arguments;
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "-h" | "--help" => return Ok(None),
            "--json" => json = true,
            "--dir" => directory = Some(arguments.next().ok_or("--dir needs a directory")?.into()),
            _ => words.push(argument),
        }
    }
    let mut words = words.into_iter();
    let command = words.next().ok_or("a command is missing")?;
    let argument = words.next();
    let needs = ["show", "requeue", "erase"].contains(&command.as_str());
    if needs && argument.is_none() {
        return Err(format!("{command} needs an argument").into());
    }
    let directory = directory.ok_or("no directory: set EVENTS_DIR or --dir")?;
    Ok(Some(Call { directory, json, command, argument }))
}

/// Whether all is well.
fn run(call: &Call, out: &mut impl Write) -> Result<bool, Failure> {
    let argument = call.argument.as_deref().unwrap_or_default();
    let paths = databases(&call.directory)?;
    match call.command.as_str() {
        "ls" => ls(&paths, call.json, out),
        "show" => show(&paths, argument, out),
        "export" => export(&paths, call.argument.as_deref(), out),
        "requeue" => {
            let requeued = sum(&paths, |database| database.requeue(argument))?;
            count(out, call.json, "requeued", requeued)
        }
        "erase" => {
            let key = steeple_events::erase_key(&call.directory, argument)?;
            let erased = sum(&paths, |database| database.erase(&key))?;
            count(out, call.json, "erased", erased)
        }
        "check" => check(&paths, call.json, out),
        other => Err(format!("no such command: {other}").into()),
    }
}

fn sum(paths: &[PathBuf], each: impl Fn(&Database) -> Result<u64, StoreError>) -> Result<u64, Failure> {
    let mut sum = 0_u64;
    for path in paths {
        sum = sum.saturating_add(each(&Database::open_to_change(path)?)?);
    }
    Ok(sum)
}

fn count(out: &mut impl Write, json: bool, what: &str, count: u64) -> Result<bool, Failure> {
    if json {
        writeln!(out, "{}", json!({what: count}))?;
    } else {
        writeln!(out, "{count} {what}")?;
    }
    Ok(true)
}

fn ls(paths: &[PathBuf], json: bool, out: &mut impl Write) -> Result<bool, Failure> {
    if !json {
        writeln!(out, "{:<24} {:>10} {:>10}  store", "sink", "waiting", "dead")?;
    }
    for path in paths {
        for backlog in Database::open(path)?.backlogs()? {
            let store = store(path);
            if json {
                let line =
                    json!({"store": store, "sink": backlog.sink, "waiting": backlog.items, "dead": backlog.dead});
                writeln!(out, "{line}")?;
            } else {
                writeln!(out, "{:<24} {:>10} {:>10}  {store}", backlog.sink, backlog.items, backlog.dead)?;
            }
        }
    }
    Ok(true)
}

fn store(path: &Path) -> String {
    path.parent().and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// A word on long work, each time so many rows are done.
const PROGRESS: u64 = 10_000;

fn progress(path: &Path, rows: u64) {
    let _closed = write!(io::stderr(), "\r{}: {rows} rows", store(path));
}

fn document(row: &NewRow, why: Option<&str>) -> Value {
    let mut document =
        json!({"id": &*row.id, "unix_ms": u64::try_from(row.at.as_millis()).unwrap_or(u64::MAX), "class": row.class});
    if let Some(fields) = document.as_object_mut() {
        fields.insert("event".to_owned(), serde_json::from_str(&row.body).unwrap_or_default());
        if let Some(why) = why {
            fields.insert("why".to_owned(), why.into());
        }
    }
    document
}

fn show(paths: &[PathBuf], id: &str, out: &mut impl Write) -> Result<bool, Failure> {
    for path in paths {
        if let Some((_, row)) = Database::open(path)?.row(id)? {
            writeln!(out, "{:#}", document(&row, None))?;
            return Ok(true);
        }
    }
    Err(format!("no event {id}").into())
}

fn export(paths: &[PathBuf], sink: Option<&str>, out: &mut impl Write) -> Result<bool, Failure> {
    for path in paths {
        let database = Database::open(path)?;
        if let Some(sink) = sink {
            for letter in database.dead_letters(sink, usize::MAX)? {
                writeln!(out, "{}", document(&letter.row, Some(letter.why.as_str())))?;
            }
            continue;
        }
        let (mut written, mut rows) = (Ok(()), 0_u64);
        database.rows(|_, row| {
            written = writeln!(out, "{}", document(row, None));
            rows = rows.saturating_add(1);
            if rows.is_multiple_of(PROGRESS) {
                progress(path, rows);
            }
            written.is_ok()
        })?;
        written?;
    }
    Ok(true)
}

fn check(paths: &[PathBuf], json: bool, out: &mut impl Write) -> Result<bool, Failure> {
    let mut is_good = true;
    for path in paths {
        let store = store(path);
        let checked = Database::open(path)?.check(|rows| progress(path, rows))?;
        is_good &= checked.is_sound && checked.damaged == 0;
        if json {
            let line =
                json!({"store": store, "good": checked.good, "damaged": checked.damaged, "sound": checked.is_sound});
            writeln!(out, "{line}")?;
        } else {
            let sound = if checked.is_sound { "sound" } else { "not sound: the service sets it aside" };
            writeln!(out, "{store}: {} rows good, {} damaged, the file is {sound}", checked.good, checked.damaged)?;
        }
    }
    Ok(is_good)
}
