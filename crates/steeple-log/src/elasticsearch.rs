//! Lines to Elasticsearch and `OpenSearch`.

use std::{fmt, io, path::PathBuf, sync::Arc, time::Duration};

use http::{HeaderValue, Method, header::AUTHORIZATION};
use serde_json::{Map, Value, json};
use steeple_core::{clock, date::rfc3339_millis};
#[cfg(feature = "spool")]
use steeple_export::store::{
    NewRow,
    spool::{FromRow, Hold, SinkOptions, SpoolBuilder},
};
use steeple_export::{
    Answer, DropReason, Endpoint, HttpOptions, Pipeline, Protocol, Reason, Request, Response, Retry, Sink,
    Unauthorized,
    protocol::bulk::{self, Body},
    store::{Keep, keep_in},
};
use steeple_scrub::{Scrubbed, Scrubber};

#[cfg(feature = "spool")]
use crate::SpooledLines;
use crate::{BuildError, LogLine, LogOutput, line_ids::LineIds};

/// Lines to Elasticsearch or `OpenSearch`: `_bulk` with `create` into a data stream, each with a unique id, so that one
/// that is sent twice is stored once. An output for lines in [`Format::Ecs`](crate::Format::Ecs).
///
/// What the server takes is decided line by line: one that does not fit the mapping is dropped and counted, the others are
/// stored; one that the server has no room for now is sent again.
///
/// # Examples
/// ```no_run
/// use steeple_log::{Format, Log, elasticsearch::Elasticsearch};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let lines = Elasticsearch::new("https://logs.example.com:9200", "logs-shop-production").api_key("…").build()?;
/// let sink = lines.sink(); // shut it down after the log
/// let guard = Log::builder().service_name("shop").output(lines, Format::Ecs).init()?;
/// # drop((guard, sink));
/// # Ok(()) }
/// ```
///
/// # Source
/// Elasticsearch, "Bulk API" and "Data streams"; Elastic Common Schema 8.
#[derive(Clone)]
#[must_use = "options do nothing until they are built"]
pub struct Elasticsearch {
    url: String,
    stream: String,
    api_key: Option<String>,
    http: HttpOptions,
    spool: Option<Keep>,
}

/// Elasticsearch advises 5 to 15 MB a request.
const BATCH: (usize, usize) = (5_000, 5_000_000);

impl Elasticsearch {
    /// Whether lines can be kept on disk: the feature `spool`.
    pub const HAS_SPOOL: bool = cfg!(feature = "spool");

    /// A server, and the data stream that gets the lines: `logs-shop-production`.
    pub fn new(url: impl Into<String>, stream: impl Into<String>) -> Self {
        let http = HttpOptions::new().max_queue(100_000, 64 << 20).retry(Retry::new().max_age(DAY));
        // A key that is being replaced takes minutes.
        let http = http.unauthorized(Unauthorized::Keep);
        Self { url: url.into(), stream: stream.into(), api_key: None, http, spool: None }
    }

    /// The data stream.
    pub fn stream(&self) -> &str {
        &self.stream
    }

    /// The API key, as Elasticsearch shows it encoded. It needs the privileges `auto_configure` and `create_doc` for the stream.
    /// Default: none.
    pub fn api_key(mut self, key: impl Into<String>) -> Self {
        self.api_key = Some(key.into());
        self
    }

    /// Changes how the server is reached, and how much may wait for it. Default: 100,000 lines and 64 MiB; a line is tried for a
    /// day.
    pub fn http(mut self, change: impl FnOnce(HttpOptions) -> HttpOptions) -> Self {
        self.http = change(self.http);
        self
    }

