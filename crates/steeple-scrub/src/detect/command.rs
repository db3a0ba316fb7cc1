//! Credentials as options of commands: `--password …`, `curl -u user:…`, `docker login -p …`, `mysql -p…`; netrc.

use super::{
    Findings, add, at, before, cut, is_blank, is_quote, is_space,
    phrase::Known,
    remark::{is_folder, is_placeholder},
    run, run_back, run_max,
    userinfo::is_user,
    value::quoted,
};
use crate::{
    marker::Rule,
    name::{self, Class},
};

/// A command begins no further before its option.
const COMMAND: usize = 256;

/// How a command's option is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// `-p x` or `-px`.
    Either,
    /// `-px`.
    Joined,
    /// `-u user:x` or `-uuser:x`.
    User,
}

/// Letter, command, form. Where a command takes a word before its options (`docker login`), that is the command.
const OPTIONS: &[(u8, &[u8], Form)] = &[
    (b'P', b"bcp", Form::Either),
    (b'P', b"sqlcmd", Form::Either),
    (b'U', b"curl", Form::User),
    (b'U', b"smbclient", Form::User),
    (b'a', b"http", Form::User),
    (b'a', b"redis-benchmark", Form::Either),
    (b'a', b"redis-cli", Form::Either),
    (b'a', b"valkey-cli", Form::Either),
    (b'p', b"cqlsh", Form::Either),
    (b'p', b"login", Form::Either),
    (b'p', b"mariadb", Form::Joined),
    (b'p', b"mariadb-dump", Form::Joined),
    (b'p', b"mongo", Form::Either),
    (b'p', b"mongodump", Form::Either),
    (b'p', b"mongorestore", Form::Either),
    (b'p', b"mongosh", Form::Either),
    (b'p', b"mysql", Form::Joined),
    (b'p', b"mysqladmin", Form::Joined),
    (b'p', b"mysqldump", Form::Joined),
    (b'p', b"mysqlimport", Form::Joined),
    (b'p', b"sshpass", Form::Either),
    (b'u', b"curl", Form::User),
    (b'w', b"ldapadd", Form::Either),
    (b'w', b"ldapmodify", Form::Either),
    (b'w', b"ldapsearch", Form::Either),
    (b'w', b"ldapwhoami", Form::Either),
];

/// `-p x`, at its dash, which a space stands before.
pub(super) fn option(text: &[u8], dash: usize, known: Known<'_>, findings: &mut Findings) -> Option<usize> {
    let letter = at(text, dash.saturating_add(1));
    if !matches!(letter, b'P' | b'U' | b'a' | b'p' | b'u' | b'w') {
        return None;
    }
    let form = form(text, dash, letter)?;
    let joined = dash.saturating_add(2);
    let start = run(text, joined, |byte| byte == b' ');
    if start > joined && form == Form::Joined || start == joined && is_blank(at(text, joined)) {
        return None;
    }
    let (open, end) =
        quoted(text, start, text.len()).unwrap_or_else(|| (start, run(text, start, |byte| !is_blank(byte))));
    let content = cut(text, open, end);
    let (rule, is) = match form {
        Form::User => (Rule::Userinfo, is_user(content)),
        Form::Either | Form::Joined => (Rule::Key, !is_option(content)),
    };
    if !is || content.is_empty() || is_placeholder(content) || known.is_marker(content) {
        return None;
    }
    add(findings, open, end, rule);
    Some(end)
}

/// The option's form for the command that it belongs to.
fn form(text: &[u8], dash: usize, letter: u8) -> Option<Form> {
    let from = run_back(text, dash, COMMAND, |byte| !matches!(byte, b'\n' | b'|' | b';' | b'&' | b'`'));
    let mut words = cut(text, from, dash).split(|byte| !(byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')));
    let known =
        |word: &[u8]| OPTIONS.iter().find(|(of, command, _)| *of == letter && *command == word).map(|(.., form)| *form);
    words.find_map(known)
}

/// `--password hunter2`, `--user name:hunter2`.
pub(super) fn flag(text: &[u8], start: usize, known: Known<'_>, findings: &mut Findings) -> Option<usize> {
    if start > 0 && !is_space(before(text, start)) && !is_quote(before(text, start)) {
        return None;
    }
    let name = start.saturating_add(2);
    let end = run_max(text, name, 64, |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'));
    if end == name || !matches!(at(text, end), b' ' | b'=') {
        return None;
    }
    let user = matches!(cut(text, name, end), b"user" | b"proxy-user");
    // `--password=x` is a pair like any other.
    if at(text, end) == b'=' && !user {
        return None;
    }
    let class = name::classify(cut(text, name, end), known.names);
    if class <= Class::Weak && !user {
        return None;
    }
    let value = run(text, end, |byte| matches!(byte, b' ' | b'='));
    let (open, close) =
        quoted(text, value, text.len()).unwrap_or_else(|| (value, run(text, value, |byte| !is_blank(byte))));
    let content = cut(text, open, close);
    if content.is_empty() || is_option(content) || known.is_marker(content) || is_placeholder(content) {
        return None;
    }
    let rule = match class {
        _ if user && is_user(content) => Rule::Userinfo,
        Class::Open | Class::Weak => return None,
        Class::Folder if is_folder(content) => return None,
        Class::Folder | Class::Word | Class::Digits | Class::Strong => Rule::Key,
    };
    add(findings, open, close, rule);
    Some(close)
}

/// `--verbose`, `-xvf`: the next option, and not a value that happens to begin with a dash.
fn is_option(word: &[u8]) -> bool {
    word.starts_with(b"--") || word.starts_with(b"-") && (word.len() < 10 || !word.iter().any(u8::is_ascii_digit))
}
