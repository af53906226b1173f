//! A table of the latest so many containers.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Containers that are remembered.
pub(super) const REMEMBERED: usize = 4096;

/// What is remembered of containers, by their full id; shared by its clones.
#[derive(Debug)]
pub(super) struct Remembered<T>(Arc<Mutex<Table<T>>>);

#[derive(Debug)]
struct Table<T> {
    of: HashMap<String, T>,
    order: VecDeque<String>,
}

impl<T> Default for Remembered<T> {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Table { of: HashMap::new(), order: VecDeque::new() })))
    }
}

impl<T> Clone for Remembered<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Clone> Remembered<T> {
    /// What is remembered of a container.
    pub(super) fn get(&self, id: &str) -> Option<T> {
        self.table().of.get(id).cloned()
    }

    /// Remembers it; the container that came first is forgotten where there are too many.
    pub(super) fn put(&self, id: &str, value: T) {
        let mut table = self.table();
        if table.of.insert(id.to_owned(), value).is_none() {
            table.order.push_back(id.to_owned());
        }
        while table.order.len() > REMEMBERED {
            if let Some(oldest) = table.order.pop_front() {
                table.of.remove(&oldest);
            }
        }
    }

    /// No code that holds the lock can leave the table half changed.
    fn table(&self) -> MutexGuard<'_, Table<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_ones_are_forgotten() {
        let remembered = Remembered::default();
        for n in 0..=REMEMBERED {
            remembered.put(&n.to_string(), n);
            remembered.put(&n.to_string(), n);
        }
        assert_eq!((remembered.get("0"), remembered.get("1")), (None, Some(1)));
        assert_eq!(remembered.table().of.len(), REMEMBERED);
    }
}
