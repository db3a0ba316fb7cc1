//! Webhook addresses: knowing one is enough to post.

use std::sync::LazyLock;

use memchr::memmem::Finder;

use super::{Findings, add, cut, is_blank, is_quote, run, run_back};
use crate::marker::Rule;

/// Host, and the path up to the part that is secret.
const HOOKS: [(&[u8], &[u8]); 9] = [
    (b"hooks.slack.com", b"/services/"),
    (b"hooks.slack.com", b"/workflows/"),
    (b"hooks.slack.com", b"/triggers/"),
    (b"discord.com", b"/api/webhooks/"),
    (b"discordapp.com", b"/api/webhooks/"),
    (b"webhook.office.com", b"/webhookb2/"),
    (b"outlook.office.com", b"/webhook/"),
    (b"hooks.zapier.com", b"/hooks/catch/"),
    (b"chat.googleapis.com", b"/v1/spaces/"),
];

static HOST_END: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b".com/"));

pub(crate) fn find(text: &[u8], findings: &mut Findings) {
    let mut from = 0;
    while let Some(found) = HOST_END.find(text.get(from..).unwrap_or_default()) {
        let slash = from.saturating_add(found).saturating_add(4);
        from = slash;
        let host = run_back(text, slash, 64, |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'));
        let (host, path) = (cut(text, host, slash), text.get(slash..).unwrap_or_default());
        let Some((_, hook)) = HOOKS.iter().find(|(name, hook)| host.ends_with(name) && path.starts_with(hook)) else {
            continue;
        };
        let start = slash.saturating_add(hook.len());
        let end = run(text, start, |byte| {
            !is_blank(byte) && !is_quote(byte) && !matches!(byte, b'<' | b'>' | b')' | b'}' | b',' | b'\\' | b'[')
        });
        add(findings, start, end, Rule::Webhook);
        from = end.max(slash);
    }
}
