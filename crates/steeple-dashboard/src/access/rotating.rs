//! A secret that may come from a file, which may be given another one while the process runs.

use std::sync::Arc;

use steeple_export::secret::{self as files, Refusals, Remade};

use super::secret::Secret;
use crate::BuildError;

/// The whole secret for what the file has: a user with a password. `None`: it is too weak.
type Whole = Box<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// The secret as it is now. With a new one, the former one and the cookies for it are worth nothing.
pub(super) struct Rotating {
    now: Remade<Secret>,
    file: Option<FromFile>,
}

struct FromFile {
    /// The value at the start.
    first: Box<str>,
    whole: Whole,
    refusals: Refusals,
}

impl Rotating {
    /// `Ok(None)`: it is too weak.
    pub(super) fn new(
        value: &str,
        whole: impl Fn(&str) -> Option<String> + Send + Sync + 'static,
    ) -> Result<Option<Self>, BuildError> {
        let Some(text) = whole(value) else { return Ok(None) };
        let now = Remade::new(Secret::new(&text)?);
        // Where no file can have another one, the text is not kept.
        let file = files::is_from_file(value).then(|| FromFile {
            first: value.into(),
            whole: Box::new(whole),
            refusals: Refusals::default(),
        });
        Ok(Some(Self { now, file }))
    }

    pub(super) fn now(&self) -> Arc<Secret> {
        self.now.get(|now| self.file.as_ref()?.renewed(now))
    }

    /// Reads the files again, at most once a minute: a refused secret may be newer than the known one.
    pub(super) async fn reread(&self) {
        if let Some(file) = &self.file {
            file.refusals.reread().await;
        }
    }
}

impl FromFile {
    /// `None`: it is the same, or too weak.
    fn renewed(&self, now: &Secret) -> Option<Secret> {
        let value = files::current(&self.first);
        let text = (self.whole)(value.as_deref().unwrap_or(&self.first));
        if text.as_ref().is_some_and(|text| now.is(text)) {
            return None;
        }
        let secret = text.and_then(|text| Secret::new(&text).ok());
        if secret.is_none() {
            tracing::warn!(
                target: "steeple::dashboard",
                "the new secret in the file is too weak: the former one is in force"
            );
        }
        secret
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[tokio::test]
    async fn a_secret_from_a_file_is_another_one_after_the_file_was_read_again_unless_it_is_weak() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        fs::write(&path, "first-of-the-dashboard").unwrap();
        files::watch("DASHBOARD_TOKEN", &path, "first-of-the-dashboard");
        let strong = |text: &str| (text.len() > 10).then(|| format!("ops:{text}"));
        let rotating = Rotating::new("first-of-the-dashboard", strong).unwrap().unwrap();
        let is = |text: &str| rotating.now().is(text);
        assert!(is("ops:first-of-the-dashboard"));
        fs::write(&path, "second-of-the-dashboard\n").unwrap();
        rotating.reread().await;
        assert!(is("ops:second-of-the-dashboard") && !is("ops:first-of-the-dashboard"));
        fs::write(&path, "weak").unwrap();
        files::reread();
        assert!(is("ops:second-of-the-dashboard") && !is("ops:weak"));
        fs::write(&path, "first-of-the-dashboard").unwrap();
        files::reread();
        assert!(is("ops:first-of-the-dashboard"), "back to the first");
    }

    #[test]
    fn a_secret_that_is_from_no_file_is_not_kept_as_text() {
        let rotating = Rotating::new("from-the-environment", |text| Some(text.to_owned())).unwrap().unwrap();
        assert!(rotating.file.is_none() && rotating.now().is("from-the-environment"));
        assert!(Rotating::new("weak", |_| None).unwrap().is_none());
    }
}
