//! Several ranks that train one network together, each on its share of a batch.
//!
//! A rank is a thread or a process of its own with a copy of everything, and all of them run the same program. What one
//! has to know of the others goes through a [`Communicator`]: two collective calls, which every rank makes in the same
//! order with operands of the same size.
//!
//! Sums are taken in an order that depends on nothing but the number of ranks: for ranks 0..n, at every stride
//! s = 1, 2, 4, .. each rank that is a multiple of 2s takes what the one s further on has. So a result is the same
//! bits from run to run, and whatever process each rank lives in.

use crate::error::Result;
use std::fmt;
use std::sync::Arc;

/// A rank's way to the others. Both calls wait for all of them, and fail if one has left or does not come.
///
/// What another thread has to exchange meanwhile goes [`beside`](Communicator::beside).
pub trait Communicator: fmt::Debug + Send + Sync {
    /// Which of the ranks this is, from 0.
    fn rank(&self) -> usize;

    /// How many ranks there are.
    fn size(&self) -> usize;

    /// What every rank hands over, by rank: the same everywhere.
    fn all_gather(&self, mine: &[u8]) -> Result<Vec<Vec<u8>>>;

    /// Puts the sum over all ranks, element by element, in the place of each one's numbers.
    fn all_reduce_sum(&self, numbers: Numbers<'_>) -> Result<()>;

    /// A second way to the same ranks: its calls and this one's know nothing of each other, and neither waits for the
    /// other's.
    fn beside(&self) -> Ranks;

    /// Tells the others that this rank makes no further calls: theirs fail, and say why.
    fn leave(&self, why: &str);
}

/// Numbers of either floating-point type.
#[derive(Debug)]
pub enum Numbers<'a> {
    /// Of 32 bits.
    F32(&'a mut [f32]),
    /// Of 64 bits.
    F64(&'a mut [f64]),
}

/// A communicator, shared.
pub type Ranks = Arc<dyn Communicator>;

/// Adds up what ranks have, by the order of the module's header, into the first of them.
///
/// ```
/// use belamy_tensor::communicator::sum_by_rank;
/// let mut ranks = [vec![1.0], vec![2.0], vec![4.0]];
/// sum_by_rank(&mut ranks);
/// assert_eq!(ranks[0], [(1.0 + 2.0) + 4.0]);
/// ```
pub fn sum_by_rank<E: Copy + std::ops::AddAssign>(ranks: &mut [Vec<E>]) {
    let mut stride = 1;
    while stride < ranks.len() {
        for taker in (0..ranks.len() - stride).step_by(2 * stride) {
            let (before, after) = ranks.split_at_mut(taker + stride);
            before[taker].iter_mut().zip(&after[0]).for_each(|(sum, &value)| *sum += value);
        }
        stride *= 2;
    }
}
