//! Linear maps given by their matrices: the definition of an op and of its adjoint in one place.

/// One non-zero entry: to which output, from which input, times what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) output: usize,
    pub(crate) input: usize,
    pub(crate) weight: f64,
}

/// `A x`, of `len` elements.
pub(crate) fn applied(entries: &[Entry], x: &[f64], len: usize) -> Vec<f64> {
    let mut y = vec![0.0; len];
    entries.iter().for_each(|entry| y[entry.output] += entry.weight * x[entry.input]);
    y
}

/// `Aᵀ y`, of `len` elements.
pub(crate) fn transposed(entries: &[Entry], y: &[f64], len: usize) -> Vec<f64> {
    let mut x = vec![0.0; len];
    entries.iter().for_each(|entry| x[entry.input] += entry.weight * y[entry.output]);
    x
}

/// The most entries of one output, and of one input: how many terms the op and its adjoint sum.
pub(crate) fn terms(entries: &[Entry], outputs: usize, inputs: usize) -> [usize; 2] {
    let mut of_output = vec![0; outputs];
    let mut of_input = vec![0; inputs];
    for entry in entries {
        of_output[entry.output] += 1;
        of_input[entry.input] += 1;
    }
    [of_output, of_input].map(|counts| counts.into_iter().max().unwrap_or(1).max(1))
}

/// The entries of a map of planes, given along rows and columns, for every image and channel of `[n, .., c]`.
///
/// `plane(oh, ow)` lists what pixels the output pixel takes, with weights.
pub(crate) fn on_planes(
    n: usize,
    image: [usize; 2],
    output: [usize; 2],
    c: usize,
    mut plane: impl FnMut(usize, usize) -> Vec<([usize; 2], f64)>,
) -> Vec<Entry> {
    let mut entries = Vec::new();
    for oh in 0..output[0] {
        for ow in 0..output[1] {
            for ([ih, iw], weight) in plane(oh, ow) {
                for batch in 0..n {
                    for channel in 0..c {
                        entries.push(Entry {
                            output: ((batch * output[0] + oh) * output[1] + ow) * c + channel,
                            input: ((batch * image[0] + ih) * image[1] + iw) * c + channel,
                            weight,
                        });
                    }
                }
            }
        }
    }
    entries
}
