//! What an SQL statement does, and to which table. Nothing else of it is looked at.

use std::borrow::Cow;

/// Longest table name that is taken.
const MAX_TABLE: usize = 64;

/// A statement in two words.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Statement {
    /// One of a fixed list, in lower case.
    pub(crate) operation: &'static str,
    /// In lower case, without its schema; empty where there is none.
    pub(crate) table: Cow<'static, str>,
}

const OPERATIONS: [&str; 20] = [
    "select",
    "insert",
    "update",
    "delete",
    "replace",
    "merge",
    "with",
    "values",
    "begin",
    "commit",
    "rollback",
    "savepoint",
    "release",
    "create",
    "alter",
    "drop",
    "truncate",
    "pragma",
    "explain",
    "set",
];

/// What may stand between the keyword and the table.
const NOISE: [&str; 11] =
    ["if", "not", "exists", "only", "lateral", "or", "ignore", "abort", "fail", "rollback", "replace"];

impl Statement {
    pub(crate) fn parse(sql: &str) -> Self {
        let mut tokens = Tokens { rest: sql, depth: 0 }.peekable();
        let first = match tokens.next() {
            Some((_, Token::Word(word))) => word,
            _ => "",
        };
        let mut operation = operation(first);
        if operation == "with" {
            // What is done stands after the last common table expression.
            let main = tokens.by_ref().find_map(|(depth, token)| match token {
                Token::Word(word) if depth == 0 => {
                    let found = self::operation(word);
                    ["select", "insert", "update", "delete", "merge"].contains(&found).then_some(found)
                }
                Token::Word(_) | Token::Other => None,
            });
            operation = main.unwrap_or("with");
        }
        let before_table = match operation {
            "select" | "delete" => "from",
            "insert" | "replace" | "merge" => "into",
            "update" => "",
            "create" | "alter" | "drop" | "truncate" => "table",
            _ => return Self { operation, table: Cow::Borrowed("") },
        };
        if !before_table.is_empty() {
            let is_it = |token: &(usize, Token<'_>)| matches!(token, (0, Token::Word(word)) if word.eq_ignore_ascii_case(before_table));
            if tokens.find(is_it).is_none() {
                return Self { operation, table: Cow::Borrowed("") };
            }
        }
        let table = tokens.find_map(|(_, token)| match token {
            Token::Word(word) if NOISE.iter().any(|noise| word.eq_ignore_ascii_case(noise)) => None,
            Token::Word(word) => Some(table(word)),
            Token::Other => Some(Cow::Borrowed("")),
        });
        Self { operation, table: table.unwrap_or_default() }
    }
}

fn operation(word: &str) -> &'static str {
    OPERATIONS.into_iter().find(|known| known.eq_ignore_ascii_case(word)).unwrap_or("other")
}

/// A table's own name: the last part, without quotes.
fn table(word: &str) -> Cow<'static, str> {
    let last = word.rsplit('.').next().unwrap_or_default();
    let bare = last.trim_matches(['"', '`', '[', ']']);
    let plain = bare.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$'));
    if plain && bare.len() <= MAX_TABLE { bare.to_ascii_lowercase().into() } else { Cow::Borrowed("") }
}

enum Token<'a> {
    /// A keyword or a name, with its dots and quotes.
    Word(&'a str),
    /// Anything else: an operator, a literal.
    Other,
}

/// Words and how deep in parentheses they stand. Literals and comments are skipped whole.
struct Tokens<'a> {
    rest: &'a str,
    depth: usize,
}

impl<'a> Iterator for Tokens<'a> {
    type Item = (usize, Token<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            self.rest = self.rest.trim_start();
            if self.rest.starts_with('\'') && self.rest.contains("\\'") {
                // Where that literal ends, databases do not agree on. Nothing behind it is looked at.
                self.rest = "";
            }
            let first = self.rest.chars().next()?;
            let depth = self.depth;
            if self.rest.starts_with("--") {
                self.skip_past("\n");
            } else if self.rest.starts_with("/*") {
                self.skip_past("*/");
            } else if first == '\'' {
                self.take(1);
                self.skip_past("'");
                return Some((depth, Token::Other));
            } else if self.rest.starts_with("$$") {
                self.take(2);
                self.skip_past("$$");
                return Some((depth, Token::Other));
            } else if first.is_ascii_alphabetic() || matches!(first, '_' | '"' | '`' | '[') {
                return Some((depth, Token::Word(self.word())));
            } else {
                self.take(first.len_utf8());
                match first {
                    '(' => self.depth = depth.saturating_add(1),
                    ')' => self.depth = depth.saturating_sub(1),
                    _ => (),
                }
                return Some((depth, Token::Other));
            }
        }
    }
}

