use std::{net::IpAddr, sync::Arc};

use steeple_core::{Privacy, User, VisibleAddress, truncate_address};

use super::PseudonymKey;
use crate::{BuildError, error::Kind};

/// What happens to one part of a user, before a sink sees it. See the [module docs](super).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Treatment {
    /// Left as it is.
    Keep,
    /// Removed.
    #[doc(alias = "redact")]
    Drop,
    /// Cut to what does not identify a person: a domain, a network, an initial.
    #[doc(alias = "mask")]
    Truncate,
    /// Replaced by a keyed hash, see [`PseudonymKey`].
    Pseudonymize,
}

/// How a [`PrivacyPolicy`] treats each part.
///
/// # Examples
/// ```
/// use steeple_user::{Privacy, PrivacyPolicy, PseudonymKey, Treatment, User};
///
/// # let secret: Vec<u8> = (0..32).collect();
/// let policy = PrivacyPolicy::builder()
///     .id(Treatment::Pseudonymize)
///     .email(Treatment::Truncate)
///     .key(PseudonymKey::new("k1", &secret)?)
///     .build()?;
///
/// let seen = policy.user(&User::new("u-42").with_email("ann@example.org").with_name("Ann")).unwrap();
/// assert_eq!((seen.id().unwrap().len(), seen.email(), seen.name()), (35, Some("example.org"), None));
/// # Ok::<(), steeple_user::BuildError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "options do nothing until they are built"]
pub struct PrivacyBuilder {
    id: Treatment,
    email: Treatment,
    name: Treatment,
    address: Treatment,
    key: Option<PseudonymKey>,
}

/// Decides what sinks see. Made by [`PrivacyBuilder`]; the default is the safe one.
#[derive(Clone, Debug, Default)]
pub struct PrivacyPolicy(PrivacyBuilder);

impl PrivacyBuilder {
    fn new() -> Self {
        Self {
            id: Treatment::Keep,
            email: Treatment::Drop,
            name: Treatment::Drop,
            address: Treatment::Truncate,
            key: None,
        }
    }

    /// What happens to the id. Default: kept, as it should be an opaque key of the application's own.
    pub fn id(mut self, treatment: Treatment) -> Self {
        self.id = treatment;
        self
    }

    /// What happens to the e-mail address. Default: dropped.
    pub fn email(mut self, treatment: Treatment) -> Self {
        self.email = treatment;
        self
    }

    /// What happens to the name. Default: dropped.
    pub fn name(mut self, treatment: Treatment) -> Self {
        self.name = treatment;
        self
    }

    /// What happens to the client's address. Default: truncated to its network, /24 or /48.
    pub fn address(mut self, treatment: Treatment) -> Self {
        self.address = treatment;
        self
    }

    /// The key for pseudonyms.
    pub fn key(mut self, key: PseudonymKey) -> Self {
        self.key = Some(key);
        self
    }

    /// Checks everything.
    ///
    /// # Errors
    /// [`BuildError::is_key`] when something is to become a pseudonym and no key is set.
    pub fn build(self) -> Result<PrivacyPolicy, BuildError> {
        let fields = [("id", self.id), ("e-mail", self.email), ("name", self.name), ("address", self.address)];
        if self.key.is_none()
            && let Some((field, _)) = fields.iter().find(|(_, treatment)| *treatment == Treatment::Pseudonymize)
        {
            return Err(BuildError::new(Kind::NoKey { field }));
        }
        Ok(PrivacyPolicy(self))
    }

    fn pseudonym(&self, field: &str, value: &str) -> Option<Arc<str>> {
        Some(self.key.as_ref()?.pseudonym(field, value).into())
    }
}

impl PrivacyPolicy {
    /// Options. Default: the id is kept, e-mail and name are dropped, the address is truncated.
    pub fn builder() -> PrivacyBuilder {
        PrivacyBuilder::new()
    }
}

impl Default for PrivacyBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl Privacy for PrivacyPolicy {
    fn user(&self, user: &User) -> Option<User> {
        let options = &self.0;
        let mut seen = User::anonymous();
        if let Some(id) = user.id() {
            let id = match options.id {
                Treatment::Keep => Some(id.into()),
                Treatment::Drop => None,
                Treatment::Truncate => truncate_id(id).map(Arc::from),
                Treatment::Pseudonymize => options.pseudonym("user.id", id),
            };
            seen = id.into_iter().fold(seen, User::with_id);
        }
        if let Some(email) = user.email() {
            let email = match options.email {
                Treatment::Keep => Some(email.into()),
                Treatment::Drop => None,
                Treatment::Truncate => domain(email).map(Arc::from),
                Treatment::Pseudonymize => options.pseudonym("user.email", &email.trim().to_lowercase()),
            };
            seen = email.into_iter().fold(seen, User::with_email);
        }
        if let Some(name) = user.name() {
            let name = match options.name {
                Treatment::Keep => Some(name.into()),
                Treatment::Drop => None,
                Treatment::Truncate => name.trim().chars().next().map(|initial| Arc::from(format!("{initial}."))),
                Treatment::Pseudonymize => options.pseudonym("user.name", name.trim()),
            };
            seen = name.into_iter().fold(seen, User::with_name);
        }
        (!seen.is_empty()).then_some(seen)
    }

    fn address(&self, address: IpAddr) -> Option<VisibleAddress> {
        let address = address.to_canonical();
        match self.0.address {
            Treatment::Keep => Some(VisibleAddress::Ip(address)),
            Treatment::Drop => None,
            Treatment::Truncate => Some(VisibleAddress::Ip(truncate_address(address))),
            Treatment::Pseudonymize => {
                self.0.pseudonym("client.address", &address.to_string()).map(VisibleAddress::Pseudonym)
            }
        }
    }
}

/// The first 4 characters, and never more than half of them.
fn truncate_id(id: &str) -> Option<String> {
    let kept = (id.chars().count() / 2).min(4);
    (kept > 0).then(|| id.chars().take(kept).collect())
}

fn domain(email: &str) -> Option<String> {
    let (_, domain) = email.trim().rsplit_once('@')?;
    (!domain.is_empty()).then(|| domain.to_lowercase())
}
