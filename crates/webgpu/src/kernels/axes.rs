//! Six axes made fewer.

/// Merges neighbouring axes that every operand walks in one stride, and moves the rest to the right; what is left over
/// has extent 1.
pub(super) fn merge(dims: &mut [u32; 6], operands: &mut [&mut [u32; 6]]) {
    let mut last = 6;
    for axis in (0..6).rev() {
        if dims[axis] == 1 {
            continue;
        }
        let together =
            last < 6 && operands.iter().all(|strides| strides[axis] == strides[last] * dims[last]);
        if together {
            dims[last] *= dims[axis];
            continue;
        }
        last -= 1;
        dims[last] = dims[axis];
        operands.iter_mut().for_each(|strides| strides[last] = strides[axis]);
    }
    dims[..last].fill(1);
    operands.iter_mut().for_each(|strides| strides[..last].fill(0));
}

#[cfg(test)]
mod tests {
    use super::merge;

    #[test]
    fn axes_walked_alike_become_one() {
        // [2, 3, 4, 5] plus a bias of [5]: all but the last axis are one.
        let mut dims = [1, 1, 2, 3, 4, 5];
        let mut whole = [0, 0, 60, 20, 5, 1];
        let mut bias = [0, 0, 0, 0, 0, 1];
        merge(&mut dims, &mut [&mut whole, &mut bias]);
        assert_eq!(dims, [1, 1, 1, 1, 24, 5]);
        assert_eq!((whole, bias), ([0, 0, 0, 0, 5, 1], [0, 0, 0, 0, 0, 1]));
        // A permutation of two axes among three.
        let mut dims = [1, 1, 1, 4, 2, 3];
        let mut strides = [0, 0, 0, 3, 12, 1];
        merge(&mut dims, &mut [&mut strides]);
        assert_eq!((dims, strides), ([1, 1, 1, 4, 2, 3], [0, 0, 0, 3, 12, 1]));
        // Extents of 1 vanish wherever they stand.
        let mut dims = [2, 1, 3, 1, 1, 1];
        let mut strides = [3, 7, 1, 9, 9, 9];
        merge(&mut dims, &mut [&mut strides]);
        assert_eq!((dims, strides), ([1, 1, 1, 1, 1, 6], [0, 0, 0, 0, 0, 1]));
    }
}
