//! Reductions over ranks, on a stream beside the device's own.
//!
//! ```text
//! own stream      ... kernel ─┬─ kernel, kernel, ...            ─┬─ kernel ...
//!                        event│                            event │
//! beside it                   └─ all_reduce, all_reduce, ... ────┘ join
//! ```
//!
//! All of them go there, one after the other, so that every rank's are in one order; one that is in turn is joined at
//! once. The same calls, made while a step is recorded, make the same branches of its graph.
//!
//! What others do not take part in never ends: so a device that is connected with others is waited for by asking it, with
//! a deadline.

use super::{Gpu, State, text};
use crate::driver::Reduce;
use crate::nccl::{self, Group, Nccl};
use belamy_tensor::communicator::Communicator;
use cudarc::driver::result::{self, DriverError};
use cudarc::driver::sys;
use std::time::{Duration, Instant};

/// Asked all the time for so long, and then now and then.
const KEEN: Duration = Duration::from_micros(200);

/// How long a device is waited for that has failed: what was queued with the others was ended.
const AFTER_FAILURE: Duration = Duration::from_millis(250);

/// What a device has for those of other ranks.
#[derive(Default)]
pub(super) struct Ranks {
    groups: Vec<Group>,
    /// How long the others are waited for.
    deadline: Duration,
    beside: Option<Beside>,
}

/// The other stream, and the events that lead there and back.
#[derive(Clone, Copy)]
struct Beside {
    stream: sys::CUstream,
    there: sys::CUevent,
    back: sys::CUevent,
}

// SAFETY: streams and events may be used from any thread that has their context current; they are behind the driver's lock.
unsafe impl Send for Beside {}

impl Beside {
    fn new() -> Result<Beside, DriverError> {
        let flags = sys::CUevent_flags_enum::CU_EVENT_DISABLE_TIMING;
        Ok(Beside {
            stream: result::stream::create(result::stream::StreamKind::NonBlocking)?,
            there: result::event::create(flags)?,
            back: result::event::create(flags)?,
        })
    }
}

/// What is queued on `second` from now on waits for what was queued on `first` until now.
///
/// # Safety
///
/// All three are of the context that is current, and alive.
unsafe fn after(
    first: sys::CUstream,
    event: sys::CUevent,
    second: sys::CUstream,
) -> Result<(), DriverError> {
    // SAFETY: as the caller says.
    unsafe {
        result::event::record(event, first)?;
        let flags = sys::CUevent_wait_flags::CU_EVENT_WAIT_DEFAULT;
        result::stream::wait_event(second, event, flags)
    }
}

impl Ranks {
    /// Whether the device is connected with others.
    pub(super) fn are_there(&self) -> bool {
        !self.groups.is_empty()
    }

    /// Ends what was queued with the others.
    pub(super) fn abort(&mut self) {
        self.groups.iter_mut().for_each(Group::abort);
    }

    /// Leaves the others. Nothing of theirs is queued any more.
    pub(super) fn release(&mut self) {
        self.groups.clear();
        if let Some(Beside { stream, there, back }) = self.beside.take() {
            // SAFETY: nobody has them any more, and their context is current.
            unsafe {
                let _ = result::event::destroy(there);
                let _ = result::event::destroy(back);
                let _ = result::stream::destroy(stream);
            }
        }
    }
}

impl Gpu {
    /// Connects the device with those of the other ranks.
    pub(super) fn meet(&self, ranks: &dyn Communicator) -> belamy_tensor::Result<Option<usize>> {
        let nccl = self.uuid().and_then(|own| Ok((Nccl::find()?, own)));
        let (nccl, own) = match nccl {
            Ok((nccl, own)) => (Ok(nccl), own),
            Err(why) => (Err(why), String::new()),
        };
        let Some(group) = nccl::meet(&nccl, &own, ranks, || self.enter().map(drop))? else {
            return Ok(None);
        };
        let mut state = self.enter().map_err(belamy_tensor::Error::ranks)?;
        state.ranks.deadline = ranks.deadline();
        state.ranks.groups.push(group);
        Ok(Some(state.ranks.groups.len() - 1))
    }

    /// What no other device has, of whatever machine.
    fn uuid(&self) -> Result<String, String> {
        if !super::has("cuDeviceGetUuid_v2") {
            return Err("the driver tells devices apart by no name".into());
        }
        let mut uuid = sys::CUuuid { bytes: [0; 16] };
        // SAFETY: it fills the bytes; the device is there.
        let found = unsafe { sys::cuDeviceGetUuid_v2(&mut uuid, self.device) }.result();
        found.map_err(text)?;
        Ok(uuid.bytes.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    pub(super) fn queue_reduce(&self, state: &mut State, reduce: &Reduce) -> Result<(), String> {
        let made = match state.ranks.beside {
            Some(beside) => Ok(beside),
            None => Beside::new(),
        };
        let beside = made.map_err(|error| self.fault(state, "making a stream", error))?;
        state.ranks.beside = Some(beside);
        // SAFETY: streams and event are of the context that is current, and live as long as `self`.
        unsafe { after(self.stream, beside.there, beside.stream) }
            .map_err(|error| self.fault(state, "queueing an event", error))?;
        let group = state.ranks.groups.get(reduce.group);
        let group = group.ok_or("there is no such group of ranks")?;
        // SAFETY: both are buffers of this length, which live until the reduction is joined, or recorded for as long as
        // the recording does.
        unsafe { group.reduce(reduce, beside.stream.cast()) }?;
        if reduce.beside { Ok(()) } else { self.queue_join(state) }
    }

    pub(super) fn queue_join(&self, state: &mut State) -> Result<(), String> {
        let Some(beside) = state.ranks.beside else { return Ok(()) };
        // SAFETY: streams and event are of the context that is current, and live as long as `self`.
        unsafe { after(beside.stream, beside.back, self.stream) }
            .map_err(|error| self.fault(state, "queueing an event", error))
    }

    /// Waits for all that was queued, or until the others have not taken part for too long.
    pub(super) fn wait_among_ranks(&self, state: &mut State, doing: &str) -> Result<(), String> {
        let begun = Instant::now();
        let deadline = match state.failed {
            Some(_) => AFTER_FAILURE.min(state.ranks.deadline),
            None => state.ranks.deadline,
        };
        loop {
            // SAFETY: the stream lives as long as `self`.
            match unsafe { sys::cuStreamQuery(self.stream) }.result() {
                Ok(()) => return Ok(()),
                Err(error) if error.0 == sys::CUresult::CUDA_ERROR_NOT_READY => {}
                Err(error) => return Err(self.fault(state, doing, error)),
            }
            let waited = begun.elapsed();
            let late = (waited > deadline).then(|| {
                let seconds = deadline.as_secs_f64();
                format!("{doing}: the other ranks' GPUs have not answered for {seconds} s")
            });
            if let Some(why) = state.ranks.groups.iter().find_map(Group::failure).or(late) {
                state.ranks.abort();
                return Err(state.failed.get_or_insert(why).clone());
            }
            if waited < KEEN {
                std::thread::yield_now();
            } else {
                std::thread::sleep(Duration::from_micros(50));
            }
        }
    }
}
