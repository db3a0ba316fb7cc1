//! Values that hold no secret: placeholders, and what messages say about a secret.

use super::is_blank;

/// Is it a placeholder, or the absence of a value?
#[inline]
pub(super) fn is_placeholder(content: &[u8]) -> bool {
    const NOTHING: [&[u8]; 18] = [
        b"null",
        b"none",
        b"nil",
        b"undefined",
        b"true",
        b"false",
        b"?",
        b"%s",
        b"[redacted]",
        b"<redacted>",
        b"[filtered]",
        b"redacted",
        b"filtered",
        b"[hidden]",
        b"...",
        b"sensitive",
        b"<hidden>",
        b"[masked]",
    ];
    let name = |inner: &[u8]| {
        !inner.is_empty()
            && inner.iter().all(|byte| byte.is_ascii_alphabetic() || matches!(byte, b'_' | b'.' | b' ' | b'-'))
    };
    NOTHING.iter().any(|nothing| content.eq_ignore_ascii_case(nothing))
        || content.iter().all(|byte| matches!(byte, b'*' | b'.' | b'-'))
        || content.len() >= 3 && content.iter().all(|byte| matches!(byte, b'x' | b'X'))
        || content
            .strip_prefix(b"$")
            .is_some_and(|rest| !rest.is_empty() && rest.len() <= 2 && rest.iter().all(u8::is_ascii_digit))
        || content.strip_prefix(b"${").and_then(|rest| rest.strip_suffix(b"}")).is_some_and(name)
        || content.strip_prefix(b"{{").and_then(|rest| rest.strip_suffix(b"}}")).is_some_and(name)
        || content
            .strip_prefix(b"{")
            .and_then(|rest| rest.strip_suffix(b"}"))
            .is_some_and(|rest| rest.is_empty() || name(rest))
        || content.strip_prefix(b"<").and_then(|rest| rest.strip_suffix(b">")).is_some_and(name)
}

/// A remark of an error message about a password: "password: must be longer".
#[inline]
pub(super) fn is_remark(content: &[u8]) -> bool {
    const REMARKS: [&[u8]; 42] = [
        b"required",
        b"missing",
        b"invalid",
        b"incorrect",
        b"wrong",
        b"expired",
        b"must",
        b"is",
        b"was",
        b"should",
        b"cannot",
        b"can't",
        b"too",
        b"has",
        b"empty",
        b"unset",
        b"mismatch",
        b"changed",
        b"reset",
        b"not",
        b"no",
        b"authentication",
        b"does",
        b"field",
        b"value",
        b"please",
        b"failed",
        b"the",
        b"a",
        b"an",
        b"at",
        b"may",
        b"expected",
        b"unexpected",
        b"blank",
        b"short",
        b"error",
        b"length",
        b"string",
        b"str",
        b"option",
        b"unknown",
    ];
    let word = content.strip_suffix(b".").unwrap_or(content);
    REMARKS.iter().any(|remark| word.eq_ignore_ascii_case(remark))
        || !content.iter().any(|byte| byte.is_ascii_alphanumeric() || *byte >= 0x80) && content.len() < 4
}

/// White space only, or nothing.
pub(super) fn is_empty(content: &[u8]) -> bool {
    content.iter().all(|byte| is_blank(*byte))
}

/// `PWD=/srv/app`: the folder that a shell works in, and not a password.
pub(crate) fn is_folder(content: &[u8]) -> bool {
    let plain =
        |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'.' | b'_' | b'-' | b'~' | b'+' | b' ');
    match content {
        [b'/', rest @ ..] | [b'~', b'/', rest @ ..] | [b'a'..=b'z' | b'A'..=b'Z', b':', b'/', rest @ ..] => {
            rest.iter().all(plain)
        }
        [b'a'..=b'z' | b'A'..=b'Z', b':', b'\\', rest @ ..] => rest.iter().all(|byte| plain(byte) || *byte == b'\\'),
        [b'~'] => true,
        _ => false,
    }
}
