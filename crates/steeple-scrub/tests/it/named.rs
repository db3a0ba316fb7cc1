//! Values that only their names give away, in every syntax in which people write them: a table with a line for each kind.
//!
//! `STEEPLE_FORM_VALUES` sets how many values of each kind are tried in each syntax. Default: 2; the long proof takes 40.

use std::collections::BTreeMap;

use steeple_scrub::Scrubber;

use crate::{draw::Draw, forms::survives};

/// A kind of value (gitleaks has a rule of that name), what it is called, and its form.
const KINDS: &[(&str, &str, &str)] = &[
    ("adafruit-api-key", "adafruit", "{lower-url 32}"),
    ("adobe-client-id", "adobe", "{hex 32}"),
    ("airtable-api-key", "airtable", "{lower 17}"),
    ("algolia-api-key", "algolia", "{lower 32}"),
    ("alibaba-secret-key", "alibaba", "{lower 30}"),
    ("asana-client-id", "asana", "{digit 16}"),
    ("asana-client-secret", "asana", "{lower 32}"),
    ("atlassian-api-token", "atlassian", "{lower 20}{hex 4}"),
    ("beamer-api-token", "beamer", "b_{lower-padded 44}"),
    ("bitbucket-client-id", "bitbucket", "{lower 32}"),
    ("bitbucket-client-secret", "bitbucket", "{lower-padded 64}"),
    ("bittrex-access-key", "bittrex", "{lower 32}"),
    ("bittrex-secret-key", "bittrex", "{lower 32}"),
    ("cisco-meraki-api-key", "cisco-meraki", "{hex 40}"),
    ("cloudflare-api-key", "cloudflare", "{lower-url 40}"),
    ("cloudflare-global-api-key", "cloudflare", "{hex 37}"),
    ("codecov-access-token", "codecov", "{lower 32}"),
    ("cohere-api-token", "cohere", "{alnum 40}"),
    ("coinbase-access-token", "coinbase", "{lower-url 64}"),
    ("confluent-access-token", "confluent", "{lower 16}"),
    ("confluent-secret-key", "confluent", "{lower 64}"),
    ("contentful-delivery-api-token", "contentful", "{lower-padded 43}"),
    ("datadog-access-token", "datadog", "{lower 40}"),
    ("defined-networking-api-token", "defined-networking", "dnkey-{lower-padded 26}-{lower-padded 52}"),
    ("discord-api-token", "discord", "{hex 64}"),
    ("discord-client-id", "discord", "{digit 18}"),
    ("discord-client-secret", "discord", "{lower-padded 32}"),
    ("droneci-access-token", "droneci", "{lower 32}"),
    ("dropbox-api-token", "dropbox", "{lower 15}"),
    ("dropbox-long-lived-api-token", "dropbox", "{lower 11}AAAAAAAAAA{lower-padded 43}"),
    ("dropbox-short-lived-api-token", "dropbox", "sl.{lower-padded 135}"),
    ("etsy-access-token", "etsy", "{lower 24}"),
    ("facebook-secret", "facebook", "{hex 32}"),
    ("fastly-api-token", "fastly", "{lower-padded 32}"),
    ("finicity-api-token", "finicity", "{hex 32}"),
    ("finicity-client-secret", "finicity", "{lower 20}"),
    ("finnhub-access-token", "finnhub", "{lower 20}"),
    ("flickr-access-token", "flickr", "{lower 32}"),
    ("freshbooks-access-token", "freshbooks", "{lower 64}"),
    ("generic-api-key", "generic", "{lower 1}{base64 11-60}{pad 0-3}"),
    ("generic-api-key", "generic", "{scale 10-150}"),
    ("gitlab-session-cookie", "_gitlab_session", "{lower 32}"),
    ("gitter-access-token", "gitter", "{lower-url 40}"),
    ("gocardless-api-token", "gocardless", "live_{lower-padded 40}"),
    ("hashicorp-tf-password", "hashicorp", "{lower-padded 8-20}"),
    ("heroku-api-key", "heroku", "{hex 8}-{hex 4}-{hex 4}-{hex 4}-{hex 12}"),
    ("hubspot-api-key", "hubspot", "{hex-upper 8}-{hex-upper 4}-{hex-upper 4}-{hex-upper 4}-{hex-upper 12}"),
    ("intercom-api-key", "intercom", "{lower-padded 60}"),
    ("jfrog-api-key", "jfrog", "{lower 73}"),
    ("jfrog-identity-token", "jfrog", "{lower 64}"),
    ("kraken-access-token", "kraken", "{lower-base64 80-90}"),
    ("kucoin-access-token", "kucoin", "{hex 24}"),
    ("kucoin-secret-key", "kucoin", "{hex 8}-{hex 4}-{hex 4}-{hex 4}-{hex 12}"),
    ("launchdarkly-access-token", "launchdarkly", "{lower-padded 40}"),
    ("linear-client-secret", "linear", "{hex 32}"),
    ("linkedin-client-id", "linkedin", "{lower 14}"),
    ("linkedin-client-secret", "linkedin", "{lower 16}"),
    ("lob-api-key", "lob", "live_{hex 35}"),
    ("lob-pub-api-key", "lob", "test_pub_{hex 31}"),
    ("looker-client-id", "looker", "{lower 20}"),
    ("looker-client-secret", "looker", "{lower 24}"),
    ("mailchimp-api-key", "mailchimp", "{hex 32}-us{digit 2}"),
    ("mailgun-private-api-token", "mailgun", "key-{hex 32}"),
    ("mailgun-pub-key", "mailgun", "pubkey-{hex 32}"),
    ("mailgun-signing-key", "mailgun", "{a-h 32}-{a-h 8}-{a-h 8}"),
    ("mapbox-api-token", "mapbox", "pk.{lower 60}.{lower 22}"),
    ("mattermost-access-token", "mattermost", "{lower 26}"),
    ("messagebird-api-token", "messagebird", "{lower 25}"),
    ("messagebird-client-id", "messagebird", "{hex 8}-{hex 4}-{hex 4}-{hex 4}-{hex 12}"),
    ("netlify-access-token", "netlify", "{lower-padded 40-46}"),
    ("new-relic-browser-api-token", "new-relic", "NRJS-{hex 19}"),
    ("new-relic-insert-key", "new_relic", "NRII-{lower 32}"),
    ("new-relic-user-api-id", "new-relic", "{lower 64}"),
    ("new-relic-user-api-key", "new-relic", "NRAK-{lower 27}"),
    ("nytimes-access-token", "nytimes", "{lower-padded 32}"),
    ("okta-access-token", "okta", "00{padded 40}"),
    ("plaid-api-token", "plaid", "access-sandbox-{hex 8}-{hex 4}-{hex 4}-{hex 4}-{hex 12}"),
    ("plaid-client-id", "plaid", "{lower 24}"),
    ("plaid-secret-key", "plaid", "{lower 30}"),
    ("privateai-api-token", "privateai", "{lower 32}"),
    ("rapidapi-access-token", "rapidapi", "{lower-url 50}"),
    ("sendbird-access-id", "sendbird", "{hex 8}-{hex 4}-{hex 4}-{hex 4}-{hex 12}"),
    ("sendbird-access-token", "sendbird", "{hex 40}"),
    ("sentry-access-token", "sentry", "{hex 64}"),
    ("sidekiq-secret", "sidekiq", "{hex 8}:{hex 8}"),
    ("snyk-api-token", "snyk", "{hex 8}-{hex 4}-{hex 4}-{hex 4}-{hex 12}"),
    ("sonar-api-token", "sonar", "squ_{lower-padded 40}"),
    ("sonar-api-token", "sonar", "{lower-padded 40}"),
    ("sourcegraph-access-token", "sourcegraph", "{hexany 40}"),
    ("squarespace-access-token", "squarespace", "{hex 8}-{hex 4}-{hex 4}-{hex 4}-{hex 12}"),
    ("sumologic-access-id", "sumologic", "su{alnum 12}"),
    ("sumologic-access-token", "sumologic", "{lower 64}"),
    ("telegram-bot-api-token", "telegram", "{digit 5-16}:A{lower-url 34}"),
    ("travisci-access-token", "travisci", "{lower 22}"),
    ("twitch-api-token", "twitch", "{lower 30}"),
    ("twitter-access-secret", "twitter", "{lower 45}"),
    ("twitter-access-token", "twitter", "{digit 15-25}-{alnum 20-40}"),
    ("twitter-api-key", "twitter", "{lower 25}"),
    ("twitter-api-secret", "twitter", "{lower 50}"),
    ("twitter-bearer-token", "twitter", "AAAAAAAAAAAAAAAAAAAAAA{percent 80-100}"),
    ("typeform-api-token", "typeform", "tfp_{lower-scale 59}"),
    ("yandex-access-token", "yandex", "t1.{url 20-60}.{url 86}"),
    ("yandex-api-key", "yandex", "AQVN{url 35-38}"),
    ("yandex-aws-access-token", "yandex", "YC{url 38}"),
    ("zendesk-secret-key", "zendesk", "{lower 40}"),
];

