//! The element types of the matrix multiply and the micro-kernels that each has.

use std::ops::{Add, Mul};
use std::sync::OnceLock;
use std::thread::LocalKey;

use super::kernel::Operands;
use super::pack::Layout;
use super::parts::{Order, Source};
use super::scratch::Buffers;
use super::{DEPTH_BLOCK, Kernel, bf16, micro_portable, parts};
use crate::transpose::{self, SIDE, transpose};
use crate::vectors::InstructionSet;

/// Zeros that lie ready.
pub(crate) const MOST_ZEROS: usize = 4 * DEPTH_BLOCK;

/// A type that matrices are multiplied in: f32 or f64.
pub(crate) trait GemmElement:
    Copy + Send + Sync + 'static + Add<Output = Self> + Mul<Output = Self>
{
    /// Zero.
    const ZERO: Self;

    /// Not a number.
    const NAN: Self;

    /// Zeros: what an operand packs where there is nothing to read (padding).
    const ZEROS: &'static [Self; MOST_ZEROS];

    /// Whether a slice is one of [`GemmElement::ZEROS`]: then it need not be looked into.
    fn are_zeros(slice: &[Self]) -> bool {
        std::ptr::eq(slice.as_ptr(), Self::ZEROS.as_ptr())
    }

    /// `self * factor + term`, fused where the target can do it in one instruction.
    fn multiply_add(self, factor: Self, term: Self) -> Self;

    /// `to[stride·k + lane] = from[lane][k]`, see [`transpose`].
    fn transpose(from: &[&[Self; SIDE]; SIDE], to: &mut [Self], stride: usize);

    /// The micro-kernels that this processor runs, best first; the portable one is always last.
    fn kernels() -> &'static [Kernel<Self>];

    /// Rounds packed operands as a micro-kernel wants them, see [`bf16::round_packed`].
    fn round_packed(
        operands: Operands,
        layout: Layout,
        depth: usize,
        width: usize,
        packed: &mut [Self],
    );

    /// A lane's numbers along k as [`Operands::Pairs`], see [`bf16::pair_lane`].
    fn pair_lane(lane: &[Self], run: &mut [Self]);

    /// Rows as panels of [`Operands::Pairs`], see [`bf16::deal_pairs`].
    fn deal_pairs(rows: &[&[Self]], lanes: usize, width: usize, panels: &mut [Self]);

    /// A panel of [`Operands::Parts`], see [`parts::split_panel`].
    fn split_panel(source: Source<'_, Self>, order: Order, panel: &mut [Self]);

    /// The best micro-kernel for products of a precision: bf16 is for f32, and f64 stays as it is.
    fn kernel(products: Products) -> &'static Kernel<Self>;

    /// [`GemmElement::kernel`], but for the products that do not pay to be taken apart for a matrix unit.
    fn kernel_if(products: Products, pays: bool) -> &'static Kernel<Self> {
        if products == Products::Whole && !pays {
            Self::best_kernel()
        } else {
            Self::kernel(products)
        }
    }

    /// The first of [`GemmElement::kernels`] that the environment allows.
    fn best_kernel() -> &'static Kernel<Self> {
        let best = InstructionSet::best();
        let kernels = Self::kernels();
        kernels.iter().find(|kernel| kernel.set <= best).unwrap_or(&kernels[kernels.len() - 1])
    }

    /// The calling thread's free scratch buffers.
    fn scratch() -> &'static LocalKey<Buffers<Self>>;
}

/// What operands of products are rounded to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Products {
    /// To nothing: they are multiplied as they are.
    Whole,
    /// To bf16, where they are f32; sums are f32.
    Bf16,
}

/// The micro-kernels for products of bf16: by the processor's instructions where it has them, or else those of f32 on
/// rounded operands.
fn bf16_kernel() -> &'static Kernel<f32> {
    static KERNEL: OnceLock<Kernel<f32>> = OnceLock::new();
    KERNEL.get_or_init(|| {
        #[cfg(target_arch = "x86_64")]
        if InstructionSet::best() == InstructionSet::Avx512 {
            #[cfg(target_os = "linux")]
            if let Some(kernel) = super::micro_amx::kernel() {
                return kernel;
            }
            if let Some(kernel) = super::micro_bf16::kernel() {
                return kernel;
            }
        }
        Kernel { operands: Operands::Rounded, ..*f32::best_kernel() }
    })
}