impl<'a> Tokens<'a> {
    fn take(&mut self, bytes: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at_checked(bytes).unwrap_or((self.rest, ""));
        self.rest = rest;
        taken
    }

    fn skip_past(&mut self, end: &str) {
        let place = self.rest.find(end).map_or(self.rest.len(), |place| place.saturating_add(end.len()));
        self.take(place);
    }

    /// A name, with what is quoted in it taken whole.
    fn word(&mut self) -> &'a str {
        let mut quote = None;
        let end = self.rest.char_indices().find_map(|(place, c)| match quote {
            Some(close) => {
                if c == close {
                    quote = None;
                }
                None
            }
            None if matches!(c, '"' | '`') => {
                quote = Some(c);
                None
            }
            None if c == '[' => {
                quote = Some(']');
                None
            }
            None => (!(c.is_alphanumeric() || matches!(c, '_' | '$' | '.'))).then_some(place),
        });
        self.take(end.unwrap_or(self.rest.len()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(sql: &str, operation: &str, table: &str) {
        let found = Statement::parse(sql);
        assert_eq!((found.operation, &*found.table), (operation, table), "{sql}");
    }

    #[test]
    fn the_table_is_the_one_that_the_statement_is_about() {
        check("SELECT id, name FROM users WHERE id = $1", "select", "users");
        check("select count(*) from \"public\".\"Users\" u join orders o on true", "select", "users");
        check("INSERT INTO tasks (title) VALUES ('from secrets')", "insert", "tasks");
        check("INSERT OR REPLACE INTO [tasks] DEFAULT VALUES", "insert", "tasks");
        check("UPDATE `tasks` SET done = 1", "update", "tasks");
        check("UPDATE OR IGNORE tasks SET done = 1", "update", "tasks");
        check("DELETE FROM ONLY app.sessions", "delete", "sessions");
        check("SELECT (SELECT max(id) FROM inner_one) FROM outer_one", "select", "outer_one");
        check("WITH recent AS (SELECT * FROM logs) SELECT * FROM recent", "select", "recent");
        check("WITH gone AS (DELETE FROM a RETURNING *) INSERT INTO b SELECT * FROM gone", "insert", "b");
        check("-- from x\n/* from y */ SELECT 'from z', 1 FROM t", "select", "t");
        check("CREATE TABLE IF NOT EXISTS projects (id INTEGER)", "create", "projects");
        check("BEGIN IMMEDIATE", "begin", "");
        check("SELECT 1", "select", "");
        check("SELECT * FROM (SELECT 1) AS t", "select", "");
        check("", "other", "");
        check("SELECT 'it''s from x' FROM t", "select", "t");
        check(r"SELECT 'it\'s from secrets' FROM t", "select", "");
        check(r"SELECT 'a\', 'from secrets'", "select", "");
        check("GRANT ALL ON users TO bob", "other", "");
    }

    proptest! {
        #[test]
        fn no_literal_and_no_odd_text_gets_through(secret in "[a-z]{12}", sql in "\\PC{0,200}") {
            for sql in [
                format!("SELECT '{secret}' FROM users WHERE a = '{secret}'"),
                format!("SELECT * FROM '{secret}'"),
                format!("INSERT INTO users VALUES ($${secret}$$)"),
            ] {
                let found = Statement::parse(&sql);
                prop_assert!(!found.table.contains(&secret) && OPERATIONS.contains(&found.operation));
            }
            prop_assert!(Statement::parse(&sql).table.len() <= MAX_TABLE);
        }
    }
}
