#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod address;
#[cfg(feature = "axum")]
mod axum;
mod consent;
mod error;
pub mod identify;
pub mod privacy;
mod users;

pub use steeple_core::{Peer, Privacy, User, VisibleAddress};

#[cfg(feature = "axum")]
pub use self::axum::{ClientAddress, CurrentUser, NoUser};
pub use self::{
    address::{AddressResolver, Forwarding, TrustedProxies},
    consent::wants_no_analytics,
    error::BuildError,
    identify::{Identify, IdentifyLayer},
    privacy::{PrivacyBuilder, PrivacyPolicy, PseudonymKey, Treatment},
    users::{GatewayHeaders, Users, UsersBuilder},
};
