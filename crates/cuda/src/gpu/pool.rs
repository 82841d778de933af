//! Memory that returns for the next step.
//!
//! A training step makes and drops the same buffers over and over: after the first, none is asked of the driver. There is
//! one stream, so memory may be handed out again while launches that use it are still queued: whatever writes it next is
//! queued behind them.
//!
//! What is taken while a step is recorded belongs to the recording, for as long as it can be replayed: nobody else is
//! given it, for a replay writes it at any time.

use std::collections::{HashMap, HashSet};

/// The size that is taken for `bytes`: one of eight steps between powers of two, so that at most an eighth is wasted.
pub(super) fn class(bytes: usize) -> usize {
    let step = (bytes.next_power_of_two() / 16).max(256);
    bytes.max(1).next_multiple_of(step)
}

/// Addresses and sizes that a recording owns.
#[derive(Debug, Default)]
pub(super) struct Recorded(HashMap<u64, usize>);

#[derive(Debug, Default)]
struct Recording {
    /// All that was taken since it began.
    taken: HashMap<u64, usize>,
    /// What of it is free again, by class.
    free: HashMap<usize, Vec<u64>>,
}

/// What the device has given, in use or not.
#[derive(Debug, Default)]
pub(super) struct Pool {
    free: HashMap<usize, Vec<u64>>,
    in_use: HashMap<u64, usize>,
    recording: Option<Recording>,
    /// What belongs to recordings that have ended.
    recorded: HashSet<u64>,
}

impl Pool {
    /// Memory of `bytes`, if some is free.
    pub(super) fn take(&mut self, bytes: usize) -> Option<u64> {
        let class = class(bytes);
        let own =
            self.recording.as_mut().and_then(|recording| recording.free.get_mut(&class)?.pop());
        let address = match own {
            Some(address) => address,
            None => self.free.get_mut(&class)?.pop()?,
        };
        self.hand_out(address, class);
        Some(address)
    }

    /// Notes that the device has given memory of [`class`]`(bytes)`, which goes to whoever asked.
    pub(super) fn add(&mut self, address: u64, bytes: usize) {
        self.hand_out(address, class(bytes));
    }

    fn hand_out(&mut self, address: u64, class: usize) {
        self.in_use.insert(address, class);
        if let Some(recording) = &mut self.recording {
            recording.taken.insert(address, class);
        }
    }

    /// Takes memory back.
    pub(super) fn put(&mut self, address: u64, bytes: usize) {
        let class = class(bytes);
        self.in_use.remove(&address);
        if let Some(recording) = &mut self.recording
            && recording.taken.contains_key(&address)
        {
            recording.free.entry(class).or_default().push(address);
        } else if !self.recorded.contains(&address) {
            self.free.entry(class).or_default().push(address);
        }
    }

    /// Bytes that are handed out.
    pub(super) fn bytes_in_use(&self) -> usize {
        self.in_use.values().sum()
    }

    pub(super) fn is_recording(&self) -> bool {
        self.recording.is_some()
    }

    pub(super) fn begin_recording(&mut self) {
        self.recording = Some(Recording::default());
    }

    /// Ends a recording: what was taken since it began is its own.
    pub(super) fn end_recording(&mut self) -> Recorded {
        let taken = self.recording.take().map(|recording| recording.taken).unwrap_or_default();
        self.recorded.extend(taken.keys());
        Recorded(taken)
    }

    /// Gives back what a recording owned; what tensors still hold returns when they let go.
    pub(super) fn forget_recording(&mut self, blocks: &Recorded) {
        for (&address, &class) in &blocks.0 {
            self.recorded.remove(&address);
            if !self.in_use.contains_key(&address) {
                self.free.entry(class).or_default().push(address);
            }
        }
    }

    /// Gives up all that is free, for the caller to return to the device.
    pub(super) fn release(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.free).into_values().flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_waste_at_most_an_eighth() {
        for bytes in [1, 4, 255, 256, 257, 5000, 4 << 20, (4 << 20) + 1, 123_456_789] {
            let class = class(bytes);
            assert!(class >= bytes && class.is_multiple_of(256), "{bytes} {class}");
            assert!(class - bytes <= bytes.div_ceil(8).max(256), "{bytes} {class}");
        }
    }

    #[test]
    fn what_is_put_back_is_taken_again() {
        let mut pool = Pool::default();
        assert_eq!(pool.take(1000), None);
        pool.add(7, 1000);
        assert_eq!(pool.bytes_in_use(), 1024);
        pool.put(7, 1000);
        assert_eq!((pool.take(1020), pool.take(1020)), (Some(7), None));
    }

    #[test]
    fn a_recordings_memory_is_nobody_elses_until_it_is_forgotten() {
        let mut pool = Pool::default();
        pool.add(1, 256);
        pool.put(1, 256);
        pool.begin_recording();
        assert_eq!(pool.take(256), Some(1)); // an intermediate, dropped and taken again
        pool.put(1, 256);
        assert_eq!(pool.take(256), Some(1));
        pool.put(1, 256);
        pool.add(2, 512); // the result, which a tensor holds
        let recorded = pool.end_recording();
        assert_eq!(pool.take(256), None);
        pool.forget_recording(&recorded);
        assert_eq!(pool.take(256), Some(1));
        assert_eq!(pool.take(512), None);
        pool.put(2, 512);
        assert_eq!(pool.take(512), Some(2));
    }

    #[test]
    fn a_result_that_is_dropped_first_stays_the_recordings() {
        let mut pool = Pool::default();
        pool.begin_recording();
        pool.add(2, 512);
        let recorded = pool.end_recording();
        pool.put(2, 512);
        assert_eq!(pool.take(512), None);
        pool.forget_recording(&recorded);
        assert_eq!(pool.take(512), Some(2));
    }
}
