//! Ranks in threads and processes that train one network together.
//!
//! | file | what it holds |
//! |---|---|
//! | [`processes`] | what a set of processes is: one exchange of bytes, from everyone to everyone |
//! | [`meeting`] | where the threads of a process meet, and go on to the other processes' |
//! | [`launched`] | what the environment says of who started them |
//! | [`tcp`] | processes that find each other by themselves |
//! | `mpi` | processes that `mpirun` or `srun` has started (feature `mpi`) |
//!
//! A job of V ranks runs in any number of processes that divides V; each process has as many of the ranks as any other,
//! each in a thread of its own. Because a rank computes the same wherever it lives, and sums are taken in an order that
//! depends on V alone (see [`belamy_tensor::communicator`]), a job gives the same bits in 1, 2, 3, 4, 6 or 12 processes of
//! 12 ranks.
//!
//! ```text
//! all_reduce_sum of L numbers, V ranks in P processes: process p adds up the p-th of P pieces
//!   every process sends each other V/P pieces of L/P numbers, and then, of its own piece, the sum
//!   bytes sent by a process: (P − 1)/P L (V/P + 1) numbers: for V = P as much as a ring needs, in two steps
//! ```

pub mod launched;
pub mod meeting;
#[cfg(feature = "mpi")]
pub mod mpi;
pub mod processes;
pub mod tcp;

pub use meeting::meet;
pub use processes::{Alone, Processes};
