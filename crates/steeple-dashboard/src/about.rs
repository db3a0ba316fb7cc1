use std::time::Duration;

use steeple_core::Hex;

/// What the page is about.
#[derive(Clone, Debug)]
pub(crate) struct About {
    pub(crate) service: String,
    pub(crate) version: Option<String>,
    pub(crate) environment: Option<String>,
    pub(crate) instance: String,
    /// When it was built, since the Unix epoch.
    pub(crate) started: Duration,
}

impl Default for About {
    fn default() -> Self {
        let mut random = [0_u8; 4];
        // Without random numbers all instances have one name; the time of their start still differs.
        let _unlucky = getrandom::fill(&mut random);
        Self {
            service: "service".to_owned(),
            version: None,
            environment: None,
            instance: Hex::new(random).to_string(),
            started: Duration::ZERO,
        }
    }
}
