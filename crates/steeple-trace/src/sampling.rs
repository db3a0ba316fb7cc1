//! Which exchanges get spans, decided from the request head alone.

use crate::{
    BuildError,
    ids::{self, Owner},
};
use opentelemetry::{
    Context, KeyValue,
    trace::{Link, SpanKind, SpanRef, TraceContextExt, TraceId},
};
use opentelemetry_sdk::trace::{SamplingDecision, SamplingResult, ShouldSample};

/// Decides at the start of a trace whether it is recorded. Default: every trace, unless the caller has not sampled it.
///
/// The same trace id gets the same answer everywhere, so services with the same ratio keep whole traces.
///
/// # Examples
/// ```
/// use steeple_trace::Sampling;
///
/// // One in a hundred, and whatever a trusted caller samples. Other ratios for single routes: `TraceBuilder::route`.
/// let sampling = Sampling::ratio(0.01).parent_based();
/// ```
///
/// # Source
/// OpenTelemetry specification, trace SDK, samplers; the ratio is that of its `TraceIdRatioBased`.
#[must_use = "options do nothing until a builder gets them"]
#[derive(Clone, Debug, PartialEq)]
pub struct Sampling {
    parent_based: bool,
    ratio: f64,
}

const RATIO: &str = "a number from 0 to 1";
const SAMPLERS: &str = "`always_on`, `always_off` or `traceidratio`, or one of them after `parentbased_`";

fn is_ratio(ratio: f64) -> bool {
    (0.0..=1.0).contains(&ratio)
}

impl Sampling {
    /// Every trace.
    pub fn always_on() -> Self {
        Self::ratio(1.0)
    }

    /// No trace.
    pub fn always_off() -> Self {
        Self::ratio(0.0)
    }

    /// This share of all traces, 0 to 1.
    pub fn ratio(ratio: f64) -> Self {
        Self { parent_based: false, ratio }
    }

    /// The decision of a caller that is trusted holds; this one is for traces that start here.
    pub fn parent_based(mut self) -> Self {
        self.parent_based = true;
        self
    }

    /// Reads `OTEL_TRACES_SAMPLER` and `OTEL_TRACES_SAMPLER_ARG`.
    ///
    /// # Errors
    /// [`BuildError::is_setting`] for unknown samplers (`jaeger_remote`, `xray`) and invalid ratios.
    pub fn from_names(sampler: &str, argument: Option<&str>) -> Result<Self, BuildError> {
        let ratio = || match argument {
            None => Ok(1.0),
            Some(text) => {
                let ratio = text.parse().ok().filter(|ratio| is_ratio(*ratio));
                ratio.ok_or_else(|| BuildError::setting("OTEL_TRACES_SAMPLER_ARG", text, RATIO))
            }
        };
        Ok(match sampler {
            "always_on" => Self::always_on(),
            "always_off" => Self::always_off(),
            "traceidratio" => Self::ratio(ratio()?),
            "parentbased_always_on" => Self::always_on().parent_based(),
            "parentbased_always_off" => Self::always_off().parent_based(),
            "parentbased_traceidratio" => Self::ratio(ratio()?).parent_based(),
            _ => return Err(BuildError::setting("OTEL_TRACES_SAMPLER", sampler, SAMPLERS)),
        })
    }

    /// Whether no trace that starts here and none that a caller continues is recorded.
    pub(crate) fn is_never(&self) -> bool {
        !self.parent_based && self.ratio <= 0.0
    }

    pub(crate) fn check(&self) -> Result<(), BuildError> {
        if is_ratio(self.ratio) {
            Ok(())
        } else {
            Err(BuildError::setting("the ratio of the sampling", self.ratio.to_string(), RATIO))
        }
    }

    /// The same where the id and the ratio are only looked for if the caller has not decided already.
    #[inline]
    pub(crate) fn decide_with(
        &self,
        asked: Option<bool>,
        trace_id: impl FnOnce() -> [u8; 16],
        of_route: impl FnOnce() -> Option<f64>,
    ) -> bool {
        // A caller's no holds whatever the route's ratio is.
        !(self.parent_based && asked == Some(false)) && self.decide(asked, trace_id(), of_route())
    }

    /// Decides. `asked` is the decision of a caller whose decisions are trusted, `of_route` the ratio of the route, if it has
    /// one.
    pub(crate) fn decide(&self, asked: Option<bool>, trace_id: [u8; 16], of_route: Option<f64>) -> bool {
        match (asked.filter(|_| self.parent_based), of_route) {
            // A ratio of 0 is the owner's no: health checks stay out whatever a caller asks for.
            (Some(asked), of_route) => asked && of_route.is_none_or(|ratio| ratio > 0.0),
            (None, of_route) => in_ratio(of_route.unwrap_or(self.ratio), trace_id),
        }
    }
}

