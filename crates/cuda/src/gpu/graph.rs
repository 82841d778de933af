//! A recorded step: what was noted of it, made a graph of the driver's.

use super::{Gpu, pool};
use crate::driver::Replay;
use crate::recording::Step;
use cudarc::driver::result::{self, DriverError};
use cudarc::driver::sys;
use std::fmt;
use std::sync::{Arc, PoisonError};

impl Gpu {
    /// From here on work is noted, and memory is taken for as long as the recording lives.
    pub(super) fn begin_recording(&self) -> Result<(), String> {
        let mut state = self.enter()?;
        if state.pool.is_recording() {
            return Err("a step is being recorded already".into());
        }
        self.wait(&mut state, "waiting for the device")?;
        state.noted.clear();
        state.pool.begin_recording();
        Ok(())
    }
}

/// A recorded step and the memory that its launches use between them.
pub(super) struct Graph {
    gpu: Arc<Gpu>,
    graph: sys::CUgraph,
    executable: sys::CUgraphExec,
    blocks: pool::Recorded,
}

// SAFETY: a graph may be launched from any thread; the driver's lock is taken for each launch.
unsafe impl Send for Graph {}

impl Graph {
    /// What was noted since [`Gpu::begin_recording`], after `finish` has gone over it.
    pub(super) fn record(
        gpu: &Arc<Gpu>,
        finish: &mut dyn FnMut(&mut Vec<Step>),
    ) -> Result<Graph, String> {
        let mut state = gpu.enter()?;
        let mut steps = std::mem::take(&mut state.noted);
        finish(&mut steps);
        let blocks = state.pool.end_recording();
        // From here on the graph gives the memory back, whatever happens.
        let mut graph = Graph {
            gpu: Arc::clone(gpu),
            graph: std::ptr::null_mut(),
            executable: std::ptr::null_mut(),
            blocks,
        };
        // Relaxed: other threads may take memory meanwhile, which is no launch and is not recorded.
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_RELAXED;
        // SAFETY: the stream lives as long as `gpu`.
        let begun = unsafe { result::stream::begin_capture(gpu.stream, mode) };
        let outcome = match begun {
            Ok(()) => {
                let queued = steps.iter().try_for_each(|step| gpu.queue(&mut state, step));
                // Ended whatever happened: a stream left recording would refuse everything after.
                let ended = graph.end(gpu.stream);
                let ended = ended.map_err(|error| gpu.fault(&mut state, "recording a step", error));
                queued.and(ended)
            }
            Err(error) => Err(gpu.fault(&mut state, "beginning to record", error)),
        };
        drop(state); // a graph that is dropped takes the lock
        outcome.map(|()| graph)
    }

    /// Takes over what was recorded on a stream, and sends it to the device.
    fn end(&mut self, stream: sys::CUstream) -> Result<(), DriverError> {
        // SAFETY: the stream is the device's own, which lives as long as `gpu`; the graph that it returns, and what is made
        // of that, are destroyed with `self`.
        unsafe {
            self.graph = result::stream::end_capture(stream)?;
            self.executable =
                result::graph::instantiate(self.graph, sys::CUgraphInstantiate_flags(0))?;
            result::graph::upload(self.executable, stream)
        }
    }
}

impl fmt::Debug for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Graph(on {:?})", self.gpu)
    }
}

impl Replay for Graph {
    fn replay(&self) -> Result<(), String> {
        let mut state = self.gpu.enter()?;
        if state.pool.is_recording() {
            return Err("a step is being recorded: it cannot replay another".into());
        }
        if state.recent.last().is_none_or(|last| last != "a recorded step") {
            state.recent.push("a recorded step".into());
        }
        state.counters.replays += 1;
        // SAFETY: graph and stream live; the memory that the launches use is kept by the pool and by the recording.
        unsafe { result::graph::launch(self.executable, self.gpu.stream) }
            .map_err(|error| self.gpu.fault(&mut state, "replaying a step", error))
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        let mut state = self.gpu.state.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: the context lives as long as `gpu`.
        let _ = unsafe { result::ctx::set_current(self.gpu.context) };
        // What it says has been said before, or will be.
        let _ = self.gpu.wait(&mut state, "waiting for a recorded step");
        // SAFETY: the graph is destroyed once, when no replay of it is running.
        unsafe {
            if !self.executable.is_null() {
                let _ = result::graph::exec_destroy(self.executable);
            }
            if !self.graph.is_null() {
                let _ = result::graph::destroy(self.graph);
            }
        }
        state.pool.forget_recording(&self.blocks);
    }
}
