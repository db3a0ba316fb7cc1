//! The dashboard as a router.

mod hub;
mod pages;
mod routes;

pub(crate) use self::hub::Hub;
