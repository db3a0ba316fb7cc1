use super::{Draw, Lookalike, Place, secrets::percent};

/// More than 400 texts that look like secrets and are not.
pub fn lookalikes() -> Vec<Lookalike> {
    let mut draw = Draw::new(11);
    let mut all = Vec::new();
    for text in TEXTS {
        for place in [Place::Message, Place::Field] {
            all.push(case("text", place, "detail", text));
        }
    }
    for value in VALUES.iter().map(|value| (*value).to_owned()).chain(drawn(&mut draw)) {
        let escaped = percent(&value);
        all.push(case("value", Place::Message, "", &format!("item {value} was not found")));
        all.push(case("value", Place::Query, "", &format!("page=2&q={escaped}&sort=name")));
        all.push(case("value", Place::Path, "", &format!("/v1/items/{escaped}/edit")));
        all.push(case("value", Place::Json, "", &format!(r#"{{"note":"{value}"}}"#)));
        all.push(case("value", Place::Field, "detail", &value));
    }
    for (name, value) in PAIRS {
        all.push(case("pair", Place::Query, "", &format!("page=2&{name}={}", percent(value))));
        all.push(case("pair", Place::Message, "", &format!("done {name}={value} in 3 ms")));
        all.push(case("pair", Place::Field, name, value));
        all.push(case("pair", Place::Json, "", &format!(r#"{{"{name}":"{value}"}}"#)));
        all.push(case("pair", Place::Breadcrumb, "", &format!(r#"{{"{name}": "{value}", "n": 1}}"#)));
    }
    for (name, value) in HEADERS {
        all.push(case("header", Place::Header, name, value));
    }
    for url in URLS {
        all.push(case("url", Place::Url, "", url));
        all.push(case("url", Place::Message, "", &format!("GET {url} 200")));
    }
    all
}

fn case(kind: &'static str, place: Place, name: &str, text: &str) -> Lookalike {
    Lookalike { kind, place, name: name.to_owned(), text: text.to_owned() }
}

fn drawn(draw: &mut Draw) -> Vec<String> {
    let mut values = Vec::new();
    for _ in 0..6 {
        let hex = draw.hex(32);
        let (time, rest) = hex.split_at(8);
        let (mid, rest) = rest.split_at(4);
        let (version, rest) = rest.split_at(4);
        let (clock, node) = rest.split_at(4);
        values.push(format!("{time}-{mid}-{version}-{clock}-{node}"));
        values.push(draw.hex(40));
        values.push(draw.hex(64));
        values.push(draw.hex(7));
        values.push(format!("01J{}", draw.upper(23)));
        values.push(format!("sha256:{}", draw.hex(64)));
        values.push(format!("17{}", draw.digits(17)));
        values.push(format!("00-{}-{}-01", draw.hex(32), draw.hex(16)));
    }
    // One digit off: neither Luhn's nor the IBAN's.
    for card in ["4111111111111112", "5500000000000005", "378282246310006", "1234567890123456", "9999999999999995"] {
        values.push(card.to_owned());
    }
    for iban in ["DE88370400440532013000", "GB00WEST12345698765432", "XX89370400440532013000"] {
        values.push(iban.to_owned());
    }
    values
}

/// Single values, in any place.
const VALUES: &[&str] = &[
    "2026-11-23T20:03:01.123456Z",
    "v1.2.3-beta.4+build.5",
    "lodash@4.17.21",
    "logo@2x.png",
    "getty@tty1.service",
    "192.168.0.1",
    "2001:db8::1",
    "aa:bb:cc:dd:ee:ff",
    "internationalization-of-everything",
    "a-very-long-slug-for-an-article-in-2024",
    "application/vnd.example.v2+json",
    "text/html",
    "Europe/Berlin",
    "en-US",
    "SKU-2024-000123",
    "INV-2024-0001-DE",
    "+49 30 1234567",
    "978-3-16-148410-0",
    "eyJpZCI6MTIzfQ",
    "eyJwYWdlIjoyLCJzb3J0IjoibmFtZSJ9",
    "task-manager",
    "sk-learn-pipelines-for-beginners",
    "npm_config_user_agent",
    "glib",
    "ghp",
    "AKIA",
    "basic",
    "bearer",
    "password",
    "token",
    "tokenizer",
    "secretary",
    "forgot-password",
    "reset-password",
    "users_by_email_2024_index",
    "SELECT",
    "caf\u{e9}",
    "\u{65e5}\u{672c}\u{8a9e}",
    "100%",
    "50% off",
    "a=b",
    "C:\\temp\\new",
    "__init__",
    "0x7ffee4b0c8a8",
    "1.0e-10",
    "#fff000",
    "@scope/package",
    "@alice",
];

/// Names with a telling word in them, and values that are harmless.
const PAIRS: &[(&str, &str)] = &[
    ("max_tokens", "4096"),
    ("prompt_tokens", "117"),
    ("total_tokens", "1280"),
    ("token_type", "bearer"),
    ("token_count", "12"),
    ("tokenizer", "bert-base"),
    ("sort_key", "created_at"),
    ("primary_key", "users_id"),
    ("partition_key", "2024-11"),
    ("cache_key", "user:42:profile"),
    ("key", "name"),
    ("keyboard", "qwerty"),
    ("monkey", "george"),
    ("author", "alice"),
    ("authority", "shop.example"),
    ("auth_method", "password"),
    ("session_count", "3"),
    ("cookie_consent", "accepted"),
    ("password_changed_at", "2024-11-23"),
    ("password_strength", "strong"),
    ("has_password", "yes"),
    ("code", "E1234"),
    ("status_code", "404"),
    ("error_code", "invalid_grant"),
    ("country_code", "DE"),
    ("state", "open"),
    ("hash", "none"),
    ("secretary", "bob"),
    ("passenger", "alice"),
    ("compass", "north"),
    ("design", "flat"),
    ("signal", "SIGTERM"),
    ("pinned", "yes"),
    ("shipping", "express"),
    ("option", "blue"),
    ("idempotency_key", "7f9c2ba4e88f827d616045507605853e"),
    ("request_id", "01JDB8Z3K6W4C0S1T2V5X7Y9QA"),
    ("trace_id", "4bf92f3577b34da6a3ce929d0e0e4736"),
    ("span_id", "00f067aa0ba902b7"),
    ("user_id", "42"),
    ("page", "2"),
];

/// Sentences with a telling word in them.
const TEXTS: &[&str] = &[
    "unexpected token: identifier",
    "unexpected token: `}` at line 3",
    "syntax error: token expected",
    "token 12 of 15",
    "token expired at 2024-11-23T20:03:01Z",
    "invalid token",
    "token: missing",
    "invalid value for `token`: must not be empty",
    "field `password`: required",
    "password authentication failed for user \"app\"",
    "PIN code 1234 rejected",
    "the token is invalid",
    "password is required",
    "password must be at least 8 characters",
    "password: must be at least 8 characters",
    "password: required",
    "wrong password for user 42",
    "password reset requested",
    "forgot password?",
    "secret not found",
    "secret: not found",
    "no secret was given",
    "basic authentication is required",
    "Basic usage of the library",
    "bearer token required",
    "missing bearer token",
    "digest mismatch for layer 3",
    "session expired",
    "session: none",
    "cookie: disabled",
    "cookie banner accepted",
    "duplicate key value violates unique constraint \"users_email_key\"",
    "Duplicate entry '42' for key 'users.primary'",
    "key: users_pkey",
    "missing key: name",
    "foreign key: orders_user_id_fkey",
    "no such key: user:42",
    "status code: 404",
    "exit code: 137",
    "HTTP status code 503",
    "pin the version to 1.2.3",
    "signature: fn main() -> Result<(), Error>",
    "auth: ok",
    "auth::login::handler took 12 ms",
    "crate::token::Kind::Ident",
    "std::collections::HashMap<Token, Secret>",
    "Vec<Token> has 3 items",
    "if token == expected { return }",
    "token != expected",
    "passed: 12, failed: 0",
    "pass: 12, fail: 3",
    "compass: north",
    "author: alice",
    "SELECT password FROM users WHERE id = $1",
    "UPDATE users SET password = $1 WHERE id = $2",
    "UPDATE users SET password = ? WHERE id = ?",
    "INSERT INTO users (name, password) VALUES ($1, $2)",
    "password=${DB_PASSWORD}",
    "password=***",
    "password=********",
    "password: [Filtered]",
    "password=[redacted:key]",
    "token=null",
    "{\"token\":null,\"password\":\"\"}",
    "Settings { password: None, port: 80 }",
    "api_key=<redacted>",
    "git clone git@github.com:owner/repo.git",
    "ssh://git@github.com/owner/repo.git",
    "https://shop.example/@alice/posts",
    "https://shop.example/a@b",
    "connecting to http://localhost:8080/health",
    "listening on 0.0.0.0:8080",
    "10:15:30 INFO server: started in 12 ms",
    "2024-11-23 20:03:01,123 [main] INFO shop: ready",
    "127.0.0.1 - - [23/Nov/2026:20:03:01 +0000] \"GET /items?page=2 HTTP/1.1\" 200 1234",
    "thread 'main' panicked at src/main.rs:12:5: index out of bounds: the len is 3 but the index is 7",
    "called `Option::unwrap()` on a `None` value",
    "cannot move out of `*self` which is behind a shared reference",
    "upstream timed out (110: Connection timed out) while reading response header",
    "took=12ms status=200 method=GET path=/items",
    "user_id=42 order_id=1234567890123 amount=19.99",
    "order 1700000000000000000 shipped",
    "build 20241123.4 of release 2024.11.23",
    "commit 4b825dc642cb6eb9a060e54bf8d69288fbee4904",
    "image sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "part number 078-05-1120 is out of stock",
    "phone +49 (30) 123-456-789",
    "isbn 978-3-16-148410-0",
    "range 1-2-3-4-5-6-7-8-9-10-11-12-13",
    "matrix 4111 1111 1111 111",
    "pi is 3.14159265358979323846",
    "uuid 550e8400-e29b-41d4-a716-446655440000",
    "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
    "-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----",
    "100% of 5% is 5%",
    "50%25 done",
    "path C:\\Users\\alice\\new\\table",
    "regex \\d+\\s*\\w+",
    "Tom & Jerry; salt & pepper",
    "x < y && y > z",
    "caf\u{e9} \u{2615} ready",
    "",
];

const HEADERS: &[(&str, &str)] = &[
    ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
    ("accept-encoding", "gzip, deflate, br"),
    ("accept-language", "de-DE,de;q=0.9,en;q=0.8"),
    ("cache-control", "max-age=0, no-cache"),
    ("content-type", "multipart/form-data; boundary=----WebKitFormBoundaryABCDEFGHIJKLMNOP"),
    ("content-length", "1234567890"),
    ("host", "shop.example:8080"),
    ("origin", "https://shop.example"),
    ("referer", "https://shop.example/items?page=2#top"),
    (
        "user-agent",
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36",
    ),
    ("sec-ch-ua", "\"Chromium\";v=\"131\", \"Not_A Brand\";v=\"24\""),
    ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
    ("x-request-id", "550e8400-e29b-41d4-a716-446655440000"),
    ("x-request-id", "01JDB8Z3K6W4C0S1T2V5X7Y9QA"),
    ("date", "Mon, 23 Nov 2026 20:03:01 GMT"),
    ("range", "bytes=0-1023"),
    ("keep-alive", "timeout=5, max=1000"),
    ("sec-fetch-mode", "navigate"),
    ("location", "/items/42"),
    ("grpc-timeout", "5S"),
    ("grpc-message", "not%20found"),
];

const URLS: &[&str] = &[
    "https://shop.example/items?page=2&sort=name",
    "https://shop.example/items/550e8400-e29b-41d4-a716-446655440000",
    "https://shop.example:8443/a/b/c?x=1&y=2#section-3",
    "https://cdn.example/app.4b825dc642cb6eb9.js",
    "http://localhost:3000/api/v1/users/42/orders",
    "https://shop.example/token/refresh",
    "https://shop.example/session/new",
    "https://shop.example/password/forgot?lang=en",
    "https://shop.example/search?q=how+to+reset+my+password",
    "https://shop.example/search?q=caf%C3%A9%20au%20lait",
    "https://shop.example/?utm_source=news&utm_campaign=2024-11-sale",
    "wss://shop.example/live",
];
