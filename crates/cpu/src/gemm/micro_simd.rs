//! The x86 micro-kernel, written once; `micro_avx2`, `micro_avx512` and `micro_bf16` fill in the instructions.

/// Writes a tile's sums to C, or adds them. Not a function: the sums would go there through memory.
macro_rules! finish {
    ($sums:ident, $c:ident, $first:ident, $accumulate:ident, $add:ident) => {
        for (row, [sum0, sum1]) in $c.iter_mut().zip($sums) {
            let row: &mut [_; NR] = row[$first..].first_chunk_mut().expect("NR columns");
            if $accumulate {
                let [c0, c1] = load(row);
                store(row, [$add(c0, sum0), $add(c1, sum1)]);
            } else {
                store(row, [sum0, sum1]);
            }
        }
    };
}

pub(super) use finish;

/// Writes a module with `kernel()`: the micro-kernel of `$rows` x 2 vectors, if the processor has
/// the instructions. The tile has two vectors of a row of C for each row, all in registers.
macro_rules! micro_kernel {
    (
        $element:ident, $set:ident, features $features:literal, $operands:ident,
        vector $vector:ident of $lanes:literal,
        rows $mr:literal as [$($rows:literal)*], of three vectors [$($wide:literal)*],
        $zero:ident, $load:ident, $store:ident, $broadcast:ident, $multiply_add:path, $add:ident,
        named $broadcast_name:literal $multiply_add_name:literal, of $size:literal bytes in $class:ident
    ) => {
        pub(super) mod $element {
            use std::arch::asm;
            use std::arch::x86_64::*;

            use crate::gemm::kernel::{Columns, InPlace, Kernel, Operands, Rows, Windows};
            use crate::gemm::micro_simd::finish;
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
                    in_place: Some(InPlace { lanes: dispatch_of_lanes, rows: dispatch_of_rows }),
                    windows: Some(dispatch_of_windows),
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

            /// `TileOfLanes`. Private, as `dispatch` is.
            fn dispatch_of_lanes(
                a: &[&[$element]],
                further: &[&[$element]],
                b: &[$element],
                ahead: &[$element],
                c: &mut [&mut [$element]],
                first: usize,
                accumulate: bool,
            ) {
                match c.len() {
                    $(
                        // SAFETY: as in `dispatch`.
                        $rows => unsafe {
                            tile_of_lanes::<$rows>(a, further, b, ahead, c, first, accumulate)
                        },
                    )*
                    rows => unreachable!("a micro-tile of {rows} rows"),
                }
            }

            /// `TileOfRows`. Private, as `dispatch` is.
            fn dispatch_of_rows(
                a: &Rows<'_, $element>,
                b: &Rows<'_, $element>,
                further: &[&[$element]],
                c: &mut [&mut [$element]],
                first: usize,
                accumulate: bool,
            ) {
                match c.len() {
                    $(
                        // SAFETY: as in `dispatch`.
                        $rows => unsafe {
                            tile_of_rows::<$rows>(a, b, further, c, first, accumulate)
                        },
                    )*
                    rows => unreachable!("a micro-tile of {rows} rows"),
                }
            }

            /// `TileOfWindows`. Private, as `dispatch` is.
            fn dispatch_of_windows(
                a: &Windows<'_, $element>,
                b: &Columns<'_, $element>,
                vectors: usize,
                ahead: &Columns<'_, $element>,
                c: &mut [$element],
                apart: usize,
                accumulate: bool,
            ) {
                match (a.lanes(), vectors) {
                    $(
                        // SAFETY: as in `dispatch`.
                        ($rows, 1) => unsafe {
                            tile_of_windows::<$rows, 1>(a, b, ahead, c, apart, accumulate)
                        },
                        // SAFETY: as in `dispatch`.
                        ($rows, 2) => unsafe {
                            tile_of_windows::<$rows, 2>(a, b, ahead, c, apart, accumulate)
                        },
                    )*
                    $(
                        // SAFETY: as in `dispatch`.
                        ($wide, 3) => unsafe {
                            tile_of_windows::<$wide, 3>(a, b, ahead, c, apart, accumulate)
                        },
                    )*
                    (rows, vectors) => unreachable!("a micro-tile of {rows} rows, {vectors} vectors"),
                }
            }

            /// A row of B for each k, whose lanes are multiplied one by one: see [`add_lane`].
            #[target_feature(enable = $features)]
            fn tile_of_windows<const ROWS: usize, const VECTORS: usize>(
                a: &Windows<'_, $element>,
                b: &Columns<'_, $element>,
                ahead: &Columns<'_, $element>,
                c: &mut [$element],
                apart: usize,
                accumulate: bool,
            ) {
                let (steps, width) = (a.steps(), VECTORS * $lanes);
                let needed = steps.len().saturating_sub(1) * b.apart + width;
                assert!(a.lanes() == ROWS && b.data.len() >= needed && !steps.is_empty());
                assert!(c.len() >= (ROWS - 1) * apart + width);
                let lanes: [*const $element; ROWS] = std::array::from_fn(|i| a.lane(i).as_ptr());
                for row in 0..ROWS {
                    for vector in 0..VECTORS {
                        ask_for::<_MM_HINT_T0>(c, row * apart + vector * $lanes);
                    }
                }
                let lines = ahead.data.len().div_ceil(ahead.apart);
                let mut sums: [[$vector; VECTORS]; ROWS] = [[$zero(); VECTORS]; ROWS];
                let mut from = b.data.as_ptr();
                for (k, &step) in steps.iter().enumerate() {
                    if k < lines {
                        ask_for::<_MM_HINT_T0>(ahead.data, k * ahead.apart);
                    }
                    let mut b_row = [$zero(); VECTORS];
                    for vector in 0..VECTORS {
                        // SAFETY: there are `width` elements at each k, as asserted above.
                        b_row[vector] = unsafe { $load(from.add(vector * $lanes)) };
                    }
                    from = from.wrapping_add(b.apart);
                    for i in 0..ROWS {
                        // SAFETY: `Windows` answers for each step from each start.
                        unsafe { add_lane(lanes[i], step, &b_row, &mut sums[i]) };
                    }
                }
                let c = c.as_mut_ptr();
                for i in 0..ROWS {
                    for vector in 0..VECTORS {
                        // SAFETY: C has the tile's elements, as asserted above; loads and stores need no alignment.
                        unsafe {
                            let to = c.add(i * apart + vector * $lanes);
                            let sum = sums[i][vector];
                            $store(to, if accumulate { $add($load(to), sum) } else { sum });
                        }
                    }
                }
            }

            /// Adds the element that lies `step` from a lane's start, times each vector of a row of B, to that lane's sums: at most
            /// three.
            ///
            /// In these very instructions: left to itself, the compiler reads all lanes of a tile before it multiplies one, and has
            /// no registers left for their sums. (3 to 64 channels: .95 ms in one build, 1.2 to 1.5 in another.)
            ///
            /// # Safety
            ///
            /// The element must be there.
            #[inline]
            #[target_feature(enable = $features)]
            unsafe fn add_lane<const VECTORS: usize>(
                lane: *const $element,
                step: usize,
                b: &[$vector; VECTORS],
                sums: &mut [$vector; VECTORS],
            ) {
                // SAFETY: only the element is read.
                unsafe {
                    match VECTORS {
                        1 => asm!(
                            concat!($broadcast_name, " {a}, [{lane} + ", $size, " * {step}]"),
                            concat!($multiply_add_name, " {sum}, {a}, {b}"),
                            lane = in(reg) lane,
                            step = in(reg) step,
                            a = out($class) _,
                            b = in($class) b[0],
                            sum = inout($class) sums[0],
                            options(pure, readonly, nostack, preserves_flags)
                        ),
                        2 => asm!(
                            concat!($broadcast_name, " {a}, [{lane} + ", $size, " * {step}]"),
                            concat!($multiply_add_name, " {sum0}, {a}, {b0}"),
                            concat!($multiply_add_name, " {sum1}, {a}, {b1}"),
                            lane = in(reg) lane,
                            step = in(reg) step,
                            a = out($class) _,
                            b0 = in($class) b[0],
                            b1 = in($class) b[1],
                            sum0 = inout($class) sums[0],
                            sum1 = inout($class) sums[1],
                            options(pure, readonly, nostack, preserves_flags)
                        ),
                        3 => asm!(
                            concat!($broadcast_name, " {a}, [{lane} + ", $size, " * {step}]"),
                            concat!($multiply_add_name, " {sum0}, {a}, {b0}"),
                            concat!($multiply_add_name, " {sum1}, {a}, {b1}"),
                            concat!($multiply_add_name, " {sum2}, {a}, {b2}"),
                            lane = in(reg) lane,
                            step = in(reg) step,
                            a = out($class) _,
                            b0 = in($class) b[0],
                            b1 = in($class) b[1],
                            b2 = in($class) b[2],
                            sum0 = inout($class) sums[0],
                            sum1 = inout($class) sums[1],
                            sum2 = inout($class) sums[2],
                            options(pure, readonly, nostack, preserves_flags)
                        ),
                        vectors => unreachable!("{vectors} vectors"),
                    }
                }
            }

            /// Two k at a time: the pointer to a row's elements is fetched once for both.
            #[target_feature(enable = $features)]
            fn tile_of_lanes<const ROWS: usize>(
                a: &[&[$element]],
                further: &[&[$element]],
                b: &[$element],
                ahead: &[$element],
                c: &mut [&mut [$element]],
                first: usize,
                accumulate: bool,
            ) {
                let (b, b_rest) = b.as_chunks::<NR>();
                assert!(b.len() <= DEPTH_BLOCK && b_rest.is_empty());
                let depth = b.len();
                let a: [*const $element; ROWS] = std::array::from_fn(|i| a[i][..depth].as_ptr());
                ask_for_tile(c, first);
                let lines = ahead.len() / LINE;
                let mut sums: [[$vector; 2]; ROWS] = [[$zero(); 2]; ROWS];
                let (pairs, last) = b.as_chunks::<2>();
                for (pair, b) in pairs.iter().enumerate() {
                    let [[b0, b1], [b2, b3]] = [load(&b[0]), load(&b[1])];
                    if 2 * pair < lines {
                        ask_for::<_MM_HINT_T1>(ahead, 2 * pair * LINE);
                        ask_for::<_MM_HINT_T1>(ahead, (2 * pair + 1) * LINE);
                    }
                    // Eight steps to a cache line of f32: two of the rows at each, and of each row every line once.
                    for lane in [pair % 8, pair % 8 + 8] {
                        if let Some(lane) = further.get(lane) {
                            ask_for::<_MM_HINT_T0>(lane, pair / 8 * LINE);
                        }
                    }
                    for i in 0..ROWS {
                        // SAFETY: each row has `depth` elements, which are at least twice the pairs.
                        let (a0, a1) = unsafe {
                            let a = a[i].add(2 * pair);
                            ($broadcast(*a), $broadcast(*a.add(1)))
                        };
                        sums[i][0] = $multiply_add(a0, b0, sums[i][0]);
                        sums[i][1] = $multiply_add(a0, b1, sums[i][1]);
                        sums[i][0] = $multiply_add(a1, b2, sums[i][0]);
                        sums[i][1] = $multiply_add(a1, b3, sums[i][1]);
                    }
                }
                for b in last {
                    let [b0, b1] = load(b);
                    for i in 0..ROWS {
                        // SAFETY: each row has `depth` elements, and there is a last one.
                        let a = $broadcast(unsafe { a[i].add(depth - 1).read() });
                        sums[i][0] = $multiply_add(a, b0, sums[i][0]);
                        sums[i][1] = $multiply_add(a, b1, sums[i][1]);
                    }
                }
                finish!(sums, c, first, accumulate, $add);
            }

            /// The rows of both sides are asked for some k before they are multiplied, and `further` meanwhile.
            #[target_feature(enable = $features)]
            fn tile_of_rows<const ROWS: usize>(
                a: &Rows<'_, $element>,
                b: &Rows<'_, $element>,
                further: &[&[$element]],
                c: &mut [&mut [$element]],
                first: usize,
                accumulate: bool,
            ) {
                /// The rows between the one that is asked for and the one that is multiplied.
                const AHEAD: usize = 12;
                let (a_rows, b_rows) = (a.rows(), b.rows());
                assert!(a_rows.len() == b_rows.len() && a.lanes() >= ROWS && b.lanes() >= NR);
                ask_for_tile(c, first);
                let mut sums: [[$vector; 2]; ROWS] = [[$zero(); 2]; ROWS];
                for (k, (a_row, b_row)) in a_rows.iter().zip(b_rows).enumerate() {
                    let a_row = a_row.as_ptr().wrapping_add(a.first());
                    let b_row = b_row.as_ptr().wrapping_add(b.first());
                    // SAFETY: `Rows` answers for its lanes in each slice, here at least ROWS and NR.
                    let (a_row, b_row) = unsafe {
                        (&*a_row.cast::<[$element; ROWS]>(), &*b_row.cast::<[$element; NR]>())
                    };
                    let [b0, b1] = load(b_row);
                    // A line at every other k: sixteen, 1 KiB, of each row.
                    if k % 2 == 0 && let Some(row) = further.get(k / 32) {
                        ask_for::<_MM_HINT_T1>(row, k / 2 % 16 * LINE);
                    }
                    let ahead = (k + AHEAD).min(b_rows.len() - 1);
                    // SAFETY: it is the number of a row, of which both have as many.
                    let a_ahead = unsafe { a_rows.get_unchecked(ahead) };
                    // SAFETY: as above.
                    let b_ahead = unsafe { b_rows.get_unchecked(ahead) };
                    ask_for::<_MM_HINT_T0>(a_ahead, a.first());
                    ask_for::<_MM_HINT_T0>(b_ahead, b.first());
                    ask_for::<_MM_HINT_T0>(b_ahead, b.first() + NR / 2);
                    for i in 0..ROWS {
                        let a = $broadcast(a_row[i]);
                        sums[i][0] = $multiply_add(a, b0, sums[i][0]);
                        sums[i][1] = $multiply_add(a, b1, sums[i][1]);
                    }
                }
                finish!(sums, c, first, accumulate, $add);
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
                ask_for_tile(c, first);
                let lines = ahead.len() / LINE;
                let mut sums: [[$vector; 2]; ROWS] = [[$zero(); 2]; ROWS];
                if RUNS {
                    let a: &[[$element; RUN]; ROWS] =
                        a.as_chunks().0.first_chunk().expect("a run for each row");
                    for (k, b) in b.iter().enumerate() {
                        let [b0, b1] = load(b);
                        if k < lines {
                            ask_for::<_MM_HINT_T1>(ahead, k * LINE);
                        }
                        for i in 0..ROWS {
                            let a = $broadcast(a[i][k]);
                            sums[i][0] = $multiply_add(a, b0, sums[i][0]);
                            sums[i][1] = $multiply_add(a, b1, sums[i][1]);
                        }
                    }
                } else {
                    let (a, a_rest) = a.as_chunks::<MR>();
                    assert!(a.len() == b.len() && a_rest.is_empty());
                    for (k, (a, b)) in a.iter().zip(b).enumerate() {
                        let [b0, b1] = load(b);
                        if k < lines {
                            ask_for::<_MM_HINT_T1>(ahead, k * LINE);
                        }
                        for i in 0..ROWS {
                            let a = $broadcast(a[i]);
                            sums[i][0] = $multiply_add(a, b0, sums[i][0]);
                            sums[i][1] = $multiply_add(a, b1, sums[i][1]);
                        }
                    }
                }
                finish!(sums, c, first, accumulate, $add);
            }

            /// Elements of a cache line.
            const LINE: usize = 64 / size_of::<$element>();

            /// Asks for the cache line of an element, which need not be there.
            #[inline(always)]
            fn ask_for<const HINT: i32>(from: &[$element], at: usize) {
                // SAFETY: a prefetch of any address changes nothing but caches.
                unsafe { _mm_prefetch::<HINT>(from.as_ptr().wrapping_add(at).cast::<i8>()) };
            }

            /// Asks for a tile of C.
            #[inline(always)]
            fn ask_for_tile(c: &[&mut [$element]], first: usize) {
                for row in c {
                    ask_for::<_MM_HINT_T0>(row, first);
                    ask_for::<_MM_HINT_T0>(row, first + LINE);
                }
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