    /// Keeps lines on disk until the server has them: an outage and the end of the process lose nothing that was stored.
    /// Default: in memory.
    ///
    /// - What a process leaves is sent by the next one with this directory, each line with the id that it had. Processes of one
    ///   service may share a directory.
    /// - Lines are tried until they are older than the store keeps, two weeks by default. Full, the newest of the least severe are
    ///   dropped, counted as `queue_full`.
    /// - A line is on disk a moment after it was logged, and when the log was flushed.
    ///
    /// ```no_run
    /// use steeple_export::store::spool::Spool;
    /// use steeple_log::elasticsearch::Elasticsearch;
    ///
    /// let store = Spool::builder("/var/lib/shop/elasticsearch").max_bytes(256 << 20);
    /// let lines = Elasticsearch::new("https://logs.example.com:9200", "logs-shop-production").spool(store);
    /// ```
    #[cfg(feature = "spool")]
    #[cfg_attr(docsrs, doc(cfg(feature = "spool")))]
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
    /// [`BuildError::is_output`] for a URL, stream or key that is not usable, plain HTTP to another machine, `https` without a TLS
    /// feature, or when no thread starts; [`BuildError::is_spool`] for a directory in which no store can be kept.
    pub fn build(self) -> Result<ElasticsearchLines, BuildError> {
        let Server { endpoint, api_key } = self.server()?;
        let endpoint = bulk::endpoint(&endpoint).map_err(|error| BuildError::output(NAME, error))?;
        let (to, stream) = (endpoint.clone(), Stream::new(&self.stream));
        #[cfg(feature = "spool")]
        let http = if self.spool.is_some() { self.http.patient() } else { self.http };
        #[cfg(not(feature = "spool"))]
        let http = match self.spool {
            Some(()) => return Err(BuildError::spool(io::Error::other("the feature `spool` is off"))),
            None => self.http,
        };
        let pipeline = http.start("elasticsearch_logs", &endpoint, BATCH, move || Documents {
            endpoint: to.clone(),
            stream: stream.clone(),
            api_key: api_key.clone(),
        });
        let pipeline = pipeline.map_err(|error| BuildError::output(NAME, error))?;
        #[cfg(not(feature = "spool"))]
        let way = Way::Memory(pipeline);
        #[cfg(feature = "spool")]
        let way = match self.spool {
            None => Way::Memory(pipeline),
            Some(store) => {
                // A batch is sent while the next one gathers.
                let options = SinkOptions::default().window(BATCH.0.saturating_mul(2));
                Way::Spool(SpooledLines::start(store, pipeline, options).map_err(BuildError::spool)?)
            }
        };
        Ok(ElasticsearchLines { way, ids: LineIds::new() })
    }

    /// The index template for the data stream, as JSON: the types of the fields, so that the first line does not decide on them.
    ///
    /// # Errors
    /// [`BuildError::is_output`] for a stream that is not usable.
    pub fn template(&self) -> Result<Value, BuildError> {
        self.check()?;
        let mut template: Value = serde_json::from_str(include_str!("../elasticsearch/template.json"))
            .map_err(|error| BuildError::output(NAME, error))?;
        if let Some(fields) = template.as_object_mut() {
            fields.insert("index_patterns".to_owned(), json!([self.stream]));
        }
        Ok(template)
    }

    /// Installs the [`template`](Self::template), under the name `steeple-<stream>`; it replaces the one of that name. Blocks
    /// the thread, for `timeout` at most. The key needs the privilege `manage_index_templates`.
    ///
    /// # Errors
    /// As [`build`](Self::build), and when the server refuses it or does not answer in time.
    pub fn install_template(self, timeout: Duration) -> Result<(), BuildError> {
        let template = self.template()?.to_string();
        let Server { endpoint, api_key } = self.server()?;
        let endpoint = endpoint.join(&format!("_index_template/steeple-{}", self.stream));
        let endpoint = endpoint.map_err(|error| BuildError::output(NAME, error))?;
        let to = endpoint.clone();
        let options = self.http.retry(Retry::new().max_age(timeout)).unauthorized(Unauthorized::Drop);
        let why = Arc::new(std::sync::Mutex::new(None));
        let refused = Arc::clone(&why);
        let pipeline = options.start("elasticsearch_template", &endpoint, (1, usize::MAX), move || Template {
            endpoint: to.clone(),
            api_key: api_key.clone(),
            refused: Arc::clone(&refused),
        });
        let pipeline = pipeline.map_err(|error| BuildError::output(NAME, error))?;
        pipeline.push(template);
        let deadline = clock::now().checked_add(timeout).unwrap_or_else(clock::now);
        if pipeline.shutdown(deadline).is_complete() {
            return Ok(());
        }
        let why = why.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        let why = why.unwrap_or_else(|| "the server did not answer in time".to_owned());
        Err(BuildError::output(NAME, io::Error::other(why)))
    }

    fn check(&self) -> Result<(), BuildError> {
        if bulk::is_stream_name(&self.stream) {
            return Ok(());
        }
        let expected = "the stream has a name in lower case, such as `logs-shop-production`";
        Err(BuildError::output(NAME, io::Error::other(expected)))
    }

