//! The alert rules as alarms of CloudWatch: `CLOUDWATCH_NAMESPACE=shop cargo run --example cloudwatch-alarms`.
//!
//! Prints one definition a line, as `aws cloudwatch put-metric-alarm --cli-input-json` takes it; with `--apply` sends them. The other
//! variables are those of the service: `SERVICE_NAME`, `DEPLOYMENT_ENVIRONMENT`, `AWS_REGION` and the credentials.

use std::{
    error::Error,
    io::{self, Write},
    time::Duration,
};

use steeple::{Steeple, alerts::Rules};

fn main() -> Result<(), Box<dyn Error>> {
    let rules = Rules::mission().guarded();
    let steeple = Steeple::builder_from_env()?.without_log_setup().build()?;
    if std::env::args().any(|argument| argument == "--apply") {
        let report = steeple.put_cloudwatch_alarms(&rules, Duration::from_mins(1))?;
        for (alarm, why) in &report.refused {
            writeln!(io::stderr(), "{alarm}: {why}")?;
        }
        if !report.is_complete() {
            return Err("CloudWatch does not have all alarms".into());
        }
        writeln!(io::stdout(), "{} alarms", report.put)?;
    } else {
        for alarm in steeple.cloudwatch_alarms(&rules)? {
            writeln!(io::stdout(), "{alarm}")?;
        }
    }
    Ok(())
}
