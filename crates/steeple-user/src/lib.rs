//! Who is behind an exchange: user, client address behind trusted proxies, privacy policy.
