//! Every vendor's token that is known by its form alone is removed whole, whatever its random part is.
//!
//! Values are drawn from the forms: 1,000 of each, or as many as `STEEPLE_FORM_VALUES` says (the long proof takes 10,000).

use std::collections::BTreeMap;

use steeple_scrub::Scrubber;

use crate::draw::Draw;

/// How people log a value that they do not know to be one.
const FRAMES: [&str; 8] = [
    "{}",
    "user sent {} to us",
    "{} was refused",
    "upstream said: {}",
    "retry with ({}), attempt 2",
    "value '{}' is not valid",
    "body {\"note\":\"{}\",\"page\":2}",
    "args: [\"{}\", 7]",
];

/// What the value is, and its form. `gitleaks` has a rule of that name unless a comment says otherwise.
const FORMS: &[(&str, &str)] = &[
    ("1password-secret-key", "A3-{upper 6}-{upper 11}-{upper 5}-{upper 5}-{upper 5}"),
    ("1password-secret-key", "A3-{upper 6}-{upper 6}-{upper 5}-{upper 5}-{upper 5}-{upper 5}"),
    ("1password-service-account-token", "ops_eyJ{base64 250-400}{pad 0-3}"),
    ("adobe-client-secret", "p8e-{lower 32}"),
    ("age-secret-key", "AGE-SECRET-KEY-1{bech32 58}"),
    ("airtable-personnal-access-token", "pat{alnum 14}.{hex 64}"),
    ("alibaba-access-key-id", "LTAI{alnum 20}"),
    ("anthropic-admin-api-key", "sk-ant-admin01-{url 93}AA"),
    ("anthropic-api-key", "sk-ant-api03-{url 93}AA"),
    ("artifactory-api-key", "AKCp{alnum 69}"),
    ("artifactory-reference-token", "cmVmd{alnum 59}"),
    ("atlassian-api-token", "ATATT3{padded 186}"),
    ("authress-service-client-access-key", "sc_{lower 5-30}.{lower 4-6}.acc_{lower 10-32}.{lower-base64 30-120}"),
    ("authress-service-client-access-key", "ext_{lower 5-30}.{lower 4-6}.acc-{lower 10-32}.{lower-base64 30-120}"),
    ("authress-service-client-access-key", "scauth_{lower 5-30}.{lower 4-6}.acc_{lower 10-32}.{lower-base64 30-120}"),
    ("authress-service-client-access-key", "authress_{lower 5-30}.{lower 4-6}.acc-{lower 10-32}.{lower-base64 30-120}"),
    ("aws-access-token", "AKIA{base32 16}"),
    ("aws-access-token", "ASIA{base32 16}"),
    ("aws-access-token", "ABIA{base32 16}"),
    ("aws-access-token", "ACCA{base32 16}"),
    ("aws-access-token", "A3T{upper 1}{base32 16}"),
    ("aws-amazon-bedrock-api-key-long-lived", "ABSK{base64 109-269}{pad 0-2}"),
    ("aws-amazon-bedrock-api-key-short-lived", "bedrock-api-key-YmVkcm9jay5hbWF6b25hd3MuY29t{base64 40-400}"),
    ("azure-ad-client-secret", "{azure 2}{alnum 1}{digit 1}Q~{azure-end 31-34}"),
    ("clickhouse-cloud-api-secret-key", "4b1d{alnum 38}"),
    ("clojars-api-token", "CLOJARS_{lower 60}"),
    ("cloudflare-origin-ca-key", "v1.0-{hex 24}-{hex 146}"),
    ("databricks-api-token", "dapi{hex 32}"),
    ("databricks-api-token", "dapi{hex 32}-{digit 1}"),
    ("defined-networking-api-token", "dnkey-{lower-padded 26}-{lower-padded 52}"),
    ("digitalocean-access-token", "doo_v1_{hex 64}"),
    ("digitalocean-pat", "dop_v1_{hex 64}"),
    ("digitalocean-refresh-token", "dor_v1_{hex 64}"),
    ("doppler-api-token", "dp.pt.{lower 43}"),
    ("dropbox-short-lived-api-token", "sl.{lower-padded 135}"),
    ("duffel-api-token", "duffel_live_{lower-padded 43}"),
    ("duffel-api-token", "duffel_test_{lower-padded 43}"),
    ("dynatrace-api-token", "dt0c01.{alnum 24}.{alnum 64}"),
    ("easypost-api-token", "EZAK{alnum 54}"),
    ("easypost-test-api-token", "EZTK{alnum 54}"),
    ("facebook-access-token", "{digit 15-16}|{url 27-40}"),
    ("facebook-page-access-token", "EAAM{alnum 100-250}"),
    ("facebook-page-access-token", "EAAC{alnum 100-250}"),
    ("flutterwave-encryption-key", "FLWSECK_TEST-{a-h 12}"),
    ("flutterwave-public-key", "FLWPUBK_TEST-{a-h 32}-X"),
    ("flutterwave-secret-key", "FLWSECK_TEST-{a-h 32}-X"),
    ("flyio-access-token", "fo1_{url 43}"),
    ("flyio-access-token", "fm1a_{base64 100-400}{pad 0-3}"),
    ("flyio-access-token", "fm1r_{base64 100-400}{pad 0-3}"),
    ("flyio-access-token", "fm2_{base64 100-400}{pad 0-3}"),
    ("frameio-api-token", "fio-u-{lower-padded 64}"),
    ("gcp-api-key", "AIza{url 35}"),
    ("github-app-token", "ghs_{alnum 36}"),
    ("github-app-token", "ghu_{alnum 36}"),
    // Its longer form, which has no rule yet.
    ("github-app-token", "ghs_{base64 44-300}"),
    ("github-fine-grained-pat", "github_pat_{word 82}"),
    ("github-oauth", "gho_{alnum 36}"),
    ("github-pat", "ghp_{alnum 36}"),
    ("github-refresh-token", "ghr_{alnum 36}"),
    ("gitlab-cicd-job-token", "glcbt-{alnum 1-5}_{url 20}"),
    ("gitlab-deploy-token", "gldt-{url 20}"),
    ("gitlab-feature-flag-client-token", "glffct-{url 20}"),
    ("gitlab-feed-token", "glft-{url 20}"),
    ("gitlab-incoming-mail-token", "glimt-{url 25}"),
    ("gitlab-kubernetes-agent-token", "glagent-{url 50}"),
    ("gitlab-oauth-app-secret", "gloas-{url 64}"),
    ("gitlab-pat", "glpat-{url 20}"),
    ("gitlab-pat-routable", "glpat-{url 27-300}.{lower 9}"),
    ("gitlab-ptt", "glptt-{hex 40}"),
    ("gitlab-rrt", "GR1348941{url 20}"),
    ("gitlab-runner-authentication-token", "glrt-{url 20}"),
    ("gitlab-runner-authentication-token-routable", "glrt-t{digit 1}_{url 27-300}.{lower 9}"),
    ("gitlab-scim-token", "glsoat-{url 20}"),
    ("grafana-api-key", "eyJrIjoi{alnum 70-400}{pad 0-3}"),
    ("grafana-cloud-api-token", "glc_{base64 32-400}{pad 0-3}"),
    ("grafana-service-account-token", "glsa_{alnum 32}_{hexany 8}"),
    ("harness-api-key", "pat.{url 22}.{alnum 24}.{alnum 20}"),
    ("harness-api-key", "sat.{url 22}.{alnum 24}.{alnum 20}"),
    ("hashicorp-tf-api-token", "{alnum 14}.atlasv1.{padded 60-70}"),
    ("heroku-api-key-v2", "HRKU-AA{url 58}"),
    ("huggingface-access-token", "hf_{letter 34}"),
    ("huggingface-organization-api-token", "api_org_{letter 34}"),
    ("infracost-api-token", "ico-{alnum 32}"),
    ("intra42-client-secret", "s-s4t2ud-{hex 64}"),
    ("intra42-client-secret", "s-s4t2af-{hex 64}"),
    ("jwt", "eyJhbGciOi{url 17-80}.eyJ{url 17-400}.{url 22-90}"),
    ("jwt-base64", "ZXlKaGJHY2lPaU{base64 40-400}{pad 0-2}"),
    ("jwt-base64", "ZXlKMGVYQWlPaUp{base64 40-400}{pad 0-2}"),
    ("linear-api-key", "lin_api_{alnum 40}"),
    ("lob-api-key", "live_{hex 35}"),
    ("lob-api-key", "test_{hex 35}"),
    ("mailchimp-api-key", "{hex 32}-us{digit 2}"),
    ("mailgun-private-api-token", "key-{hex 32}"),
    ("mailgun-pub-key", "pubkey-{hex 32}"),
    ("maxmind-license-key", "{alnum 6}_{alnum 29}_mmk"),
    ("new-relic-browser-api-token", "NRJS-{hex 19}"),
    ("new-relic-insert-key", "NRII-{lower 32}"),
    ("new-relic-user-api-key", "NRAK-{upper 27}"),
    ("notion-api-token", "ntn_{digit 11}{alnum 35}"),
    ("npm-access-token", "npm_{alnum 36}"),
    ("octopus-deploy-api-key", "API-{upper 26}"),
    ("openai-api-key", "sk-{alnum 20}T3BlbkFJ{alnum 20}"),
    ("openai-api-key", "sk-proj-{url 74}T3BlbkFJ{url 74}"),
    ("openai-api-key", "sk-svcacct-{url 58}T3BlbkFJ{url 58}"),
    ("openai-api-key", "sk-admin-{url 74}T3BlbkFJ{url 58}"),
    ("openshift-user-token", "sha256~{url 43}"),
    ("perplexity-api-key", "pplx-{alnum 48}"),
    ("plaid-api-token", "access-sandbox-{hex 8}-{hex 4}-{hex 4}-{hex 4}-{hex 12}"),
    ("plaid-api-token", "access-production-{hex 8}-{hex 4}-{hex 4}-{hex 4}-{hex 12}"),
    ("planetscale-api-token", "pscale_tkn_{scale 32-64}"),
    ("planetscale-oauth-token", "pscale_oauth_{scale 32-64}"),
    ("planetscale-password", "pscale_pw_{scale 32-64}"),
    ("postman-api-token", "PMAK-{hex 24}-{hex 34}"),
    ("prefect-api-token", "pnu_{alnum 36}"),
    ("pulumi-api-token", "pul-{hex 40}"),
    ("pypi-upload-token", "pypi-AgEIcHlwaS5vcmc{url 50-300}"),
    ("readme-api-token", "rdme_{lower 70}"),
    ("rubygems-api-token", "rubygems_{hex 48}"),
    ("scalingo-api-token", "tk-us-{url 48}"),
    ("sendgrid-api-token", "SG.{scale 66}"),
    ("sendinblue-api-token", "xkeysib-{hex 64}-{alnum 16}"),
    ("sentry-org-token", "sntrys_eyJpYXQiO{base64 50-200}{pad 0-2}_{base64 43}"),
    ("sentry-user-token", "sntryu_{hex 64}"),
    ("settlemint-application-access-token", "sm_aat_{alnum 16}"),
    ("settlemint-personal-access-token", "sm_pat_{alnum 16}"),
    ("settlemint-service-access-token", "sm_sat_{alnum 16}"),
    ("shippo-api-token", "shippo_live_{hexany 40}"),
    ("shippo-api-token", "shippo_test_{hexany 40}"),
    ("shopify-access-token", "shpat_{hexany 32}"),
    ("shopify-custom-access-token", "shpca_{hexany 32}"),
    ("shopify-private-app-access-token", "shppa_{hexany 32}"),
    ("shopify-shared-secret", "shpss_{hexany 32}"),
    ("slack-app-token", "xapp-{digit 1}-{upper 11}-{digit 13}-{lower 64}"),
    ("slack-bot-token", "xoxb-{digit 10-13}-{digit 10-13}-{alnum 24}"),
    // The cookie of a session, which has no rule yet.
    ("slack-cookie", "xoxd-{base64 44-200}{pad 0-2}"),
    ("slack-config-access-token", "xoxe.xoxp-{digit 1}-{upper 163-166}"),
    ("slack-config-refresh-token", "xoxe-{digit 1}-{upper 146}"),
    ("slack-legacy-bot-token", "xoxb-{digit 8-14}-{alnum 18-26}"),
    ("slack-legacy-token", "xoxs-{digit 9}-{digit 9}-{digit 9}-{hexany 10}"),
    ("slack-legacy-workspace-token", "xoxa-{alnum 8-48}"),
    ("slack-legacy-workspace-token", "xoxr-{digit 1}-{alnum 8-48}"),
    ("slack-user-token", "xoxp-{digit 10-13}-{digit 10-13}-{digit 10-13}-{alnum 28-34}"),
    ("sonar-api-token", "squ_{lower 40}"),
    ("sourcegraph-access-token", "sgp_{hexany 16}_{hexany 40}"),
    ("sourcegraph-access-token", "sgp_local_{hexany 40}"),
    ("sourcegraph-access-token", "sgp_{hexany 40}"),
    ("square-access-token", "EAAA{url 56-60}"),
    ("square-access-token", "sq0atp-{url 22}"),
    // Standard Webhooks: 24 to 64 bytes in base64.
    ("standard-webhooks-secret", "whsec_{base64 32-86}{pad 0-2}"),
    ("standard-webhooks-secret", "whsec_{base64 43}="),
    ("stripe-access-token", "sk_live_{alnum 10-99}"),
    ("stripe-access-token", "sk_test_{alnum 10-99}"),
    ("stripe-access-token", "rk_live_{alnum 10-99}"),
    ("stripe-access-token", "rk_prod_{alnum 10-99}"),
    ("telegram-bot-api-token", "{digit 5-16}:A{url 34}"),
    ("twilio-api-key", "SK{hexany 32}"),
    ("typeform-api-token", "tfp_{scale 59}"),
    ("vault-batch-token", "hvb.{url 138-300}"),
    ("vault-service-token", "hvs.{url 90-120}"),
    ("vault-service-token", "s.{alnum 24}"),
    ("yandex-api-key", "AQVN{url 35-38}"),
];

