//! Lines to CloudWatch Logs.
//!
//! # Source
//! CloudWatch Logs API reference, `PutLogEvents`, `CreateLogGroup`, `CreateLogStream`, `PutRetentionPolicy`.

mod ship;

use std::{fmt, io, path::PathBuf, sync::Arc, time::Duration};

use steeple_core::{clock, text};
#[cfg(feature = "spool")]
use steeple_export::store::{
    NewRow,
    spool::{FromRow, Hold, SinkOptions, SpoolBuilder},
};
use steeple_export::{
    DropReason, HttpOptions, InDoubt, Pipeline, Reason, Retry, Sink, Unauthorized,
    store::{Keep, keep_in},
};
#[cfg(feature = "spool")]
use steeple_log::SpooledLines;
use steeple_log::{LogLine, LogOutput};
use steeple_scrub::Scrubbed;

use self::ship::{Place, Shipper};
use crate::{
    Aws, BuildError,
    aws::LOGS,
    limits::{MAX_EVENT_BYTES, MAX_EVENTS, MAX_EVENTS_BYTES, RETENTION_DAYS},
};

/// Lines to CloudWatch Logs: an output of steeple-log.
///
/// One stream for each process and day. Group, stream and retention are made when they are not there, and again when they
/// have vanished. Lines of one request are in the order of their times.
///
/// # Examples
/// ```no_run
/// use steeple_cloudwatch::{Aws, CloudWatchLogs, Credentials};
/// use steeple_log::{Format, Log};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let aws = Aws::new("eu-central-1").credentials(Credentials::new("AKIA…", "…"));
/// let lines = CloudWatchLogs::builder().service("api").environment("production").build(&aws)?;
/// let sink = lines.sink(); // shut it down after the log
/// let guard = Log::builder().output(lines, Format::Json).init()?;
/// # drop((guard, sink));
/// # Ok(()) }
/// ```
pub struct CloudWatchLogs {
    way: Way,
    group: Arc<str>,
    stream: Arc<str>,
}

/// Options of [`CloudWatchLogs`]. Made by [`CloudWatchLogs::builder`].
#[derive(Clone, Debug)]
#[must_use = "options do nothing until they are built"]
pub struct CloudWatchLogsBuilder {
    group: Option<String>,
    stream: Option<String>,
    service: Option<String>,
    environment: Option<String>,
    retention_days: u16,
    http: HttpOptions,
    in_doubt: InDoubt,
    spool: Option<Keep>,
}

impl CloudWatchLogsBuilder {
    /// Whether lines can be kept on disk: the feature `spool`.
    pub const HAS_SPOOL: bool = cfg!(feature = "spool");

    /// The group. Default: `/aws/ecs/<service>-<environment>`.
    pub fn group(mut self, name: impl Into<String>) -> Self {
        self.group = Some(name.into());
        self
    }

    /// The beginning of the streams' names; the day comes after it. Default: `<service>/<process id>-<start>`, which no other
    /// process has.
    pub fn stream(mut self, name: impl Into<String>) -> Self {
        self.stream = Some(name.into());
        self
    }

    /// The service, in the names of group and streams. Default: `service`.
    pub fn service(mut self, name: impl Into<String>) -> Self {
        self.service = Some(name.into());
        self
    }

    /// The environment, in the name of the group. Default: none.
    pub fn environment(mut self, name: impl Into<String>) -> Self {
        self.environment = Some(name.into());
        self
    }

    /// How many days lines are kept, one of [`RETENTION_DAYS`]. Set when the group is made: a group that exists keeps
    /// its own. Default: 30.
    pub fn retention_days(mut self, days: u16) -> Self {
        self.retention_days = days;
        self
    }

    /// Changes how CloudWatch is reached, and how much may wait for it. Default: 100,000 lines and 64 MiB, which gather for 5
    /// seconds; a line is tried for a day, after which lines are too far apart anyway. Unset options of the HTTP client are those
    /// of [`Aws`].
    pub fn http(mut self, change: impl FnOnce(HttpOptions) -> HttpOptions) -> Self {
        self.http = change(self.http);
        self
    }

    /// What becomes of lines that were sent without an answer: CloudWatch does not notice duplicates. Default: they are sent
    /// again, since a duplicate is better than a gap.
    pub fn in_doubt(mut self, in_doubt: InDoubt) -> Self {
        self.in_doubt = in_doubt;
        self
    }

    /// Keeps lines on disk until CloudWatch has them: an outage and the end of the process lose nothing that was stored. Default:
    /// in memory.
    ///
    /// - What a process leaves is sent by the next one with this directory, into the streams of the process that wrote it.
    ///   Processes of one service may share a directory.
    /// - Lines are tried until they are too old for CloudWatch, two weeks. Full, the newest of the least severe are dropped, counted
    ///   as `queue_full`.
    /// - A line is on disk a moment after it was logged, and when the log was flushed.
    ///
    /// ```no_run
    /// use steeple_cloudwatch::CloudWatchLogs;
    /// use steeple_export::store::spool::Spool;
    ///
    /// let lines = CloudWatchLogs::builder().spool(Spool::builder("/var/lib/shop/cloudwatch").max_bytes(256 << 20));
    /// # let _unused = lines;
    /// ```
    #[cfg(feature = "spool")]
    pub fn spool(mut self, store: SpoolBuilder) -> Self {
        self.spool = Some(store);
        self
    }

