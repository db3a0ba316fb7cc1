/// Which service the alerts are about: on every notification.
#[derive(Clone, Debug, Default)]
pub(crate) struct About {
    pub(crate) service: Option<String>,
    pub(crate) environment: Option<String>,
    pub(crate) instance: Option<String>,
    pub(crate) version: Option<String>,
    pub(crate) link: Option<String>,
}