#[test]
fn no_value_of_a_form_that_stands_alone_survives() {
    let scrubber = Scrubber::default();
    let values: usize = std::env::var("STEEPLE_FORM_VALUES").map_or(1_000, |count| count.parse().unwrap());
    let mut table: BTreeMap<&str, (usize, Vec<String>)> = BTreeMap::new();
    for (seed, (rule, form)) in (0..).zip(FORMS) {
        let mut draw = Draw::new(seed);
        let (tried, leaked) = table.entry(rule).or_default();
        for nth in 0..values {
            let value = draw.value(form);
            let (before, after) = FRAMES[nth % FRAMES.len()].split_once("{}").unwrap();
            let text = [before, &value, after].concat();
            let seen = scrubber.text(&text);
            *tried += 1;
            let instead = seen.strip_prefix(before).and_then(|seen| seen.strip_suffix(after));
            if !instead.is_some_and(is_marker) && survives(&value, &seen) {
                leaked.push(format!("{text} -> {seen}"));
            }
        }
    }
    println!("{:<48}{:>8}{:>8}", "form", "values", "leaked");
    for (rule, (tried, leaked)) in &table {
        println!("{rule:<48}{tried:>8}{:>8}", leaked.len());
    }
    let leaked: Vec<&String> = table.values().flat_map(|(_, leaked)| leaked.iter().take(3)).collect();
    assert!(leaked.is_empty(), "{} rules leak: {leaked:#?}", leaked.len());
}

