use std::{error::Error, fmt};

/// Naming rules cannot be used. Retrying does not help: the configuration is wrong.
#[derive(Debug)]
pub struct BuildError {
    kind: Kind,
    source: Option<Box<dyn Error + Send + Sync>>,
}

#[derive(Debug)]
pub(crate) enum Kind {
    Glob { pattern: String, why: &'static str },
    Regex { pattern: String },
    TooLarge,
    Name { name: String },
    GrpcMethod { name: String },
    Descriptors,
}

impl BuildError {
    pub(crate) fn new(kind: Kind) -> Self {
        Self { kind, source: None }
    }

    pub(crate) fn because(kind: Kind, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { kind, source: Some(source.into()) }
    }

    /// A pattern cannot be read, or the patterns together are too large.
    #[must_use]
    pub fn is_pattern(&self) -> bool {
        matches!(self.kind, Kind::Glob { .. } | Kind::Regex { .. } | Kind::TooLarge)
    }

    /// A rule's name is empty, too long or not printable.
    #[must_use]
    pub fn is_name(&self) -> bool {
        matches!(self.kind, Kind::Name { .. })
    }

    /// A gRPC method or a descriptor set cannot be read.
    #[must_use]
    pub fn is_grpc(&self) -> bool {
        matches!(self.kind, Kind::GrpcMethod { .. } | Kind::Descriptors)
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Glob { pattern, why } => write!(
                f,
                "{pattern:?} is not a valid path pattern ({why}): expected an absolute path like `/v1/**`, `/users/*` or \
                 `/users/{{id}}`, where `**` and `{{*name}}` are whole segments"
            ),
            Kind::Regex { pattern } => {
                write!(f, "{pattern:?} is not a valid regular expression in the syntax of the `regex` crate")
            }
            Kind::TooLarge => f.write_str("the naming rules' patterns are too large together: at most 2 MB compiled"),
            Kind::Name { name } => {
                write!(
                    f,
                    "{name:?} cannot be a name: expected 1 to 200 printable characters, the same for every request"
                )
            }
            Kind::GrpcMethod { name } => {
                write!(f, "{name:?} is not a valid gRPC method: expected `package.Service/Method`, at most 128 bytes")
            }
            Kind::Descriptors => {
                f.write_str("the gRPC descriptors are not an encoded `google.protobuf.FileDescriptorSet`")
            }
        }
    }
}

impl Error for BuildError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
