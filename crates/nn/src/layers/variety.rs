//! Minibatch standard deviation (Karras et al., 2018): one more channel that says how varied a group of samples is.

use crate::{Context, Layer};
use belamy_tensor::ops::concat::concat;
use belamy_tensor::{Error, Result, Shape, Tensor};

/// Appends the mean, over all places and channels, of the standard deviation over a group of samples.
///
/// ```text
/// σ[m, ..] = √(mean_g (x[g, m, ..] − mean_g x[g, m, ..])² + 1e-8)      sample g·M + m of the batch, M groups
/// y = [x, mean σ[m]]                                                    one more channel, the same number everywhere
/// ```
///
/// A group has up to `group` samples: the largest number that divides the batch, or each part of it where
/// [`Context::parts`] says that it has several. Works on images `[N, H, W, C]` and rows `[N, F]`.
#[derive(Debug, Clone, Copy)]
pub struct MinibatchStddev {
    /// The largest size of a group.
    pub group: usize,
}

impl MinibatchStddev {
    fn part(&self, x: &Tensor) -> Result<Tensor> {
        let count = x.dims()[0];
        let elements = x.shape().elements() / count.max(1);
        let most = self.group.clamp(1, count.max(1));
        let group = (1..=most).rev().find(|size| count.is_multiple_of(*size)).unwrap_or(1);
        let groups = count / group;
        let rows = x.reshape([group, groups, elements])?;
        let centred = rows.sub(&rows.mean(&[0])?)?;
        let deviation = centred.square()?.mean(&[0])?.add_scalar(1e-8)?.sqrt()?;
        let variety = deviation.mean(&[2])?.broadcast_to([group, groups, 1])?;
        let rank = x.shape().rank();
        let mut plane = vec![1; rank];
        plane[0] = count;
        let variety = variety.reshape(Shape::new(&plane)?)?;
        let variety = variety.broadcast_to(x.shape().with(rank - 1, 1))?;
        concat(&[x, &variety], rank - 1)
    }
}

impl Layer for MinibatchStddev {
    fn kind(&self) -> &'static str {
        "minibatch_stddev"
    }

    fn description(&self) -> String {
        format!("Minibatch deviation, groups of {}", self.group)
    }

    fn forward(&self, x: &Tensor, cx: &mut Context) -> Result<Tensor> {
        let (count, parts) = (x.dims()[0], cx.parts());
        if parts == 1 || !count.is_multiple_of(parts) {
            return self.part(x);
        }
        let length = count / parts;
        let made = (0..parts)
            .map(|part| self.part(&x.slice(0, part * length, length)?))
            .collect::<Result<Vec<_>>>()?;
        concat(&made.iter().collect::<Vec<_>>(), 0)
    }

    fn output(&self, input: Shape) -> Result<Shape> {
        match input.rank() {
            0 => {
                Err(Error::shape("minibatch_stddev", &[input], "wants samples of an axis or more"))
            }
            rank => Ok(input.with(rank - 1, input.dims()[rank - 1] + 1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_told_its_own_deviation() {
        let device = belamy_cpu::oracle();
        let mut cx = Context::train(1, 0, 0, &device).unwrap();
        // Groups of two are samples 0 and 2 (apart by 2 and 4), 1 and 3 (alike).
        let rows = [1.0f64, 2.0, 5.0, 6.0, 3.0, 6.0, 5.0, 6.0];
        let x = Tensor::from_slice(&rows, [4, 2], &device).unwrap();
        let layer = MinibatchStddev { group: 2 };
        let y = layer.forward(&x, &mut cx).unwrap().to_f64().unwrap();
        let told: Vec<f64> = y.chunks(3).map(|row| row[2]).collect();
        let expected = [1.5, 1e-4, 1.5, 1e-4];
        assert!(told.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-8), "{told:?}");
        // As two parts of two, groups do not reach from one into the other.
        cx.set_parts(2);
        let y = layer.forward(&x, &mut cx).unwrap().to_f64().unwrap();
        let alone = layer.part(&x.slice(0, 0, 2).unwrap()).unwrap().to_f64().unwrap();
        assert_eq!(y[..6], alone);
        assert_eq!(layer.output(Shape::from([4, 4, 8])).unwrap().dims(), [4, 4, 9]);
    }
}
