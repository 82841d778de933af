//! Differentiable augmentation (Zhao et al., 2020): what a discriminator sees, real or fake, is changed the same way by
//! chance, and the gradient for the generator comes back through the change.
//!
//! ```text
//! brightness    x + u                           u ~ U(−½, ½)
//! saturation    m + s (x − m)                   s ~ U(0, 2), m the mean over channels
//! contrast      m + c (x − m)                   c ~ U(½, 1½), m the mean over the image
//! translation   by up to an eighth of the side, zeros behind
//! cutout        a square of half the side is 0
//! ```
//!
//! Each sample draws its own. All steps are linear in the image; places are chosen by rows of constant tables, so nothing
//! is read back. Images `[N, H, W, C]`.

use crate::error::{Error, Result};
use belamy_nn::Context;
use belamy_tensor::ops::gather::gather_rows;
use belamy_tensor::ops::random;
use belamy_tensor::{Shape, Tensor};

/// Images changed by chance.
pub fn augment(images: &Tensor, cx: &mut Context) -> Result<Tensor> {
    let images = coloured(images, cx)?;
    let images = translated(&images, cx)?;
    cut_out(&images, cx)
}

fn extents(images: &Tensor) -> Result<[usize; 4]> {
    match *images.dims() {
        [n, h, w, c] => Ok([n, h, w, c]),
        _ => Err(Error::data("only images can be augmented")),
    }
}

fn coloured(images: &Tensor, cx: &mut Context) -> Result<Tensor> {
    let [n, ..] = extents(images)?;
    let mut factor = |low: f64, high: f64| {
        let key = cx.next_key();
        random::uniform([n, 1, 1, 1], low, high, images.dtype(), key, cx.counter())
    };
    let brighter = images.add(&factor(-0.5, 0.5)?)?;
    let around = |x: &Tensor, axes: &[usize], factor: &Tensor| -> Result<Tensor> {
        let mean = x.mean(axes)?;
        Ok(x.sub(&mean)?.mul(factor)?.add(&mean)?)
    };
    let saturated = around(&brighter, &[3], &factor(0.0, 2.0)?)?;
    around(&saturated, &[1, 2, 3], &factor(0.5, 1.5)?)
}

/// A row of a constant table for each sample, chosen by chance: `[n, columns]`.
fn chosen_rows(table: &[f64], rows: usize, images: &Tensor, cx: &mut Context) -> Result<Tensor> {
    let columns = table.len() / rows;
    let table = Tensor::from_f64(table, [rows, columns], images.dtype(), images.device())?;
    let key = cx.next_key();
    let index = random::integers([images.dims()[0]], rows as u32, key, cx.counter())?;
    Ok(gather_rows(&table, &index)?)
}

fn translated(images: &Tensor, cx: &mut Context) -> Result<Tensor> {
    let mut images = images.clone();
    for axis in [1, 2] {
        let side = images.dims()[axis];
        let reach = (side as f64 / 8.0 + 0.5) as usize;
        let shifts = 2 * reach + 1;
        let mut one_hot = vec![0.0; shifts * shifts];
        (0..shifts).for_each(|shift| one_hot[shift * shifts + shift] = 1.0);
        let chosen = chosen_rows(&one_hot, shifts, &images, cx)?;
        let mut around = [0; 4];
        around[axis] = reach;
        let padded = images.pad(&around, &around)?;
        let mut sum: Option<Tensor> = None;
        for shift in 0..shifts {
            let share = chosen.slice(1, shift, 1)?.reshape([images.dims()[0], 1, 1, 1])?;
            let part = padded.slice(axis, shift, side)?.mul(&share)?;
            sum = Some(match sum {
                Some(sum) => sum.add(&part)?,
                None => part,
            });
        }
        images = sum.unwrap_or(images);
    }
    Ok(images)
}

