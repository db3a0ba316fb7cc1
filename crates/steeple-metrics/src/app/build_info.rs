use crate::{
    encode::{Encoder, Kind, Meta, Number, Source},
    series::Labels,
};

/// `build_info`: which version of the service this is.
pub(crate) struct BuildInfo {
    pub(crate) service: String,
    pub(crate) version: String,
}

impl Source for BuildInfo {
    fn families(&self) -> Vec<Meta> {
        let labels = ["service", "version", "steeple_version"];
        vec![Meta::new(Kind::Gauge, "build_info", "Which build of the service is running; always 1.", &labels)]
    }

    fn write(&self, to: &mut dyn Encoder) {
        for meta in self.families() {
            to.begin(&meta);
            let labels = Labels::new([
                ("service".into(), self.service.clone().into()),
                ("version".into(), self.version.clone().into()),
                ("steeple_version".into(), env!("CARGO_PKG_VERSION").into()),
            ]);
            to.value(&labels, Number::Whole(1));
        }
    }
}
