//! Dropout: zeros at random, and what is kept enlarged so that the mean stays.
//!
//! ```text
//! y[n, j] = keep[n, j] x[n, j] / (1 − rate)
//! keep[n, j] = u(word(n, j)) ≥ rate    words as in `random`: element j of sample n (axis 0) of (seed, stream, step)
//! x, y: any shape    counter: u32 [2] = [step, first_sample]
//! ```
//!
//! Linear and self-adjoint: the derivative is the same dropout of the cotangent, drawn again rather than stored.
//! One invocation owns the four elements of one Philox block. Cost: one multiplication an element and about 100
//! integer operations a block; one pass over x and y.

use crate::Tensor;
use crate::autograd::Backward;
use crate::device::Meta;
use crate::error::{Error, Result};
use crate::kernel::KernelId;
use crate::op::{self, Launch, Op};
use crate::ops::random::{RandomKey, check_counter, draw_params};

/// `y = keep x / (1 − rate)`.
#[derive(Debug, Clone, Copy)]
struct Dropout {
    rate: f64,
    key: RandomKey,
}

impl Op for Dropout {
    fn name(&self) -> &'static str {
        "dropout"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Meta> {
        op::same_float(self.name(), &inputs[..1])?;
        check_counter(self.name(), inputs[1])?;
        if !(0.0..1.0).contains(&self.rate) {
            let message = format!("rate {} must be at least 0 and below 1", self.rate);
            return Err(Error::argument(self.name(), message));
        }
        Ok(inputs[0])
    }

    fn launch(&self, _inputs: &[Meta], output: Meta) -> Launch {
        Launch::Kernel(KernelId::dropout, draw_params(output.shape, self.key, 0, self.rate, 0.0))
    }

    fn reads_input(&self, index: usize, _tracked: &[bool]) -> bool {
        index == 1
    }

    fn backward(&self, cx: &Backward<'_>) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![Some(op::apply(*self, &[cx.grad, &cx.inputs[1]])?), None])
    }
}

/// Zeros each element of `x` with probability `rate` and divides the others by 1 − rate. The draw is a function of
/// the key, the counter (see [`random::counter`](crate::ops::random::counter)) and the element's place. Fails unless
/// `0 <= rate < 1`.
///
/// ```
/// # let device = belamy_cpu::oracle();
/// use belamy_tensor::{Tensor, ops::dropout::dropout, ops::random::{RandomKey, counter}};
/// let x = Tensor::from_slice(&[1.0f32; 100], [10, 10], &device)?;
/// let y = dropout(&x, 0.5, RandomKey { seed: 1, stream: 7 }, &counter(0, 0, &device)?)?;
/// assert!(y.to_vec::<f32>()?.iter().all(|&y| y == 0.0 || y == 2.0));
/// # Ok::<(), belamy_tensor::Error>(())
/// ```
///
/// Srivastava et al., "Dropout" (JMLR 2014), in the inverted form that every framework uses.
#[track_caller]
pub fn dropout(x: &Tensor, rate: f64, key: RandomKey, counter: &Tensor) -> Result<Tensor> {
    op::apply(Dropout { rate, key }, &[x, counter])
}
