//! Markers, which replace secrets: `[redacted:jwt]`.

/// Why something was removed; the word in the marker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    Jwt,
    PrivateKey,
    Userinfo,
    Aws,
    Gcp,
    GitHub,
    GitLab,
    Slack,
    Stripe,
    NewRelic,
    OpenAi,
    Token,
    Webhook,
    Bearer,
    Basic,
    Digest,
    Card,
    Iban,
    Ssn,
    Email,
    Cookie,
    Header,
    Entropy,
    Key,
    /// Every pass found something new: the whole text is removed.
    Text,
    /// The n-th pattern of the configuration.
    Pattern(u16),
}

impl Rule {
    /// Every rule that the crate brings along.
    pub(crate) const BUILT_IN: [Self; 25] = [
        Self::Jwt,
        Self::PrivateKey,
        Self::Userinfo,
        Self::Aws,
        Self::Gcp,
        Self::GitHub,
        Self::GitLab,
        Self::Slack,
        Self::Stripe,
        Self::NewRelic,
        Self::OpenAi,
        Self::Token,
        Self::Webhook,
        Self::Bearer,
        Self::Basic,
        Self::Digest,
        Self::Card,
        Self::Iban,
        Self::Ssn,
        Self::Email,
        Self::Cookie,
        Self::Header,
        Self::Entropy,
        Self::Key,
        Self::Text,
    ];

    /// The marker of a built-in rule. A pattern's marker is in the policy.
    pub(crate) const fn marker(self) -> &'static str {
        match self {
            Self::Jwt => "[redacted:jwt]",
            Self::PrivateKey => "[redacted:private-key]",
            Self::Userinfo => "[redacted:userinfo]",
            Self::Aws => "[redacted:aws]",
            Self::Gcp => "[redacted:gcp]",
            Self::GitHub => "[redacted:github]",
            Self::GitLab => "[redacted:gitlab]",
            Self::Slack => "[redacted:slack]",
            Self::Stripe => "[redacted:stripe]",
            Self::NewRelic => "[redacted:newrelic]",
            Self::OpenAi => "[redacted:openai]",
            Self::Token => "[redacted:token]",
            Self::Webhook => "[redacted:webhook]",
            Self::Bearer => "[redacted:bearer]",
            Self::Basic => "[redacted:basic]",
            Self::Digest => "[redacted:digest]",
            Self::Card => "[redacted:card]",
            Self::Iban => "[redacted:iban]",
            Self::Ssn => "[redacted:ssn]",
            Self::Email => "[redacted:email]",
            Self::Cookie => "[redacted:cookie]",
            Self::Header => "[redacted:header]",
            Self::Entropy => "[redacted:entropy]",
            Self::Key => "[redacted:key]",
            Self::Text => "[redacted:text]",
            Self::Pattern(_) => "[redacted:pattern]",
        }
    }

    /// What the rule removes, for `explain`.
    pub(crate) const fn describe(self) -> &'static str {
        match self {
            Self::Jwt => "JSON web tokens, signed, unsigned or encrypted",
            Self::PrivateKey => "PEM private keys, truncated ones too",
            Self::Userinfo => "the user and password in a URL or a connection string",
            Self::Aws => "AWS access key ids",
            Self::Gcp => "Google API keys, OAuth tokens and client secrets",
            Self::GitHub => "GitHub tokens",
            Self::GitLab => "GitLab tokens",
            Self::Slack => "Slack tokens",
            Self::Stripe => "Stripe secret and restricted keys, webhook secrets",
            Self::NewRelic => "New Relic keys",
            Self::OpenAi => "OpenAI and Anthropic keys",
            Self::Token => "other vendors' tokens, known by their prefix",
            Self::Webhook => "webhook URLs that carry their own secret",
            Self::Bearer => "bearer, token and negotiate credentials",
            Self::Basic => "basic credentials",
            Self::Digest => "digest, hawk, AWS and OAuth 1 credentials",
            Self::Card => "card numbers: issuer prefix, length and Luhn digit",
            Self::Iban => "IBANs: country, length and check digits",
            Self::Ssn => "US social security numbers beside the word",
            Self::Email => "e-mail addresses",
            Self::Cookie => "cookies that are not allowed by name",
            Self::Header => "headers that are not allowed by name",
            Self::Entropy => "random-looking values under a suspicious name",
            Self::Key => "values with secret names",
            Self::Text => "text in which every pass found something new",
            Self::Pattern(_) => "a configured pattern",
        }
    }
}

const OPEN: &[u8] = b"[redacted:";

/// The length of the marker that `text` begins with, of a built-in rule or of one of `others`.
pub(crate) fn marker_len(text: &[u8], others: &[Box<str>]) -> Option<usize> {
    if !text.starts_with(OPEN) {
        return None;
    }
    let built_in = Rule::BUILT_IN.iter().map(|rule| rule.marker());
    let mut all = built_in.chain(others.iter().map(|marker| &**marker));
    all.find(|marker| text.starts_with(marker.as_bytes())).map(str::len)
}
