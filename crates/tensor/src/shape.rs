//! Shapes: up to six axes, `Copy`, no heap.

use crate::error::{Error, Result};
use std::fmt;

/// The largest number of axes a tensor may have.
pub const MAX_RANK: usize = 6;

/// The extent of a tensor along each of its axes, outermost first.
///
/// Activations are `[N, H, W, C]`, convolution weights `[O, KH, KW, C]`. Every tensor is contiguous in this
/// order, so a shape is also a layout. A shape holds at most `u32::MAX` elements, because kernels index in 32 bits.
///
/// ```
/// use belamy_tensor::Shape;
/// let images = Shape::from([64, 28, 28, 1]);
/// assert_eq!(images.elements(), 50_176);
/// assert_eq!(images.strides(), [784, 28, 1, 1, 0, 0]);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shape {
    dims: [usize; MAX_RANK],
    rank: usize,
}

impl Shape {
    /// A shape from extents known only at run time; fails above rank six or `u32::MAX` elements.
    #[track_caller]
    pub fn new(dims: &[usize]) -> Result<Shape> {
        let fits = dims.len() <= MAX_RANK
            && dims
                .iter()
                .try_fold(1usize, |product, &dim| product.checked_mul(dim.max(1)))
                .is_some_and(|product| product <= u32::MAX as usize);
        if !fits {
            let message = format!(
                "{dims:?} is no shape: at most {MAX_RANK} axes and {} elements are allowed",
                u32::MAX
            );
            return Err(Error::argument("shape", message));
        }
        let mut shape = Shape { dims: [0; MAX_RANK], rank: dims.len() };
        shape.dims[..dims.len()].copy_from_slice(dims);
        Ok(shape)
    }

    /// The shape of a single number: no axes, one element.
    pub const SCALAR: Shape = Shape { dims: [0; MAX_RANK], rank: 0 };

    /// The extents, outermost first.
    pub fn dims(&self) -> &[usize] {
        &self.dims[..self.rank]
    }

    /// The number of axes.
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// The number of elements: the product of the extents, 1 for a scalar.
    pub fn elements(&self) -> usize {
        self.dims().iter().product()
    }

    /// How many elements lie between neighbours along each axis; unused axes are 0.
    pub fn strides(&self) -> [usize; MAX_RANK] {
        let mut strides = [0; MAX_RANK];
        let mut step = 1;
        for axis in (0..self.rank).rev() {
            strides[axis] = step;
            step *= self.dims[axis];
        }
        strides
    }

    /// The same extents, right-aligned in six axes with leading ones: the form kernels take.
    pub fn padded(&self) -> [usize; MAX_RANK] {
        let mut dims = [1; MAX_RANK];
        dims[MAX_RANK - self.rank..].copy_from_slice(self.dims());
        dims
    }

    /// This shape with one axis's extent replaced.
    #[must_use]
    pub fn with(&self, axis: usize, extent: usize) -> Shape {
        let mut shape = *self;
        shape.dims[axis] = extent;
        shape
    }

    /// The shape that both operands stretch to when extents of one are repeated (NumPy's rule), if there is one.
    pub fn broadcast(&self, other: &Shape) -> Option<Shape> {
        let rank = self.rank.max(other.rank);
        let (a, b) = (self.padded(), other.padded());
        let mut shape = Shape { dims: [0; MAX_RANK], rank };
        for axis in 0..rank {
            let from_right = MAX_RANK - rank + axis;
            shape.dims[axis] = match (a[from_right], b[from_right]) {
                (x, y) if x == y => x,
                (1, y) => y,
                (x, 1) => x,
                _ => return None,
            };
        }
        Shape::new(shape.dims()).ok()
    }
}

impl<const N: usize> From<[usize; N]> for Shape {
    /// Panics above `u32::MAX` elements; a rank above six does not compile.
    #[track_caller]
    fn from(dims: [usize; N]) -> Shape {
        const { assert!(N <= MAX_RANK, "a shape has at most six axes") };
        match Shape::new(&dims) {
            Ok(shape) => shape,
            Err(error) => panic!("{error}"),
        }
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.dims(), f)
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.dims(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broadcasting_follows_the_right_aligned_rule() {
        let shape = |dims: &[usize]| Shape::new(dims).unwrap();
        assert_eq!(shape(&[4, 1, 3]).broadcast(&shape(&[5, 1])), Some(shape(&[4, 5, 3])));
        assert_eq!(shape(&[]).broadcast(&shape(&[2])), Some(shape(&[2])));
        assert_eq!(shape(&[2, 3]).broadcast(&shape(&[2])), None);
        assert_eq!(shape(&[0, 1]).broadcast(&shape(&[1, 3])), Some(shape(&[0, 3])));
    }

    #[test]
    fn too_many_axes_or_elements_are_refused() {
        assert!(Shape::new(&[1; 7]).is_err());
        assert!(Shape::new(&[65_536, 65_536]).is_err());
        assert!(Shape::new(&[usize::MAX, 2]).is_err());
        assert!(Shape::new(&[0, usize::MAX, usize::MAX]).is_err());
    }
}
