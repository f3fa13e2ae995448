//! Searching: Docker Hub's first protocol, which a few other registries answer too, and the list of
//! repositories for those that do not.

use crate::ask::{Ask, What};
use crate::client::Client;
use crate::endpoint::own_endpoint;
use crate::error::Error;
use crate::transport::{Outgoing, read_limited};
use crate::upload::pages;
use reqwest::Method;
use serde::Deserialize;
use std::sync::Arc;

/// Hundred results with their descriptions are some tens of KiB.
const LARGEST_ANSWER: u64 = 4 << 20;

/// A repository that was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Found {
    /// As it is pulled.
    pub name: String,
    /// What its owner says.
    pub description: String,
    /// How many like it.
    pub star_count: u64,
    /// One of Docker's own.
    pub is_official: bool,
    /// Built by Docker Hub, which it does not tell any more.
    pub is_automated: bool,
}

#[derive(Deserialize)]
struct Results {
    results: Vec<Found>,
}

#[derive(Deserialize)]
struct Catalog {
    repositories: Option<Vec<String>>,
}

impl Client {
    /// Repositories of a registry that match a term, at most `limit`.
    ///
    /// # Errors
    /// [`Error::NoSearch`] when the registry offers neither search nor list.
    pub fn search(&self, registry: &str, term: &str, limit: u32) -> Result<Vec<Found>, Error> {
        match self.search_first(registry, term, limit) {
            Err(
                Error::Status { code: 400..=499, .. } | Error::Denied { .. } | Error::Answer { .. },
            ) if registry != "docker.io" => self.search_catalog(registry, term, limit),
            other => other,
        }
    }

    fn search_first(&self, registry: &str, term: &str, limit: u32) -> Result<Vec<Found>, Error> {
        let host = if registry == "docker.io" { "index.docker.io" } else { registry };
        let endpoint = own_endpoint(host, self.settings())?;
        let ask = ask(registry, What::Search { term: term.to_owned(), limit });
        let outgoing = Outgoing::new(Method::GET);
        let bytes = self.wait_for(async {
            let response = self.transport().send(&endpoint, &ask, &outgoing, &|_, _| {}).await?;
            read_limited(response, LARGEST_ANSWER).await.map_err(|reason| Error::Cut {
                ask: ask.clone(),
                tries: 1,
                received: 0,
                reason,
            })
        })?;
        let results: Results =
            serde_json::from_slice(&bytes).map_err(|source| Error::Answer { ask, source })?;
        Ok(results.results)
    }

    fn search_catalog(&self, registry: &str, term: &str, limit: u32) -> Result<Vec<Found>, Error> {
        let endpoint = own_endpoint(registry, self.settings())?;
        let ask = ask(registry, What::Catalog);
        let read = |bytes: &[u8]| {
            serde_json::from_slice::<Catalog>(bytes).map(|c| c.repositories.unwrap_or_default())
        };
        let names = match self.wait_for(pages(self.transport(), &endpoint, &ask, read)) {
            Err(Error::Status { code: 400..=499, .. } | Error::Answer { .. }) => {
                return Err(Error::NoSearch { registry: registry.to_owned() });
            }
            other => other?,
        };
        let matching = names.into_iter().filter(|name| name.contains(term));
        let found = |name| Found { name: format!("{registry}/{name}"), ..Found::default() };
        Ok(matching.take(limit as usize).map(found).collect())
    }
}

fn ask(registry: &str, what: What) -> Arc<Ask> {
    Arc::new(Ask { registry: registry.to_owned(), repository: String::new(), what })
}
