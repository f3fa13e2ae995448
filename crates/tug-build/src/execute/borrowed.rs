//! Results of caches elsewhere: believed by their key, fetched when somebody needs the files, and done here after
//! all when a layer turns out to be missing or damaged.

use super::{Worker, locked};
use crate::error::BuildError;
use crate::ops::{Layer, Output};
use crate::progress::{self, LineId};
use crate::share::{Record, Records};
use std::collections::BTreeMap;
use std::sync::Arc;
use tug_engine::Engine;
use tug_types::{DiffId, Explain as _};

impl Worker<'_> {
    /// Brings layers here that only a cache elsewhere has.
    pub(crate) fn ensure(&self, layers: &[Layer]) -> Result<(), BuildError> {
        if self.imports.is_empty() {
            return Ok(());
        }
        let engine = Engine::new(self.settings.clone());
        for layer in layers.iter().filter(|layer| !self.layers.contains(&layer.diff_id)) {
            self.cancel.check()?;
            self.fetch_layer(&engine, layer.diff_id)?;
        }
        Ok(())
    }

    /// Brings one layer from the first cache that has it. One that none delivers is lost: no result that stands on
    /// it counts any more.
    fn fetch_layer(&self, engine: &Engine, layer: DiffId) -> Result<(), BuildError> {
        for import in self.imports {
            match import.fetch(engine, &self.layers, &self.lease, layer) {
                Ok(true) => return Ok(()),
                // None has it: an inline cache knows results of steps whose files it does not have.
                Ok(false) => import.lose(layer),
                Err(error) => {
                    import.lose(layer);
                    let why = error.failure().message;
                    let text = format!(
                        "the build cache {} does not deliver {}, so its steps run here: {why}",
                        import.name, layer.0
                    );
                    self.board.tell(progress::Event::Warning { line: LineId(0), text });
                }
            }
        }
        let stands_on = |record: &Record| record.layers.iter().any(|own| own.diff_id == layer);
        locked(&self.borrowed).retain(|_, record| !stands_on(record));
        Err(BuildError::Lost { layer })
    }

    /// Those of the records whose layers are here, or can be brought here.
    pub(crate) fn at_hand(&self, mut records: Records) -> Result<Records, BuildError> {
        let mut kept = BTreeMap::new();
        for (key, record) in std::mem::take(&mut records.steps) {
            match self.ensure(&record.layers) {
                Ok(()) => drop(kept.insert(key, record)),
                Err(BuildError::Lost { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        records.steps = kept;
        Ok(records)
    }

    /// The result of a key in a cache elsewhere.
    pub(super) fn imported(&self, key: &str) -> Option<Output> {
        let is_here = |id: &DiffId| self.layers.contains(id);
        let record = self.imports.iter().find_map(|import| import.find(key, is_here))?;
        for layer in &record.layers {
            self.lease.protect(&layer.diff_id).ok()?;
        }
        locked(&self.borrowed).insert(key.to_owned(), record.clone());
        Some(Output::Layers(Arc::new(record.layers.clone())))
    }

    /// Keeps what came from elsewhere and is wholly here now.
    pub(super) fn keep_borrowed(&self) -> Result<(), BuildError> {
        for (key, record) in &*locked(&self.borrowed) {
            locked(&self.loose).extend(record.layers.iter().map(|layer| layer.diff_id));
            if record.layers.iter().all(|layer| self.layers.contains(&layer.diff_id)) {
                self.put_record(key, record)?;
            }
        }
        Ok(())
    }

    /// The results that were used or made.
    pub(crate) fn records(&self) -> Result<Records, BuildError> {
        let mut steps = locked(&self.borrowed).clone();
        steps.extend(locked(&self.unkept).clone());
        let store = locked(&self.store);
        let titles = locked(&self.titles).clone();
        for key in &*locked(&self.used) {
            let Some(json) = store.cached(key)? else { continue };
            let Ok(layers) = serde_json::from_str(&json) else { continue };
            let (title, kind) = titles.get(key).cloned().unwrap_or_default();
            steps.insert(key.clone(), Record { title, kind, layers });
        }
        Ok(Records::new(steps, locked(&self.sums).clone()))
    }
}