impl Default for Sampling {
    fn default() -> Self {
        Self::always_on().parent_based()
    }
}

/// Whether a trace belongs to the share that is kept, as the SDK's `TraceIdRatioBased` decides it.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "the SDK's formula, to the bit"
)]
fn in_ratio(ratio: f64, trace_id: [u8; 16]) -> bool {
    if ratio >= 1.0 {
        return true;
    }
    let bound = (ratio.max(0.0) * (1_u64 << 63) as f64) as u64;
    let [_, _, _, _, _, _, _, _, low @ ..] = trace_id;
    u64::from_be_bytes(low) >> 1 < bound
}

/// The SDK's sampler: repeats the decision of the exchange for each span.
#[derive(Clone, Debug)]
pub(crate) struct Decided(pub(crate) Sampling, pub(crate) Owner);

impl ShouldSample for Decided {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        trace_id: TraceId,
        _name: &str,
        _kind: &SpanKind,
        _attributes: &[KeyValue],
        _links: &[Link],
    ) -> SamplingResult {
        let span = parent.map(|parent| parent.span());
        let context = span.as_ref().map(SpanRef::span_context).filter(|context| context.is_valid());
        let decision = if let Some(preset) = ids::preset_decision(self.1) {
            preset
        } else if let Some(context) = context {
            if context.is_sampled() {
                SamplingDecision::RecordAndSample
            } else if span.as_ref().is_some_and(SpanRef::is_recording) {
                // Below the span of an exchange that is held until its end.
                SamplingDecision::RecordOnly
            } else {
                SamplingDecision::Drop
            }
        } else if let Some(sampled) = ids::current_trace().map(|trace| trace.is_sampled()) {
            // A span of an exchange that has none: `#[instrument]` in a handler that is not sampled starts no trace.
            if sampled { SamplingDecision::RecordAndSample } else { SamplingDecision::Drop }
        } else if self.0.decide(None, trace_id.to_bytes(), None) {
            SamplingDecision::RecordAndSample
        } else {
            SamplingDecision::Drop
        };
        let trace_state = context.map(|context| context.trace_state().clone()).unwrap_or_default();
        SamplingResult { decision, attributes: Vec::new(), trace_state }
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_sdk::trace::Sampler;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_trusted_callers_decision_holds_only_if_parent_based() {
        let id = [0xff; 16];
        assert!(Sampling::always_off().parent_based().decide(Some(true), id, None));
        assert!(!Sampling::always_on().parent_based().decide(Some(false), id, None));
        assert!(Sampling::always_on().decide(Some(false), id, None));
        assert!(!Sampling::ratio(0.5).parent_based().decide(None, id, None));
    }

    #[test]
    fn a_route_has_its_own_share_and_a_share_of_zero_holds_against_callers() {
        let sampling = Sampling::always_on().parent_based();
        assert!(!sampling.decide(None, [1; 16], Some(0.0)));
        assert!(!sampling.decide(Some(true), [1; 16], Some(0.0)));
        assert!(sampling.decide(Some(true), [0xff; 16], Some(0.1)));
        assert!(sampling.decide(None, [1; 16], None));
    }

    #[test]
    fn the_names_of_the_specification_are_known() {
        assert_eq!(
            Sampling::from_names("parentbased_traceidratio", Some("0.25")).unwrap(),
            Sampling::ratio(0.25).parent_based()
        );
        assert_eq!(Sampling::from_names("traceidratio", None).unwrap(), Sampling::ratio(1.0));
        assert!(Sampling::from_names("xray", None).unwrap_err().is_setting());
        assert!(Sampling::from_names("traceidratio", Some("a lot")).unwrap_err().is_setting());
        assert!(Sampling::ratio(1.5).check().unwrap_err().is_setting());
        assert!(Sampling::ratio(f64::NAN).check().is_err());
    }

    proptest! {
        #[test]
        fn the_ratio_is_that_of_the_sdk(trace: [u8; 16], ratio in 0.0..=1.0_f64) {
            let sdk = Sampler::TraceIdRatioBased(ratio)
                .should_sample(None, TraceId::from_bytes(trace), "", &SpanKind::Server, &[], &[]);
            prop_assert_eq!(in_ratio(ratio, trace), sdk.decision == SamplingDecision::RecordAndSample);
        }
    }
}
