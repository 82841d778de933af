//! The element types of the matrix multiply and the micro-kernels that each has.

use std::ops::{Add, Mul};
use std::sync::OnceLock;
use std::thread::LocalKey;

use super::scratch::Buffers;
use super::{DEPTH_BLOCK, Kernel, micro_portable};

/// A type that matrices are multiplied in: f32 or f64.
pub(crate) trait GemmElement:
    Copy + Send + Sync + 'static + Add<Output = Self> + Mul<Output = Self>
{
    /// Zero.
    const ZERO: Self;

    /// [`DEPTH_BLOCK`] zeros: what an operand packs where there is nothing to read (padding).
    const ZEROS: &'static [Self; DEPTH_BLOCK];

    /// `self * factor + term`, fused where the target can do it in one instruction.
    fn multiply_add(self, factor: Self, term: Self) -> Self;

    /// The micro-kernels that this processor runs, best first; the portable one is always last.
    fn kernels() -> &'static [Kernel<Self>];

    /// The first of [`GemmElement::kernels`].
    fn best_kernel() -> &'static Kernel<Self> {
        &Self::kernels()[0]
    }

    /// The calling thread's free scratch buffers.
    fn scratch() -> &'static LocalKey<Buffers<Self>>;
}

macro_rules! implement {
    ($element:ident) => {
        impl GemmElement for $element {
            const ZERO: Self = 0.0;

            const ZEROS: &'static [Self; DEPTH_BLOCK] = &[0.0; DEPTH_BLOCK];

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

implement!(f32);
implement!(f64);
