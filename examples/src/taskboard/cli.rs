//! The program's flags.

use std::{ffi::OsString, fmt, net::SocketAddr, path::PathBuf, time::Duration};

use lexopt::{Arg, Parser};
use steeple::{alerts::Rules, dashboard::Grafana, metrics::indicator::Promql};

/// Most requests a second that the program sends itself.
const MAX_RATE: u64 = 10_000;
/// Longest run: a week.
const MAX_SECONDS: u64 = 7 * 24 * 60 * 60;

/// What `--help` prints.
pub const USAGE: &str = "\
Usage: taskboard [FLAGS]

  --listen <HOST:PORT>     where to listen [default: 127.0.0.1:3000]; port 0 takes a free one
  --traffic <NUMBER>       requests a second that it sends itself, 0 to 10000 [default: 0]
  --duration <SECONDS>     how long to run, 1 to 604800 [default: until Ctrl-C]
  --db <PATH>              the database file; needs the feature `full` [default: one that ends with the program]
  --events <PATH>          a file that gets what users do, one JSON line each, unless the environment sets where it goes
                           [default: with --traffic, a temporary one, removed at the end; else none]
  --alert-windows <WHICH>  `short`: alerts over 10 s that fire and end after 2 s, without guards [default: `normal`]
  --cpu-limit <PERCENT>    how much of one processor the service may use, for alerts, 1 to 6400 [default: the container's]
  --memory-limit <MIB>     how much memory it may use, for alerts, 1 to 1048576 [default: the container's]
  --print <WHAT>           print `grafana`, a dashboard for Grafana, or `rules`, a rule file for Prometheus, and end
  --help                   print this
";

/// How the program runs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// Where to listen. Default: 127.0.0.1:3000.
    pub listen: SocketAddr,
    /// Requests a second that the program sends itself. Default: 0, none.
    pub traffic: u32,
    /// How long to run. Default: until a signal comes.
    pub duration: Option<Duration>,
    /// The database file. Default: one that ends with the program.
    pub db: Option<PathBuf>,
    /// A file for events. Default: with traffic a temporary one, else none.
    pub events: Option<PathBuf>,
    /// Whether alerts have short windows and no guards. Default: no.
    pub short_windows: bool,
    /// How much of one processor the service may use, in percent. Default: what the container may.
    pub cpu_limit: Option<u32>,
    /// How much memory it may use, in MiB. Default: what the container may.
    pub memory_limit: Option<u32>,
}

/// What the flags ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Run the service.
    Run(Config),
    /// Print a file that is made from the service's own definitions.
    Print(File),
    /// Print [`USAGE`].
    Help,
}

/// A file that the program prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum File {
    /// A dashboard for Grafana.
    Grafana,
    /// A rule file for Prometheus.
    Rules,
}

impl File {
    /// Its contents.
    #[must_use]
    pub fn contents(self) -> String {
        match self {
            Self::Grafana => Grafana::new(SERVICE).json(),
            Self::Rules => {
                let style = Promql::new().matchers(format!("job=\"{SERVICE}\""));
                Rules::mission().guarded().to_prometheus(&style)
            }
        }
    }
}

/// What the files call the service.
const SERVICE: &str = "taskboard";

/// A flag that does not exist, or a value that it cannot take.
#[derive(Debug)]
pub struct UsageError(String);

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UsageError {}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 3000)),
            traffic: 0,
            duration: None,
            db: None,
            events: None,
            short_windows: false,
            cpu_limit: None,
            memory_limit: None,
        }
    }
}

/// Reads the flags, without the program's name.
///
/// # Errors
/// Names the flag, what it was given, and what it takes.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, UsageError> {
    let mut config = Config::default();
    let mut parser = Parser::from_args(arguments);
    while let Some(argument) = parser.next().map_err(|error| UsageError(error.to_string()))? {
        match argument {
            Arg::Long("listen") => {
                let wants = "an address and a port, such as 127.0.0.1:3000";
                config.listen = value(&mut parser, "--listen", wants, |text| text.parse().ok())?;
            }
            Arg::Long("traffic") => {
                let wants = "requests a second, a whole number from 0 to 10000";
                config.traffic = value(&mut parser, "--traffic", wants, |text| {
                    number(text, 0, MAX_RATE).and_then(|rate| rate.try_into().ok())
                })?;
            }
            Arg::Long("duration") => {
                let wants = "seconds, a whole number from 1 to 604800";
                let seconds = value(&mut parser, "--duration", wants, |text| number(text, 1, MAX_SECONDS))?;
                config.duration = Some(Duration::from_secs(seconds));
            }
            Arg::Long("db") => config.db = Some(path(&mut parser, "--db", "the path of a database file")?),
            Arg::Long("events") => config.events = Some(path(&mut parser, "--events", "the path of a file")?),
            Arg::Long("alert-windows") => {
                config.short_windows = value(&mut parser, "--alert-windows", "short or normal", |text| match text {
                    "short" => Some(true),
                    "normal" => Some(false),
                    _ => None,
                })?;
            }
            Arg::Long("cpu-limit") => {
                let wants = "percents of one processor, a whole number from 1 to 6400";
                config.cpu_limit = Some(value(&mut parser, "--cpu-limit", wants, |text| small(text, 6_400))?);
            }
            Arg::Long("memory-limit") => {
                let wants = "MiB, a whole number from 1 to 1048576";
                config.memory_limit = Some(value(&mut parser, "--memory-limit", wants, |text| small(text, 1_048_576))?);
            }
            Arg::Long("print") => {
                let file = value(&mut parser, "--print", "grafana or rules", |text| match text {
                    "grafana" => Some(File::Grafana),
                    "rules" => Some(File::Rules),
                    _ => None,
                })?;
                return Ok(Command::Print(file));
            }
            Arg::Long("help") | Arg::Short('h') => return Ok(Command::Help),
            Arg::Long(name) => return Err(unknown(&format!("flag --{name}"))),
            Arg::Short(name) => return Err(unknown(&format!("flag -{name}"))),
            Arg::Value(text) => return Err(unknown(&format!("argument {:?}", text.to_string_lossy()))),
        }
    }
    Ok(Command::Run(config))
}

