use super::{Draw, Place, Secret};

/// More than 400 secrets, each kind in each place.
pub fn secrets() -> Vec<Secret> {
    let mut draw = Draw::new(7);
    let mut all = Vec::new();
    for kind in SHAPED {
        for (nth, place) in SHAPED_PLACES.iter().enumerate() {
            // In a URL's path a slash would make two segments of it.
            let secret = shaped(kind, &mut draw);
            if secret.contains('/') && matches!(place, Place::Path | Place::Target)
                || secret.contains('\n') && !is_prose(*place)
            {
                continue;
            }
            all.push(hold(kind, *place, nth, &secret));
        }
        let secret = shaped(kind, &mut draw);
        if !secret.contains('\n') {
            all.extend(encoded(kind, &secret));
        }
    }
    named(&mut draw, &mut all);
    credentials(&mut draw, &mut all);
    prose(&mut all);
    all
}

const fn is_prose(place: Place) -> bool {
    matches!(place, Place::Message | Place::Error | Place::Breadcrumb | Place::Field)
}

const SHAPED_PLACES: [Place; 11] = [
    Place::Message,
    Place::Error,
    Place::Breadcrumb,
    Place::Field,
    Place::Query,
    Place::Form,
    Place::Json,
    Place::Path,
    Place::Target,
    Place::Url,
    Place::Header,
];

/// Kinds that are known by what they look like, under any name.
const SHAPED: [&str; 62] = [
    "jwt",
    "jwt-unsigned",
    "jwe",
    "aws",
    "aws-temporary",
    "github",
    "github-app",
    "github-fine",
    "gitlab",
    "gitlab-runner",
    "slack-bot",
    "slack-user",
    "slack-app",
    "stripe",
    "stripe-restricted",
    "stripe-webhook",
    "google-api",
    "google-oauth",
    "google-secret",
    "npm",
    "sendgrid",
    "newrelic-user",
    "newrelic-license",
    "openai",
    "openai-project",
    "anthropic",
    "vault",
    "grafana",
    "sentry",
    "shopify",
    "digitalocean",
    "docker",
    "pypi",
    "huggingface",
    "twilio",
    "square",
    "databricks",
    "doppler",
    "dynatrace",
    "linear",
    "notion",
    "figma",
    "telegram",
    "discord",
    "mailchimp",
    "mailgun",
    "terraform",
    "azure",
    "postman",
    "planetscale",
    "groq",
    "rubygems",
    "age",
    "card",
    "card-spaced",
    "card-dashed",
    "amex",
    "iban",
    "iban-spaced",
    "email",
    "email-plus",
    "pem",
];

fn base64(draw: &mut Draw, len: usize) -> String {
    draw.mixed("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-", len)
}

