//! One question to a registry: what is asked, in which words errors name it, and what a token must
//! allow for it.

use std::fmt;
use tug_types::Digest;

/// One question to a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Host and port that were asked; `docker.io` for Docker Hub.
    pub registry: String,
    /// Repository, `library/busybox`.
    pub repository: String,
    /// What of it.
    pub what: What,
}

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A manifest or an index, by tag or digest.
    Manifest(String),
    /// A config or a layer.
    Blob(Digest),
    /// Whether the registry that is pushed to has a blob already.
    Probe(Digest),
    /// To take a blob over from another of its repositories.
    Mount {
        /// The blob.
        digest: Digest,
        /// The other repository.
        from: String,
    },
    /// To take a blob in; named by a digest, its own or that of what it is made of.
    Upload(Digest),
    /// To take a manifest in, under a tag or a digest.
    Publish(String),
    /// The tags of the repository.
    Tags,
    /// The repositories of the registry.
    Catalog,
    /// Repositories matching some words.
    Search {
        /// The words.
        term: String,
        /// So many at most.
        limit: u32,
    },
    /// Whether it knows somebody.
    Login,
}

/// What is done to a repository, for the token that allows it and for the words when it is denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// Reading.
    Pull,
    /// Reading and writing.
    Push,
    /// The registry as a whole.
    Registry,
}

impl Ask {
    /// What has to be allowed.
    pub(crate) fn access(&self) -> Access {
        match self.what {
            What::Manifest(_) | What::Blob(_) | What::Tags => Access::Pull,
            What::Probe(_) | What::Mount { .. } | What::Upload(_) | What::Publish(_) => {
                Access::Push
            }
            What::Catalog | What::Search { .. } | What::Login => Access::Registry,
        }
    }

    /// The scopes a token must have (distribution's token authentication), most important first.
    pub(crate) fn scopes(&self) -> Vec<String> {
        let Self { repository, what, .. } = self;
        match (self.access(), what) {
            (Access::Pull, _) => vec![format!("repository:{repository}:pull")],
            (Access::Push, What::Mount { from, .. }) => vec![
                format!("repository:{repository}:pull,push"),
                format!("repository:{from}:pull"),
            ],
            (Access::Push, _) => vec![format!("repository:{repository}:pull,push")],
            (Access::Registry, What::Catalog) => vec!["registry:catalog:*".to_owned()],
            (Access::Registry, _) => Vec::new(),
        }
    }

    /// What it is about, without the verb.
    pub(crate) fn object(&self) -> String {
        let Self { registry, repository, what } = self;
        match what {
            What::Manifest(reference) => {
                format!("manifest {reference} of {repository} from {registry}")
            }
            What::Blob(digest) => format!("blob {digest} of {repository} from {registry}"),
            What::Probe(digest) | What::Mount { digest, .. } | What::Upload(digest) => {
                format!("blob {digest} to {repository} at {registry}")
            }
            What::Publish(reference) => {
                format!("manifest {reference} to {repository} at {registry}")
            }
            What::Tags => format!("tags of {repository} from {registry}"),
            What::Catalog => format!("repositories of {registry}"),
            What::Search { term, .. } => format!("{term:?} at {registry}"),
            What::Login => registry.clone(),
        }
    }
}

impl fmt::Display for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = match &self.what {
            What::Manifest(_) | What::Blob(_) => "get",
            What::Probe(_) | What::Mount { .. } | What::Upload(_) | What::Publish(_) => "push",
            What::Tags | What::Catalog => "list",
            What::Search { .. } => "search",
            What::Login => "log in to",
        };
        write!(f, "{verb} {}", self.object())
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pull => "pull",
            Self::Push => "push",
            Self::Registry => "registry",
        })
    }
}
