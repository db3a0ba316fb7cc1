//! Envelopes as bytes. The SDK's own writing, but for where a name came from, which its types cannot express.

use std::{io, time::SystemTime};

use sentry_core::{
    Envelope,
    protocol::{Context, EnvelopeItem, Map, Value, value::to_value},
};
use steeple_scrub::Scrubbed;

use crate::event::{EXCHANGE, NAME_SOURCE};

/// Writes those items of an envelope that are wanted: the place where it becomes bytes that leave.
pub(super) fn write(
    envelope: &Scrubbed<Envelope>,
    is_wanted: impl Fn(&EnvelopeItem) -> bool,
    out: &mut Vec<u8>,
) -> io::Result<()> {
    let headers = envelope.headers().clone().with_sent_at(SystemTime::now());
    serde_json::to_writer(&mut *out, &headers)?;
    out.push(b'\n');
    for item in envelope.items().filter(|item| is_wanted(item)) {
        let named = if let EnvelopeItem::Event(event) = item {
            source(&event.contexts).map(|source| Ok(("event", to_value(event)?, source)))
        } else if let EnvelopeItem::Transaction(transaction) = item {
            source(&transaction.contexts).map(|source| Ok(("transaction", to_value(transaction)?, source)))
        } else {
            None
        };
        match named.transpose().map_err(|error: serde_json::Error| io::Error::from(error))? {
            Some((kind, mut payload, source)) => {
                if let Some(payload) = payload.as_object_mut() {
                    payload.insert("transaction_info".to_owned(), serde_json::json!({ "source": source }));
                }
                let payload = serde_json::to_vec(&payload)?;
                serde_json::to_writer(&mut *out, &serde_json::json!({ "type": kind, "length": payload.len() }))?;
                out.push(b'\n');
                out.extend_from_slice(&payload);
                out.push(b'\n');
            }
            None => write_item(item.clone(), out)?,
        }
    }
    Ok(())
}

/// Writes an item as the SDK would: as an envelope of its own, without the head of that.
fn write_item(item: EnvelopeItem, out: &mut Vec<u8>) -> io::Result<()> {
    let mut alone = Envelope::new();
    alone.add_item(item);
    let mut bytes = Vec::new();
    alone.to_writer(&mut bytes)?;
    let head = bytes.iter().position(|byte| *byte == b'\n').map_or(0, |end| end.saturating_add(1));
    out.extend_from_slice(bytes.get(head..).unwrap_or_default());
    Ok(())
}

/// Where the transaction's name came from, in Sentry's words.
fn source(contexts: &Map<String, Context>) -> Option<&'static str> {
    let Some(Context::Other(exchange)) = contexts.get(EXCHANGE) else { return None };
    Some(match exchange.get(NAME_SOURCE).and_then(Value::as_str)? {
        "route" | "rpc" => "route",
        _ => "custom",
    })
}
