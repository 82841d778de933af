//! What a set of processes is.

use std::fmt;
use std::sync::Arc;

/// Processes that train one network together, seen from one of them.
pub trait Processes: fmt::Debug + Send + Sync {
    /// Which one this is, from 0.
    fn index(&self) -> usize;

    /// How many there are.
    fn count(&self) -> usize;

    /// Sends `to[p]` to process p, and returns what each has sent here, by process. All of them call it together. Says
    /// why when one is not there.
    fn exchange(&self, to: Vec<Vec<u8>>) -> Result<Vec<Vec<u8>>, String>;

    /// The same processes, for exchanges that another thread makes at the same time: messages of the two are not mixed up.
    fn beside(&self) -> Arc<dyn Processes>;

    /// Ends all of them, because this one cannot go on.
    fn abort(&self, why: &str);

    /// The first `count` of them by themselves, of whom this must be one; the others make no calls meanwhile.
    fn first(&self, count: usize) -> Arc<dyn Processes>;
}

/// A process by itself.
#[derive(Debug, Clone, Copy)]
pub struct Alone;

impl Processes for Alone {
    fn index(&self) -> usize {
        0
    }

    fn count(&self) -> usize {
        1
    }

    fn exchange(&self, to: Vec<Vec<u8>>) -> Result<Vec<Vec<u8>>, String> {
        Ok(to)
    }

    fn beside(&self) -> Arc<dyn Processes> {
        Arc::new(Alone)
    }

    fn abort(&self, _why: &str) {}

    fn first(&self, _count: usize) -> Arc<dyn Processes> {
        Arc::new(Alone)
    }
}