#[test]
fn values_without_a_long_run_of_letters_and_digits_are_found() {
    let values = [
        // Tildes and dots part it.
        "d_l5Q~E34.7fIIR.86TYZoe~bU.ws5~XYi~rw",
        // So does an `=`.
        "4NojWj9wJuw9Lv.atlasv1.m271tPpKxZosZ5=XlJgt7XWDin=zeDUKJ_k3=m_fT4hAGE=ZPyzFvwB132JD",
        "9XI0eZLRYQe6so.atlasv1.BkRmUI4DZ=_3FoN_lkLCgna=gbWS6BI=_1HCFCS-gyB9G4=QkSgm7=bBlbCOw",
        // Eight different digits are not too few to be random.
        "dapia9bb29a029da990eb204bd404bde0abd",
    ];
    let scrubber = Scrubber::default();
    for value in values {
        for frame in FRAMES.iter().chain(&["{}"]) {
            let text = frame.replace("{}", value);
            assert!(!survives(value, &scrubber.text(&text)), "{text}");
        }
        let (query, path) = (format!("a={value}"), format!("/a/{value}"));
        assert!(!survives(value, &scrubber.query(&query)), "{query}");
        assert!(!survives(value, &scrubber.path(&path)), "{path}");
    }
}

fn is_marker(text: &str) -> bool {
    let why = text.strip_prefix("[redacted:").and_then(|text| text.strip_suffix(']'));
    why.is_some_and(|why| why.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'))
}

/// Are any eight characters of `value` in a row left in `seen`?
pub(crate) fn survives(value: &str, seen: &str) -> bool {
    value.as_bytes().windows(8).any(|part| memchr::memmem::find(seen.as_bytes(), part).is_some())
}
