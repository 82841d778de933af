//! Where the ranks of a process meet: each call waits until all have come, one of them deals with the other processes,
//! and all go on with the result.

use crate::processes::Processes;
use belamy_tensor::communicator::{Communicator, Numbers, Ranks, sum_by_rank};
use belamy_tensor::{Error, Result};
use bytemuck::Pod;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What ranks bring to a call.
#[derive(Debug)]
enum Brought {
    Bytes(Vec<u8>),
    F32(Vec<f32>),
    F64(Vec<f64>),
}

impl Brought {
    /// The kind of call, and how many numbers it is of, where that must be the same everywhere.
    fn call(&self) -> (u64, usize) {
        match self {
            Brought::Bytes(_) => (0, 0),
            Brought::F32(values) => (1, values.len()),
            Brought::F64(values) => (2, values.len()),
        }
    }
}

/// What they take from it.
#[derive(Debug)]
enum Taken {
    Bytes(Vec<Vec<u8>>),
    F32(Vec<f32>),
    F64(Vec<f64>),
    Failed(String),
}

#[derive(Debug, Default)]
struct State {
    /// Calls that were completed.
    calls: u64,
    brought: Vec<Option<Brought>>,
    /// All have come, and one deals with the other processes.
    under_way: bool,
    result: Option<Arc<Taken>>,
    /// How many have yet to take the result.
    waiting: usize,
    /// Why no further call can be made.
    over: Option<String>,
}

struct Meeting {
    processes: Arc<dyn Processes>,
    /// Ranks of a process.
    ranks: usize,
    deadline: Duration,
    state: Mutex<State>,
    changed: Condvar,
}

impl fmt::Debug for Meeting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (ranks, processes) = (&self.ranks, &self.processes);
        f.debug_struct("Meeting").field("ranks", ranks).field("processes", processes).finish()
    }
}

/// A rank of two meetings: one, and one beside it.
#[derive(Debug)]
struct Member {
    meeting: Arc<Meeting>,
    beside: Arc<Meeting>,
    /// Which of its process's ranks.
    seat: usize,
}

/// This process's ranks of `ranks` in all, in order: each for a thread of its own. A call fails when another rank is
/// not there within the deadline.
///
/// Fails when the number of processes does not divide that of ranks.
///
/// ```
/// use belamy_ranks::{Alone, meet};
/// use belamy_tensor::communicator::Numbers;
/// use std::{sync::Arc, time::Duration};
/// let ranks = meet(Arc::new(Alone), 3, Duration::from_secs(10))?;
/// let sums: Vec<f32> = std::thread::scope(|scope| {
///     let threads: Vec<_> = ranks
///         .iter()
///         .map(|rank| {
///             scope.spawn(move || {
///                 let mut mine = [rank.rank() as f32];
///                 rank.all_reduce_sum(Numbers::F32(&mut mine)).map(|()| mine[0])
///             })
///         })
///         .collect();
///     threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Result<_, _>>()
/// })?;
/// assert_eq!(sums, [3.0, 3.0, 3.0]);
/// # Ok::<(), belamy_tensor::Error>(())
/// ```
pub fn meet(processes: Arc<dyn Processes>, ranks: usize, deadline: Duration) -> Result<Vec<Ranks>> {
    let count = processes.count();
    if ranks == 0 || !ranks.is_multiple_of(count) {
        let message = format!("{ranks} shards cannot be shared evenly by {count} processes");
        return Err(Error::ranks(message));
    }
    let here = ranks / count;
    let beside = Meeting::new(processes.beside(), here, deadline);
    let meeting = Meeting::new(processes, here, deadline);
    let member = |seat| -> Ranks {
        let (meeting, beside) = (Arc::clone(&meeting), Arc::clone(&beside));
        Arc::new(Member { meeting, beside, seat })
    };
    Ok((0..here).map(member).collect())
}

impl Meeting {
    fn new(processes: Arc<dyn Processes>, ranks: usize, deadline: Duration) -> Arc<Meeting> {
        let state = State { brought: (0..ranks).map(|_| None).collect(), ..State::default() };
        let (state, changed) = (Mutex::new(state), Condvar::new());
        Arc::new(Meeting { processes, ranks, deadline, state, changed })
    }

