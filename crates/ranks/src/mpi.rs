//! Processes that `mpirun` or `srun` has started.
//!
//! An exchange is made of sends and receives that do not block, looked at in turn, so that a process that does not
//! answer within the deadline is found, named, and the job ended: MPI's own collectives would wait for ever. MPI ends a
//! job when one of its processes dies.

use crate::processes::Processes;
use mpi::Threading;
use mpi::environment::Universe;
use mpi::point_to_point::MatchedReceiveVec;
use mpi::request::Request;
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator, Destination, Source};
use std::fmt;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::time::{Duration, Instant};

/// What messages are told apart by: those of the first way to the others, and those beside it.
const TAGS: [i32; 2] = [1, 2];
/// What a job that could not go on exits with.
const FAILURE: i32 = 1;

struct World {
    communicator: SimpleCommunicator,
    /// Ends MPI when it is dropped.
    _universe: Universe,
}

// SAFETY: MPI was begun with MPI_THREAD_SERIALIZED or more, and the mutex around it lets one thread call it at a time.
unsafe impl Send for World {}

/// The processes of an MPI job, or the first of them.
#[derive(Clone)]
pub struct Mpi {
    index: usize,
    count: usize,
    tag: i32,
    deadline: Duration,
    world: Arc<Mutex<World>>,
    /// Somebody wants the job to end while another thread is calling MPI.
    ending: Arc<AtomicBool>,
}

impl fmt::Debug for Mpi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MPI process {} of {}", self.index, self.count)
    }
}

impl Mpi {
    /// Begins MPI. A process that does not answer for `deadline` ends the job. Fails when MPI was begun before, or cannot
    /// be called from several threads in turn.
    pub fn begin(deadline: Duration) -> Result<Arc<Mpi>, String> {
        let Some((universe, threading)) = mpi::initialize_with_threading(Threading::Serialized)
        else {
            return Err("MPI was begun before".to_owned());
        };
        if threading < Threading::Serialized {
            return Err("this MPI cannot be called from several threads in turn".to_owned());
        }
        let communicator = universe.world();
        let (index, count) = (communicator.rank() as usize, communicator.size() as usize);
        let world = Arc::new(Mutex::new(World { communicator, _universe: universe }));
        Ok(Arc::new(Mpi { index, count, tag: TAGS[0], deadline, world, ending: Arc::default() }))
    }

    /// Ends the job if another thread has asked for that.
    fn end_if_asked(&self, world: &World) {
        if self.ending.load(Ordering::Acquire) {
            world.communicator.abort(FAILURE);
        }
    }

    fn say(&self, why: &str) {
        // Where standard error is closed there is nobody to tell.
        let _ =
            writeln!(std::io::stderr(), "error: process {} of {}: {why}", self.index, self.count);
    }
}

impl Processes for Mpi {
    fn index(&self) -> usize {
        self.index
    }

    fn count(&self) -> usize {
        self.count
    }

    fn exchange(&self, mut to: Vec<Vec<u8>>) -> Result<Vec<Vec<u8>>, String> {
        if to.iter().any(|bytes| bytes.len() > i32::MAX as usize) {
            return Err("more than 2 GiB cannot be sent at once".to_owned());
        }
        let own = std::mem::take(&mut to[self.index]);
        // Given back between two looks: another thread may have an exchange of its own under way.
        let world = || self.world.lock().unwrap_or_else(PoisonError::into_inner);
        let mut from: Vec<Option<Vec<u8>>> = vec![None; self.count];
        from[self.index] = Some(own);
        let others = (0..self.count).filter(|&process| process != self.index);
        mpi::request::scope(|scope| {
            let mut sends: Vec<(usize, Request<'_, [u8], _>)> = {
                let world = world();
                others
                    .map(|process| {
                        let other = world.communicator.process_at_rank(process as i32);
                        (process, other.immediate_send_with_tag(scope, &to[process][..], self.tag))
                    })
                    .collect()
            };
            let (mut idle, mut until) = (0u32, Instant::now() + self.deadline);
            loop {
                let world = world();
                let mut moved = false;
                for (process, received) in from.iter_mut().enumerate() {
                    if received.is_none() {
                        let other = world.communicator.process_at_rank(process as i32);
                        if let Some(message) = other.immediate_matched_probe_with_tag(self.tag) {
                            *received = Some(message.matched_receive_vec::<u8>().0);
                            moved = true;
                        }
                    }
                }
                let before = sends.len();
                sends = sends
                    .into_iter()
                    .filter_map(|(process, send)| Some((process, send.test().err()?)))
                    .collect();
                moved |= sends.len() < before;
                if sends.is_empty() && from.iter().all(Option::is_some) {
                    return;
                }
                self.end_if_asked(&world);
                if moved {
                    (idle, until) = (0, Instant::now() + self.deadline);
                    continue;
                }
                if Instant::now() > until {
                    // It may have sent, and not take what is sent to it.
                    let unsent = sends.first().map_or(self.index, |(process, _)| *process);
                    let silent = from.iter().position(Option::is_none).unwrap_or(unsent);
                    let seconds = self.deadline.as_secs_f64();
                    self.say(&format!("process {silent} has not answered for {seconds} s"));
                    world.communicator.abort(FAILURE);
                }
                drop(world);
                // Somebody else may have work for this core.
                idle += 1;
                if idle > 200 {
                    std::thread::sleep(Duration::from_micros(if idle > 5_000 { 200 } else { 20 }));
                } else {
                    std::thread::yield_now();
                }
            }
        });
        Ok(from.into_iter().flatten().collect())
    }

    fn beside(&self) -> Arc<dyn Processes> {
        Arc::new(Mpi { tag: TAGS[1], ..self.clone() })
    }

    fn abort(&self, why: &str) {
        self.say(why);
        self.ending.store(true, Ordering::Release);
        let until = Instant::now() + Duration::from_secs(2);
        while Instant::now() < until {
            match self.world.try_lock() {
                Ok(world) => world.communicator.abort(FAILURE),
                Err(TryLockError::Poisoned(world)) => {
                    world.into_inner().communicator.abort(FAILURE)
                }
                // Whoever holds it ends the job.
                Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(5)),
            }
        }
        std::process::abort();
    }

    fn first(&self, count: usize) -> Arc<dyn Processes> {
        Arc::new(Mpi { count: count.min(self.count), ..self.clone() })
    }
}