    fn server(&self) -> Result<Server, BuildError> {
        self.check()?;
        let endpoint = Endpoint::parse(&self.url).map_err(|error| BuildError::output(NAME, error))?;
        let api_key = match &self.api_key {
            Some(key) => {
                let value = HeaderValue::try_from(format!("ApiKey {key}"));
                let expected = "the key is one line without control characters";
                let mut value = value.map_err(|_invalid| BuildError::output(NAME, io::Error::other(expected)))?;
                value.set_sensitive(true);
                Some(value)
            }
            None => None,
        };
        Ok(Server { endpoint, api_key })
    }
}

/// The output's name.
const NAME: &str = "elasticsearch";
const DAY: Duration = Duration::from_secs(24 * 3_600);

struct Server {
    endpoint: Endpoint,
    api_key: Option<HeaderValue>,
}

impl fmt::Debug for Elasticsearch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Elasticsearch").field("stream", &self.stream).finish_non_exhaustive()
    }
}

/// The output. Made by [`Elasticsearch::build`].
pub struct ElasticsearchLines {
    way: Way,
    ids: LineIds,
}

/// How lines get to the pipeline.
enum Way {
    Memory(Pipeline<Waiting>),
    #[cfg(feature = "spool")]
    Spool(SpooledLines<Waiting>),
}

impl ElasticsearchLines {
    /// The pipeline, to be flushed and shut down after the log. Its stats have the lines that the server refused. With a
    /// [spool](Elasticsearch::spool), lines that are left at the end stay on disk.
    pub fn sink(&self) -> Arc<dyn Sink> {
        match &self.way {
            Way::Memory(pipeline) => Arc::new(pipeline.clone()),
            #[cfg(feature = "spool")]
            Way::Spool(spooled) => spooled.sink(),
        }
    }
}

impl LogOutput for ElasticsearchLines {
    fn name(&self) -> &'static str {
        NAME
    }

    fn write(&mut self, line: &LogLine<'_>) -> io::Result<()> {
        match &self.way {
            Way::Memory(pipeline) => {
                pipeline.push(Waiting::new(self.ids.next(), line.timestamp(), line.as_str().into()));
                Ok(())
            }
            #[cfg(feature = "spool")]
            Way::Spool(spooled) => spooled.write(line, line.as_str(), None),
        }
    }

    #[cfg(feature = "spool")]
    fn flush(&mut self) -> io::Result<()> {
        if let Way::Spool(spooled) = &self.way {
            spooled.flush();
        }
        Ok(())
    }
}

impl fmt::Debug for ElasticsearchLines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ElasticsearchLines").finish_non_exhaustive()
    }
}

/// A line that is to be stored.
struct Waiting {
    id: Box<str>,
    at: Duration,
    text: Box<str>,
    /// The row that it was read from.
    #[cfg(feature = "spool")]
    hold: Option<Hold>,
}

impl Waiting {
    fn new(id: Box<str>, at: Duration, text: Box<str>) -> Self {
        Self {
            id,
            at,
            text,
            #[cfg(feature = "spool")]
            hold: None,
        }
    }
}

#[cfg(feature = "spool")]
impl FromRow for Waiting {
    fn from_row(row: &NewRow, hold: Hold) -> Self {
        Self { hold: Some(hold), ..Self::new(row.id.clone(), row.at, row.body.as_ref().into()) }
    }
}

/// A data stream: `logs-shop-production` is of type `logs`, dataset `shop`, namespace `production`.
#[derive(Clone)]
struct Stream {
    name: String,
    parts: Option<[String; 3]>,
}

impl Stream {
    fn new(name: &str) -> Self {
        let mut parts = name.splitn(3, '-').map(str::to_owned);
        let parts = parts.next().zip(parts.next()).zip(parts.next());
        let parts = parts.map(|((kind, dataset), namespace)| [kind, dataset, namespace]);
        Self { name: name.to_owned(), parts }
    }
}

struct Documents {
    endpoint: Endpoint,
    stream: Stream,
    api_key: Option<HeaderValue>,
}

impl Protocol for Documents {
    type Item = Waiting;
    type Ready = Waiting;

    // A line is read and written again.
    const OFFLOAD_BYTES: usize = 8 * 1024;

    fn size(item: &Waiting) -> usize {
        // With the action before it.
        item.text.len().saturating_add(128)
    }

