//! Checks of what clients send.

use axum::{
    Json,
    extract::{
        Path,
        rejection::{JsonRejection, PathRejection},
    },
};

use super::ApiError;

/// A JSON body that may be none; handlers take it apart with `?`.
pub(super) type Body<T> = Result<Json<T>, JsonRejection>;
/// A number in the path that may be none.
pub(super) type Id = Result<Path<i64>, PathRejection>;

/// Text of 1 to `max` characters, trimmed, without control characters.
pub(super) fn text(field: &'static str, value: &str, max: usize) -> Result<String, ApiError> {
    let value = value.trim();
    if value.is_empty() || value.chars().count() > max || value.chars().any(char::is_control) {
        return Err(ApiError::field(field, format!("`{field}` must be 1 to {max} characters on one line")));
    }
    Ok(value.to_owned())
}

/// An address with a local part and a domain. Whether mail arrives is another question.
pub(super) fn email(value: &str) -> Result<String, ApiError> {
    let value = value.trim();
    let good = value.len() <= 254
        && value.split_once('@').is_some_and(|(local, domain)| {
            let plain = |part: &str| part.chars().all(|c| c.is_ascii_graphic() && c != '@');
            !local.is_empty()
                && plain(local)
                && plain(domain)
                && domain.contains('.')
                && !domain.starts_with('.')
                && !domain.ends_with('.')
        });
    if good {
        Ok(value.to_ascii_lowercase())
    } else {
        Err(ApiError::field("email", "`email` must be an address such as ada@example.com"))
    }
}

/// One of a fixed list, so that it may become a label.
pub(super) fn choice(
    field: &'static str,
    value: &str,
    choices: &'static [&'static str],
) -> Result<&'static str, ApiError> {
    choices
        .iter()
        .find(|choice| **choice == value)
        .copied()
        .ok_or_else(|| ApiError::field(field, format!("`{field}` must be one of {}", choices.join(", "))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_needs_both_sides_and_a_dot() {
        for good in ["ada@example.com", " Ada+x@mail.example.org "] {
            assert!(email(good).is_ok(), "{good:?}");
        }
        for bad in ["", "ada", "@example.com", "ada@", "ada@host", "a b@example.com", "a@b@c.de", "a@.com", "a@b."] {
            assert!(email(bad).is_err(), "{bad:?}");
        }
        assert_eq!(email(" Ada@Example.COM").unwrap(), "ada@example.com");
    }

    #[test]
    fn text_is_trimmed_counted_in_characters_and_of_one_line() {
        assert_eq!(text("title", "  äöü ", 3).unwrap(), "äöü");
        for bad in ["", "   ", "äöüß", "a\nb"] {
            assert!(text("title", bad, 3).is_err(), "{bad:?}");
        }
    }
}
