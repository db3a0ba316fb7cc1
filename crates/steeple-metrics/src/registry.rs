//! Our families inside of a `prometheus::Registry`.
//!
//! There they are seen by whatever the team reads its registry with. When we render ourselves, ours are written straight
//! from their cells, with what the `prometheus` crate has no room for; so for that moment our collectors hand out nothing.

use std::{cell::Cell, collections::HashMap, sync::Arc};

use prometheus::{
    core::{Collector, Desc},
    proto,
};

use crate::{
    BuildError,
    encode::{Kind, Meta, Source, model::ModelEncoder},
};

/// A registry of metrics: one of the `prometheus` crate, see [`prometheus`](crate::prometheus). A cheap clone.
#[derive(Clone, Debug, Default)]
pub struct Registry(pub(crate) prometheus::Registry);

thread_local! {
    /// Which metrics are being rendered on this thread; 0 for none.
    static RENDERING: Cell<usize> = const { Cell::new(0) };
}

/// A name that no registry knows, to see what a registry does to names.
const PROBE: &str = "steeple_probe";

/// A source as a collector.
struct SourceCollector {
    /// Whose source this is.
    owner: usize,
    source: Arc<dyn Source>,
    descriptions: Vec<Desc>,
    is_probe: bool,
}

impl Collector for SourceCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<proto::MetricFamily> {
        let rendering = RENDERING.try_with(Cell::get).unwrap_or(0) == self.owner;
        let mut model = ModelEncoder::default();
        match (rendering, self.is_probe) {
            (false, _) => self.source.write(&mut model),
            (true, false) => (),
            (true, true) => {
                use crate::encode::{Encoder, Number};
                model.begin(&Meta::new(Kind::Gauge, PROBE, PROBE, &[]));
                model.value(&crate::series::Labels::new([]), Number::Whole(1));
            }
        }
        model.finish()
    }
}

/// Puts a source's families into a registry. The first source of an owner shows what the registry does to names.
///
/// # Errors
/// When the registry refuses: a name is taken, or not a name.
pub(crate) fn register(
    registry: &Registry,
    owner: usize,
    source: Arc<dyn Source>,
    is_probe: bool,
) -> Result<(), BuildError> {
    let mut descriptions = Vec::new();
    for Meta { name, help, labels, .. } in source.families() {
        let labels = labels.iter().map(|label| label.clone().into_owned()).collect();
        let desc = Desc::new(name.clone().into_owned(), help.into_owned(), labels, HashMap::new());
        descriptions.push(desc.map_err(|_invalid| BuildError::name(&name))?);
    }
    let collector = SourceCollector { owner, source, descriptions, is_probe };
    registry.0.register(Box::new(collector)).map_err(BuildError::registry)
}

/// What a registry holds that is not its owner's, and what it does to names.
#[derive(Default)]
pub(crate) struct Gathered {
    pub(crate) families: Vec<proto::MetricFamily>,
    pub(crate) naming: Naming,
}

/// The prefix and labels that a registry adds to its families. They never change.
#[derive(Clone, Default)]
pub(crate) struct Naming {
    /// What goes before each name: `app_`.
    pub(crate) prefix: String,
    /// Labels that are added to each series.
    pub(crate) common: Vec<(String, String)>,
}

/// Gathers all but the owner's own families.
pub(crate) fn gather_others(registry: &Registry, owner: usize) -> Gathered {
    struct Reset(usize);
    impl Drop for Reset {
        fn drop(&mut self) {
            let _ending = RENDERING.try_with(|rendering| rendering.set(self.0));
        }
    }
    let _reset = Reset(RENDERING.try_with(|rendering| rendering.replace(owner)).unwrap_or(0));
    let mut gathered = Gathered { families: registry.0.gather(), ..Gathered::default() };
    let probe = gathered.families.iter().position(|family| family.name().ends_with(PROBE));
    if let Some(probe) = probe.map(|place| gathered.families.remove(place)) {
        probe.name().strip_suffix(PROBE).unwrap_or_default().clone_into(&mut gathered.naming.prefix);
        let labels = probe.get_metric().first().map(proto::Metric::get_label).unwrap_or_default();
        gathered.naming.common = labels.iter().map(|pair| (pair.name().to_owned(), pair.value().to_owned())).collect();
    }
    gathered
}