fn shaped(kind: &str, draw: &mut Draw) -> String {
    let header = ["ey", "JhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9"].concat();
    match kind {
        "jwt" => format!("{header}.ey{}.{}", base64(draw, 40), base64(draw, 43)),
        "jwt-unsigned" => format!("{header}.ey{}.", base64(draw, 30)),
        "jwe" => format!(
            "{}{}..{}.{}.{}",
            "ey",
            "JhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIn0",
            base64(draw, 16),
            base64(draw, 60),
            base64(draw, 22)
        ),
        "aws" => format!("{}{}", "AKI".to_owned() + "A", draw.upper(16)),
        "aws-temporary" => format!("{}{}", "ASI".to_owned() + "A", draw.upper(16)),
        "github" => format!("gh{}{}", "p_", draw.alnum(36)),
        "github-app" => format!("gh{}{}", "s_", draw.alnum(36)),
        "github-fine" => format!("github_{}_{}_{}", "pat", draw.alnum(22), draw.alnum(59)),
        "gitlab" => format!("gl{}{}", "pat-", draw.alnum(20)),
        "gitlab-runner" => format!("gl{}{}", "rt-", draw.alnum(20)),
        "slack-bot" => format!("xox{}{}-{}-{}", "b-", draw.digits(12), draw.digits(12), draw.alnum(24)),
        "slack-user" => format!("xox{}{}-{}-{}", "p-", draw.digits(12), draw.digits(12), draw.hex(32)),
        "slack-app" => format!("xap{}1-A{}-{}-{}", "p-", draw.upper(10), draw.digits(13), draw.hex(64)),
        "stripe" => format!("sk_{}_{}", "live", draw.alnum(24)),
        "stripe-restricted" => format!("rk_{}_{}", "test", draw.alnum(24)),
        "stripe-webhook" => format!("wh{}_{}", "sec", draw.alnum(32)),
        "google-api" => format!("AI{}{}", "za", draw.alnum(35)),
        "google-oauth" => format!("ya{}.{}", "29", draw.alnum(60)),
        "google-secret" => format!("GOC{}-{}", "SPX", draw.alnum(28)),
        "npm" => format!("np{}_{}", "m", draw.alnum(36)),
        "sendgrid" => format!("S{}.{}.{}", "G", draw.alnum(22), draw.alnum(43)),
        "newrelic-user" => format!("NR{}-{}", "AK", draw.upper(27)),
        "newrelic-license" => format!("{}NR{}", draw.hex(36), "AL"),
        "openai" => format!("s{}-{}", "k", draw.alnum(48)),
        "openai-project" => format!("s{}-proj-{}", "k", draw.alnum(64)),
        "anthropic" => format!("s{}-ant-api03-{}", "k", draw.alnum(80)),
        "vault" => format!("hv{}.{}", "s", draw.alnum(90)),
        "grafana" => format!("gl{}_{}_{}", "sa", draw.alnum(32), draw.hex(8)),
        "sentry" => format!("sntry{}_{}", "u", draw.hex(64)),
        "shopify" => format!("shp{}_{}", "at", draw.hex(32)),
        "digitalocean" => format!("dop_{}_{}", "v1", draw.hex(64)),
        "docker" => format!("dckr_{}_{}", "pat", draw.alnum(27)),
        "pypi" => format!("pypi-{}{}", "AgE", draw.alnum(80)),
        "huggingface" => format!("h{}_{}", "f", draw.alnum(34)),
        "twilio" => format!("S{}{}", "K", draw.hex(32)),
        "square" => format!("sq0{}-{}", "atp", draw.alnum(22)),
        "databricks" => format!("da{}{}", "pi", draw.hex(32)),
        "doppler" => format!("dp.{}.{}", "pt", draw.alnum(43)),
        "dynatrace" => format!("dt0{}.{}.{}", "c01", draw.upper(24), draw.upper(64)),
        "linear" => format!("lin_{}_{}", "api", draw.alnum(40)),
        "notion" => format!("nt{}_{}", "n", draw.alnum(46)),
        "figma" => format!("fi{}_{}", "gd", draw.alnum(40)),
        "telegram" => format!("{}:A{}{}", draw.digits(9), "A", draw.alnum(33)),
        "discord" => format!("M{}.{}.{}", draw.alnum(23), draw.alnum(6), draw.alnum(27)),
        "mailchimp" => format!("{}-u{}", draw.hex(32), "s6"),
        "mailgun" => format!("ke{}-{}", "y", draw.hex(32)),
        "terraform" => format!("{}.atlas{}.{}", draw.alnum(14), "v1", draw.alnum(60)),
        "azure" => format!("{}8Q{}{}", draw.alnum(3), "~", draw.alnum(34)),
        "postman" => format!("PM{}-{}-{}", "AK", draw.hex(24), draw.hex(34)),
        "planetscale" => format!("pscale_{}_{}", "pw", draw.alnum(43)),
        "groq" => format!("gs{}_{}", "k", draw.alnum(52)),
        "rubygems" => format!("ruby{}_{}", "gems", draw.hex(48)),
        "age" => format!("AGE-SECRET-{}-1{}", "KEY", draw.upper(58)),
        "card" => card(draw, "4", 16),
        "card-spaced" => fours(&card(draw, "5", 16), ' '),
        "card-dashed" => fours(&card(draw, "4", 16), '-'),
        "amex" => card(draw, "37", 15),
        "iban" => iban(draw),
        "iban-spaced" => fours(&iban(draw), ' '),
        "email" => format!("{}.{}@post.fir-grove.org", name(draw), name(draw)),
        "email-plus" => format!("{}+{}@fir-grove.co.uk", name(draw), draw.digits(4)),
        "pem" => {
            let body: Vec<String> = (0..6).map(|_| draw.alnum(64)).collect();
            let label = ["RSA PRIV", "ATE KEY"].concat();
            format!("-----BEGIN {label}-----\n{}\n-----END {label}-----", body.join("\n"))
        }
        _ => String::new(),
    }
}

