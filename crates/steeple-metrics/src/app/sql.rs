//! The words of an SQL statement. Literals and comments are skipped whole, in the dialects of Postgres, `MySQL`, SQLite,
//! SQL Server, Oracle and `BigQuery`.
//!
//! Where these dialects disagree on the end of a literal or a comment, there are no further tokens. Every byte is read
//! once, apart from a bounded look ahead.

/// How far is looked ahead for the end of a bracket or of a dollar tag: names are shorter in every database.
const LOOK_AHEAD: usize = 130;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// A keyword or a bare name.
    Word(&'a str),
    /// A name in quotes, without them.
    Quoted(&'a str),
    /// A string or a number.
    Literal,
    /// Any other character.
    Mark(char),
}

/// Each token with how deep in parentheses it stands; a pair of parentheses itself stands outside.
pub(super) struct Tokens<'a> {
    rest: &'a str,
    depth: usize,
    /// Whether the character before was a part of a word or closed something: a `[` behind it is a subscript.
    behind_word: bool,
}

/// How a literal escapes the quote that would end it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Escapes {
    /// By doubling it, and in some dialects by a backslash.
    Unknown,
    /// By a backslash in any case.
    Backslash,
}

impl<'a> Tokens<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { rest: text, depth: 0, behind_word: false }
    }

    fn take(&mut self, bytes: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at_checked(bytes).unwrap_or((self.rest, ""));
        self.rest = rest;
        taken
    }

    /// Nothing behind this place is read.
    fn give_up(&mut self) {
        self.rest = "";
    }

    /// Skips a comment to the end of its line. Where it may be none at all, or end earlier, it must hold no quote.
    fn skip_line(&mut self, is_comment_everywhere: bool) {
        let end = self.rest.find('\n').unwrap_or(self.rest.len());
        let line = self.take(end);
        let ends_earlier = line.trim_end_matches('\r').contains('\r');
        if (ends_earlier || !is_comment_everywhere) && has_quote(line) {
            self.give_up();
        }
    }

    /// Skips a comment in `/* */`. In some dialects one that stands in it ends before it.
    fn skip_comment(&mut self) {
        let bytes = self.rest.as_bytes();
        let (mut depth, mut place, mut first_end) = (0_usize, 0_usize, None);
        while let Some(pair) = bytes.get(place..).and_then(|rest| rest.first_chunk::<2>()) {
            let step = match pair {
                b"/*" => {
                    depth = depth.saturating_add(1);
                    2
                }
                b"*/" => {
                    depth = depth.saturating_sub(1);
                    first_end = first_end.or(Some(place));
                    2
                }
                _ => 1,
            };
            place = place.saturating_add(step);
            if depth == 0 {
                let comment = self.take(place);
                let disputed = first_end.and_then(|end| comment.get(end..)).unwrap_or_default();
                if has_quote(disputed) || disputed.contains('#') || disputed.contains("--") {
                    self.give_up();
                }
                return;
            }
        }
        self.give_up();
    }

    /// What stands in quotes of one byte each. `None`: where that ends is not known.
    fn quoted(&mut self, close: u8, escapes: Escapes) -> Option<&'a str> {
        let mut bytes = self.rest.bytes().enumerate().skip(1).peekable();
        let (mut is_escaped, mut is_first) = (false, true);
        while let Some((place, byte)) = bytes.next() {
            if byte == b'\\' {
                is_escaped = !is_escaped;
            } else if byte == close && is_escaped && escapes == Escapes::Backslash {
                is_escaped = false;
            } else if byte == close {
                let is_doubled = bytes.next_if(|(_, next)| *next == close).is_some();
                // With a backslash before it, it ends the literal in one dialect and not in another. Three at the
                // beginning are an escaped quote in one and begin a longer literal in another.
                if is_escaped || (is_doubled && is_first) {
                    break;
                }
                if !is_doubled {
                    let content = self.rest.get(1..place);
                    self.take(place.saturating_add(1));
                    return content;
                }
            } else {
                is_escaped = false;
            }
            is_first = false;
        }
        self.give_up();
        None
    }

    fn literal(&mut self, escapes: Escapes) -> Token<'a> {
        let _content = self.quoted(b'\'', escapes);
        Token::Literal
    }

    /// `$$…$$` or `$tag$…$tag$`. `None`: it is something else.
    fn dollar_quoted(&mut self) -> Option<Token<'a>> {
        let rest = self.rest.get(1..)?;
        let end = rest.char_indices().take(LOOK_AHEAD).find(|(_, c)| !(c.is_alphanumeric() || *c == '_'));
        let (tag, _) = end.filter(|(_, c)| *c == '$')?;
        if rest.starts_with(|c: char| c.is_ascii_digit()) {
            return None;
        }
        let tag = self.take(tag.saturating_add(2));
        match self.rest.find(tag) {
            Some(end) => drop(self.take(end.saturating_add(tag.len()))),
            None => self.give_up(),
        }
        Some(Token::Literal)
    }

    /// Oracle's `q'[…]'`, from its first quote on.
    fn oracle_quoted(&mut self) -> Token<'a> {
        self.take(1);
        let Some(open) = self.rest.chars().next() else { return Token::Literal };
        let close = match open {
            '[' => ']',
            '{' => '}',
            '(' => ')',
            '<' => '>',
            other => other,
        };
        self.take(open.len_utf8());
        let end = String::from_iter([close, '\'']);
        match self.rest.find(&end) {
            Some(place) => drop(self.take(place.saturating_add(end.len()))),
            None => self.give_up(),
        }
        Token::Literal
    }

    /// A name in brackets. `None`: it is a subscript or an array.
    fn bracketed(&mut self) -> Option<Token<'a>> {
        if self.behind_word {
            return None;
        }
        let near = self.rest.get(1..).map(|rest| steeple_core::text::cut(rest, LOOK_AHEAD))?;
        let name = near.get(..near.find(']')?)?;
        if has_quote(name) {
            // A name with a quote in it here, an array of strings there.
            self.give_up();
            return None;
        }
        self.take(name.len().saturating_add(2));
        Some(Token::Quoted(name))
    }

    fn word(&mut self) -> Token<'a> {
        let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '$');
        let end = self.rest.find(|c: char| !is_part(c)).unwrap_or(self.rest.len());
        let word = self.take(end);
        if self.rest.starts_with('\'') {
            return match word {
                "q" | "Q" | "nq" | "nQ" | "Nq" | "NQ" => self.oracle_quoted(),
                "e" | "E" => self.literal(Escapes::Backslash),
                _ => self.literal(Escapes::Unknown),
            };
        }
        Token::Word(word)
    }

    fn token(&mut self, first: char) -> Token<'a> {
        match first {
            '\'' => return self.literal(Escapes::Unknown),
            '"' => return self.quoted(b'"', Escapes::Unknown).map_or(Token::Literal, Token::Quoted),
            '`' => return self.quoted(b'`', Escapes::Unknown).map_or(Token::Literal, Token::Quoted),
            '$' => {
                if let Some(literal) = self.dollar_quoted() {
                    return literal;
                }
            }
            '[' => {
                if let Some(name) = self.bracketed() {
                    return name;
                }
            }
            _ if first.is_ascii_digit() => {
                let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.');
                let end = self.rest.find(|c: char| !is_part(c)).unwrap_or(self.rest.len());
                self.take(end);
                return Token::Literal;
            }
            _ if first.is_alphabetic() || first == '_' => return self.word(),
            _ => (),
        }
        self.take(first.len_utf8());
        Token::Mark(first)
    }
}

