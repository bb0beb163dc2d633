//! Store of predictions: reads come from memory, and each write reaches a file on disk before it is
//! acknowledged.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::prediction::Prediction;

/// All predictions, by id. Ids sort by creation.
pub(super) struct Store {
    directory: PathBuf,
    predictions: Mutex<BTreeMap<String, Prediction>>,
    fetches: Mutex<BTreeMap<String, u32>>,
}

impl Store {
    pub(super) fn open(directory: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(directory)?;
        let mut predictions = BTreeMap::new();
        for entry in std::fs::read_dir(directory)? {
            let path = entry?.path();
            // A file without the extension was left half-written by a kill, before its call was
            // acknowledged.
            if path
                .extension()
                .is_some_and(|extension| extension == "json")
            {
                let prediction: Prediction = serde_json::from_slice(&std::fs::read(path)?)?;
                predictions.insert(prediction.id.clone(), prediction);
            }
        }
        Ok(Self {
            directory: directory.to_owned(),
            predictions: Mutex::new(predictions),
            fetches: Mutex::default(),
        })
    }

    pub(super) fn put(&self, prediction: Prediction) -> io::Result<()> {
        self.write(&prediction)?;
        self.lock().insert(prediction.id.clone(), prediction);
        Ok(())
    }

    pub(super) fn get(&self, id: &str) -> Option<Prediction> {
        self.lock().get(id).cloned()
    }

    pub(super) fn change(
        &self,
        id: &str,
        change: impl FnOnce(&mut Prediction),
    ) -> Option<Prediction> {
        let mut predictions = self.lock();
        let prediction = predictions.get_mut(id)?;
        change(prediction);
        self.write(prediction).ok()?;
        Some(prediction.clone())
    }

    pub(super) fn newest_first(
        &self,
        filter: impl Fn(&Prediction) -> bool,
        limit: usize,
    ) -> Vec<Prediction> {
        self.lock()
            .values()
            .rev()
            .filter(|prediction| filter(prediction))
            .take(limit)
            .cloned()
            .collect()
    }

    /// Counts a fetch of a file and returns the number of fetches so far.
    pub(super) fn count_fetch(&self, id: &str, file: &str) -> u32 {
        let mut fetches = self.fetches.lock().unwrap_or_else(PoisonError::into_inner);
        let count = fetches.entry(format!("{id}/{file}")).or_default();
        *count += 1;
        *count
    }

    fn write(&self, prediction: &Prediction) -> io::Result<()> {
        let path = self.directory.join(&prediction.id);
        std::fs::write(&path, serde_json::to_vec(prediction)?)?;
        std::fs::rename(&path, path.with_extension("json"))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Prediction>> {
        self.predictions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
