use std::sync::OnceLock;

use crate::Text;

/// The template of the route that matched, read without a lock.
pub(super) struct Routes {
    /// What was known when the request arrived: nearly always all that there is.
    known: Option<Text>,
    told: Told,
}

/// What an inner router has reported.
#[derive(Default)]
struct Told {
    first: OnceLock<Text>,
    /// What came after, where the first one ends in a catch-all.
    inner: OnceLock<Box<Told>>,
}

impl Routes {
    pub(super) const fn new(known: Option<Text>) -> Self {
        Self { known, told: Told { first: OnceLock::new(), inner: OnceLock::new() } }
    }

    /// What is known of another request.
    #[inline]
    pub(super) fn begin(&mut self, known: Option<Text>) {
        self.known = known;
    }

    /// Forgets what was reported. What was known is replaced by [`begin`](Self::begin).
    #[inline]
    pub(super) fn forget(&mut self) {
        let Told { first, inner } = &mut self.told;
        if first.get().is_some() {
            (*first, *inner) = (OnceLock::new(), OnceLock::new());
        }
    }

    pub(super) fn report(&self, template: Text) {
        if self.known.as_ref().is_none_or(is_catch_all) {
            self.told.report(template);
        }
    }

    #[inline]
    pub(super) fn get(&self) -> Option<&Text> {
        // Mostly nothing was reported.
        if self.told.first.get().is_none() {
            return self.known.as_ref();
        }
        self.told.get()
    }
}

impl Told {
    fn report(&self, template: Text) {
        let Err(template) = self.first.set(template) else { return };
        if self.first.get().is_some_and(is_catch_all) {
            self.inner.get_or_init(Box::default).report(template);
        }
    }

    #[inline]
    fn get(&self) -> Option<&Text> {
        let first = self.first.get()?;
        self.inner.get().and_then(|inner| inner.get()).or(Some(first))
    }
}

fn is_catch_all(template: &Text) -> bool {
    template.as_str().rsplit('/').next().is_some_and(|last| last.starts_with("{*"))
}