fn value<T>(
    parser: &mut Parser,
    flag: &str,
    wants: &str,
    read: impl FnOnce(&str) -> Option<T>,
) -> Result<T, UsageError> {
    let given = parser.value().map_err(|_missing| missing(flag, wants))?;
    given
        .to_str()
        .and_then(read)
        .ok_or_else(|| UsageError(format!("{flag} takes {wants}, not {:?}", given.to_string_lossy())))
}

fn path(parser: &mut Parser, flag: &str, wants: &str) -> Result<PathBuf, UsageError> {
    let path = parser.value().map_err(|_missing| missing(flag, wants))?;
    if path.is_empty() {
        return Err(UsageError(format!("{flag} takes {wants}, not an empty one")));
    }
    Ok(path.into())
}

fn number(text: &str, min: u64, max: u64) -> Option<u64> {
    text.parse().ok().filter(|number| (min..=max).contains(number))
}

fn small(text: &str, max: u64) -> Option<u32> {
    number(text, 1, max).and_then(|number| number.try_into().ok())
}

fn missing(flag: &str, wants: &str) -> UsageError {
    UsageError(format!("{flag} takes {wants}, and got nothing"))
}

fn unknown(what: &str) -> UsageError {
    UsageError(format!(
        "there is no {what}; there are --listen, --traffic, --duration, --db, --events, --alert-windows, --cpu-limit, --memory-limit, --print and --help"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(arguments: &[&str]) -> Result<Command, String> {
        parse(arguments.iter().map(OsString::from)).map_err(|error| error.to_string())
    }

    #[test]
    fn no_flags_give_the_defaults() {
        assert_eq!(run(&[]), Ok(Command::Run(Config::default())));
    }

    #[test]
    fn every_flag_is_read_in_both_spellings() {
        let want = Config {
            listen: SocketAddr::from(([0, 0, 0, 0], 0)),
            traffic: 50,
            duration: Some(Duration::from_secs(3)),
            db: Some("x.db".into()),
            events: Some("x.ndjson".into()),
            short_windows: true,
            cpu_limit: Some(50),
            memory_limit: Some(256),
        };
        let spaced = [
            "--listen",
            "0.0.0.0:0",
            "--traffic",
            "50",
            "--duration",
            "3",
            "--db",
            "x.db",
            "--events",
            "x.ndjson",
            "--alert-windows",
            "short",
            "--cpu-limit",
            "50",
            "--memory-limit",
            "256",
        ];
        assert_eq!(run(&spaced), Ok(Command::Run(want.clone())));
        let equals = [
            "--listen=0.0.0.0:0",
            "--traffic=50",
            "--duration=3",
            "--db=x.db",
            "--events=x.ndjson",
            "--alert-windows=short",
            "--cpu-limit=50",
            "--memory-limit=256",
        ];
        assert_eq!(run(&equals), Ok(Command::Run(want)));
        assert_eq!(run(&["--help"]), Ok(Command::Help));
    }

    #[track_caller]
    fn refused(arguments: &[&str], says: &[&str]) {
        let error = run(arguments).unwrap_err();
        for part in says {
            assert!(error.contains(part), "{arguments:?}: {error:?} does not say {part:?}");
        }
        assert!(!error.contains('\n'), "{error:?}");
    }

    #[test]
    fn an_invalid_value_is_rejected_with_its_flag_and_the_allowed_values() {
        refused(&["--listen", "here"], &["--listen", "\"here\"", "127.0.0.1:3000"]);
        refused(&["--traffic", "-1"], &["--traffic", "\"-1\"", "0 to 10000"]);
        refused(&["--traffic", "10001"], &["--traffic", "10001", "0 to 10000"]);
        refused(&["--traffic", "1e3"], &["--traffic", "1e3"]);
        refused(&["--duration", "0"], &["--duration", "\"0\"", "1 to 604800"]);
        refused(&["--duration", "99999999999999999999"], &["--duration", "1 to 604800"]);
        refused(&["--alert-windows", "long"], &["--alert-windows", "\"long\"", "short or normal"]);
        refused(&["--cpu-limit", "0"], &["--cpu-limit", "1 to 6400"]);
        refused(&["--memory-limit", "1GB"], &["--memory-limit", "MiB"]);
        refused(&["--db"], &["--db", "got nothing"]);
        refused(&["--db="], &["--db", "empty"]);
        refused(&["--events="], &["--events", "empty"]);
        refused(&["--traffic"], &["--traffic", "got nothing"]);
    }

    #[test]
    fn an_unknown_flag_is_rejected_with_those_that_exist() {
        refused(&["--trafic", "5"], &["--trafic", "--traffic"]);
        refused(&["-x"], &["-x", "--listen"]);
        refused(&["serve"], &["serve", "--listen"]);
    }
}
