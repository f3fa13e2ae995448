//! Networks as they were configured, and who holds which address.

use crate::{Error, Result, Store};
use rusqlite::{OptionalExtension, Transaction, params};
use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use tug_types::ContainerId;

impl Store {
    /// The configuration of a network, or the one that `choose` makes and that is kept from then on.
    /// `choose` runs inside the transaction: it must be quick.
    ///
    /// # Errors
    /// When the database fails, or `choose` does.
    pub fn network_or_insert<E: From<Error>>(
        &self,
        name: &str,
        choose: impl FnOnce() -> std::result::Result<String, E>,
    ) -> std::result::Result<String, E> {
        let query = "SELECT config FROM networks WHERE name = ?1";
        let found = self
            .connection()?
            .prepare_cached(query)
            .and_then(|mut statement| statement.query_row([name], |row| row.get(0)).optional())
            .map_err(Error::from)?;
        if let Some(config) = found {
            return Ok(config);
        }
        let config = choose()?;
        let kept = self.write(|transaction| {
            transaction
                .execute("INSERT OR IGNORE INTO networks VALUES (?1, ?2)", params![name, config])?;
            Ok(transaction.query_row(query, [name], |row| row.get(0))?)
        })?;
        Ok(kept)
    }

    /// Forgets a network's configuration, so that the next start chooses anew.
    ///
    /// # Errors
    /// When the database fails.
    pub fn forget_network(&self, name: &str) -> Result<()> {
        self.write(|transaction| {
            transaction.execute("DELETE FROM networks WHERE name = ?1", [name])?;
            Ok(())
        })
    }

    /// The configuration of a network, if there is one.
    ///
    /// # Errors
    /// When the database fails.
    pub fn network(&self, name: &str) -> Result<Option<String>> {
        Ok(self
            .connection()?
            .query_row("SELECT config FROM networks WHERE name = ?1", [name], |row| row.get(0))
            .optional()?)
    }

    /// The address a container holds.
    ///
    /// # Errors
    /// When the database fails.
    pub fn address_of(&self, container: &ContainerId) -> Result<Option<Ipv4Addr>> {
        let query = "SELECT address FROM addresses WHERE container = ?1";
        let connection = self.connection()?;
        let number: Option<u32> =
            connection.query_row(query, [container.as_str()], |row| row.get(0)).optional()?;
        Ok(number.map(Ipv4Addr::from_bits))
    }

    /// Lets a container's address go.
    ///
    /// # Errors
    /// When the database fails.
    pub fn release_address(&self, container: &ContainerId) -> Result<()> {
        self.write(|transaction| release(transaction, container))
    }
}

pub(crate) fn release(transaction: &Transaction<'_>, container: &ContainerId) -> Result<()> {
    transaction
        .prepare_cached("DELETE FROM addresses WHERE container = ?1")?
        .execute([container.as_str()])?;
    Ok(())
}

/// Gives a container the address that `next` picks among those nobody holds.
pub(crate) fn allocate(
    transaction: &Transaction<'_>,
    network: &str,
    container: &ContainerId,
    next: &dyn Fn(&BTreeSet<Ipv4Addr>) -> Option<Ipv4Addr>,
) -> Result<Ipv4Addr> {
    let mut statement =
        transaction.prepare_cached("SELECT address FROM addresses WHERE network = ?1")?;
    let used = statement
        .query_map([network], |row| row.get::<_, u32>(0))?
        .map(|number| number.map(Ipv4Addr::from_bits))
        .collect::<rusqlite::Result<BTreeSet<_>>>()?;
    let address = next(&used).ok_or_else(|| Error::NoAddress { network: network.to_owned() })?;
    transaction.prepare_cached("INSERT INTO addresses VALUES (?1, ?2, ?3)")?.execute(params![
        network,
        address.to_bits(),
        container.as_str()
    ])?;
    Ok(address)
}
