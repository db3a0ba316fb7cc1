//! What an SQL statement does, and to which table. Nothing else of it is kept.
//!
//! Databases disagree on where literals, quoted names and comments end. Where they do, nothing behind that place is
//! read: a statement without a table is better than a literal in a label.

use std::{borrow::Cow, iter::Peekable};

use super::sql::{Token, Tokens};

/// How much of a statement is read. The table stands near the beginning; bulk statements have megabytes of values.
const MAX_READ: usize = 8 * 1024;

/// The longest table name that becomes a label, in bytes.
const MAX_TABLE: usize = 64;

/// A statement in two words.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Statement {
    /// One of a fixed list, in lower case.
    pub(crate) operation: &'static str,
    /// In lower case, without its schema; empty for a statement without a table.
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

/// The first word of the short form of a `SELECT` that Postgres and `MySQL` have.
const TABLE: &str = "table";

/// What the main statement behind common table expressions can be.
const MAIN: [&str; 7] = ["select", "insert", "update", "delete", "merge", "replace", "values"];

/// What may stand between `UPDATE` and the table.
const BEFORE_UPDATED: [&str; 9] =
    ["low_priority", "ignore", "only", "or", "rollback", "abort", "replace", "fail", "top"];

/// What may stand between `INSERT`, `REPLACE` or `MERGE` and the table.
const BEFORE_INSERTED: [&str; 14] = [
    "low_priority",
    "high_priority",
    "delayed",
    "ignore",
    "or",
    "rollback",
    "abort",
    "replace",
    "fail",
    "overwrite",
    "into",
    "table",
    "only",
    "top",
];

/// What may stand between `CREATE`, `ALTER` or `DROP` and the kind of thing that is made.
const BEFORE_KIND: [&str; 19] = [
    "external",
    "constraint",
    "or",
    "replace",
    "temp",
    "temporary",
    "global",
    "local",
    "private",
    "unlogged",
    "transient",
    "unique",
    "clustered",
    "nonclustered",
    "bitmap",
    "fulltext",
    "spatial",
    "virtual",
    "foreign",
];

/// Hints of SQL Server that stand in parentheses behind a table, where a function has its arguments.
const TABLE_HINTS: [&str; 9] =
    ["nolock", "readuncommitted", "readcommitted", "readpast", "rowlock", "updlock", "holdlock", "tablock", "paglock"];

/// Words that are never the name of a table where one is expected.
const NO_TABLE: [&str; 6] = ["select", "with", "values", "where", "lateral", "set"];

/// Words behind a table in a list of tables that are not its alias.
const NO_ALIAS: [&str; 14] = [
    "where",
    "set",
    "join",
    "inner",
    "left",
    "right",
    "full",
    "cross",
    "natural",
    "on",
    "using",
    "order",
    "limit",
    "returning",
];

impl Statement {
    /// Reads at most the first 8 KB, once.
    pub(crate) fn parse(sql: &str) -> Self {
        let text = steeple_core::text::cut(sql, MAX_READ);
        let is_cut = text.len() < sql.len();
        let mut reader = Reader { tokens: Tokens::new(text).peekable(), level: 0, is_cut };
        let operation = reader.operation();
        let table = reader.table(operation).unwrap_or_default();
        // `TABLE users` is `SELECT * FROM users`.
        Self { operation: if operation == TABLE { "select" } else { operation }, table }
    }
}

fn operation(word: &str) -> &'static str {
    OPERATIONS.into_iter().find(|known| known.eq_ignore_ascii_case(word)).unwrap_or("other")
}

fn is_one_of(word: &str, words: &[&str]) -> bool {
    words.iter().any(|other| word.eq_ignore_ascii_case(other))
}

/// A table name as a label; empty if it is too long or has characters that names rarely have.
fn label(name: &str) -> Cow<'static, str> {
    // `BigQuery` quotes a whole path.
    let name = name.rsplit('.').next().unwrap_or_default();
    let plain = name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '$' | '-' | ' '));
    let label = if plain && name.len() <= MAX_TABLE { name.to_lowercase() } else { String::new() };
    if label.len() <= MAX_TABLE { label.into() } else { Cow::Borrowed("") }
}

/// A table that a statement lists, and what the rest of the statement calls it.
struct Listed<'a> {
    name: &'a str,
    alias: Option<&'a str>,
}

struct Reader<'a> {
    tokens: Peekable<Tokens<'a>>,
    /// How deep in parentheses the statement itself stands.
    level: usize,
    is_cut: bool,
}