    fn scrub(&mut self, item: Waiting) -> Scrubbed<Waiting> {
        // Lines are scrubbed when they are rendered.
        Scrubber::default().scrub_with(item, |_, _| ())
    }

    fn encode(&mut self, batch: &[Scrubbed<Waiting>]) -> Result<Request, Reason> {
        let mut body = Body::new();
        for line in batch {
            body.create(Some(&self.stream.name), Some(&line.id), &document(line, &self.stream))?;
        }
        let request = body.into_request(&self.endpoint).gzip();
        Ok(match &self.api_key {
            Some(key) => request.header(AUTHORIZATION, key.clone()),
            None => request,
        })
    }

    fn judge(&mut self, response: &Response, _batch: &[Scrubbed<Waiting>]) -> Answer {
        bulk::judge(response)
    }

    #[cfg(feature = "spool")]
    fn stored(&mut self, line: &Waiting) {
        line.hold.as_ref().inspect(|hold| hold.stored());
    }

    #[cfg(feature = "spool")]
    fn dropped(&mut self, line: &Waiting, reason: DropReason, why: &Reason) {
        line.hold.as_ref().inspect(|hold| hold.lost(reason, why));
    }
}

/// A line as a document: nested objects in place of dotted names, and what a data stream asks for.
///
/// # Source
/// Elastic Common Schema, guidelines; Elasticsearch, "Data stream naming scheme".
fn document(line: &Waiting, stream: &Stream) -> Value {
    let fields = match serde_json::from_str(&line.text) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::from_iter([("message".to_owned(), Value::from(&*line.text))]),
    };
    let mut document = Map::new();
    for (name, value) in fields {
        nest(&mut document, &name, value);
    }
    document.entry("@timestamp").or_insert_with(|| rfc3339_millis(line.at).into());
    if let Some([kind, dataset, namespace]) = &stream.parts {
        let named = json!({"type": kind, "dataset": dataset, "namespace": namespace});
        document.insert("data_stream".to_owned(), named);
        if let Some(event) = document.entry("event").or_insert_with(|| json!({})).as_object_mut() {
            event.insert("dataset".to_owned(), dataset.as_str().into());
        }
    }
    Value::Object(document)
}

/// Puts a value under a dotted name. Where a part of the name has a value already, the name stays as it is.
fn nest(document: &mut Map<String, Value>, name: &str, value: Value) {
    let Some((first, rest)) = name.split_once('.').filter(|(first, rest)| !first.is_empty() && !rest.is_empty()) else {
        document.insert(name.to_owned(), value);
        return;
    };
    match document.entry(first).or_insert_with(|| Value::Object(Map::new())) {
        // A label's name has no dots, and what follows is flat.
        Value::Object(inner) if first == "labels" => {
            inner.insert(rest.to_owned(), value);
        }
        Value::Object(inner) => nest(inner, rest, value),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            document.insert(name.to_owned(), value);
        }
    }
}

/// Puts an index template.
struct Template {
    endpoint: Endpoint,
    api_key: Option<HeaderValue>,
    refused: Arc<std::sync::Mutex<Option<String>>>,
}

impl Protocol for Template {
    type Item = String;
    type Ready = String;

    fn size(item: &String) -> usize {
        item.len()
    }

    fn scrub(&mut self, item: String) -> Scrubbed<String> {
        // It is ours.
        Scrubber::default().scrub_with(item, |_, _| ())
    }

    fn encode(&mut self, batch: &[Scrubbed<String>]) -> Result<Request, Reason> {
        let [template] = batch else { return Err("one template a request".into()) };
        let request = Request::new(Method::PUT, &self.endpoint).content_type("application/json");
        let request = request.body(String::clone(template));
        Ok(match &self.api_key {
            Some(key) => request.header(AUTHORIZATION, key.clone()),
            None => request,
        })
    }

    fn dropped(&mut self, _ready: &String, _reason: DropReason, why: &Reason) {
        *self.refused.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(why.to_string());
    }
}

#[cfg(test)]
mod tests {
    use steeple_export::test_util::{Partial, Reply, Subject, check_all};

    use super::*;

    struct Lines;

    impl Subject for Lines {
        type Protocol = Documents;

        fn protocol(&self, endpoint: Endpoint) -> Documents {
            Documents { endpoint, stream: Stream::new("logs-shop-production"), api_key: None }
        }

