use std::{fmt, pin::Pin, sync::Arc, time::Duration};

type Answer = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;
type Check = dyn Fn() -> Answer + Send + Sync;

/// What `/readyz` asks.
#[derive(Clone)]
pub(crate) struct Checks {
    all: Vec<(&'static str, Arc<Check>)>,
    /// A check that takes longer than this has failed.
    pub(crate) timeout: Duration,
}

impl Default for Checks {
    fn default() -> Self {
        Self { all: Vec::new(), timeout: Duration::from_secs(2) }
    }
}

impl Checks {
    pub(crate) fn add<F, T, E>(&mut self, name: &'static str, check: F)
    where
        F: Fn() -> T + Send + Sync + 'static,
        T: Future<Output = Result<(), E>> + Send + 'static,
        E: fmt::Display,
    {
        let check = move || -> Answer {
            let answer = check();
            Box::pin(async move { answer.await.map_err(|error| error.to_string()) })
        };
        self.all.push((name, Arc::new(check)));
    }

    /// The names of the checks that fail, with their errors.
    pub(crate) async fn failing(&self) -> Vec<(&'static str, String)> {
        let mut failing = Vec::new();
        for (name, check) in &self.all {
            match tokio::time::timeout(self.timeout, check()).await {
                Ok(Ok(())) => (),
                Ok(Err(error)) => failing.push((*name, error)),
                Err(_elapsed) => failing.push((*name, format!("no answer within {:?}", self.timeout))),
            }
        }
        failing
    }
}

impl fmt::Debug for Checks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.all.iter().map(|(name, _)| name)).finish()
    }
}
