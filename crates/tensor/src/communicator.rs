//! Several ranks that train one network together, each on its share of a batch.
//!
//! A rank is a thread or a process of its own with a copy of everything, and all of them run the same program. What one
//! has to know of the others goes through a [`Communicator`]: two collective calls, which every rank makes in the same
//! order with operands of the same size.
//!
//! Sums are taken in an order that depends on nothing but the number of ranks: for ranks 0..n, at every stride
//! s = 1, 2, 4, .. each rank that is a multiple of 2s takes what the one s further on has. So a result is the same
//! bits from run to run, and whatever process each rank lives in.
//!
//! Numbers go through the host, unless a device has ways of its own to the others' ([`joined`]): then sums are queued there
//! as kernels are, in an order that is the device's.

use crate::Tensor;
use crate::device::{Buffer, Device};
use crate::error::Result;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

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

    /// How long the others are waited for.
    fn deadline(&self) -> Duration;

    /// The device's own way to the others, where it has one ([`joined`]).
    fn on_device(&self, _device: &Device) -> Option<&dyn DeviceRanks> {
        None
    }
}

/// What a reduction over ranks makes of their numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reduction {
    /// Their sum.
    Sum,
    /// Their sum, divided by the number of ranks.
    Mean,
}

/// When a reduction takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// After what was queued before, and before what is queued afterwards.
    InTurn,
    /// After what was queued before, and beside what is queued afterwards, until [`DeviceRanks::join`].
    Beside,
}

/// A device's way to those of the other ranks. Every rank makes the same calls in the same order; nothing waits for them
/// but what is queued later.
pub trait DeviceRanks: fmt::Debug + Send + Sync {
    /// Queues a reduction of f32 numbers, or a sum of u32 ones: what all ranks have in `from` into each one's `to`, a fresh buffer of the same length.
    /// Both must be kept until it is done; if it goes beside, until after [`join`](DeviceRanks::join).
    fn all_reduce(
        &self,
        reduction: Reduction,
        from: &Buffer,
        to: &mut Buffer,
        order: Order,
    ) -> Result<()>;

    /// What is queued after this comes after all that went beside.
    fn join(&self) -> Result<()>;
}

impl dyn DeviceRanks + '_ {
    /// As [`DeviceRanks::all_reduce`], of a tensor, into a new one.
    pub fn all_reduce_tensor(
        &self,
        reduction: Reduction,
        from: &Tensor,
        order: Order,
    ) -> Result<Tensor> {
        let mut to = from.device().backend().alloc(from.dtype(), from.shape().elements())?;
        self.all_reduce(reduction, from.buffer(), &mut to, order)?;
        Ok(Tensor::constant(from.device().clone(), from.meta(), to))
    }
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

/// Ranks whose tensors on a device are summed there.
#[derive(Debug)]
struct Joined {
    ranks: Ranks,
    device: Device,
    own: Arc<dyn DeviceRanks>,
}

/// The same ranks, having let the device find its own way to the others', if all of them have one. Every rank calls it.
///
/// Fails when the devices cannot be connected, or a rank has left.
pub fn joined(ranks: &Ranks, device: &Device) -> Result<Ranks> {
    // Those of another kind would not ask one another the same.
    let kinds = ranks.all_gather(device.id().name.as_bytes())?;
    if kinds.iter().any(|kind| kind != &kinds[0]) {
        return Ok(ranks.clone());
    }
    match device.backend().join(&**ranks)? {
        Some(own) => Ok(Arc::new(Joined { ranks: ranks.clone(), device: device.clone(), own })),
        None => Ok(ranks.clone()),
    }
}

impl Communicator for Joined {
    fn rank(&self) -> usize {
        self.ranks.rank()
    }

    fn size(&self) -> usize {
        self.ranks.size()
    }

    fn all_gather(&self, mine: &[u8]) -> Result<Vec<Vec<u8>>> {
        self.ranks.all_gather(mine)
    }

    fn all_reduce_sum(&self, numbers: Numbers<'_>) -> Result<()> {
        self.ranks.all_reduce_sum(numbers)
    }

    fn beside(&self) -> Ranks {
        self.ranks.beside()
    }

    fn leave(&self, why: &str) {
        self.ranks.leave(why);
    }

    fn deadline(&self) -> Duration {
        self.ranks.deadline()
    }

    fn on_device(&self, device: &Device) -> Option<&dyn DeviceRanks> {
        device.is(&self.device).then_some(&*self.own)
    }
}

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
