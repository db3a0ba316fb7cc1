//! The dashboard as a router.

mod axum;
mod hub;
mod pages;

pub(crate) use self::hub::Hub;
