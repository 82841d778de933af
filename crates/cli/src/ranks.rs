//! The ranks of a job: threads of this process and, where `mpirun` or `srun` has started several, the other processes'.

use crate::failure::{Failure, Result};
use belamy_ranks::tcp::Tcp;
use belamy_ranks::{Alone, Processes, launched, meet};
use belamy_tensor::communicator::Ranks;
use std::sync::Arc;
use std::time::Duration;

/// The processes that train together.
#[derive(Debug)]
pub(crate) struct Job {
    processes: Arc<dyn Processes>,
    deadline: Duration,
}

impl Job {
    /// The job that this process was started for. A rank that the others wait for longer than `deadline` ends it.
    ///
    /// Fails where `mpirun` has started several processes of a program that was built without MPI: each would train by
    /// itself.
    pub(crate) fn begin(deadline: Duration) -> Result<Job> {
        Ok(Job { processes: processes(deadline)?, deadline })
    }

    /// How many processes there are.
    pub(crate) fn processes(&self) -> usize {
        self.processes.count()
    }

    /// Whether this is the first process, which writes and speaks.
    pub(crate) fn leads(&self) -> bool {
        self.processes.index() == 0
    }

    /// A rank for this process among the first `count`; `None` where it is not one of them.
    pub(crate) fn first(&self, count: usize) -> Result<Option<Ranks>> {
        if self.processes.index() >= count {
            return Ok(None);
        }
        let mut ranks = meet(self.processes.first(count), count, self.deadline)
            .map_err(|error| Failure::new(error.to_string()))?;
        Ok(ranks.pop())
    }

    /// This process's ranks of so many.
    pub(crate) fn ranks(&self, shards: usize) -> Result<Vec<Ranks>> {
        meet(Arc::clone(&self.processes), shards, self.deadline)
            .map_err(|error| Failure::usage(format!("--shards: {error}")))
    }
}

fn processes(deadline: Duration) -> Result<Arc<dyn Processes>> {
    let variable = |name: &str| std::env::var(name).ok();
    if launched::by_mpi(&variable) {
        return by_mpi(deadline);
    }
    match launched::by_environment(&variable).map_err(Failure::new)? {
        Some(place) => Ok(Tcp::connect(&place, deadline).map_err(Failure::new)?),
        None => Ok(Arc::new(Alone)),
    }
}

#[cfg(feature = "mpi")]
fn by_mpi(deadline: Duration) -> Result<Arc<dyn Processes>> {
    Ok(belamy_ranks::mpi::Mpi::begin(deadline).map_err(Failure::new)?)
}

#[cfg(not(feature = "mpi"))]
fn by_mpi(_deadline: Duration) -> Result<Arc<dyn Processes>> {
    Err(Failure::new(
        "mpirun has started several of these, but this belamy was built without MPI: build it with \
         cargo build --release --features mpi, or start it by torchrun --no-python or plain srun",
    ))
}

/// Does a rank's work; if it fails or panics, the others' calls fail too, and say why.
pub(crate) fn work<T>(rank: &Ranks, work: impl FnOnce() -> Result<T>) -> Result<T> {
    struct Leaver<'a>(&'a Ranks);
    impl Drop for Leaver<'_> {
        fn drop(&mut self) {
            if std::thread::panicking() {
                self.0.leave("it panicked");
            }
        }
    }
    let leaver = Leaver(rank);
    let result = work();
    if let Err(failure) = &result {
        leaver.0.leave(failure.message());
    }
    result
}