    /// A rank that panics elsewhere leaves nothing half done in here.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn first_rank(&self) -> usize {
        self.processes.index() * self.ranks
    }

    /// Waits until `ready`, or says why that will not be.
    fn wait<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        ready: impl Fn(&State) -> bool,
    ) -> Result<MutexGuard<'a, State>> {
        let mut until = Instant::now() + self.deadline;
        loop {
            if ready(&state) {
                return Ok(state);
            }
            if let Some(why) = &state.over {
                return Err(Error::ranks(why.clone()));
            }
            if state.under_way {
                // The exchange between processes has a deadline of its own.
                until = Instant::now() + self.deadline;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let missing = state.brought.iter().position(Option::is_none).unwrap_or(0);
                let why = format!(
                    "rank {} did not come to call {} within {} s",
                    self.first_rank() + missing,
                    state.calls + 1,
                    self.deadline.as_secs_f64()
                );
                self.end(&mut state, &why);
                return Err(Error::ranks(why));
            }
            let step = left.min(Duration::from_millis(100));
            let waited = self.changed.wait_timeout(state, step);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn end(&self, state: &mut State, why: &str) {
        state.over.get_or_insert_with(|| why.to_owned());
        self.changed.notify_all();
    }

    fn call(&self, seat: usize, brought: Brought) -> Result<Arc<Taken>> {
        // Those of the call before may not have taken its result yet.
        let mut state = self.wait(self.state(), |state| state.waiting == 0)?;
        if let Some(why) = &state.over {
            return Err(Error::ranks(why.clone()));
        }
        state.brought[seat] = Some(brought);
        if state.brought.iter().all(Option::is_some) {
            let brought: Vec<Brought> = state.brought.iter_mut().filter_map(Option::take).collect();
            state.under_way = true;
            let number = state.calls;
            drop(state);
            let taken = self.together(number, brought).unwrap_or_else(Taken::Failed);
            state = self.state();
            state.calls += 1;
            state.under_way = false;
            if let Taken::Failed(why) = &taken {
                self.end(&mut state, why);
            }
            state.result = Some(Arc::new(taken));
            state.waiting = self.ranks;
            self.changed.notify_all();
        } else {
            let number = state.calls;
            state = self.wait(state, |state| state.calls > number && state.result.is_some())?;
        }
        let taken = state.result.clone();
        state.waiting -= 1;
        if state.waiting == 0 {
            state.result = None;
            self.changed.notify_all();
        }
        match taken.as_deref() {
            Some(Taken::Failed(why)) => Err(Error::ranks(why.clone())),
            _ => taken.ok_or_else(|| Error::ranks("a call had no result")),
        }
    }

    /// What all ranks of all processes have brought to call `number`, put together.
    fn together(&self, number: u64, brought: Vec<Brought>) -> Result<Taken, String> {
        let call = brought[0].call();
        if let Some(other) = brought.iter().position(|other| other.call() != call) {
            let (first, other) = (self.first_rank(), self.first_rank() + other);
            return Err(format!(
                "ranks {first} and {other} make different calls: they have parted"
            ));
        }
        let heading = heading(number, call);
        match brought[0] {
            Brought::Bytes(_) => {
                let bytes = brought.into_iter().filter_map(|one| match one {
                    Brought::Bytes(bytes) => Some(bytes),
                    _ => None,
                });
                self.gathered(&heading, bytes.collect()).map(Taken::Bytes)
            }
            Brought::F32(_) => {
                let numbers = brought.into_iter().filter_map(|one| match one {
                    Brought::F32(numbers) => Some(numbers),
                    _ => None,
                });
                self.sum(&heading, numbers.collect()).map(Taken::F32)
            }
            Brought::F64(_) => {
                let numbers = brought.into_iter().filter_map(|one| match one {
                    Brought::F64(numbers) => Some(numbers),
                    _ => None,
                });
                self.sum(&heading, numbers.collect()).map(Taken::F64)
            }
        }
    }

    /// A call of a process whose only rank this is: nobody is waited for in here, and nothing is copied.
    fn call_alone(
        &self,
        call: (u64, usize),
        work: impl FnOnce(&[u8]) -> Result<(), String>,
    ) -> Result<()> {
        let number = {
            let state = self.state();
            if let Some(why) = &state.over {
                return Err(Error::ranks(why.clone()));
            }
            state.calls
        };
        let worked = work(&heading(number, call));
        let mut state = self.state();
        state.calls += 1;
        worked.map_err(|why| {
            self.end(&mut state, &why);
            Error::ranks(why)
        })
    }

    /// Exchanges messages that begin with the heading of this call, and finds that all others' do too. What is sent to this
    /// process itself is nothing.
    fn exchange(&self, heading: &[u8], to: Vec<Vec<u8>>) -> Result<Vec<Vec<u8>>, String> {
        let from = self.processes.exchange(to)?;
        let own = self.processes.index();
        let parted =
            |(process, message): (usize, &Vec<u8>)| process != own && !message.starts_with(heading);
        match from.iter().enumerate().position(parted) {
            Some(process) => {
                let rank = process * self.ranks;
                Err(format!("rank {rank} makes another call than this one: it has parted"))
            }
            None => Ok(from),
        }
    }

    fn gathered(&self, heading: &[u8], mine: Vec<Vec<u8>>) -> Result<Vec<Vec<u8>>, String> {
        if self.processes.count() == 1 {
            return Ok(mine);
        }
        let mut packed = heading.to_vec();
        for bytes in &mine {
            packed.extend((bytes.len() as u64).to_le_bytes());
            packed.extend(bytes);
        }
        let from = self.exchange(heading, self.to_others(packed))?;
        let mut all = Vec::new();
        for (process, message) in from.iter().enumerate() {
            if process == self.processes.index() {
                all.extend(mine.iter().cloned());
                continue;
            }
            let mut packed = &message[heading.len()..];
            while let Some((length, rest)) = packed.split_first_chunk::<8>() {
                let length = u64::from_le_bytes(*length) as usize;
                let Some((bytes, rest)) = rest.split_at_checked(length) else {
                    return Err("a message of another rank is cut short".to_owned());
                };
                all.push(bytes.to_vec());
                packed = rest;
            }
        }
        Ok(all)
    }

    /// The same message for every other process, and nothing for this one.
    fn to_others(&self, message: Vec<u8>) -> Vec<Vec<u8>> {
        let own = self.processes.index();
        let last = (0..self.processes.count()).rfind(|process| *process != own);
        let mut message = Some(message);
        let one = |process: usize| match process {
            process if process == own => Some(Vec::new()),
            process if Some(process) == last => message.take(),
            _ => message.clone(),
        };
        (0..self.processes.count()).filter_map(one).collect()
    }

    /// The sum over the ranks of all processes of what the ranks of this one bring.
    fn sum<E: Pod + std::ops::AddAssign>(
        &self,
        heading: &[u8],
        mut mine: Vec<Vec<E>>,
    ) -> Result<Vec<E>, String> {
        if self.processes.count() == 1 {
            sum_by_rank(&mut mine);
        } else {
            let mut own: Vec<&mut [E]> = mine.iter_mut().map(|own| &mut own[..]).collect();
            self.sum_over_processes(heading, &mut own)?;
        }
        Ok(mine.swap_remove(0))
    }

    /// Puts the sum over the ranks of all processes in the place of the first of this one's.
    fn sum_over_processes<E: Pod + std::ops::AddAssign>(
        &self,
        heading: &[u8],
        mine: &mut [&mut [E]],
    ) -> Result<(), String> {
        let (processes, own) = (self.processes.count(), self.processes.index());
        if processes == 1 {
            return Ok(());
        }
        let length = mine[0].len();
        let piece =
            |process: usize| length * process / processes..length * (process + 1) / processes;
        let message = |numbers: &[&[E]]| {
            let bytes: usize = numbers.iter().map(|own| size_of_val(*own)).sum();
            let mut message = Vec::with_capacity(heading.len() + bytes);
            message.extend(heading);
            numbers.iter().for_each(|own| message.extend(bytemuck::cast_slice::<E, u8>(own)));
            message
        };
        let pieces = |process: usize| mine.iter().map(move |own| &own[piece(process)]);
        let to = |process: usize| match process == own {
            true => Vec::new(),
            false => message(&pieces(process).collect::<Vec<_>>()),
        };
        let from = self.exchange(heading, (0..processes).map(to).collect())?;
        let here = piece(own);
        let bytes = here.len() * size_of::<E>();
        let whole = |(process, message): (usize, &Vec<u8>)| {
            process == own || message.len() == heading.len() + self.ranks * bytes
        };
        if !from.iter().enumerate().all(whole) {
            return Err("a message of another rank is cut short".to_owned());
        }
        // A block of everybody's at a time, which stays in the cache: each number is read once and written once.
        let mut blocks = vec![vec![E::zeroed(); here.len().min(BLOCK)]; processes * self.ranks];
        for start in (0..here.len()).step_by(BLOCK) {
            let length = BLOCK.min(here.len() - start);
            for (rank, block) in blocks.iter_mut().enumerate() {
                let (process, seat) = (rank / self.ranks, rank % self.ranks);
                let block: &mut [u8] = bytemuck::cast_slice_mut(&mut block[..length]);
                block.copy_from_slice(if process == own {
                    bytemuck::cast_slice(&mine[seat][here.start + start..][..length])
                } else {
                    let first = heading.len() + seat * bytes + start * size_of::<E>();
                    &from[process][first..][..block.len()]
                });
            }
            sum_by_rank(&mut blocks);
            mine[0][here.start + start..][..length].copy_from_slice(&blocks[0][..length]);
        }
        drop(from);
        let from = self.exchange(heading, self.to_others(message(&[&mine[0][here]])))?;
        for (process, message) in from.iter().enumerate().filter(|(process, _)| *process != own) {
            let sums: &mut [u8] = bytemuck::cast_slice_mut(&mut mine[0][piece(process)]);
            if message.len() - heading.len() != sums.len() {
                return Err("a sum of another rank is cut short".to_owned());
            }
            sums.copy_from_slice(&message[heading.len()..]);
        }
        Ok(())
    }
}

