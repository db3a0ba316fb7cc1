//! Verdicts on values in a structure, between the policy and the engine that reads text.

use crate::{
    detect::{Findings, random::looks_opaque, remark::is_folder},
    marker::Rule,
    name::Class,
    policy::Policy,
    text,
};

/// Why a value in a structure, not in prose, has to go as a whole. `value` is what it reads as once decoded.
#[inline]
pub(crate) fn verdict(policy: &Policy, class: Class, value: &[u8]) -> Option<Rule> {
    if value.is_empty() || policy.is_marker(value) {
        return None;
    }
    match class {
        Class::Strong | Class::Word | Class::Digits => Some(Rule::Key),
        Class::Folder if !is_folder(value) => Some(Rule::Key),
        Class::Weak if looks_opaque(value) => Some(Rule::Entropy),
        Class::Folder | Class::Weak | Class::Open => hit(policy, value),
    }
}

/// The first rule that finds something in `value`.
#[inline]
pub(crate) fn hit(policy: &Policy, value: &[u8]) -> Option<Rule> {
    let mut findings = Findings::new();
    text::find(policy, value, &mut findings);
    if findings.is_empty() {
        return None;
    }
    text::settle(&mut findings);
    findings.first().map(|finding| finding.rule)
}
