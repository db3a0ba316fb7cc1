//! Lines for people.

use std::{fmt::Write, time::Duration};

use steeple_core::GrpcStatus;
use steeple_scrub::Scrubbed;
use tracing::Level;

use super::{Access, Context, Line, Value, escape, level_name, time::clock_millis};

/// Escape sequences, or none.
#[derive(Clone, Copy)]
pub(super) struct Colors {
    on: bool,
}

pub(super) const PLAIN: Colors = Colors { on: false };
pub(super) const COLOR: Colors = Colors { on: true };

const BOLD: &str = "1";
const DIM: &str = "2";
const RED: &str = "31";
const GREEN: &str = "32";
const YELLOW: &str = "33";
const BLUE: &str = "34";
const MAGENTA: &str = "35";
const CYAN: &str = "36";

impl Colors {
    fn paint(self, out: &mut Vec<u8>, color: &str, write: impl FnOnce(&mut Vec<u8>)) {
        if self.on {
            out.extend_from_slice(b"\x1b[");
            out.extend_from_slice(color.as_bytes());
            out.push(b'm');
        }
        write(out);
        if self.on {
            out.extend_from_slice(b"\x1b[0m");
        }
    }
}

pub(super) fn access(out: &mut Vec<u8>, colors: Colors, access: &Access<'_>) {
    start(out, colors, access.at, access.level);
    colors.paint(out, BOLD, |out| name(out, &access.context));
    // The path has more than the name only where the name has a placeholder, or is not made from the path.
    let (name, path) = (access.context.name().1.into_inner(), access.path.as_deref().into_inner());
    // A gRPC method is the path without its slash.
    let is_said = name == path || (access.rpc_method.is_some() && path.strip_prefix('/') == Some(name));
    if !is_said {
        out.push(b' ');
        colors.paint(out, DIM, |out| escape::text(out, access.path.as_deref()));
    }
    out.push(b' ');
    status(out, colors, access);
    out.push(b' ');
    duration(out, access.end.duration);
    out.push(b' ');
    bytes(out, access.end.response_body_bytes);
    if let Some(user) = access.context.user() {
        out.extend_from_slice(b" user=");
        escape::text(out, user);
    }
    short_id(out, colors, &access.context);
    if let Some(error) = &access.error {
        out.push(b' ');
        colors.paint(out, RED, |out| escape::text(out, error.as_deref()));
    }
    for field in &access.attributes {
        key_value(out, colors, field.key.as_deref(), &field.value);
    }
}

pub(super) fn line(out: &mut Vec<u8>, colors: Colors, line: &Line<'_>) {
    start(out, colors, line.at, line.level);
    colors.paint(out, DIM, |out| {
        escape::text(out, line.target);
        out.push(b':');
    });
    out.push(b' ');
    escape::text(out, line.message.as_deref());
    for (place, field) in line.fields.iter().enumerate() {
        if !line.fields.iter().take(place).any(|before| before.key == field.key) {
            key_value(out, colors, field.key.as_deref(), &field.value);
        }
    }
    if let Some(context) = &line.context {
        short_id(out, colors, context);
    }
    if let Some(stacktrace) = &line.stacktrace {
        out.push(b' ');
        colors.paint(out, DIM, |out| escape::text(out, stacktrace.as_deref()));
    }
}

fn start(out: &mut Vec<u8>, colors: Colors, at: Duration, level: Level) {
    colors.paint(out, DIM, |out| clock_millis(out, at));
    let color = match level {
        Level::ERROR => RED,
        Level::WARN => YELLOW,
        Level::INFO => GREEN,
        Level::DEBUG => BLUE,
        Level::TRACE => MAGENTA,
    };
    out.push(b' ');
    colors.paint(out, color, |out| {
        let name = level_name(level);
        out.resize(out.len().saturating_add(5_usize.saturating_sub(name.len())), b' ');
        out.extend(name.bytes().map(|byte| byte.to_ascii_uppercase()));
    });
    out.push(b' ');
}

fn name(out: &mut Vec<u8>, context: &Context<'_>) {
    let (method, target) = context.name();
    if let Some(method) = method {
        out.extend_from_slice(method.as_bytes());
        out.push(b' ');
    }
    escape::text(out, target);
}

fn status(out: &mut Vec<u8>, colors: Colors, access: &Access<'_>) {
    let color = match access.end.status_code() {
        _ if access.end.is_server_error() && !access.end.is_unknown_method() => RED,
        400.. => YELLOW,
        300..400 => CYAN,
        _ => GREEN,
    };
    colors.paint(out, color, |out| {
        let status = match (access.end.grpc_status, access.end.status) {
            // The outcome, which is more precise, is next.
            (Some(GrpcStatus::CANCELLED), _) if access.end.outcome.is_cancelled() => Vec::new(),
            (Some(grpc), _) => grpc.as_str().as_bytes().to_vec(),
            (None, Some(status)) => status.as_str().as_bytes().to_vec(),
            (None, None) => Vec::new(),
        };
        out.extend_from_slice(&status);
        if let Some(oddity) = access.oddity() {
            if !status.is_empty() {
                out.push(b' ');
            }
            out.extend_from_slice(oddity.as_bytes());
        }
    });
}

/// Three digits or so: `870µs`, `1.2ms`, `34ms`, `2.50s`.
fn duration(out: &mut Vec<u8>, duration: Duration) {
    let seconds = duration.as_secs_f64();
    let text = match duration.as_micros() {
        micros @ 0..1_000 => format!("{micros}µs"),
        1_000..10_000 => format!("{:.1}ms", seconds * 1e3),
        10_000..1_000_000 => format!("{:.0}ms", seconds * 1e3),
        _ => format!("{seconds:.2}s"),
    };
    out.extend_from_slice(text.as_bytes());
}

fn bytes(out: &mut Vec<u8>, bytes: u64) {
    let (mut whole, mut unit) = (bytes, "B");
    for next in ["kB", "MB", "GB", "TB"] {
        if whole < 10_000 {
            break;
        }
        (whole, unit) = (whole / 1_000, next);
    }
    out.extend_from_slice(itoa::Buffer::new().format(whole).as_bytes());
    out.extend_from_slice(unit.as_bytes());
}

/// The end of the id: a UUID of version 7 begins with the time, which the line has already.
fn short_id(out: &mut Vec<u8>, colors: Colors, context: &Context<'_>) {
    let Some(id) = context.request_id else { return };
    let id = id.as_bytes();
    let end = id.get(id.len().saturating_sub(8)..).unwrap_or(id);
    out.push(b' ');
    colors.paint(out, DIM, |out| {
        out.push(b'#');
        out.extend_from_slice(end);
    });
}

fn key_value(out: &mut Vec<u8>, colors: Colors, key: Scrubbed<&str>, value: &Value) {
    out.push(b' ');
    colors.paint(out, DIM, |out| {
        escape::text(out, key);
        out.push(b'=');
    });
    match value {
        Value::Text(text) => escape::text(out, text.as_deref()),
        Value::Int(number) => out.extend_from_slice(itoa::Buffer::new().format(*number).as_bytes()),
        Value::Uint(number) => out.extend_from_slice(itoa::Buffer::new().format(*number).as_bytes()),
        Value::Float(number) => {
            let mut text = String::new();
            let _infallible = write!(text, "{number}");
            out.extend_from_slice(text.as_bytes());
        }
        Value::Bool(truth) => out.extend_from_slice(if *truth { b"true" } else { b"false" }),
    }
}
