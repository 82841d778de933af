//! The weights' transform: U = G w Gᵀ, written as the panels in which it is multiplied.

use super::BAND;
use super::tiling::{EMPTY, LANES, Lanes, Tiling, ZERO, in_two_dimensions, multiples, store_lanes};
use crate::transpose::transpose;
use crate::vectors::{prefetch, vectorised};
use std::ops::Range;

/// A convolution's weight, `[O, KH, KW, C]`, as filters of few taps.
pub(super) struct Filters<'a> {
    pub(super) data: &'a [f32],
    /// KH · KW.
    pub(super) kernel: usize,
    /// O.
    pub(super) outputs: usize,
    /// C.
    pub(super) inputs: usize,
    /// Whether O is summed over and C results, or the reverse.
    pub(super) towards_inputs: bool,
    /// The place in the kernel of each phase's r × r taps; none where there is no such tap.
    pub(super) phases: Vec<Vec<Option<usize>>>,
}

impl Filters<'_> {
    /// What is summed over: phases and channels.
    pub(super) fn depth(&self) -> usize {
        self.phases.len() * if self.towards_inputs { self.outputs } else { self.inputs }
    }

    /// What results.
    pub(super) fn columns(&self) -> usize {
        if self.towards_inputs { self.inputs } else { self.outputs }
    }
}

vectorised! {
    /// U of [`BAND`] columns from `first` on, over some of the depth: `[point][panel][depth][nr]`, points
    /// [`APART`](super::APART), zero in columns that do not exist.
    pub(super) fn transform_weights<T: Tiling>(
        filters: &Filters<'_>,
        first: usize,
        depth: Range<usize>,
        nr: usize,
        out: &mut [f32],
    ) {
        let step = out.len() / (T::POINTS * T::POINTS); // from point to point
        let points = multiples(step);
        let panel = depth.len() * nr;
        let mut columns = EMPTY;
        let mut taps = [[ZERO; MOST_TAPS]; LANES]; // [depth][tap], lanes are columns
        for group in (0..BAND).step_by(LANES) {
            let column = first + group;
            for k in (0..depth.len()).step_by(LANES) {
                gather::<T>(filters, depth.start + k, column, &mut taps);
                for (offset, taps) in taps.iter().enumerate() {
                    let row = (k + offset) * nr + group / nr * panel + group % nr;
                    in_two_dimensions(
                        [T::TAPS, T::POINTS],
                        &mut columns,
                        |u, v| &taps[u * T::TAPS + v],
                        T::weight,
                        |i, j, lanes| {
                            let at = points[i * T::POINTS + j] + row;
                            store_lanes(out, at, lanes, nr.min(LANES), panel);
                        },
                    );
                }
            }
        }
    }
}

/// The most taps of a filter.
const MOST_TAPS: usize = 25;

/// The taps of [`LANES`] rows of depth from `k` on (all of one phase), each for [`LANES`] columns from `column` on; zero
/// where there are none.
#[inline(always)]
fn gather<T: Tiling>(
    filters: &Filters<'_>,
    k: usize,
    column: usize,
    taps: &mut [[Lanes; MOST_TAPS]; LANES],
) {
    let summed = filters.depth() / filters.phases.len();
    let (phase, k) = (k / summed, k % summed);
    // What the next call wants is asked for now: these lines lie too far apart to be foreseen.
    let further = LANES * if filters.towards_inputs { filters.kernel * filters.inputs } else { 1 };
    let row = |output: usize, tap: usize, input: usize| -> &Lanes {
        let at = (output * filters.kernel + tap) * filters.inputs + input;
        prefetch(filters.data, at + further);
        filters.data[at..].first_chunk().expect("whole groups of channels")
    };
    for (index, tap) in filters.phases[phase].iter().enumerate() {
        match tap.filter(|_| column < filters.columns()) {
            None => taps.iter_mut().for_each(|taps| taps[index] = ZERO),
            Some(tap) if filters.towards_inputs => {
                for (i, taps) in taps.iter_mut().enumerate() {
                    taps[index] = *row(k + i, tap, column);
                }
            }
            Some(tap) => {
                let outputs = std::array::from_fn(|i| row(column + i, tap, k));
                let taps = taps.as_flattened_mut()[index..].as_flattened_mut();
                transpose(&outputs, taps, MOST_TAPS * LANES);
            }
        }
    }
}