        fn item(&self, number: usize) -> Waiting {
            let text = format!(r#"{{"@timestamp":"2026-11-29T20:51:24.007Z","message":"line {number:06}"}}"#).into();
            Waiting::new(format!("{number:06}").into(), Duration::ZERO, text)
        }

        fn accepts(&self) -> Reply {
            Reply::ok(r#"{"errors":false}"#)
        }

        fn partial(&self) -> Option<Partial> {
            let items = [201, 409, 429, 400].map(|status| json!({"create": {"status": status}}));
            let reply = Reply::ok(json!({"errors": true, "items": items}).to_string());
            Some(Partial { reply, stored: 2, poisoned: 1 })
        }
    }

    struct Templates;

    impl Subject for Templates {
        type Protocol = Template;
        const BATCH: usize = 1;

        fn protocol(&self, endpoint: Endpoint) -> Template {
            Template { endpoint, api_key: None, refused: Arc::default() }
        }

        fn item(&self, number: usize) -> String {
            format!(r#"{{"version":{number:06}}}"#)
        }
    }

    #[test]
    fn templates_pass_every_check_of_a_pipeline() {
        check_all(Templates);
    }

    #[test]
    fn lines_pass_every_check_of_a_pipeline() {
        check_all(Lines);
    }

    #[track_caller]
    fn check(text: &str, stream: &str, want: &Value) {
        let line = Waiting::new("a".into(), Duration::from_millis(1_795_985_484_007), text.into());
        assert_eq!(document(&line, &Stream::new(stream)), *want);
    }

    #[test]
    fn a_line_becomes_nested_and_has_what_a_data_stream_asks_for() {
        check(
            r#"{"@timestamp":"2026-11-29T20:51:24.007123Z","log.level":"info","log.logger":"a","labels.a_b":"c","event.dataset":"x","tags":["t"]}"#,
            "logs-shop-eu-1",
            &json!({
                "@timestamp": "2026-11-29T20:51:24.007123Z",
                "log": {"level": "info", "logger": "a"},
                "labels": {"a_b": "c"},
                "tags": ["t"],
                "event": {"dataset": "shop"},
                "data_stream": {"type": "logs", "dataset": "shop", "namespace": "eu-1"},
            }),
        );
        check("plain", "lines", &json!({"@timestamp": "2026-11-29T20:51:24.007Z", "message": "plain"}));
        check(
            r#"{"error":"text","error.type":"x",".a":1,"b.":2}"#,
            "lines",
            &json!({"@timestamp": "2026-11-29T20:51:24.007Z", "error": "text", "error.type": "x", ".a": 1, "b.": 2}),
        );
    }

    #[test]
    fn a_document_is_as_the_documentation_shows_it() {
        let page = include_str!("../tests/data/elasticsearch.md");
        let mut shown = page.lines().filter(|line| line.starts_with("{\"@timestamp\""));
        let (line, want) = (shown.next().unwrap(), shown.next().unwrap());
        check(line, "logs-shop-production", &serde_json::from_str(want).unwrap());
        for of_the_template in ["ecs.version", "http.response.status_code", "trace.id"] {
            let path = format!("/template/mappings/properties/{}", of_the_template.replace('.', "/properties/"));
            let template = Elasticsearch::new("http://127.0.0.1:9200", "logs").template().unwrap();
            assert!(template.pointer(&path).is_some(), "{path}");
        }
    }

    #[test]
    fn what_cannot_work_is_refused_and_no_key_is_shown() {
        for bad in [
            Elasticsearch::new("nonsense", "logs"),
            Elasticsearch::new("http://127.0.0.1:9200", "Logs"),
            Elasticsearch::new("http://10.0.0.1:9200", "logs"),
            Elasticsearch::new("http://127.0.0.1:9200", "logs").api_key("hunter2\n"),
            Elasticsearch::new("http://u:hunter2@10.0.0.1:9200", "logs"),
        ] {
            let shown = format!("{bad:?}");
            let error = bad.build().unwrap_err();
            assert!(error.is_output(), "{error}");
            assert!(!format!("{shown} {error} {error:?}").contains("hunter2"), "{error:?}");
        }
    }

    #[test]
    fn the_template_is_for_the_stream() {
        let template = Elasticsearch::new("http://127.0.0.1:9200", "logs-shop-production").template().unwrap();
        assert_eq!(template["index_patterns"], json!(["logs-shop-production"]));
        assert_eq!(template["data_stream"], json!({}));
    }
}
