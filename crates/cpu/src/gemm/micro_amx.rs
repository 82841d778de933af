//! The micro-kernels for products of bf16, and of f32 in three parts, by AMX, the matrix unit of Intel's servers from
//! Sapphire Rapids on: sixteen times the multiplications of AVX-512 in f32.
//!
//! ```text
//! tdpbf16ps:  C[i, j] += Σ_p A[i, 2p] B[2p, j] + A[i, 2p + 1] B[2p + 1, j]      i, j, p < 16      in 16 cycles
//!
//! A: 16 runs of 16 pairs of bf16 along k      ([`Layout::Runs`], in the place of f32)
//! B: 16 rows of 16 pairs                      (a panel of B: row p has the pairs of k = 2p, 2p + 1)
//! C: 16 rows of 16 f32
//! ```
//!
//! Four of the eight tile registers hold a micro-tile of 32 × 32 sums; two of A and two of B feed them, so that a load
//! (8 cycles) serves two multiplications. The sums are written to memory in the nearest cache and added to C from there.
//! Numbers below the smallest normal one are taken for zeros.
//!
//! Of f32 in three parts ([`parts`](super::parts)) a step of 32 k takes 24 multiplications, four for each of six products of
//! parts, and 14 loads.
//!
//! The instructions are written as assembly: Rust's own functions for them are not stable.

use super::RUN;
use super::kernel::{Kernel, Operands};
use super::parts::{PARTS, STEP_SIZE};
use crate::vectors::InstructionSet;
use std::arch::asm;
use std::arch::x86_64::{__cpuid_count, _MM_HINT_T0, _mm_prefetch};
use std::mem::MaybeUninit;
use std::sync::OnceLock;

/// Rows and columns of a micro-tile.
const SIDE: usize = 32;

/// Pairs along k, rows and columns of one tile register.
const TILE: usize = 16;

/// The kernel, where the processor has the instructions, the system lets this process use them, and `BELAMY_ISA` does
/// not keep to others.
pub(super) fn kernel() -> Option<Kernel<f32>> {
    usable().then_some(Kernel {
        set: InstructionSet::Avx512,
        operands: Operands::Pairs,
        mr: SIDE,
        nr: SIDE,
        takes_runs: true,
        enter: configure,
        leave: release,
        tile,
        tile_of_runs: tile,
        in_place: None,
        windows: None,
    })
}

/// The kernel for products of f32 as sums of three bf16, likewise.
pub(super) fn kernel_of_parts() -> Option<&'static Kernel<f32>> {
    static KERNEL: Kernel<f32> = Kernel {
        set: InstructionSet::Avx512,
        operands: Operands::Parts,
        mr: SIDE,
        nr: SIDE,
        takes_runs: false,
        enter: configure,
        leave: release,
        tile: tile_of_parts,
        tile_of_runs: tile_of_parts,
        in_place: None,
        windows: None,
    };
    usable().then_some(&KERNEL)
}

/// Whether this process may use the unit, and is not told to keep to narrower instructions.
fn usable() -> bool {
    static USABLE: OnceLock<bool> = OnceLock::new();
    let usable = || !InstructionSet::is_limited() && InstructionSet::Avx512.detected() && allowed();
    *USABLE.get_or_init(usable)
}

/// Whether there are tile registers and multiplications of bf16, and whether the system keeps the registers of this
/// process when it is interrupted, which Linux does for those that ask: this file is for Linux alone. (It refuses where a thread
/// has an alternate signal stack too small for them, and such stacks afterwards.)
fn allowed() -> bool {
    const TILES: u32 = 1 << 24;
    const BF16: u32 = 1 << 22;
    const REQUEST_PERMISSION: libc::c_long = 0x1023; // ARCH_REQ_XCOMP_PERM
    const TILE_DATA: libc::c_long = 18; // XFEATURE_XTILEDATA
    if __cpuid_count(0, 0).eax < 7 {
        return false;
    }
    let features = __cpuid_count(7, 0).edx;
    if features & (TILES | BF16) != TILES | BF16 {
        return false;
    }
    // SAFETY: the call changes nothing but what this process may use; a system that does not know it refuses.
    unsafe { libc::syscall(libc::SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0 }
}

/// What `ldtilecfg` reads: palette 1, for each tile register the bytes of a row and the rows.
#[repr(C, align(64))]
struct Configuration {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    bytes: [u16; 16],
    rows: [u8; 16],
}

/// Eight registers of 16 rows of 64 bytes. The configuration is the thread's own: whoever else in the process uses tiles
/// sets theirs, so it is set before each block of products and given up after it.
fn configure() {
    static ALL: Configuration = Configuration {
        palette: 1,
        start_row: 0,
        reserved: [0; 14],
        bytes: [64, 64, 64, 64, 64, 64, 64, 64, 0, 0, 0, 0, 0, 0, 0, 0],
        rows: [16, 16, 16, 16, 16, 16, 16, 16, 0, 0, 0, 0, 0, 0, 0, 0],
    };
    // SAFETY: `kernel` gave this function out, so the processor has the registers and the system allows them.
    unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const ALL, options(nostack, preserves_flags)) };
}

