//! The x86 micro-kernel, written once; `micro_avx2`, `micro_avx512` and `micro_bf16` fill in the instructions.

/// Writes a module with `kernel()`: the micro-kernel of `$rows` x 2 vectors, if the processor has
/// the instructions. The tile has two vectors of a row of C for each row, all in registers.
macro_rules! micro_kernel {
    (
        $element:ident, $set:ident, features $features:literal, $operands:ident,
        vector $vector:ident of $lanes:literal, rows $mr:literal as [$($rows:literal)*],
        $zero:ident, $load:ident, $store:ident, $broadcast:ident, $multiply_add:path, $add:ident
    ) => {
        pub(super) mod $element {
            use std::arch::x86_64::*;

            use crate::gemm::kernel::{Kernel, Operands};
            use crate::gemm::{DEPTH_BLOCK, RUN};
            use crate::vectors::InstructionSet;

            const MR: usize = $mr;
            const NR: usize = 2 * $lanes;

            /// The kernel, where the processor has its instructions.
            pub(in crate::gemm) fn kernel() -> Option<Kernel<$element>> {
                InstructionSet::$set.detected().then_some(Kernel {
                    set: InstructionSet::$set,
                    operands: Operands::$operands,
                    mr: MR,
                    nr: NR,
                    takes_runs: false,
                    enter: || {},
                    leave: || {},
                    tile: dispatch::<false>,
                    tile_of_runs: dispatch::<true>,
                })
            }

            /// `MicroTile`. Private: it is reached through what `kernel` returned only.
            fn dispatch<const RUNS: bool>(
                a: &[$element],
                b: &[$element],
                ahead: &[$element],
                c: &mut [&mut [$element]],
                first: usize,
                accumulate: bool,
            ) {
                match c.len() {
                    $(
                        // SAFETY: `kernel` gave this function out, so the processor has the
                        // instructions; `tile` has no other condition.
                        $rows => unsafe { tile::<$rows, RUNS>(a, b, ahead, c, first, accumulate) },
                    )*
                    rows => unreachable!("a micro-tile of {rows} rows"),
                }
            }

            #[target_feature(enable = $features)]
            fn tile<const ROWS: usize, const RUNS: bool>(
                a: &[$element],
                b: &[$element],
                ahead: &[$element],
                c: &mut [&mut [$element]],
                first: usize,
                accumulate: bool,
            ) {
                let (b, b_rest) = b.as_chunks::<NR>();
                assert!(b.len() <= DEPTH_BLOCK && b_rest.is_empty());
                let depth = b.len();
                let b = &b[..depth.div_ceil(Operands::$operands.in_one())];
                for row in c.iter() {
                    ask_for::<_MM_HINT_T0>(&row[first..], 0);
                    ask_for::<_MM_HINT_T0>(&row[first..], 1);
                }
                let mut sums: [[$vector; 2]; ROWS] = [[$zero(); 2]; ROWS];
                if RUNS {
                    let a: &[[$element; RUN]; ROWS] =
                        a.as_chunks().0.first_chunk().expect("a run for each row");
                    for (k, b) in b.iter().enumerate() {
                        let [b0, b1] = load(b);
                        ask_for::<_MM_HINT_T1>(ahead, k);
                        for i in 0..ROWS {
                            let a = $broadcast(a[i][k]);
                            sums[i][0] = $multiply_add(a, b0, sums[i][0]);
                            sums[i][1] = $multiply_add(a, b1, sums[i][1]);
                        }
                    }
                } else {
                    let (a, a_rest) = a.as_chunks::<MR>();
                    assert!(a.len() == depth && a_rest.is_empty());
                    for (k, (a, b)) in a.iter().zip(b).enumerate() {
                        let [b0, b1] = load(b);
                        ask_for::<_MM_HINT_T1>(ahead, k);
                        for i in 0..ROWS {
                            let a = $broadcast(a[i]);
                            sums[i][0] = $multiply_add(a, b0, sums[i][0]);
                            sums[i][1] = $multiply_add(a, b1, sums[i][1]);
                        }
                    }
                }
                for (row, [sum0, sum1]) in c.iter_mut().zip(sums) {
                    let row: &mut [$element; NR] =
                        row[first..].first_chunk_mut().expect("NR columns");
                    if accumulate {
                        let [c0, c1] = load(row);
                        store(row, [$add(c0, sum0), $add(c1, sum1)]);
                    } else {
                        store(row, [sum0, sum1]);
                    }
                }
            }

            /// Asks for a cache line from a place on, by its number.
            #[inline(always)]
            fn ask_for<const HINT: i32>(from: &[$element], line: usize) {
                // SAFETY: a prefetch of any address changes nothing but caches.
                unsafe { _mm_prefetch::<HINT>(from.as_ptr().cast::<i8>().wrapping_add(64 * line)) };
            }

            #[inline]
            #[target_feature(enable = $features)]
            fn load(from: &[$element; NR]) -> [$vector; 2] {
                let from = from.as_ptr();
                // SAFETY: the array has NR = 2 * lanes elements; the loads need no alignment.
                unsafe { [$load(from), $load(from.add($lanes))] }
            }

            #[inline]
            #[target_feature(enable = $features)]
            fn store(to: &mut [$element; NR], [v0, v1]: [$vector; 2]) {
                let to = to.as_mut_ptr();
                // SAFETY: the array has NR = 2 * lanes elements; the stores need no alignment.
                unsafe {
                    $store(to, v0);
                    $store(to.add($lanes), v1);
                }
            }
        }
    };
}

pub(super) use micro_kernel;