/// Whether this may open a literal, a quoted name or a comment of several lines.
fn has_quote(text: &str) -> bool {
    text.contains(['\'', '"', '`', '$', '[']) || text.contains("/*")
}

impl<'a> Iterator for Tokens<'a> {
    type Item = (usize, Token<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let before = self.rest.len();
            self.rest = self.rest.trim_start();
            if self.rest.len() < before {
                self.behind_word = false;
            }
            let first = self.rest.chars().next()?;
            if self.rest.starts_with("--") {
                // `MySQL` takes it for a comment only with a space behind it.
                let is_comment =
                    self.rest.get(2..).is_none_or(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\n', '\r']));
                self.skip_line(is_comment);
            } else if self.rest.starts_with("/*") {
                self.skip_comment();
            } else if first == '#' && !is_json_operator(self.rest) {
                // A comment in `MySQL`, an operator in Postgres, a temporary table in SQL Server.
                self.skip_line(false);
            } else {
                let token = self.token(first);
                self.behind_word = matches!(token, Token::Word(_) | Token::Quoted(_) | Token::Mark(')' | ']'));
                let depth = self.depth;
                match token {
                    Token::Mark('(') => self.depth = depth.saturating_add(1),
                    Token::Mark(')') => self.depth = depth.saturating_sub(1),
                    Token::Mark(_) | Token::Word(_) | Token::Quoted(_) | Token::Literal => (),
                }
                return Some((if token == Token::Mark(')') { self.depth } else { depth }, token));
            }
            self.behind_word = false;
        }
    }
}

/// `#>` and `#>>` of Postgres, before the path that they take.
fn is_json_operator(rest: &str) -> bool {
    let path = rest.strip_prefix("#>>").or_else(|| rest.strip_prefix("#>"));
    path.is_some_and(|path| path.trim_start_matches(' ').starts_with("'{"))
}