fn name(draw: &mut Draw) -> String {
    draw.from("abcdefghijklmnoprstuvw", 9)
}

fn card(draw: &mut Draw, prefix: &str, len: usize) -> String {
    // The second digit of a Mastercard is 1 to 5.
    let prefix = if prefix == "5" { "53" } else { prefix };
    let base = format!("{prefix}{}", draw.digits(len.saturating_sub(prefix.len()).saturating_sub(1)));
    let check = ('0'..='9').find(|check| crate::detect::number::is_card(format!("{base}{check}").bytes()));
    check.map(|check| format!("{base}{check}")).unwrap_or_default()
}

fn iban(draw: &mut Draw) -> String {
    let base = draw.digits(18);
    let rest = format!("{base}131400").bytes().fold(0_u32, |rest, digit| (rest * 10 + u32::from(digit - b'0')) % 97);
    format!("DE{:02}{base}", 98 - rest)
}

fn fours(text: &str, separator: char) -> String {
    let mut out = String::new();
    for (nth, char) in text.chars().enumerate() {
        if nth > 0 && nth.is_multiple_of(4) {
            out.push(separator);
        }
        out.push(char);
    }
    out
}

/// Characters that a query does not hold as they are.
pub(super) fn percent(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// A text for `place` with `secret` in it, under a name that says nothing.
fn hold(kind: &'static str, place: Place, nth: usize, secret: &str) -> Secret {
    let mut name = String::new();
    let escaped = percent(secret);
    let mut as_written = secret.to_owned();
    let text = match place {
        Place::Message => {
            let frames = [
                "user sent {} to us",
                "{} was refused",
                "upstream said: {}",
                "retry with ({}), attempt 2",
                "value '{}' is not valid",
            ];
            frames.get(secret.len() % frames.len()).unwrap_or(&"{}").replace("{}", secret)
        }
        Place::Error => format!("request failed: invalid input `{secret}`: connection reset"),
        Place::Breadcrumb => format!("GET /items -> 500, body: {{\"detail\":\"no such thing: {secret}\"}}"),
        Place::Field => {
            "detail".clone_into(&mut name);
            secret.to_owned()
        }
        Place::Query | Place::Form => {
            as_written.clone_from(&escaped);
            format!("page=2&q={escaped}&sort=name")
        }
        Place::Json => format!(r#"{{"page":2,"items":[{{"note":"{secret}"}}],"ok":true}}"#),
        Place::Path => {
            as_written.clone_from(&escaped);
            format!("/v1/items/{escaped}/edit")
        }
        Place::Target => {
            as_written.clone_from(&escaped);
            format!("/v1/items?q={escaped}&nth={nth}")
        }
        Place::Url => {
            as_written.clone_from(&escaped);
            format!("https://shop.example/items?page=2#{escaped}")
        }
        Place::Header => {
            "user-agent".clone_into(&mut name);
            format!("client/1.0 ({secret})")
        }
        Place::Cookie => format!("theme={secret}"),
    };
    Secret { kind, place, name, text, secret: as_written }
}

/// The same secret behind escapes.
fn encoded(kind: &'static str, secret: &str) -> [Secret; 3] {
    let once = percent(secret);
    let twice = percent(&once);
    let json = secret.replace('@', "\\u0040").replace('-', "\\u002d").replace('.', "\\u002e");
    let case = |place, text: String, secret: String| Secret { kind, place, name: String::new(), text, secret };
    [
        case(Place::Message, format!("GET /cb?next=https%3A%2F%2Fshop.example%2F%3Fq%3D{once}%26page%3D2 200"), once),
        case(Place::Query, format!("next=https%253A%252F%252Fshop.example%252F%253Fq%253D{twice}&page=2"), twice),
        case(Place::Breadcrumb, format!(r#"sent "{{\"note\":\"{json}\"}}" to the queue"#), json),
    ]
}

/// Secrets that only their name gives away.
fn named(draw: &mut Draw, all: &mut Vec<Secret>) {
    const NAMES: [&str; 40] = [
        "password",
        "Password",
        "passwd",
        "pwd",
        "user_password",
        "newPassword",
        "password_confirmation",
        "passphrase",
        "secret",
        "client_secret",
        "clientSecret",
        "token",
        "access_token",
        "accessToken",
        "refresh_token",
        "id_token",
        "auth_token",
        "csrf_token",
        "_csrf",
        "xsrf-token",
        "api_key",
        "apiKey",
        "api-key",
        "apikey",
        "x-api-key",
        "private_key",
        "signing_key",
        "session",
        "session_id",
        "sessionid",
        "PHPSESSID",
        "connect.sid",
        "sid",
        "sig",
        "signature",
        "X-Amz-Signature",
        "X-Amz-Security-Token",
        "AWSSecretAccessKey",
        "credentials",
        "mysql_pwd",
    ];
    const VALUES: [&str; 6] =
        ["hunter2x", "Tr0ub4dor&3", "correct-horse-battery", "pa$$w0rd!", "s3cr3t,value;x", "zxcvbnm99"];
    let mut nth = 0_usize;
    for key in NAMES {
        let mut value = || {
            nth += 1;
            if nth.is_multiple_of(3) {
                draw.alnum(20)
            } else {
                VALUES.get(nth % VALUES.len()).copied().unwrap_or_default().to_owned()
            }
        };
        let mut add = |place, name: &str, text: String, secret: String| {
            all.push(Secret { kind: "named", place, name: name.to_owned(), text, secret });
        };
        let secret = value();
        add(Place::Query, "", format!("page=2&{key}={}&sort=name", percent(&secret)), percent(&secret));
        let secret = value();
        add(Place::Form, "", format!("{}={}", percent(&format!("user[{key}]")), percent(&secret)), percent(&secret));
        let secret = value();
        add(Place::Json, "", format!(r#"{{"user":{{"id":7,"{key}":"{secret}"}}}}"#), secret);
        let secret = value();
        add(
            Place::Json,
            "",
            format!(r#"{{"list":[{{"name":"{key}","value":"{secret}"}},["{key}","{secret}"]]}}"#),
            secret,
        );
        let secret = value();
        add(Place::Field, key, secret.clone(), secret);
        let secret = value();
        add(Place::Message, "", format!("sign-in refused: {key}={secret} user=7"), secret);
        let secret = value();
        add(Place::Error, "", format!(r#"cannot parse {{"id":7,"{key}":"{secret}","x":1}} at column 9"#), secret);
        let secret = value();
        add(Place::Breadcrumb, "", format!(r#"body: "{{\"id\":7,\"{key}\":\"{secret}\"}}""#), secret);
        let secret = value();
        add(Place::Error, "", format!("bad settings: Settings {{ id: 7, {key}: \"{secret}\", port: 80 }}"), secret);
        let secret = value();
        add(Place::Url, "", format!("https://shop.example/cb?x=1#{key}={}&y=2", percent(&secret)), percent(&secret));
        let secret = value();
        add(Place::Message, "", format!("GET /cb?x=1%26{}%3D{} 200", percent(key), percent(&secret)), percent(&secret));
        let secret = value();
        add(Place::Cookie, "", format!("theme=dark; {key}={}", percent(&secret)), percent(&secret));
    }
}

/// Credentials where protocols put them.
#[expect(clippy::too_many_lines, reason = "a list of places")]
fn credentials(draw: &mut Draw, all: &mut Vec<Secret>) {
    let mut add = |kind, place, name: &str, text: String, secret: String| {
        all.push(Secret { kind, place, name: name.to_owned(), text, secret });
    };
    for name in [
        "authorization",
        "proxy-authorization",
        "cookie",
        "set-cookie",
        "x-api-key",
        "x-auth-token",
        "x-access-token",
        "x-refresh-token",
        "x-csrf-token",
        "x-xsrf-token",
        "x-session-id",
        "x-amz-security-token",
        "x-goog-iap-jwt-assertion",
        "cf-access-jwt-assertion",
        "x-vault-token",
        "x-gitlab-token",
        "x-hub-signature",
        "x-hub-signature-256",
        "stripe-signature",
        "apikey",
        "api-key",
        "x-authorization",
        "authentication",
        "x-functions-key",
        "x-ssl-client-cert",
        "x-forwarded-client-cert",
        "sec-websocket-key",
        "x-shop-secret",
        "x-unknown-thing",
        "www-authenticate",
    ] {
        let secret = draw.alnum(24);
        add("header", Place::Header, name, format!("v={secret}"), secret);
    }
    for scheme in ["Bearer", "bearer", "BEARER", "Token", "Negotiate"] {
        let secret = draw.alnum(32);
        add("bearer", Place::Message, "", format!("sent {scheme} {secret} upstream"), secret);
        let secret = draw.alnum(32);
        add("bearer", Place::Error, "", format!("401 for header \"{scheme} {secret}\""), secret);
        let secret = draw.alnum(32);
        add("bearer", Place::Breadcrumb, "", format!("Authorization: {scheme} {secret}"), secret);
        let secret = draw.alnum(32);
        add("bearer", Place::Query, "", format!("h={scheme}+{secret}"), secret);
        let secret = draw.alnum(32);
        add("bearer", Place::Json, "", format!(r#"{{"note":"{scheme} {secret}"}}"#), secret);
    }
    for (basic, form) in [
        ("dXNlcjpodW50ZXIy", "Basic {}"),
        ("YWRtaW46cGFzc3dvcmQ=", "basic {}"),
        ("Ym9iOmxldG1laW4xMjM=", "Authorization: Basic {}"),
    ] {
        add("basic", Place::Message, "", format!("tried {}", form.replace("{}", basic)), basic.to_owned());
        add("basic", Place::Error, "", form.replace("{}", basic), basic.to_owned());
        add("basic", Place::Field, "note", form.replace("{}", basic), basic.to_owned());
    }
    let nonce = draw.hex(32);
    let digest =
        format!(r#"Digest username="bob", realm="shop", nonce="{nonce}", uri="/x", response="{}""#, draw.hex(32));
    add("digest", Place::Message, "", format!("got {digest}"), nonce);
    for scheme in ["postgres", "mysql", "redis", "amqp", "mongodb+srv", "https", "ftp", "smtp", "postgresql+asyncpg"] {
        for (user, password) in
            [("app", "hunter2xy"), ("app", "p@ss/w0rd#1"), ("", "onlypassword1"), ("svc%40shop", "Tr0ub4dor%263")]
        {
            let secret = format!("{user}:{password}");
            add(
                "userinfo",
                Place::Message,
                "",
                format!("cannot reach {scheme}://{secret}@db.internal:5432/shop now"),
                secret.clone(),
            );
            add("userinfo", Place::Url, "", format!("{scheme}://{secret}@db.internal/shop?x=1"), secret.clone());
            add(
                "userinfo",
                Place::Error,
                "",
                format!("dsn \"{scheme}://{secret}@10.0.0.1/shop\" refused"),
                secret.clone(),
            );
            add("userinfo", Place::Field, "target", format!("{scheme}://{secret}@db.internal/shop"), secret);
        }
    }
    for text in [
        "Server=db;Database=shop;User Id=sa;Password={};Encrypt=yes",
        "Server=tcp:db,1433;Uid=sa;Pwd={};",
        "host=db user=app password={} dbname=shop",
        "host=db user=app password='{}' dbname=shop",
        "app:{}@tcp(db:3306)/shop?parseTime=true",
        "AccountName=shop;AccountKey={};EndpointSuffix=core.windows.net",
        "Endpoint=sb://x.servicebus.windows.net/;SharedAccessKeyName=root;SharedAccessKey={}",
        "jdbc:mysql://db/shop?user=app&password={}",
        "jdbc:oracle:thin:app/{}@db:1521/shop",
        "jdbc:sqlserver://db;user=sa;password={};encrypt=true",
        "ALTER USER app WITH PASSWORD '{}'",
        "CREATE USER 'app'@'%' IDENTIFIED BY '{}'",
        "UPDATE users SET password = '{}' WHERE id = 7",
        "mysql --host db --password={} --batch",
        "tool --api-key {} --verbose",
        "tool --client-secret \"{}\" --verbose",
        "curl -u bob:{} https://shop.example/",
        "curl -H 'Authorization: Bearer {}' https://shop.example/",
        "curl -H \"X-Api-Key: {}\" https://shop.example/",
        "<login><user>bob</user><password>{}</password></login>",
        "&lt;password&gt;{}&lt;/password&gt;",
        "{&quot;password&quot;:&quot;{}&quot;}",
        "DATABASE_PASSWORD={}",
        "export AWS_SECRET_ACCESS_KEY={}",
        "aws_secret_access_key = {}",
        "AWS_SESSION_TOKEN: {}",
        "\"password\" => \"{}\"",
        "params[\"password\"] = \"{}\"",
        "password := \"{}\"",
        "password: Some(\"{}\")",
        "password: {}",
        "token: {}",
        "API key: {}",
        "api key is {}",
        "the password is {}",
        "Password is {}.",
        "session id: {}",
        "client_secret: {}",
        "{\"password\": \"{}\"",
        "{\\\\\\\"password\\\\\\\":\\\\\\\"{}\\\\\\\"}",
        "Set-Cookie: sid={}; Path=/; HttpOnly",
        "Cookie: theme=dark; sid={}",
        "x-api-key: {}",
        "https://hooks.slack.com/services/T00000000/B00000000/{}",
        "https://discord.com/api/webhooks/123456789012345678/{}",
        "https://shop.example/reset?token={}",
        "https://shop.example/cb#access_token={}&token_type=bearer",
        "https://acc.blob.core.windows.net/c/b?sv=2024&sig={}",
        "https://s3.example/b/k?X-Amz-Credential=x&X-Amz-Signature={}",
        "next=https%3A%2F%2Fshop.example%2F%3Ftoken%3D{}",
        "key=AB state=CD code={}",
        "PagerDuty routing_key={}",
        "cache key: {}",
    ] {
        for place in [Place::Message, Place::Error, Place::Field] {
            let secret = draw.alnum(22);
            add("in text", place, "detail", text.replace("{}", &secret), secret);
        }
    }
    for path in ["/reset-password/{}", "/session/{}/end", "/invite/token/{}", "/unsubscribe/key/{}"] {
        let secret = draw.alnum(24);
        add("path", Place::Path, "", path.replace("{}", &secret), secret.clone());
        add("path", Place::Target, "", format!("{}?x=1", path.replace("{}", &secret)), secret);
    }
    let body = draw.alnum(60);
    let label = ["PRIV", "ATE KEY"].concat();
    add("pem", Place::Message, "", format!("bad key: -----BEGIN {label}-----\n{body}\n{body}"), body.clone());
    add(
        "pem",
        Place::Error,
        "",
        format!("bad key: -----BEGIN OPENSSH {label}-----\\n{body}\\n-----END OPENSSH {label}----- x"),
        body,
    );
}

/// Numbers that a name gives away.
fn prose(all: &mut Vec<Secret>) {
    for (text, secret) in [
        ("SSN 078-05-1120 on file", "078-05-1120"),
        ("social security number: 078-05-1120", "078-05-1120"),
        ("ssn=078051120", "078051120"),
        ("pin=493817", "493817"),
        ("otp: 493817", "493817"),
        ("your verification code: 493817", "493817"),
        ("cvv=737x", "737"),
        ("{\"cvc\":\"7371\"}", "7371"),
    ] {
        for place in [Place::Message, Place::Error, Place::Breadcrumb] {
            all.push(Secret {
                kind: "digits",
                place,
                name: String::new(),
                text: text.to_owned(),
                secret: secret.to_owned(),
            });
        }
    }
    for (key, secret) in
        [("ssn", "078-05-1120"), ("pin", "4938"), ("otp", "493817"), ("cvv", "737"), ("card[cvc]", "737")]
    {
        let case = |place, name: &str, text: String| Secret {
            kind: "digits",
            place,
            name: name.to_owned(),
            text,
            secret: secret.to_owned(),
        };
        all.push(case(Place::Field, key, secret.to_owned()));
        all.push(case(Place::Query, "", format!("page=1&{key}={secret}")));
        all.push(case(Place::Json, "", format!(r#"{{"{key}":"{secret}"}}"#)));
    }
}
