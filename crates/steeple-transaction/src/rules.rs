use regex_automata::{Anchored, Input, meta::Regex};
use steeple_core::{Exchange, Signal, Text};

use crate::{BuildError, Naming, Pattern, descriptor, error::Kind, methods::KnownMethods, pattern};

/// How exchanges are named that no router names, and which are left out.
///
/// Rules go by the request's path; **the first one that matches wins**, so put `/healthz` before `/**`. A rule's name
/// is a constant: `{id}` in it is text, and nothing that a client sent gets into it. A rule's name is stronger than
/// a router's template, and the handler's [`set_name`](Exchange::set_name) is stronger than both.
///
/// # Examples
/// ```
/// use steeple_transaction::{Naming, Pattern};
///
/// let naming = Naming::builder()
///     .skip_probes()
///     .template("/users/{id}")
///     .rename("/v1/**", "/v1/{*rest}")
///     .rename(Pattern::regex(r"\.(css|js)$"), "/{asset}")
///     .build()?;
/// # Ok::<(), steeple_transaction::BuildError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "rules do nothing until they are built and a layer gets them"]
pub struct NamingBuilder {
    rules: Vec<(Pattern, Action)>,
    grpc_methods: Vec<String>,
    grpc_descriptors: Vec<Vec<u8>>,
    learn_grpc_methods: usize,
}

#[derive(Clone, Debug)]
enum Action {
    Rename(Text),
    Skip(Vec<Signal>),
}

/// Rules that are compiled into one automaton.
#[derive(Debug)]
pub(crate) struct CompiledRules {
    regex: Regex,
    actions: Box<[Action]>,
}

const ALL_SIGNALS: [Signal; 4] = [Signal::Log, Signal::Metrics, Signal::Traces, Signal::Errors];

/// What load balancers, orchestrators and scrapers ask for.
const PROBES: [&str; 9] =
    ["/health", "/healthz", "/live", "/livez", "/ready", "/readyz", "/ping", "/metrics", "/grpc.health.v1.Health/*"];

/// Real gRPC services have fewer methods.
pub(crate) const LEARNED_METHODS: usize = 256;

/// A longer path matches no rule: rules are not written for such paths.
const MAX_PATH: usize = 8 * 1024;

/// So that a slip of the pen costs no gigabytes.
const MAX_LEARNED_METHODS: usize = 10_000;

const MAX_NAME: usize = 200;
const MAX_AUTOMATON_BYTES: usize = 2 * 1024 * 1024;

impl NamingBuilder {
    pub(crate) fn new() -> Self {
        Self {
            rules: Vec::new(),
            grpc_methods: Vec::new(),
            grpc_descriptors: Vec::new(),
            learn_grpc_methods: LEARNED_METHODS,
        }
    }

    /// Names the exchanges whose path matches. The name goes after the method: `GET /v1/{*rest}`.
    pub fn rename(mut self, pattern: impl Into<Pattern>, name: impl Into<Text>) -> Self {
        self.rules.push((pattern.into(), Action::Rename(name.into())));
        self
    }

    /// Names the exchanges whose path matches a template after it, as a router would: `/users/{id}`,
    /// `/files/{*rest}`. The same as `rename(template, template)`.
    pub fn template(self, template: impl Into<String>) -> Self {
        let template = template.into();
        self.rename(template.clone(), template)
    }

    /// Leaves the exchanges whose path matches out of everything: logs, metrics, traces and captured errors.
    ///
    /// The in-flight gauge stays exact. So that failures are still captured, or counted, use
    /// [`skip_for`](Self::skip_for).
    pub fn skip(self, pattern: impl Into<Pattern>) -> Self {
        self.skip_for(pattern, ALL_SIGNALS)
    }

    /// Leaves the exchanges whose path matches out of these records.
    pub fn skip_for(mut self, pattern: impl Into<Pattern>, signals: impl IntoIterator<Item = Signal>) -> Self {
        self.rules.push((pattern.into(), Action::Skip(signals.into_iter().collect())));
        self
    }

    /// Leaves health checks and scrapes out of logs and traces; they are counted, and their failures captured.
    ///
    /// These are `/health`, `/healthz`, `/live`, `/livez`, `/ready`, `/readyz`, `/ping`, `/metrics` and the methods of
    /// `grpc.health.v1.Health`.
    pub fn skip_probes(self) -> Self {
        PROBES.into_iter().fold(self, |rules, probe| rules.skip_for(probe, [Signal::Log, Signal::Traces]))
    }

    /// Names gRPC methods that exist, `package.Service/Method`: they keep their names however a call of them ends.
    ///
    /// See [`learn_grpc_methods`](Self::learn_grpc_methods) for those that are not named.
    pub fn grpc_methods(mut self, methods: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.grpc_methods.extend(methods.into_iter().map(Into::into));
        self
    }

