//! The means over ranks of a loss's gradients, exchanged while those of earlier layers are still being computed.
//!
//! ```text
//! this thread   last layers' gradients -> bucket | the next ones' -> bucket | ... first layers' -> bucket |
//! the courier                                    | Σ_r of the first bucket  | Σ_r of the second ...        | Σ_r of the last
//! ```
//!
//! A gradient is put into a bucket as soon as nothing more is added to it ([`grad_each`]); a bucket that is full is handed
//! to a thread, the courier, which sums it over ranks [beside](crate::communicator::Communicator::beside) whatever the
//! backward pass itself exchanges (batch norm's sums). So what is waited for in the end is the last bucket.
//!
//! Where the device has its own way to the others ([`DeviceRanks`]), each gradient is sent on it beside what is queued for
//! the device, and there is no courier.
//!
//! All ranks run the same program, so their buckets hold the same. Sums are taken element by element in an order that
//! depends on the number of ranks alone: how gradients are shared out among buckets changes no bit.

use super::all_reduce::Averaged;
use crate::autograd::{Graph, grad_each};
use crate::communicator::{DeviceRanks, Order, Ranks, Reduction};
use crate::error::{Error, Result};
use crate::{DType, Element, Tensor};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

/// A bucket that holds so many bytes is full: large beside what a message costs whatever its length, small beside the
/// gradients of a network whose exchange is worth hiding.
const BUCKET: usize = 1 << 20;

/// The mean over all ranks of each rank's gradient of `loss` with respect to each of `wrt`; of zeros where `loss` does not
/// depend on it. Constants to the graph. Every rank calls it.
///
/// Fails as [`grad`](crate::grad()) does, and when a rank has left.
pub fn gradient_means(loss: &Tensor, wrt: &[&Tensor], ranks: &Ranks) -> Result<Vec<Tensor>> {
    if let Some(own) = ranks.on_device(loss.device()) {
        return means_on_device(loss, wrt, own);
    }
    match loss.dtype() {
        DType::F64 => means::<f64>(loss, wrt, ranks),
        _ => means::<f32>(loss, wrt, ranks),
    }
}

/// Each gradient is sent on its way by itself: a device's own sums of small ones cost little, and nobody waits for them.
fn means_on_device(loss: &Tensor, wrt: &[&Tensor], own: &dyn DeviceRanks) -> Result<Vec<Tensor>> {
    let mut means: Vec<Option<Tensor>> = vec![None; wrt.len()];
    let mean = |grad: &Tensor| own.all_reduce_tensor(Reduction::Mean, grad, Order::Beside);
    // What is being reduced beside has to live until it is.
    let mut kept = Vec::new();
    let mut sent = || -> Result<()> {
        let grads = grad_each(loss, None, wrt, Graph::Drop, &mut |place, grad| {
            kept.push(grad.clone());
            means[place] = Some(mean(grad)?);
            Ok(())
        })?;
        for (place, (value, grad)) in wrt.iter().zip(grads).enumerate() {
            if means[place].is_none() {
                let grad = grad.map_or_else(|| value.detach().zeros_like(), Ok)?;
                means[place] = Some(mean(&grad)?);
                kept.push(grad);
            }
        }
        Ok(())
    };
    // Joined whatever happened: memory that goes back must not be written any more.
    let (sent, joined) = (sent(), own.join());
    sent.and(joined)?;
    Ok(means.into_iter().flatten().collect())
}

fn means<E: Averaged>(loss: &Tensor, wrt: &[&Tensor], ranks: &Ranks) -> Result<Vec<Tensor>> {
    let beside = ranks.beside();
    let mut buckets = Buckets::sent_by(move |full| {
        let average = |mut bucket: Vec<E>| E::average(&mut bucket, &*beside).map(|()| bucket);
        full.into_iter().map(average).collect()
    })?;
    let walked =
        grad_each(loss, None, wrt, Graph::Drop, &mut |place, grad| buckets.put(place, grad));
    let grads = match walked {
        Ok(grads) => grads,
        Err(error) => return Err(buckets.failure().unwrap_or(error)),
    };
    for (place, (own, grad)) in wrt.iter().zip(grads).enumerate() {
        if !buckets.places.contains(&place) {
            buckets.put(place, &grad.map_or_else(|| own.detach().zeros_like(), Ok)?)?;
        }
    }
    buckets.taken(wrt)
}

type Courier<E> = JoinHandle<Result<Vec<Vec<E>>>>;

/// What was gathered of gradients, and the thread that it is handed to.
struct Buckets<E> {
    /// Which gradients were put in, in order.
    places: Vec<usize>,
    open: Vec<E>,
    full: Sender<Vec<E>>,
    /// Left to itself when the walk fails: it ends when its call does.
    courier: Courier<E>,
}

impl<E: Element> Buckets<E> {
    fn sent_by(
        work: impl FnOnce(Receiver<Vec<E>>) -> Result<Vec<Vec<E>>> + Send + 'static,
    ) -> Result<Buckets<E>> {
        let (full, received) = channel();
        let courier = std::thread::Builder::new().name("courier".into()).spawn(|| work(received));
        let courier = courier.map_err(|error| {
            Error::ranks(format!("no thread can be started that exchanges gradients: {error}"))
        })?;
        Ok(Buckets { places: Vec::new(), open: Vec::new(), full, courier })
    }

    fn put(&mut self, place: usize, grad: &Tensor) -> Result<()> {
        let (start, more) = (self.open.len(), grad.shape().elements());
        let found = self.open.try_reserve(more);
        found.map_err(|_| grad.device().error("no memory on the host for gradients"))?;
        self.open.resize(start + more, E::zeroed());
        grad.read_into(&mut self.open[start..])?;
        self.places.push(place);
        if size_of_val(&self.open[..]) >= BUCKET { self.send() } else { Ok(()) }
    }

    fn send(&mut self) -> Result<()> {
        let full = std::mem::take(&mut self.open);
        self.full.send(full).map_err(|_| Error::ranks("gradients are not exchanged any more"))
    }

    /// What ended the courier, if something did.
    fn failure(self) -> Option<Error> {
        if !self.courier.is_finished() {
            return None;
        }
        self.courier.join().ok()?.err()
    }

    /// The means, as tensors of the shapes of `wrt`.
    fn taken(mut self, wrt: &[&Tensor]) -> Result<Vec<Tensor>> {
        if let Err(error) = self.send() {
            return Err(self.failure().unwrap_or(error));
        }
        let Buckets { places, full, courier, .. } = self;
        drop(full);
        let means = match courier.join() {
            Ok(means) => means?,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        let mut rest = means.iter().map(|bucket| &bucket[..]).filter(|bucket| !bucket.is_empty());
        let mut bucket: &[E] = &[];
        let mut taken: Vec<Option<Tensor>> = vec![None; wrt.len()];
        for place in places {
            if bucket.is_empty() {
                bucket = rest.next().unwrap_or_default();
            }
            let (own, others) = bucket.split_at(wrt[place].shape().elements());
            taken[place] = Some(Tensor::from_slice(own, wrt[place].shape(), wrt[place].device())?);
            bucket = others;
        }
        Ok(taken.into_iter().flatten().collect())
    }
}