    /// Keeps lines in a store below this directory, of so many bytes (default: 1 GiB), unless a store is set already. An error when it
    /// is built without the feature `spool`.
    pub fn spool_in(mut self, directory: impl Into<PathBuf>, max_bytes: Option<u64>) -> Self {
        self.spool.get_or_insert_with(|| keep_in(directory.into(), max_bytes));
        self
    }

    /// Starts the pipeline.
    ///
    /// # Errors
    /// [`BuildError::setting_name`] has the unusable setting: `group`, `stream`, `retention_days`; `region`, `credentials`, `endpoint`
    /// and `client` of AWS.
    pub fn build(self, aws: &Aws) -> Result<CloudWatchLogs, BuildError> {
        let service = self.service.as_deref().map_or_else(|| "service".to_owned(), named);
        let group = self.group.clone().unwrap_or_else(|| match &self.environment {
            Some(environment) => format!("/aws/ecs/{service}-{}", named(environment)),
            None => format!("/aws/ecs/{service}"),
        });
        let stream = self.stream.clone().unwrap_or_else(|| {
            let started = clock::unix_now().as_millis();
            format!("{service}/{}-{started}", std::process::id())
        });
        if !is_group(&group) {
            return Err(BuildError::setting(
                "group",
                "1 to 512 letters, digits and `._-/#`, not beginning with `aws/`",
            ));
        }
        if stream.is_empty() || stream.len() > 480 || stream.contains([':', '*']) || stream.contains(char::is_control) {
            return Err(BuildError::setting("stream", "1 to 480 characters without `:` and `*`"));
        }
        if !RETENTION_DAYS.contains(&self.retention_days) {
            return Err(BuildError::setting("retention_days", format!("one of {RETENTION_DAYS:?}")));
        }
        let connection = aws.connect_with(&LOGS, &self.http)?;
        let (group, stream): (Arc<str>, Arc<str>) = (group.into(), stream.into());
        let place = Place { group: Arc::clone(&group), retention_days: self.retention_days };
        let in_doubt = self.in_doubt;
        #[cfg(feature = "spool")]
        let http = if self.spool.is_some() { self.http.patient() } else { self.http };
        #[cfg(not(feature = "spool"))]
        let http = match self.spool {
            Some(()) => return Err(BuildError::setting("spool", "the feature `spool`")),
            None => self.http,
        };
        let pipeline = http
            .pipeline("cloudwatch_logs")
            .batch_items(MAX_EVENTS)
            .batch_bytes(MAX_EVENTS_BYTES)
            .in_doubt(in_doubt)
            .build(move || Ok(Shipper::new(&connection, &place, in_doubt)))
            .map_err(|error| BuildError::part("pipeline", error))?;
        #[cfg(feature = "spool")]
        if let Some(store) = self.spool {
            // A batch is sent while the next one gathers.
            let options = SinkOptions::default().window(MAX_EVENTS.saturating_mul(2)).in_doubt(in_doubt);
            let spooled = SpooledLines::start(store, pipeline, options);
            let spooled = spooled.map_err(|error| BuildError::part("spool", error))?;
            return Ok(CloudWatchLogs { way: Way::Spool(spooled), group, stream });
        }
        Ok(CloudWatchLogs { way: Way::Memory(pipeline), group, stream })
    }
}

/// A name as part of a group's name.
fn named(name: &str) -> String {
    let allowed = |char: &char| char.is_ascii_alphanumeric() || "._-/#".contains(*char);
    let text: String = name.chars().map(|char| if allowed(&char) { char } else { '_' }).take(128).collect();
    if text.is_empty() { "service".to_owned() } else { text }
}

fn is_group(name: &str) -> bool {
    (1..=512).contains(&name.len())
        && !name.starts_with("aws/")
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-/#".contains(&byte))
}

impl CloudWatchLogs {
    /// Options, all with a default.
    pub fn builder() -> CloudWatchLogsBuilder {
        CloudWatchLogsBuilder {
            group: None,
            stream: None,
            service: None,
            environment: None,
            retention_days: 30,
            http: HttpOptions::new()
                .max_queue(100_000, 64 << 20)
                .timeout(Duration::from_secs(30))
                .retry(Retry::new().max_age(Duration::from_secs(24 * 3_600)))
                // A permission that is being granted takes minutes.
                .unauthorized(Unauthorized::Keep),
            in_doubt: InDoubt::default(),
            spool: None,
        }
    }

    /// The group.
    pub fn group(&self) -> &str {
        &self.group
    }

