//! A kernel of somebody else's, to be run in the place of a backend's own: for those who want to see it checked and timed.

use crate::kernel::{KernelId, Params};
use std::fmt;
use std::sync::Arc;

/// What a launch runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    /// Blocks, or workgroups.
    pub blocks: u32,
    /// Threads of a block; a shader says that itself.
    pub threads: u32,
    /// Bytes of shared memory that a block has besides what the kernel declares; a shader declares all.
    pub shared: u32,
}

/// A launch's grid, of its parameters and of how many elements its first output has.
pub type GridOf = dyn Fn(&Params, usize) -> Result<Grid, String> + Send + Sync;

/// A kernel's text, and how it is launched.
///
/// It takes the operands that Belamy's kernel of that name takes and must do what that does, in one launch.
#[derive(Clone)]
pub struct Foreign {
    /// In the place of which kernel.
    pub kernel: KernelId,
    /// How many tensors it reads and how many it writes.
    pub operands: [usize; 2],
    /// The name of its file, for messages.
    pub file: String,
    /// Its text.
    pub text: String,
    /// The name of its entry point.
    pub entry: &'static str,
    /// On what it runs.
    pub grid: Arc<GridOf>,
}

impl fmt::Debug for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Foreign({} of {} for {})", self.entry, self.file, self.kernel.name())
    }
}