/// `{n}` is the name as variables have it, `{N}` in capitals, `{v}` the value.
const SYNTAXES: &[&str] = &[
    // Configuration.
    "{n}_token={v}",
    "{n}_token = {v}",
    "{n}Token=\"{v}\"",
    "{n}.token='{v}'",
    "export {N}_TOKEN={v}",
    "{n}_token: {v}",
    "{n}_token: \"{v}\"",
    "{n}_token: '{v}' # rotated",
    "{n}_token: |\n  {v}\nnext: 1",
    "{n}_token: >-\n  {v}\nnext: 1",
    "- name: {N}_TOKEN\n  value: \"{v}\"",
    "{N}_TOKEN := {v}",
    "{N}_TOKEN ::= \"{v}\"",
    "{N}_TOKEN :::= \"{v}\"",
    "{N}_TOKEN ?= \"{v}\"",
    "{N}_TOKEN += \"{v}\"",
    // Documents.
    "{\"{n}_token\":\"{v}\"}",
    "{\n  \"{n}_token\": \"{v}\",\n  \"page\": 2\n}",
    "{\"name\":\"{n}_token\",\"value\":\"{v}\"}",
    "{\"file\":\"{N}_TOKEN={v}\\nDEBUG=1\"}",
    "body: \"{\\\"{n}_token\\\":\\\"{v}\\\"}\"",
    "<{n}Token>{v}</{n}Token>",
    "<{n}Token id=\"1\">\n  {v}\n</{n}Token>",
    "<entry name=\"{n}Token\" value=\"{v}\" />",
    "[(\"user\", \"ann\"), (\"{n}_token\", \"{v}\")]",
    // Code.
    "let {n}_token = \"{v}\";",
    "let {n}_token: &str = \"{v}\";",
    "const {n}Token: string = '{v}';",
    "var {n}Token string = \"{v}\"",
    "{n}Token := `{v}`",
    "String {n}Token = \"{v}\";",
    "${n}Token .= \"{v}\";",
    "${n}Token ??= \"{v}\";",
    "@{n}_token ||= '{v}'",
    ":{n}_token => '{v}',",
    "\"{n}Token\" => \"{v}\"",
    "setProperty(\"{N}_TOKEN\", \"{v}\")",
    "Settings { {n}_token: \"{v}\", port: 80 }",
    "Settings { {n}_token: Some(\"{v}\"), port: 80 }",
    // Requests and commands.
    "https://shop.example/?{n}Token={v}&page=2",
    "{n}-token: {v}",
    "tool --{n}-token {v} --verbose",
    "tool --{n}-token=\"{v}\"",
    "environment = {PATH=/usr/bin, {N}_PASSWORD={v}, LANG=C}",
];