    /// The pipeline, to be flushed and shut down after the log. With a [spool](CloudWatchLogsBuilder::spool), items left at the
    /// end stays on disk.
    pub fn sink(&self) -> Arc<dyn Sink> {
        match &self.way {
            Way::Memory(pipeline) => Arc::new(pipeline.clone()),
            #[cfg(feature = "spool")]
            Way::Spool(spooled) => spooled.sink(),
        }
    }

    /// Sends a line of this time, since the Unix epoch: for lines that no log of this process wrote. CloudWatch takes no empty lines.
    /// Never blocks.
    pub fn push(&self, line: Scrubbed<&str>, at: Duration) {
        if line.is_empty() {
            return;
        }
        let text = text::cut(*line, MAX_EVENT_BYTES);
        match &self.way {
            Way::Memory(pipeline) => pipeline.push(Event::new(millis(at), text.into(), Arc::clone(&self.stream))),
            #[cfg(feature = "spool")]
            Way::Spool(spooled) => spooled.push(Scrubbed::from_application(text), at, Some(&self.stream)),
        }
    }
}

impl LogOutput for CloudWatchLogs {
    fn name(&self) -> &'static str {
        "cloudwatch"
    }

    fn write(&mut self, line: &LogLine<'_>) -> io::Result<()> {
        let (text, at) = (text::cut(line.as_str(), MAX_EVENT_BYTES), line.timestamp());
        if text.is_empty() {
            return Ok(());
        }
        match &self.way {
            Way::Memory(pipeline) => pipeline.push(Event::new(millis(at), text.into(), Arc::clone(&self.stream))),
            #[cfg(feature = "spool")]
            Way::Spool(spooled) => spooled.write(line, text, Some(&self.stream))?,
        }
        Ok(())
    }

    #[cfg(feature = "spool")]
    fn flush(&mut self) -> io::Result<()> {
        if let Way::Spool(spooled) = &self.way {
            spooled.flush();
        }
        Ok(())
    }
}

impl fmt::Debug for CloudWatchLogs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CloudWatchLogs").finish_non_exhaustive()
    }
}

/// A line.
pub(crate) struct Event {
    /// Milliseconds since the Unix epoch.
    at: u64,
    text: Box<str>,
    /// The beginning of the stream's name, which is that of the process that wrote it.
    stream: Arc<str>,
    /// The row that it was read from.
    #[cfg(feature = "spool")]
    hold: Option<Hold>,
}

impl Event {
    fn new(at: u64, text: Box<str>, stream: Arc<str>) -> Self {
        Self {
            at,
            text,
            stream,
            #[cfg(feature = "spool")]
            hold: None,
        }
    }

    /// It has arrived, or it is lost for this reason.
    #[cfg_attr(not(feature = "spool"), expect(clippy::unused_self, reason = "no row is kept"))]
    fn settle(&self, lost: Option<(DropReason, &Reason)>) {
        #[cfg(feature = "spool")]
        match (&self.hold, lost) {
            (None, _) => (),
            (Some(hold), None) => hold.stored(),
            (Some(hold), Some((reason, why))) => hold.lost(reason, why),
        }
        #[cfg(not(feature = "spool"))]
        let _ = lost;
    }
}

#[cfg(feature = "spool")]
impl FromRow for Event {
    fn from_row(row: &NewRow, hold: Hold) -> Self {
        let stream = row.key.as_deref().map(String::from_utf8_lossy).unwrap_or_default();
        Self { hold: Some(hold), ..Self::new(millis(row.at), row.body.as_ref().into(), stream.into()) }
    }
}

fn millis(at: Duration) -> u64 {
    u64::try_from(at.as_millis()).unwrap_or(u64::MAX)
}

/// How lines get to the pipeline.
enum Way {
    Memory(Pipeline<Event>),
    #[cfg(feature = "spool")]
    Spool(SpooledLines<Event>),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_retentions_follow_cloudwatchs_rules() {
        let keys = crate::Credentials::new("id", "secret");
        let aws = Aws::new("eu-central-1").endpoint("http://127.0.0.1:9").credentials(keys);
        let built = |change: fn(CloudWatchLogsBuilder) -> CloudWatchLogsBuilder| {
            change(CloudWatchLogs::builder().service("my shop")).build(&aws).map(|lines| lines.group().to_owned())
        };
        assert_eq!(built(|logs| logs).unwrap(), "/aws/ecs/my_shop");
        assert_eq!(built(|logs| logs.environment("eu:1")).unwrap(), "/aws/ecs/my_shop-eu_1");
        for (setting, bad) in [
            ("group", built(|logs| logs.group("aws/own"))),
            ("group", built(|logs| logs.group("a b"))),
            ("stream", built(|logs| logs.stream("a:b"))),
            ("retention_days", built(|logs| logs.retention_days(8))),
        ] {
            assert_eq!(bad.unwrap_err().setting_name(), setting);
        }
        assert!(
            RETENTION_DAYS
                .into_iter()
                .all(|days| { CloudWatchLogs::builder().retention_days(days).build(&aws).is_ok() })
        );
    }
}
