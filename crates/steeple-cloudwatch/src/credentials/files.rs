use std::{fs::File, future::ready, io::Read, path::PathBuf};

use super::{Credentials, CredentialsError, CredentialsFuture, ProvideCredentials};

/// The files of the AWS tools, `credentials` and `config`: the keys of one profile. Read again when they are needed, so that a
/// rotated key is found.
///
/// Of a profile only `aws_access_key_id`, `aws_secret_access_key` and `aws_session_token` are read: for roles, single sign-on and
/// processes, see [`ProvideCredentials`].
///
/// # Source
/// AWS SDKs and tools reference guide, "Shared config and credentials files".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProfileFiles {
    files: Vec<PathBuf>,
    profile: String,
}

/// These files are short; `/dev/zero` is not.
const MAX_BYTES: u64 = 1 << 20;

impl ProfileFiles {
    /// A profile in these files, the first of which that has keys of it counts. By default the tools use `~/.aws/credentials`, then
    /// `~/.aws/config`, and the profile `default`.
    pub fn new(files: impl IntoIterator<Item = PathBuf>, profile: impl Into<String>) -> Self {
        Self { files: files.into_iter().collect(), profile: profile.into() }
    }

    fn read(&self) -> Result<Credentials, CredentialsError> {
        let mut problem = None;
        for path in &self.files {
            let mut text = String::new();
            match File::open(path).and_then(|file| file.take(MAX_BYTES).read_to_string(&mut text)) {
                Ok(_) => (),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => {
                    problem.get_or_insert(CredentialsError::new(&error));
                    continue;
                }
            }
            if let Some(credentials) = parse(&text, &self.profile) {
                return Ok(credentials);
            }
        }
        Err(problem.unwrap_or_else(|| CredentialsError::because("no credentials in the environment or in AWS's files")))
    }
}

/// A profile's keys.
fn parse(text: &str, profile: &str) -> Option<Credentials> {
    let mut is_here = false;
    let [mut id, mut secret, mut token] = [None; 3];
    for line in text.lines() {
        let line = line.trim();
        if let Some(section) = line.strip_prefix('[') {
            let section = section.split(']').next().unwrap_or_default().trim();
            let section = section.strip_prefix("profile ").unwrap_or(section).trim();
            is_here = section == profile;
        } else if is_here
            && !line.starts_with(['#', ';'])
            && let Some((key, value)) = line.split_once('=')
        {
            let slot = match key.trim().to_ascii_lowercase().as_str() {
                "aws_access_key_id" => &mut id,
                "aws_secret_access_key" => &mut secret,
                "aws_session_token" => &mut token,
                _ => continue,
            };
            *slot = Some(value.trim()).filter(|value| !value.is_empty());
        }
    }
    let credentials = Credentials::new(id?, secret?);
    Some(match token {
        Some(token) => credentials.with_session_token(token),
        None => credentials,
    })
}

impl ProvideCredentials for ProfileFiles {
    fn provide(&self) -> CredentialsFuture<'_> {
        // Some hundred bytes from a disk: less than a millisecond, every five minutes.
        Box::pin(ready(self.read()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CREDENTIALS: &str = "\
# keys
[default]
aws_access_key_id = AKIADEFAULT
aws_secret_access_key=s/e+c=r3t
[ci]
AWS_ACCESS_KEY_ID=AKIACI
aws_secret_access_key = other
aws_session_token = token
[half]
aws_access_key_id = AKIAHALF
";

    #[test]
    fn a_profile_has_its_keys_and_no_others() {
        assert_eq!(parse(CREDENTIALS, "default"), Some(Credentials::new("AKIADEFAULT", "s/e+c=r3t")));
        let ci = Credentials::new("AKIACI", "other").with_session_token("token");
        assert_eq!(parse(CREDENTIALS, "ci"), Some(ci));
        assert_eq!((parse(CREDENTIALS, "half"), parse(CREDENTIALS, "none")), (None, None));
        let config = "[profile ci]\naws_access_key_id=a\naws_secret_access_key=b\n";
        assert_eq!(parse(config, "ci"), Some(Credentials::new("a", "b")));
    }

    #[test]
    fn the_first_file_with_keys_counts_and_a_change_is_seen() {
        let directory = tempfile::tempdir().unwrap();
        let [missing, first, second] = ["missing", "first", "second"].map(|name| directory.path().join(name));
        std::fs::write(&first, "[default]\nregion = eu-central-1\n").unwrap();
        std::fs::write(&second, CREDENTIALS).unwrap();
        let files = ProfileFiles::new([missing, first.clone(), second], "default");
        assert_eq!(files.read().unwrap().access_key_id(), "AKIADEFAULT");
        std::fs::write(&first, "[default]\naws_access_key_id=AKIANEW\naws_secret_access_key=b\n").unwrap();
        assert_eq!(files.read().unwrap().access_key_id(), "AKIANEW");
        let nowhere = ProfileFiles::new([directory.path().join("missing")], "default");
        assert_eq!(nowhere.read().unwrap_err().to_string(), "no credentials in the environment or in AWS's files");
    }
}