    /// Names every gRPC method of an encoded `FileDescriptorSet`, the bytes that server reflection takes too
    /// (`tonic::include_file_descriptor_set!`). Which of them stream is in [`Naming::grpc_methods`]: the facade passes it to the
    /// metrics, for their label `grpc_type`.
    pub fn grpc_descriptors(mut self, encoded: impl Into<Vec<u8>>) -> Self {
        self.grpc_descriptors.push(encoded.into());
        self
    }

    /// How many gRPC methods may be learned beside those that were named. Default: 256. 0: none. At most
    /// 10,000.
    ///
    /// A client can call a method that does not exist, and an authentication layer in front of the service refuses it
    /// like any other call. So a method that was not named is `_OTHER` until a call of it ended as only a real one
    /// does: with a message, a panic, or a status that neither a router nor a layer in front gives (all but
    /// `CANCELLED`, `UNKNOWN`, `DEADLINE_EXCEEDED`, `PERMISSION_DENIED`, `RESOURCE_EXHAUSTED`, `UNIMPLEMENTED`,
    /// `UNAVAILABLE`, `UNAUTHENTICATED`). A real method that has never been called with success, because no one
    /// was let in yet, is `_OTHER` as well: name it.
    pub fn learn_grpc_methods(mut self, most: usize) -> Self {
        self.learn_grpc_methods = most.min(MAX_LEARNED_METHODS);
        self
    }

    /// Checks and compiles everything, so that no setter can fail and a chain needs no `?`.
    ///
    /// # Errors
    /// [`BuildError::is_pattern`], [`BuildError::is_name`] or [`BuildError::is_grpc`], each naming the culprit.
    pub fn build(self) -> Result<Naming, BuildError> {
        let rules = compile(self.rules)?;
        let mut methods = self.grpc_methods;
        for method in &mut methods {
            if method.starts_with('/') {
                method.remove(0);
            }
        }
        let mut described = Vec::new();
        for set in &self.grpc_descriptors {
            descriptor::each_method(set, |method| described.push(method))
                .ok_or_else(|| BuildError::new(Kind::Descriptors))?;
        }
        methods.extend(described.iter().map(|method| method.name.clone()));
        if let Some(name) = methods.iter().find(|method| !is_grpc_method(method)) {
            return Err(BuildError::new(Kind::GrpcMethod { name: name.clone() }));
        }
        Ok(Naming::from_parts(rules, KnownMethods::new(&methods, self.learn_grpc_methods), described))
    }
}

impl Default for NamingBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl CompiledRules {
    pub(crate) fn apply(&self, exchange: &Exchange, path: &str) {
        if path.len() > MAX_PATH {
            return;
        }
        // Anchored: all patterns begin at 0, and then the first of them has precedence.
        let input = Input::new(path).anchored(Anchored::Yes);
        let Some(found) = self.regex.search_half(&input) else { return };
        match self.actions.get(found.pattern().as_usize()) {
            Some(Action::Rename(name)) => exchange.set_rule_name(name.clone()),
            Some(Action::Skip(signals)) => signals.iter().for_each(|signal| exchange.skip(*signal)),
            None => (),
        }
    }
}

fn compile(rules: Vec<(Pattern, Action)>) -> Result<Option<CompiledRules>, BuildError> {
    if rules.is_empty() {
        return Ok(None);
    }
    let mut patterns = Vec::with_capacity(rules.len());
    let mut actions = Vec::with_capacity(rules.len());
    for (pattern, action) in rules {
        patterns.push(pattern.compile()?);
        actions.push(match action {
            Action::Rename(name) if !is_name(name.as_str()) => {
                return Err(BuildError::new(Kind::Name { name: name.as_str().to_owned() }));
            }
            Action::Rename(name) => Action::Rename(configured(name)),
            skip @ Action::Skip(_) => skip,
        });
    }
    let regex = Regex::builder()
        .syntax(pattern::syntax_config())
        .configure(Regex::config().utf8_empty(false).nfa_size_limit(Some(MAX_AUTOMATON_BYTES)))
        .build_many(&patterns)
        .map_err(|error| match error.pattern().and_then(|id| patterns.get(id.as_usize())) {
            Some(pattern) => BuildError::because(Kind::Regex { pattern: pattern.clone() }, error),
            None => BuildError::because(Kind::TooLarge, error),
        })?;
    Ok(Some(CompiledRules { regex, actions: actions.into() }))
}

/// Whatever it was made of, it was there before any request.
pub(crate) fn configured(text: Text) -> Text {
    if text.is_fixed() { text } else { Text::configured(text.as_str()) }
}

fn is_name(name: &str) -> bool {
    !name.trim().is_empty() && name.chars().count() <= MAX_NAME && !name.chars().any(char::is_control)
}

fn is_grpc_method(name: &str) -> bool {
    let plain = |text: &str, dots: bool| {
        !text.is_empty()
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || (dots && byte == b'.'))
    };
    name.len() <= 128
        && name.split_once('/').is_some_and(|(service, method)| plain(service, true) && plain(method, false))
}
