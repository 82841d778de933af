//! Spectral normalisation (Miyato et al., 2018): a weight divided by its largest singular value.
//!
//! ```text
//! W: [O, K]   v = Wᵀu / ‖Wᵀu‖   u' = Wv / ‖Wv‖   σ = u'ᵀ W v   W / σ
//! ```
//!
//! One step of the power iteration each time a network runs in training, from the u of the time before; in evaluation u
//! stays. u and v are constants to the graph, so σ is differentiated through W alone, as in PyTorch. Cost: 4·O·K
//! multiply-adds, which is little beside a convolution.

use super::Placement;
use crate::initializer::{Fans, Initializer};
use crate::{Context, Param};
use belamy_tensor::ops::matmul::matmul;
use belamy_tensor::{Result, Tensor};

/// Keeps the left singular vector of one weight `[O, ..]`.
#[derive(Debug)]
pub struct SpectralNorm {
    vector: Param,
}

/// x / ‖x‖ for a row `[1, n]`.
fn unit(x: &Tensor) -> Result<Tensor> {
    x.div(&x.square()?.sum_all()?.sqrt()?.add_scalar(1e-12)?)
}

impl SpectralNorm {
    /// For a weight of `outputs` rows, from a random vector of length 1.
    pub(super) fn new(outputs: usize, place: &mut Placement<'_>) -> Result<SpectralNorm> {
        let fans = Fans { fan_in: outputs, fan_out: 1 };
        let start = Initializer::Normal(0.0, 1.0);
        let drawn = place.trainable("singular_vector", [1, outputs], fans, start)?;
        let start = if place.drawn { unit(&drawn.value().detach())? } else { drawn.value() };
        Ok(SpectralNorm { vector: Param::buffer("singular_vector", start.reshape([outputs])?) })
    }

    /// The vector, which checkpoints keep.
    pub(super) fn param(&self) -> &Param {
        &self.vector
    }

    /// The weight divided by its largest singular value, as far as it is known.
    pub(super) fn normalised(&self, weight: &Tensor, cx: &Context) -> Result<Tensor> {
        let shape = weight.shape();
        let (rows, columns) = (shape.dims()[0], shape.elements() / shape.dims()[0]);
        let matrix = weight.reshape([rows, columns])?;
        let constant = matrix.detach();
        let mut u = self.vector.value().reshape([1, rows])?;
        let v = unit(&matmul(&u, &constant, false, false)?)?;
        if cx.is_training() {
            u = unit(&matmul(&v, &constant, false, true)?)?;
            self.vector.set(u.reshape([rows])?);
        }
        let sigma = matmul(&u, &matrix, false, false)?.mul(&v)?.sum_all()?;
        matrix.div(&sigma)?.reshape(shape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use belamy_tensor::{DType, Graph, grad};

    #[test]
    fn the_largest_singular_value_becomes_one() {
        let device = belamy_cpu::oracle();
        let mut place = Placement::new(&device, DType::F64, 1);
        let norm = SpectralNorm::new(2, &mut place).unwrap();
        // Singular values 5 and 2: a rotation of diag(5, 2), with a column of zeros.
        let (s, c) = 0.3f64.sin_cos();
        let rows = [5.0 * c, -2.0 * s, 0.0, 5.0 * s, 2.0 * c, 0.0];
        let weight = Tensor::from_slice(&rows, [2, 1, 1, 3], &device).unwrap().tracked();
        let mut cx = Context::train(1, 0, 0, &device).unwrap();
        let mut normal = norm.normalised(&weight, &cx).unwrap();
        for _ in 0..40 {
            normal = norm.normalised(&weight, &cx).unwrap();
        }
        let values = normal.to_f64().unwrap();
        assert!(values.iter().zip(rows).all(|(a, b)| (a - b / 5.0).abs() < 1e-12), "{values:?}");
        // A weight twice as large is the same one, so the gradient has no part along the weight.
        let cotangent =
            Tensor::from_slice(&[1.0f64, 2.0, 3.0, 4.0, 5.0, 6.0], [2, 1, 1, 3], &device).unwrap();
        let slope = grad(&normal, Some(&cotangent), &[&weight], Graph::Drop).unwrap();
        let along = slope[0].as_ref().unwrap().mul(&weight).unwrap().sum_all().unwrap();
        assert!(along.item().unwrap().abs() < 1e-12, "{along:?}");
        let vector = norm.vector.value().to_f64().unwrap();
        cx = Context::evaluate(1, 0, &device).unwrap();
        norm.normalised(&weight, &cx).unwrap();
        assert_eq!(norm.vector.value().to_f64().unwrap(), vector, "evaluation moves nothing");
    }
}
