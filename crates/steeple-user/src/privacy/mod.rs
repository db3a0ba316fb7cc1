//! What sinks may see of a user and of a client's address: [`PrivacyPolicy`].
//!
//! | | keep | truncate | pseudonymize |
//! | --- | --- | --- | --- |
//! | id | `u-4711-ann` | `u-47` (4 characters, at most half) | `k1_` and 32 hexadecimal digits |
//! | e-mail | `ann@example.org` | `example.org` (the domain) | the same for `Ann@Example.org ` |
//! | name | `Ann Smith` | `A.` | |
//! | address | `203.0.113.77` | `203.0.113.0`, `2001:db8:1::` | the same for `::ffff:203.0.113.77` |
//!
//! A pseudonym is a keyed hash (HMAC-SHA-256, 128 bits of it, a different one for each field): the same user is the
//! same pseudonym while the key is, without the key the user cannot be found, not even by trying all addresses.
//! It is still personal data.

mod key;
mod policy;

pub use self::{
    key::PseudonymKey,
    policy::{PrivacyBuilder, PrivacyPolicy, Treatment},
};
