//! A pool of earlier fakes, so that a discriminator does not forget: Shrivastava et al. (2017), as CycleGAN uses it.
//!
//! ```text
//! while the pool is not full   the fake is kept, and shown
//! then, with even odds         the fake is shown, or a kept one is shown and the fake takes its place
//! ```
//!
//! The choices are drawn by the step's counter on the device, so nothing is read back and a resumed run makes the same
//! ones. A pool of `size` images `[size, H, W, C]`, or samples of any other shape, costs one pass over it for each fake.

use crate::error::{Error, Result};
use belamy_nn::Context;
use belamy_tensor::ops::concat::concat;
use belamy_tensor::ops::gather::gather_rows;
use belamy_tensor::ops::pointwise::select;
use belamy_tensor::ops::random;
use belamy_tensor::{DType, Shape, Tensor};

/// Up to `size` images that a generator made earlier.
#[derive(Debug, Clone)]
pub struct Pool {
    size: usize,
    /// `[n, ..sample]` with n up to `size`; nothing yet at first.
    images: Option<Tensor>,
}

impl Pool {
    /// An empty pool. A size of 0 keeps nothing and shows every fake as it is.
    pub fn new(size: usize) -> Pool {
        Pool { size, images: None }
    }

    /// The images kept, `[n, ..sample]`.
    pub fn images(&self) -> Option<&Tensor> {
        self.images.as_ref()
    }

    /// Puts saved images back. Fails unless they are from 1 to as many as the pool keeps.
    pub fn restore(&mut self, images: Option<Tensor>) -> Result<()> {
        if let Some(images) = &images {
            let count = images.dims().first().copied().unwrap_or(0);
            if !(1..=self.size).contains(&count) || !images.dtype().is_float() {
                let (meta, size) = (images.shape(), self.size);
                let message = format!("a pool of {meta} is no pool of up to {size} samples");
                return Err(Error::data(message));
            }
        }
        self.images = images;
        Ok(())
    }

    /// What a discriminator is shown for a batch of fakes `[N, ..sample]`: themselves or earlier ones, outside the graph.
    pub fn exchange(&mut self, fakes: &Tensor, cx: &mut Context) -> Result<Tensor> {
        let fakes = fakes.detach();
        if self.size == 0 {
            return Ok(fakes);
        }
        let mut shown = Vec::new();
        for index in 0..fakes.dims()[0] {
            shown.push(self.exchange_one(fakes.slice(0, index, 1)?, cx)?);
        }
        Ok(concat(&shown.iter().collect::<Vec<_>>(), 0)?)
    }

    fn exchange_one(&mut self, fake: Tensor, cx: &mut Context) -> Result<Tensor> {
        let images = match self.images.take() {
            None => {
                self.images = Some(fake.clone());
                return Ok(fake);
            }
            Some(images) if images.dims()[0] < self.size => {
                self.images = Some(concat(&[&images, &fake], 0)?);
                return Ok(fake);
            }
            Some(images) => images,
        };
        let (size, dtype) = (self.size, fake.dtype());
        let key = cx.next_key();
        let chosen = random::integers([1], size as u32, key, cx.counter())?;
        let key = cx.next_key();
        let one = vec![1; fake.dims().len()];
        let earlier = random::bernoulli(Shape::new(&one)?, 0.5, dtype, key, cx.counter())?;
        let shown = select(&earlier, &gather_rows(&images, &chosen)?, &fake)?;
        // One at the row that is replaced, zero elsewhere.
        let row = row_of(&chosen, size, dtype, one.len())?.mul(&earlier)?;
        self.images = Some(select(&row, &fake, &images)?);
        Ok(shown)
    }
}

/// `[size, 1, ..]` of so many axes: one where the place is the chosen one.
fn row_of(chosen: &Tensor, size: usize, dtype: DType, axes: usize) -> Result<Tensor> {
    let mut identity = vec![0.0; size * size];
    (0..size).for_each(|at| identity[at * size + at] = 1.0);
    let identity = Tensor::from_f64(&identity, [size, size], dtype, chosen.device())?;
    let mut shape = vec![1; axes];
    shape[0] = size;
    Ok(gather_rows(&identity, chosen)?.reshape(Shape::new(&shape)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use belamy_tensor::Device;

    fn batch(values: &[f32], device: &Device) -> Tensor {
        Tensor::from_slice(values, [values.len(), 1, 1, 1], device).unwrap()
    }

    fn numbers(tensor: &Tensor) -> Vec<f64> {
        tensor.to_f64().unwrap()
    }

    #[test]
    fn only_what_a_pool_could_have_kept_is_put_back() {
        let device = belamy_cpu::oracle();
        let mut pool = Pool::new(2);
        pool.restore(Some(batch(&[1.0, 2.0], &device))).unwrap();
        pool.restore(None).unwrap();
        let labels = Tensor::from_slice(&[1u32], [1], &device).unwrap();
        for wrong in [batch(&[1.0, 2.0, 3.0], &device), labels] {
            assert!(pool.restore(Some(wrong)).is_err());
        }
    }

    #[test]
    fn a_full_pool_trades_half_of_the_fakes_and_loses_none() {
        let device = belamy_cpu::oracle();
        let mut pool = Pool::new(4);
        let mut earlier = 0;
        let mut kept: Vec<f64> = Vec::new();
        for step in 0..400u32 {
            let mut cx = Context::train(9, step, 0, &device).unwrap();
            let fake = f64::from(step);
            let shown =
                numbers(&pool.exchange(&batch(&[step as f32], &device), &mut cx).unwrap())[0];
            if step < 4 {
                assert_eq!(shown, fake);
                kept.push(fake);
            } else if shown != fake {
                earlier += 1;
                // What was shown left the pool, and the fake stands in its place.
                let place = kept.iter().position(|&image| image == shown).expect("it was kept");
                kept[place] = fake;
            }
            assert_eq!(numbers(pool.images().unwrap()), kept, "{step}");
        }
        assert!((150..250).contains(&earlier), "{earlier} of 396");
    }

    #[test]
    fn nothing_is_kept_without_a_size_and_a_batch_is_traded_one_by_one() {
        let device = belamy_cpu::oracle();
        let mut cx = Context::train(9, 0, 0, &device).unwrap();
        let mut none = Pool::new(0);
        assert_eq!(
            numbers(&none.exchange(&batch(&[1.0, 2.0], &device), &mut cx).unwrap()),
            [1.0, 2.0]
        );
        assert!(none.images().is_none());
        let mut pool = Pool::new(3);
        let shown = pool.exchange(&batch(&[1.0, 2.0, 3.0, 4.0], &device), &mut cx).unwrap();
        assert_eq!(numbers(&shown)[..3], [1.0, 2.0, 3.0]);
        assert_eq!(pool.images().unwrap().dims()[0], 3);
    }
}