fn cut_out(images: &Tensor, cx: &mut Context) -> Result<Tensor> {
    let [n, h, w, _] = extents(images)?;
    let mut mask: Option<Tensor> = None;
    for (side, shape) in [(h, [n, h, 1, 1]), (w, [n, 1, w, 1])] {
        let hole = (side as f64 / 2.0 + 0.5) as usize;
        // The hole's centre may lie anywhere, so it may reach over the border.
        let centres = side + (1 - hole % 2);
        let inside = |centre: usize, at: usize| {
            let first = centre as i64 - hole as i64 / 2;
            (first..first + hole as i64).contains(&(at as i64))
        };
        let table: Vec<f64> = (0..centres)
            .flat_map(|centre| (0..side).map(move |at| f64::from(u8::from(inside(centre, at)))))
            .collect();
        let rows = chosen_rows(&table, centres, images, cx)?.reshape(Shape::new(&shape)?)?;
        mask = Some(match mask {
            Some(mask) => mask.mul(&rows)?,
            None => rows,
        });
    }
    match mask {
        Some(mask) => Ok(images.mul(&mask.one_minus()?)?),
        None => Ok(images.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use belamy_tensor::{Graph, grad};

    const SHAPE: [usize; 4] = [64, 16, 16, 3];

    fn images() -> (Tensor, Context) {
        let device = belamy_cpu::cpu();
        let values: Vec<f64> =
            (0..SHAPE.iter().product()).map(|i| 1.0 + (i as f64).sin()).collect();
        let x = Tensor::from_f64(&values, SHAPE, belamy_tensor::DType::F64, &device).unwrap();
        (x.tracked(), Context::train(3, 0, 0, &device).unwrap())
    }

    #[test]
    fn a_translation_moves_whole_images_by_up_to_an_eighth() {
        let (x, mut cx) = images();
        let y = translated(&x, &mut cx).unwrap().to_f64().unwrap();
        let x = x.to_f64().unwrap();
        let mut seen = std::collections::HashSet::new();
        for n in 0..64 {
            let at = |values: &[f64], y: i64, x: i64| {
                let inside = (0..16).contains(&y) && (0..16).contains(&x);
                if inside { values[(n * 256 + y as usize * 16 + x as usize) * 3] } else { 0.0 }
            };
            let fits = |dy: i64, dx: i64| {
                (0..16).all(|r| (0..16).all(|c| at(&y, r, c) == at(&x, r + dy, c + dx)))
            };
            let shift = (-2..=2).flat_map(|dy| (-2..=2).map(move |dx| (dy, dx)));
            let found: Vec<_> = shift.filter(|&(dy, dx)| fits(dy, dx)).collect();
            assert_eq!(found.len(), 1, "{n}: {found:?}");
            seen.insert(found[0]);
        }
        assert!(seen.len() > 15, "{} of 25 shifts", seen.len());
    }

    #[test]
    fn a_hole_is_a_square_of_half_the_side() {
        let (x, mut cx) = images();
        let y = cut_out(&x, &mut cx).unwrap().to_f64().unwrap();
        let x = x.to_f64().unwrap();
        let mut most = 0;
        for n in 0..64 {
            let range = n * 768..(n + 1) * 768;
            let zero = y[range.clone()].chunks(3).filter(|pixel| pixel == &[0.0; 3]).count();
            assert!((16..=64).contains(&zero), "{n}: {zero}");
            most = most.max(zero);
            assert!(y[range.clone()].iter().zip(&x[range]).all(|(a, b)| *a == 0.0 || a == b));
        }
        assert_eq!(most, 64);
    }

    #[test]
    fn the_gradient_comes_back_and_colours_keep_what_they_should() {
        let (x, mut cx) = images();
        let y = augment(&x, &mut cx).unwrap();
        assert_eq!(y.dims(), SHAPE);
        let slope = grad(&y.sum_all().unwrap(), None, &[&x], Graph::Drop).unwrap();
        let slope = slope[0].as_ref().unwrap().to_f64().unwrap();
        let moved = slope.iter().filter(|value| **value != 0.0).count();
        assert!(moved > slope.len() / 2, "{moved} of {}", slope.len());
        // Saturation and contrast keep an image's mean; brightness alone moves it.
        let y = coloured(&x, &mut cx).unwrap().mean(&[1, 2, 3]).unwrap().to_f64().unwrap();
        let x = x.mean(&[1, 2, 3]).unwrap().to_f64().unwrap();
        let shifts: Vec<f64> = y.iter().zip(&x).map(|(a, b)| a - b).collect();
        assert!(shifts.iter().all(|shift| shift.abs() <= 0.5));
        assert!(shifts.iter().any(|shift| *shift > 0.3) && shifts.iter().any(|s| *s < -0.3));
    }
}
