//! The log's lines to Elasticsearch or `OpenSearch`.

use std::io;

use steeple_log::{
    Format, LogLine, LogOutput,
    elasticsearch::{Elasticsearch, ElasticsearchLines},
};

use super::{Integration, LogOutputs, NoCalls, Setting, Setup, Started, spool::SpoolSetting};
use crate::{ConfigError, SteepleBuilder, env::Lookup};

pub(crate) type Options = ElasticsearchOptions;
pub(crate) type Observer = ();

/// Where lines go at Elasticsearch or `OpenSearch`. Changed by [`SteepleBuilder::elasticsearch`].
#[derive(Clone, Debug, Default)]
#[must_use = "options do nothing until Steeple is built with them"]
pub struct ElasticsearchOptions {
    // Boxed: the builder of everything stays small.
    lines: Option<Box<Elasticsearch>>,
    /// As the environment sets it.
    spool: Option<SpoolSetting>,
}

impl ElasticsearchOptions {
    /// Sends lines to this data stream.
    pub fn lines(mut self, lines: Elasticsearch) -> Self {
        self.lines = Some(Box::new(lines));
        self
    }

    /// Changes what the environment has set, if it has turned it on.
    pub fn change(mut self, change: impl FnOnce(Elasticsearch) -> Elasticsearch) -> Self {
        self.lines = self.lines.map(|lines| Box::new(change(*lines)));
        self
    }
}

impl SteepleBuilder {
    /// Changes the options for lines to Elasticsearch or `OpenSearch`, where Steeple sets up the log.
    ///
    /// ```
    /// # fn main() -> Result<(), steeple::ConfigError> {
    /// use steeple::elasticsearch::Elasticsearch;
    ///
    /// let lines = Elasticsearch::new("http://127.0.0.1:9200", "logs-shop-production");
    /// let builder = steeple::Steeple::builder_from_env()?.elasticsearch(|options| options.lines(lines));
    /// # let _unused = builder;
    /// # Ok(())
    /// # }
    /// ```
    pub fn elasticsearch(mut self, change: impl FnOnce(ElasticsearchOptions) -> ElasticsearchOptions) -> Self {
        self.integrations.elasticsearch.change(change);
        self
    }
}

const STREAM: &str = "ELASTICSEARCH_LOGS_STREAM";
const SPOOL_DIR: &str = "ELASTICSEARCH_LOGS_SPOOL_DIR";
const SPOOL_BYTES: &str = "ELASTICSEARCH_LOGS_SPOOL_BYTES";

impl Integration for ElasticsearchOptions {
    type Handle = ();
    type Observer = Observer;
    type CallObserver = NoCalls;

    fn from_env(env: &dyn Lookup) -> Result<Setting<Self>, ConfigError> {
        let spool = SpoolSetting::from_env(env, SPOOL_DIR, SPOOL_BYTES)?;
        let Some(stream) = env.text(STREAM)? else {
            return Ok(Setting { options: Self { spool, ..Self::default() }, variable: None });
        };
        let Some(url) = env.secret("ELASTICSEARCH_URL")? else {
            return Err(ConfigError::missing("ELASTICSEARCH_URL", "a URL, since ELASTICSEARCH_LOGS_STREAM is set"));
        };
        let mut lines = Elasticsearch::new(url, stream);
        if let Some(key) = env.secret("ELASTICSEARCH_API_KEY")? {
            lines = lines.api_key(key);
        }
        Ok(Setting { options: Self { lines: Some(Box::new(lines)), spool }, variable: Some(STREAM) })
    }

    fn start(self, setup: &mut Setup<'_>) -> Result<Option<Started<()>>, ConfigError> {
        let Some(lines) = self.lines else {
            if let Some(spool) = &self.spool {
                spool.warn_of_off(setup, STREAM);
            }
            return Ok(None);
        };
        let spooled = self.spool.as_ref().map(|spool| spool.shown(Elasticsearch::HAS_SPOOL)).unwrap_or_default();
        let to = format!("data stream {}{spooled}", lines.stream());
        let http = setup.http.clone();
        let lines = match self.spool.as_ref().and_then(|spool| spool.directory(setup, Elasticsearch::HAS_SPOOL)) {
            Some((directory, max_bytes)) => lines.spool_in(directory, max_bytes),
            None => *lines,
        };
        let lines: ElasticsearchLines =
            lines.http(|options| options.http_or(&http)).build().map_err(|error| match &self.spool {
                Some(spool) if error.is_spool() => spool.refusal(&error),
                Some(_) | None => ConfigError::part("the log's lines to Elasticsearch", &error),
            })?;
        let sink = lines.sink();
        let output = WithoutEvents { lines, events_go_there: events_go_there(setup) };
        setup.add_log_output(LogOutputs::new(STREAM, sink, |log| log.output(output, Format::Ecs)));
        Ok(Some(Started { handle: (), to }))
    }
}

/// Whether events are stored in Elasticsearch as well: their sink has this name.
fn events_go_there(setup: &Setup<'_>) -> bool {
    setup.counted.iter().any(|sink| sink.name() == "elasticsearch_events")
}

/// The lines, except those about tracked events where the events themselves go to the same place.
struct WithoutEvents {
    lines: ElasticsearchLines,
    events_go_there: bool,
}

impl LogOutput for WithoutEvents {
    fn name(&self) -> &str {
        self.lines.name()
    }

    fn write(&mut self, line: &LogLine<'_>) -> io::Result<()> {
        // The first field of that name is the line's own: quotes within others are escaped.
        if self.events_go_there && line.as_str().contains(r#""log.logger":"steeple::events""#) {
            return Ok(());
        }
        self.lines.write(line)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.lines.flush()
    }
}
