//! Joining two and more tensors along each axis.

use crate::case::Case;
use crate::values::Domain;
use belamy_tensor::Tensor;
use belamy_tensor::ops::concat::concat;

/// The joined tensor, by walking its elements.
fn joined(parts: &[Vec<f64>], extents: &[usize], outer: usize, inner: usize) -> Vec<f64> {
    let mut y = Vec::new();
    for row in 0..outer {
        for (part, extent) in parts.iter().zip(extents) {
            y.extend_from_slice(&part[row * extent * inner..(row + 1) * extent * inner]);
        }
    }
    y
}

fn concat_case(variant: &str, dims: &[usize], axis: usize, extents: &'static [usize]) -> Case {
    let (outer, inner) =
        (dims[..axis].iter().product(), dims[axis + 1..].iter().product::<usize>());
    let build = move |t: &[Tensor]| concat(&t.iter().collect::<Vec<_>>(), axis);
    let mut case = Case::new("concat", variant, build);
    for &extent in extents {
        let mut dims = dims.to_vec();
        dims[axis] = extent;
        case = case.input(&dims, Domain::Normal);
    }
    case.absolute(1).host_reference(move |t| joined(t, extents, outer, inner))
}

/// The family's cases.
pub fn cases() -> Vec<Case> {
    vec![
        concat_case("vectors", &[0], 0, &[3, 4]),
        concat_case("channels", &[2, 3, 2, 0], 3, &[3, 1]),
        concat_case("batch", &[0, 2, 3], 0, &[1, 3, 2]),
        concat_case("middle of five", &[2, 0, 3], 1, &[1, 2, 1, 3, 2]),
        concat_case("one", &[2, 0], 1, &[3]),
        concat_case("equal parts", &[3, 0], 1, &[2, 2]),
        concat_case("six axes", &[1, 2, 1, 0, 2, 1], 3, &[2, 3]),
        concat_case("large", &[7, 13, 11, 0], 3, &[17, 24]).large(),
        Case::new("concat", "u32", |t| concat(&[&t[0], &t[1]], 1))
            .constant(&[3, 2], Domain::Indices(1000))
            .constant(&[3, 4], Domain::Indices(1000))
            .rounded(),
    ]
}