#[test]
fn values_go_with_their_names_in_every_syntax() {
    let scrubber = Scrubber::default();
    let values: usize =
        std::env::var("STEEPLE_FORM_VALUES").map_or(2, |count| count.parse::<usize>().unwrap().div_ceil(250));
    let mut table: BTreeMap<&str, (usize, Vec<String>)> = BTreeMap::new();
    for (seed, (kind, name, form)) in (0..).zip(KINDS) {
        let mut draw = Draw::new(seed);
        let (tried, leaked) = table.entry(kind).or_default();
        for syntax in SYNTAXES {
            for _ in 0..values {
                let value = draw.value(form);
                let frame = syntax.replace("{n}", name).replace("{N}", &name.to_uppercase());
                let text = frame.replace("{v}", &value);
                let seen = scrubber.text(&text);
                *tried += 1;
                if survives(&value, &seen) && !survives(&value, &frame) {
                    leaked.push(format!("{text} -> {seen}"));
                }
            }
        }
    }
    println!("{:<48}{:>8}{:>8}", "under a name", "values", "leaked");
    for (kind, (tried, leaked)) in &table {
        println!("{kind:<48}{tried:>8}{:>8}", leaked.len());
    }
    let all: usize = table.values().map(|(tried, _)| tried).sum();
    let leaked: Vec<&String> = table.values().flat_map(|(_, leaked)| leaked).collect();
    println!("{:<48}{all:>8}{:>8}", "all", leaked.len());
    // A value that begins with `=` makes a comparison of its assignment: the one known reason.
    let others: Vec<_> = leaked.iter().filter(|line| !line.contains("==")).collect();
    assert!(others.is_empty(), "{others:#?}");
    assert!(leaked.len() * 200 <= all, "{} of {all} leak: {leaked:#?}", leaked.len());
}