/// So many numbers of each rank are added up at a time.
const BLOCK: usize = 1024;

/// What the messages of a call begin with.
fn heading(number: u64, call: (u64, usize)) -> Vec<u8> {
    [number, call.0, call.1 as u64].iter().flat_map(|word| word.to_le_bytes()).collect()
}

impl Communicator for Member {
    fn rank(&self) -> usize {
        self.meeting.first_rank() + self.seat
    }

    fn size(&self) -> usize {
        self.meeting.processes.count() * self.meeting.ranks
    }

    fn all_gather(&self, mine: &[u8]) -> Result<Vec<Vec<u8>>> {
        match &*self.meeting.call(self.seat, Brought::Bytes(mine.to_vec()))? {
            Taken::Bytes(all) => Ok(all.clone()),
            _ => Err(Error::ranks("a call was answered with another's result")),
        }
    }

    fn all_reduce_sum(&self, numbers: Numbers<'_>) -> Result<()> {
        let meeting = &self.meeting;
        if meeting.ranks == 1 {
            return match numbers {
                Numbers::F32(values) => meeting.call_alone((1, values.len()), |heading| {
                    meeting.sum_over_processes(heading, &mut [values])
                }),
                Numbers::F64(values) => meeting.call_alone((2, values.len()), |heading| {
                    meeting.sum_over_processes(heading, &mut [values])
                }),
            };
        }
        let brought = match &numbers {
            Numbers::F32(values) => Brought::F32(values.to_vec()),
            Numbers::F64(values) => Brought::F64(values.to_vec()),
        };
        match (&*self.meeting.call(self.seat, brought)?, numbers) {
            (Taken::F32(sum), Numbers::F32(values)) => values.copy_from_slice(sum),
            (Taken::F64(sum), Numbers::F64(values)) => values.copy_from_slice(sum),
            _ => return Err(Error::ranks("a call was answered with another's result")),
        }
        Ok(())
    }

    fn beside(&self) -> Ranks {
        let beside = Arc::clone(&self.beside);
        Arc::new(Member { meeting: Arc::clone(&beside), beside, seat: self.seat })
    }

    fn leave(&self, why: &str) {
        let why = format!("rank {} has left: {why}", self.rank());
        for meeting in [&self.meeting, &self.beside] {
            meeting.end(&mut meeting.state(), &why);
        }
        self.meeting.processes.abort(&why);
    }

    fn deadline(&self) -> Duration {
        self.meeting.deadline
    }
}

#[cfg(test)]
mod tests;