/// Gives up the registers: the processor may sleep deeper, and the system need not keep them.
fn release() {
    // SAFETY: as in `configure`.
    unsafe { asm!("tilerelease", options(nostack, preserves_flags)) };
}

/// The sums of a micro-tile.
#[repr(align(64))]
struct Sums([[f32; SIDE]; SIDE]);

/// `MicroTile`, of runs of A. Private: it is reached through what `kernel` returned only.
fn tile(a: &[f32], b: &[f32], ahead: &[f32], c: &mut [&mut [f32]], first: usize, accumulate: bool) {
    let (a, _) = a.as_chunks::<RUN>();
    let a: &[[f32; RUN]; SIDE] = a.first_chunk().expect("room for a run of each row");
    let (b, rest) = b.as_chunks::<SIDE>();
    assert!(rest.is_empty() && c.len() <= SIDE && b.len() <= super::DEPTH_BLOCK);
    ask_for_tile(c, first);
    let pairs = b.len();
    let steps = pairs / TILE;
    let mut sums = MaybeUninit::uninit();
    let (runs, rows) = (a.as_ptr().cast(), b.as_ptr().cast());
    // SAFETY: `kernel` gave this function out, and `block` has configured the registers. There are 32 runs, and rows of
    // B, of 16 pairs a step.
    unsafe { add_products(true, steps, runs, RUN, rows, ahead, &mut sums) };
    if steps * TILE < pairs {
        // What is left of k, and zeros.
        let mut last_a = [[0.0; TILE]; SIDE];
        let mut last_b = [[0.0; SIDE]; TILE];
        let left = pairs - steps * TILE;
        for (last, run) in last_a.iter_mut().zip(a) {
            last[..left].copy_from_slice(&run[steps * TILE..pairs]);
        }
        last_b[..left].copy_from_slice(&b[steps * TILE..pairs]);
        let (a, b) = (last_a.as_ptr().cast(), last_b.as_ptr().cast());
        // SAFETY: as above, for one step.
        unsafe { add_products(false, 1, a, TILE, b, ahead, &mut sums) };
    }
    // SAFETY: `kernel` gave this function out, so the processor has AVX-512; all sums were written.
    unsafe { add_sums(sums.assume_init_ref(), c, first, accumulate) };
}

/// Asks for a micro-tile of C.
fn ask_for_tile(c: &[&mut [f32]], first: usize) {
    for row in c {
        let row = row[first..].as_ptr().cast::<i8>();
        for line in 0..SIDE / TILE {
            // SAFETY: a prefetch of any address changes nothing but caches.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(row.wrapping_add(64 * line)) };
        }
    }
}

/// `MicroTile`, of [`Operands::Parts`]. Private, as `tile` is.
fn tile_of_parts(
    a: &[f32],
    b: &[f32],
    ahead: &[f32],
    c: &mut [&mut [f32]],
    first: usize,
    accumulate: bool,
) {
    let steps = b.len() / (SIDE * STEP_SIZE);
    let run = a.len() / SIDE;
    assert!(b.len() == steps * SIDE * STEP_SIZE && run >= steps * STEP_SIZE && c.len() <= SIDE);
    ask_for_tile(c, first);
    let mut sums = MaybeUninit::uninit();
    // SAFETY: `kernel_of_parts` gave this function out, and `block` has configured the registers.
    unsafe { add_products_of_parts(steps, a.as_ptr(), run, b.as_ptr(), ahead, &mut sums) };
    // SAFETY: `kernel_of_parts` gave this function out, so the processor has AVX-512; all sums were written.
    unsafe { add_sums(sums.assume_init_ref(), c, first, accumulate) };
}