impl<'a> Reader<'a> {
    fn operation(&mut self) -> &'static str {
        let first = loop {
            match self.tokens.next() {
                Some((depth, Token::Word(word))) => {
                    self.level = depth;
                    break word;
                }
                Some((_, Token::Mark('(' | ';'))) => (),
                _ => return "other",
            }
        };
        if first.eq_ignore_ascii_case("table") {
            return TABLE;
        }
        match operation(first) {
            "with" => {
                let level = self.level;
                let main = self.tokens.by_ref().find_map(|(depth, token)| match token {
                    Token::Word(word) if depth == level && is_one_of(word, &MAIN) => Some(operation(word)),
                    Token::Word(_) | Token::Quoted(_) | Token::Literal | Token::Mark(_) => None,
                });
                main.unwrap_or("with")
            }
            other => other,
        }
    }

    fn table(&mut self, operation: &str) -> Option<Cow<'static, str>> {
        match operation {
            "select" => {
                self.skip_to_from()?;
                self.name(&["only"], false).map(label)
            }
            TABLE => self.name(&["only"], true).map(label),
            "insert" | "replace" | "merge" => {
                if self.next_is(&["all", "first"]) {
                    self.skip_to(&["into"])?;
                }
                self.name(&BEFORE_INSERTED, true).map(label)
            }
            "update" => {
                let name = self.name(&BEFORE_UPDATED, true)?;
                // SQL Server has an alias here, and its table behind `FROM`.
                Some(self.resolve(name))
            }
            "delete" => self.deleted(),
            "truncate" => self.name(&["table", "only"], true).map(label),
            "create" | "alter" | "drop" => self.made(),
            _ => None,
        }
    }

    fn deleted(&mut self) -> Option<Cow<'static, str>> {
        if self.next_is_after(&["low_priority", "quick", "ignore", "top"], "from") {
            let name = self.name(&["only"], true)?;
            return Some(self.resolve(name));
        }
        // `DELETE users WHERE …`, or `DELETE u FROM users u …`.
        let name = self.name(&[], true)?;
        Some(self.resolve(name))
    }

    fn made(&mut self) -> Option<Cow<'static, str>> {
        let kind = loop {
            match self.tokens.next()? {
                (_, Token::Word(word)) if is_one_of(word, &BEFORE_KIND) => (),
                (_, Token::Word(word)) => break word,
                _ => return None,
            }
        };
        if is_one_of(kind, &["index", "trigger"]) {
            self.skip_to(&["on"])?;
        } else if !kind.eq_ignore_ascii_case("table") {
            return None;
        }
        self.name(&["if", "not", "exists", "only"], true).map(label)
    }

    /// Skips these words, and returns whether `wanted` follows. It is consumed if it does.
    fn next_is_after(&mut self, noise: &[&str], wanted: &str) -> bool {
        while self.next_is(noise) {
            self.skip_parentheses();
        }
        self.next_is(&[wanted])
    }

    /// Takes the next token if it is one of these words.
    fn next_is(&mut self, words: &[&str]) -> bool {
        let is = |(_, token): &(usize, Token<'_>)| matches!(token, Token::Word(word) if is_one_of(word, words));
        self.tokens.next_if(is).is_some()
    }

    /// Skips what stands in parentheses, or the number, that `TOP` has behind it.
    fn skip_parentheses(&mut self) {
        if self.tokens.next_if(|(_, token)| *token == Token::Literal).is_some() {
            return;
        }
        if let Some((outside, _)) = self.tokens.next_if(|(_, token)| *token == Token::Mark('(')) {
            let _closed = self.tokens.find(|(depth, token)| *depth == outside && *token == Token::Mark(')'));
        }
    }

    /// Skips to the first of these words that belongs to the statement itself.
    fn skip_to(&mut self, words: &[&str]) -> Option<()> {
        let level = self.level;
        let is = |(depth, token): &(usize, Token<'_>)| matches!(token, Token::Word(word) if *depth == level && is_one_of(word, words));
        self.tokens.find(is).map(|_found| ())
    }

    /// Skips to the clause, past `a IS DISTINCT FROM b`.
    fn skip_to_from(&mut self) -> Option<()> {
        let (mut before, mut is_comparison) = (None, false);
        loop {
            let (depth, token) = self.tokens.next()?;
            let word = match token {
                Token::Word(word) => Some(word),
                Token::Quoted(_) | Token::Literal | Token::Mark(_) => None,
            };
            if let Some(word) = word {
                if word.eq_ignore_ascii_case("distinct") {
                    is_comparison = before.is_some_and(|before| is_one_of(before, &["is", "not"]));
                } else if depth == self.level && word.eq_ignore_ascii_case("from") && !is_comparison {
                    return Some(());
                } else {
                    is_comparison = false;
                }
            } else {
                is_comparison = false;
            }
            before = word;
        }
    }

    /// The last part of a name, behind some words that may come before one. `None`: there is none, or it is a function's.
    fn name(&mut self, noise: &[&str], may_have_columns: bool) -> Option<&'a str> {
        let mut last = loop {
            match self.tokens.next()? {
                (_, Token::Word(word)) if is_one_of(word, noise) => {
                    if word.eq_ignore_ascii_case("top") {
                        self.skip_parentheses();
                    }
                }
                (_, Token::Word(word)) if is_one_of(word, &NO_TABLE) => return None,
                (_, Token::Word(word) | Token::Quoted(word)) => break word,
                // `FROM (users JOIN …)`, `FROM ONLY (users)`.
                (_, Token::Mark('(')) if !may_have_columns => (),
                _ => return None,
            }
        };
        while self.tokens.next_if(|(_, token)| *token == Token::Mark('.')).is_some() {
            // SQL Server leaves out a schema between two dots.
            while self.tokens.next_if(|(_, token)| *token == Token::Mark('.')).is_some() {}
            last = match self.tokens.next()? {
                (_, Token::Word(word) | Token::Quoted(word)) => word,
                _ => return None,
            };
        }
        match self.tokens.peek() {
            // It may go on behind where reading stopped.
            None if self.is_cut => None,
            // `ROWS FROM (…)`: a function's.
            Some((_, Token::Word(word))) if !may_have_columns && word.eq_ignore_ascii_case("from") => None,
            Some((_, Token::Mark('('))) if !may_have_columns => {
                let _parenthesis = self.tokens.next();
                self.next_is(&TABLE_HINTS).then_some(last)
            }
            _ => Some(last),
        }
    }

    /// The table that a name stands for, if it is an alias from the statement's own list of tables.
    fn resolve(&mut self, name: &str) -> Cow<'static, str> {
        if self.skip_to(&["from", "using"]).is_none() {
            return label(name);
        }
        loop {
            let Some(listed) = self.listed() else { return label(name) };
            if listed.alias.is_some_and(|alias| alias.eq_ignore_ascii_case(name)) {
                return label(listed.name);
            }
            if listed.name.eq_ignore_ascii_case(name) {
                return label(name);
            }
            let level = self.level;
            let is_next = |(depth, token): &(usize, Token<'_>)| {
                *depth == level
                    && match token {
                        Token::Mark(',') => true,
                        Token::Word(word) => word.eq_ignore_ascii_case("join"),
                        Token::Mark(_) | Token::Quoted(_) | Token::Literal => false,
                    }
            };
            if self.tokens.find(is_next).is_none() {
                return label(name);
            }
        }
    }

    fn listed(&mut self) -> Option<Listed<'a>> {
        let name = self.name(&["only", "lateral"], false)?;
        let has_as = self.next_is(&["as"]);
        let is_alias = |(_, token): &(usize, Token<'_>)| match token {
            Token::Quoted(_) => true,
            Token::Word(word) => has_as || !is_one_of(word, &NO_ALIAS),
            Token::Mark(_) | Token::Literal => false,
        };
        let alias = match self.tokens.next_if(is_alias) {
            Some((_, Token::Word(word) | Token::Quoted(word))) => Some(word),
            _ => None,
        };
        Some(Listed { name, alias })
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
        for (sql, operation, table) in [
            ("SELECT id, name FROM users WHERE id = $1", "select", "users"),
            ("select count(*) from \"public\".\"Users\" u join orders o on true", "select", "users"),
            ("SELECT (SELECT max(id) FROM inner_one) FROM outer_one", "select", "outer_one"),
            ("SELECT extract(year FROM at), trim(both ' ' FROM name) FROM users", "select", "users"),
            ("SELECT a IS DISTINCT FROM b, c IS NOT DISTINCT FROM d FROM users", "select", "users"),
            ("SELECT DISTINCT name FROM users", "select", "users"),
            ("SELECT * FROM (SELECT 1) AS t", "select", ""),
            ("SELECT * FROM (users JOIN orders USING (id))", "select", "users"),
            ("SELECT 1", "select", ""),
            ("(SELECT a FROM users) UNION (SELECT b FROM orders)", "select", "users"),
            ("TABLE users", "select", "users"),
            ("WITH recent AS (SELECT * FROM logs) SELECT * FROM recent", "select", "recent"),
            ("WITH gone AS (DELETE FROM a RETURNING *) INSERT INTO b SELECT * FROM gone", "insert", "b"),
            ("WITH RECURSIVE t(n) AS (VALUES (1)) UPDATE users SET n = 1", "update", "users"),
            ("INSERT INTO tasks (title) VALUES ('from secrets')", "insert", "tasks"),
            ("INSERT INTO tasks(title) VALUES (?)", "insert", "tasks"),
            ("INSERT OR REPLACE INTO [tasks] DEFAULT VALUES", "insert", "tasks"),
            ("INSERT LOW_PRIORITY IGNORE INTO tasks VALUES (1)", "insert", "tasks"),
            ("INSERT tasks VALUES (1)", "insert", "tasks"),
            ("INSERT ALL INTO tasks (a) VALUES (1) INTO other (b) VALUES (2) SELECT * FROM dual", "insert", "tasks"),
            ("REPLACE INTO tasks VALUES (1)", "replace", "tasks"),
            ("MERGE INTO tasks t USING news n ON (t.id = n.id)", "merge", "tasks"),
            ("MERGE TOP (10) tasks AS t USING news AS n ON t.id = n.id", "merge", "tasks"),
            ("UPDATE `tasks` SET done = 1", "update", "tasks"),
            ("UPDATE OR IGNORE tasks SET done = 1", "update", "tasks"),
            ("UPDATE LOW_PRIORITY IGNORE tasks SET done = 1", "update", "tasks"),
            ("UPDATE TOP (5) tasks SET done = 1", "update", "tasks"),
            ("UPDATE t SET done = 1 FROM tasks AS t JOIN users u ON u.id = t.owner", "update", "tasks"),
            ("UPDATE u SET done = 1 FROM tasks AS t INNER JOIN users u ON u.id = t.owner", "update", "users"),
            ("UPDATE tasks SET done = n.done FROM news n WHERE n.id = tasks.id", "update", "tasks"),
            ("DELETE FROM ONLY app.sessions", "delete", "sessions"),
            ("DELETE LOW_PRIORITY QUICK FROM sessions", "delete", "sessions"),
            ("DELETE TOP (10) FROM sessions", "delete", "sessions"),
            ("DELETE sessions WHERE id = 1", "delete", "sessions"),
            ("DELETE s FROM users u JOIN sessions s ON s.user = u.id", "delete", "sessions"),
            ("DELETE FROM s USING sessions AS s WHERE s.old", "delete", "sessions"),
            ("TRUNCATE sessions", "truncate", "sessions"),
            ("TRUNCATE TABLE ONLY app.sessions", "truncate", "sessions"),
            ("CREATE TABLE IF NOT EXISTS projects (id INTEGER)", "create", "projects"),
            ("CREATE TEMP TABLE projects AS SELECT * FROM old", "create", "projects"),
            ("CREATE UNIQUE INDEX CONCURRENTLY i ON app.projects (name)", "create", "projects"),
            ("CREATE VIEW v AS SELECT * FROM projects", "create", ""),
            ("CREATE FUNCTION f() RETURNS TABLE (a int) AS $$ SELECT 1 $$", "create", ""),
            ("ALTER TABLE IF EXISTS ONLY projects ADD COLUMN a int", "alter", "projects"),
            ("DROP TABLE projects CASCADE", "drop", "projects"),
            ("BEGIN IMMEDIATE", "begin", ""),
            ("GRANT ALL ON users TO bob", "other", ""),
            ("", "other", ""),
        ] {
            check(sql, operation, table);
        }
    }

    #[test]
    fn a_name_is_read_in_each_of_its_forms() {
        for name in [
            "users",
            "USERS",
            "public.users",
            "public . users",
            "public /* of */ . -- all\n users",
            "\"public\".\"users\"",
            "`app`.`users`",
            "`app.users`",
            "[dbo].[Users]",
            "server.db..users",
            "users@remote",
            "users AS u",
            "users (NOLOCK)",
            "ONLY (users)",
            "users, orders",
            "users;",
        ] {
            check(&format!("SELECT * FROM {name}"), "select", "users");
        }
        check("SELECT * FROM \"order details\"", "select", "order details");
        check("SELECT * FROM größen", "select", "größen");
        for not_a_table in [
            "generate_series(1, 3)",
            "unnest($1) AS u",
            "JSON_TABLE('[1]', '$[*]')",
            "ROWS FROM (f(1))",
            "LATERAL f(1)",
            ":name",
            "?",
            "'users'",
            "@variable",
            "\"us\"\"ers\"",
            "a.*",
        ] {
            check(&format!("SELECT * FROM {not_a_table}"), "select", "");
        }
    }

    /// Literals in every form that a database knows, each with what would be a clause if it were not skipped whole.
    const LITERALS: [&str; 27] = [
        "'it''s FROM hunter2 '",
        "'FROM hunter2 -- '",
        "'/* FROM hunter2 '",
        r"'it\\'' FROM hunter2 '",
        r"'it\' FROM hunter2 '",
        r"E'it\' FROM hunter2 '",
        r"e'\\\' FROM hunter2 '",
        "N' FROM hunter2 '",
        "_utf8mb4' FROM hunter2 '",
        "x' FROM hunter2 '",
        "\"it\"\"s FROM hunter2 \"",
        r#""it\" FROM hunter2 ""#,
        "\"\"\"it\" FROM hunter2 \"\"\"",
        "'''it' FROM hunter2 '''",
        "$$it's FROM hunter2 $$",
        "$q$it's $$ FROM hunter2 $q$",
        "$größe$ FROM hunter2 $größe$",
        "q'[it's ' FROM hunter2 ]'",
        "Q'{it's ' FROM hunter2 }'",
        "q'(it's ' FROM hunter2 )'",
        "nq'<it's ' FROM hunter2 >'",
        "q'!it's ' FROM hunter2 !'",
        "ARRAY['] FROM hunter2 ']",
        "a['] FROM hunter2 ']",
        "/* it's /* nested */ FROM hunter2 */ 1",
        "-- it's FROM hunter2 \n 1",
        "# it's FROM hunter2 \n 1",
    ];

    #[test]
    fn every_quoting_form_is_skipped_whole() {
        for literal in LITERALS {
            for sql in [
                format!("SELECT {literal} FROM users WHERE a = {literal}"),
                format!("SELECT {literal}, {literal} FROM users"),
                format!("SELECT a, {literal}"),
                format!("DELETE {literal} FROM users"),
                format!("UPDATE {literal} SET a = 1"),
                format!("WITH a AS (SELECT {literal}) SELECT {literal}"),
            ] {
                let found = Statement::parse(&sql);
                assert!(!found.table.contains("hunter2"), "{sql}: {found:?}");
            }
            check(&format!("SELECT a FROM users WHERE a = {literal}"), "select", "users");
        }
    }

    #[test]
    fn a_comment_hides_nothing_behind_it() {
        check("-- from x\n/* from y */ SELECT 'from z', 1 FROM t", "select", "t");
        check("--from x\nSELECT 1 FROM t", "select", "t");
        check("-------- from x\nSELECT 1 FROM t", "select", "t");
        check("# from x\nSELECT 1 FROM t", "select", "t");
        check("SELECT /*+ INDEX(a) */ 1 FROM t", "select", "t");
        check("SELECT /* a /* b */ c */ 1 FROM t", "select", "t");
        check("SELECT data #> '{a,b}', data #>> '{c}' FROM t", "select", "t");
        check("SELECT a[1], b[2:3] FROM t", "select", "t");
    }

    #[test]
    fn only_the_first_8_kilobytes_are_read() {
        let values = "(1, 'it''s x'), ".repeat(60_000);
        check(&format!("INSERT INTO users VALUES {values} (2, 'y')"), "insert", "users");
        check(&format!("WITH v (a) AS (VALUES {values} (2, 'y')) SELECT * FROM users"), "with", "");
        let spaces = |count| " ".repeat(count);
        check(&format!("SELECT *{} FROM users", spaces(8_000)), "select", "users");
        check(&format!("SELECT *{} FROM users", spaces(8_192)), "select", "");
        for place in 8_170..8_200 {
            let found = Statement::parse(&format!("SELECT *{} FROM größen", spaces(place)));
            assert!(["", "größen"].contains(&&*found.table), "cut at {place}: {found:?}");
        }
    }

    #[test]
    fn each_byte_is_read_once() {
        // Minutes of reading where each of these is looked for again and again; a moment where not.
        let more = "'x', \" ` $ $a [ [[ /* /*/ */ -- # \\ '\\' ( ) q' q'[ $$ . E' a[' \u{e4}";
        for piece in LITERALS.into_iter().chain(more.split(' ')) {
            let text = piece.repeat(400_000 / piece.len());
            let _count = Tokens::new(&text).count();
        }
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