/// The micro-kernel for operands that are pairs of bf16 already, two neighbours along k in the place of one f32, where the
/// processor multiplies such.
pub(crate) fn kernel_of_pairs() -> Option<&'static Kernel<f32>> {
    static KERNEL: OnceLock<Option<Kernel<f32>>> = OnceLock::new();
    let kernel = KERNEL.get_or_init(|| {
        let kernel = bf16_kernel();
        (kernel.operands == Operands::Pairs)
            .then_some(Kernel { operands: Operands::AsTheyAre, ..*kernel })
    });
    kernel.as_ref()
}

/// The micro-kernel for products of f32: by the processor's matrix unit where it has one and is told to.
fn f32_kernel() -> &'static Kernel<f32> {
    static KERNEL: OnceLock<&'static Kernel<f32>> = OnceLock::new();
    KERNEL.get_or_init(|| {
        #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
        if InstructionSet::matrix_unit_for_f32()
            && let Some(kernel) = super::micro_amx::kernel_of_parts()
        {
            return kernel;
        }
        f32::best_kernel()
    })
}

macro_rules! implement {
    (
        $element:ident, $kernel:expr, $bf16_kernel:expr, $split_panel:expr, $round_packed:expr,
        $pair_lane:expr, $deal_pairs:expr, $transpose:expr
    ) => {
        impl GemmElement for $element {
            fn round_packed(
                operands: Operands,
                layout: Layout,
                depth: usize,
                width: usize,
                packed: &mut [Self],
            ) {
                $round_packed(operands, layout, depth, width, packed);
            }

            fn pair_lane(lane: &[Self], run: &mut [Self]) {
                $pair_lane(lane, run);
            }

            fn deal_pairs(rows: &[&[Self]], lanes: usize, width: usize, panels: &mut [Self]) {
                $deal_pairs(rows, lanes, width, panels);
            }

            fn split_panel(source: Source<'_, Self>, order: Order, panel: &mut [Self]) {
                $split_panel(source, order, panel);
            }

            fn transpose(from: &[&[Self; SIDE]; SIDE], to: &mut [Self], stride: usize) {
                $transpose(from, to, stride);
            }

            fn kernel(products: Products) -> &'static Kernel<Self> {
                match products {
                    Products::Whole => $kernel(),
                    Products::Bf16 => $bf16_kernel(),
                }
            }

            const ZERO: Self = 0.0;

            const NAN: Self = <$element>::NAN;

            const ZEROS: &'static [Self; MOST_ZEROS] = {
                static ZEROS: [$element; MOST_ZEROS] = [0.0; MOST_ZEROS];
                &ZEROS
            };

            #[inline(always)]
            fn multiply_add(self, factor: Self, term: Self) -> Self {
                // Without the instruction mul_add is a call into the C library.
                if cfg!(any(target_arch = "aarch64", target_feature = "fma")) {
                    self.mul_add(factor, term)
                } else {
                    self * factor + term
                }
            }

            fn kernels() -> &'static [Kernel<Self>] {
                static KERNELS: OnceLock<Vec<Kernel<$element>>> = OnceLock::new();
                KERNELS.get_or_init(|| {
                    #[cfg(target_arch = "x86_64")]
                    let detected = [
                        super::micro_avx512::$element::kernel(),
                        super::micro_avx2::$element::kernel(),
                    ];
                    #[cfg(not(target_arch = "x86_64"))]
                    let detected: [Option<Kernel<$element>>; 0] = [];
                    detected.into_iter().flatten().chain([micro_portable::$element()]).collect()
                })
            }

            fn scratch() -> &'static LocalKey<Buffers<Self>> {
                thread_local! {
                    static FREE: Buffers<$element> = const { Buffers::new(Vec::new()) };
                }
                &FREE
            }
        }
    };
}

implement!(
    f32,
    f32_kernel,
    bf16_kernel,
    parts::split_panel,
    bf16::round_packed,
    bf16::pair_lane,
    bf16::deal_pairs,
    transpose
);
implement!(
    f64,
    f64::best_kernel,
    f64::best_kernel,
    |_, _, _: &mut [f64]| unreachable!("f64 is not taken apart"),
    |_, _, _, _, _: &mut [f64]| {},
    |_, _: &mut [f64]| unreachable!("f64 is not rounded"),
    |_, _, _, _: &mut [f64]| unreachable!("f64 is not rounded"),
    transpose::plain
);