/// Writes to `sums` the six products of parts, the smallest first, of all steps; of two neighbours one factor is the same,
/// so that a step takes 14 loads for 24 multiplications. Meanwhile asks for the cache lines of `ahead`.
///
/// # Safety
///
/// The tile registers must be configured; `a` must have 32 lanes, `run` apart, of so many steps, and `b` as many.
#[inline]
unsafe fn add_products_of_parts(
    steps: usize,
    a: *const f32,
    run: usize,
    b: *const f32,
    ahead: &[f32],
    sums: &mut MaybeUninit<Sums>,
) {
    let lines = ahead.len().div_ceil(TILE * steps.max(1)).max(1);
    // SAFETY: registers, `a` and `b` are the caller's; `sums` has 32 rows of 128 bytes; a prefetch of any address changes
    // nothing but caches. Nothing else in this program uses tile registers.
    unsafe {
        asm!(
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            "test {steps}, {steps}",
            "jz 3f",
            "2:",
            "mov {line}, {lines}",
            "5:",
            "prefetcht1 [{ahead}]",
            "add {ahead}, 64",
            "dec {line}",
            "jnz 5b",
            // a₃ b₁
            "tileloadd tmm4, [{a} + {run} + 128]",
            "tileloadd tmm6, [{b} + {pair}]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tileloadd tmm7, [{b} + {pair} + 64]",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tileloadd tmm5, [{lower} + {run} + 128]",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            // a₂ b₁
            "tileloadd tmm4, [{a} + {run} + 64]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tileloadd tmm5, [{lower} + {run} + 64]",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            // a₂ b₂
            "tileloadd tmm6, [{b} + {pair} + 128]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tileloadd tmm7, [{b} + {pair} + 192]",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tdpbf16ps tmm3, tmm5, tmm7",
            // a₁ b₂
            "tileloadd tmm4, [{a} + {run}]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tileloadd tmm5, [{lower} + {run}]",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            // a₁ b₃
            "tileloadd tmm6, [{b} + {pair} + 256]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tileloadd tmm7, [{b} + {pair} + 320]",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tdpbf16ps tmm3, tmm5, tmm7",
            // a₁ b₁
            "tileloadd tmm6, [{b} + {pair}]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tileloadd tmm7, [{b} + {pair} + 64]",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "add {a}, 192",
            "add {lower}, 192",
            "add {b}, 6144",
            "dec {steps}",
            "jnz 2b",
            "3:",
            "tilestored [{sums} + {row}], tmm0",
            "tilestored [{sums} + {row} + 64], tmm1",
            "tilestored [{sums} + {row} + 2048], tmm2",
            "tilestored [{sums} + {row} + 2112], tmm3",
            steps = inout(reg) steps => _,
            a = inout(reg) a => _,
            lower = inout(reg) a.wrapping_add(TILE * run) => _,
            b = inout(reg) b => _,
            ahead = inout(reg) ahead.as_ptr() => _,
            lines = in(reg) lines,
            line = out(reg) _,
            sums = in(reg) sums.as_mut_ptr(),
            run = in(reg) run * size_of::<f32>(),
            pair = in(reg) PARTS * SIDE * size_of::<f32>(),
            row = in(reg) SIDE * size_of::<f32>(),
            options(nostack),
        );
    }
}

/// Adds to `sums`, or to zeros where they are `fresh`, the products of `steps` times 16 pairs, of runs that are `run` apart
/// and of rows of B; meanwhile asks for the cache lines of `ahead`, four a step. All sums are written.
///
/// # Safety
///
/// The tile registers must be configured; `a` must have 32 runs and `b` rows of 32 of so many pairs; `sums` that are not
/// `fresh` must have been written.
#[inline]
unsafe fn add_products(
    fresh: bool,
    steps: usize,
    a: *const f32,
    run: usize,
    b: *const f32,
    ahead: &[f32],
    sums: &mut MaybeUninit<Sums>,
) {
    // SAFETY: registers, `a` and `b` are the caller's; `sums` has 32 rows of 128 bytes; a prefetch of any address changes
    // nothing but caches. Nothing else in this program uses tile registers.
    unsafe {
        asm!(
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            "test {fresh:e}, {fresh:e}",
            "jnz 4f",
            "tileloadd tmm0, [{sums} + {row}]",
            "tileloadd tmm1, [{sums} + {row} + 64]",
            "tileloadd tmm2, [{sums} + {row} + 2048]",
            "tileloadd tmm3, [{sums} + {row} + 2112]",
            "4:",
            "test {steps}, {steps}",
            "jz 3f",
            "2:",
            "tileloadd tmm4, [{a} + {run}]",
            "tileloadd tmm6, [{b} + {row}]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tileloadd tmm7, [{b} + {row} + 64]",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tileloadd tmm5, [{lower} + {run}]",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "prefetcht1 [{ahead}]",
            "prefetcht1 [{ahead} + 64]",
            "prefetcht1 [{ahead} + 128]",
            "prefetcht1 [{ahead} + 192]",
            "add {ahead}, 256",
            "add {a}, 64",
            "add {lower}, 64",
            "add {b}, 2048",
            "dec {steps}",
            "jnz 2b",
            "3:",
            "tilestored [{sums} + {row}], tmm0",
            "tilestored [{sums} + {row} + 64], tmm1",
            "tilestored [{sums} + {row} + 2048], tmm2",
            "tilestored [{sums} + {row} + 2112], tmm3",
            fresh = in(reg) u32::from(fresh),
            steps = inout(reg) steps => _,
            a = inout(reg) a => _,
            lower = inout(reg) a.wrapping_add(TILE * run) => _,
            b = inout(reg) b => _,
            ahead = inout(reg) ahead.as_ptr() => _,
            sums = in(reg) sums.as_mut_ptr(),
            run = in(reg) run * size_of::<f32>(),
            row = in(reg) SIDE * size_of::<f32>(),
            options(nostack),
        );
    }
}

/// Adds the sums to rows of C from a column on, or writes them there.
#[target_feature(enable = "avx512f")]
fn add_sums(sums: &Sums, c: &mut [&mut [f32]], first: usize, accumulate: bool) {
    for (row, sums) in c.iter_mut().zip(&sums.0) {
        let row: &mut [f32; SIDE] = row[first..].first_chunk_mut().expect("32 columns");
        if accumulate {
            row.iter_mut().zip(sums).for_each(|(c, sum)| *c += sum);
        } else {
            *row = *sums;
        }
    }
}
