#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod alarm;
mod aws;
mod collect;
mod credentials;
mod custom;
mod datum;
mod drops;
mod emf;
mod error;
pub mod limits;
#[cfg(feature = "logs")]
mod logs;
mod metrics;
mod put_alarms;
mod sign;
mod source;

#[cfg(feature = "logs")]
pub use self::logs::{CloudWatchLogs, CloudWatchLogsBuilder};
pub use self::{
    alarm::{Alarm, AlarmDefinition},
    aws::Aws,
    collect::Dimension,
    credentials::{Credentials, CredentialsError, CredentialsFuture, ProfileFiles, ProvideCredentials},
    datum::Unit,
    error::BuildError,
    metrics::{CloudWatch, CloudWatchBuilder},
    put_alarms::{AlarmsReport, put_alarms},
};
