//! The processor's vector instructions: which there are, and loops compiled for each.
//!
//! The crate is built for any processor of its kind; what a newer one can do is found when the program runs. A
//! function declared by [`vectorised!`] is compiled for each set of instructions and calls the best one's copy. No
//! copy fuses a multiplication with an addition unless the source says so: all give the same bits.

use std::sync::OnceLock;

/// A set of vector instructions, in ascending order of width.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum InstructionSet {
    /// What every processor of this kind has.
    Portable,
    /// AVX2 with fused multiply-add.
    Avx2,
    /// AVX-512: foundation, and its instructions for doublewords, bytes and shorter vectors.
    Avx512,
}

impl InstructionSet {
    /// All, narrowest first.
    pub(crate) const ALL: [InstructionSet; 3] =
        [InstructionSet::Portable, InstructionSet::Avx2, InstructionSet::Avx512];

    /// Its name, as in `BELAMY_ISA`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            InstructionSet::Portable => "portable",
            InstructionSet::Avx2 => "avx2",
            InstructionSet::Avx512 => "avx512",
        }
    }

    /// Whether this processor has it.
    pub(crate) fn detected(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        return match self {
            InstructionSet::Portable => true,
            InstructionSet::Avx2 => {
                is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")
            }
            InstructionSet::Avx512 => {
                InstructionSet::Avx2.detected()
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512vl")
            }
        };
        #[cfg(not(target_arch = "x86_64"))]
        return self == InstructionSet::Portable;
    }

    /// The widest set that this processor has and that the environment variable `BELAMY_ISA` allows: read once.
    pub(crate) fn best() -> InstructionSet {
        static BEST: OnceLock<InstructionSet> = OnceLock::new();
        *BEST.get_or_init(|| {
            let allowed = std::env::var("BELAMY_ISA").ok();
            InstructionSet::within(allowed.as_deref())
        })
    }

    /// Whether the environment variable `BELAMY_ISA` names a set: then nothing beyond it is used, a matrix unit neither.
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    pub(crate) fn is_limited() -> bool {
        let named = std::env::var("BELAMY_ISA").ok();
        InstructionSet::ALL.iter().any(|set| Some(set.name()) == named.as_deref())
    }

    /// Whether `BELAMY_ISA` is `amx`: then a matrix unit multiplies f32 too.
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    pub(crate) fn matrix_unit_for_f32() -> bool {
        std::env::var("BELAMY_ISA").is_ok_and(|named| named == "amx")
    }

    /// The widest set that this processor has, up to the one named; a name that is none allows all.
    fn within(allowed: Option<&str>) -> InstructionSet {
        let limit = InstructionSet::ALL
            .into_iter()
            .find(|set| Some(set.name()) == allowed)
            .unwrap_or(InstructionSet::Avx512);
        InstructionSet::ALL
            .into_iter()
            .rev()
            .find(|set| *set <= limit && set.detected())
            .unwrap_or(InstructionSet::Portable)
    }
}

/// Asks for the cache line of an element, to be in L2 when it is read; a place beyond the end does no harm.
#[cfg_attr(target_arch = "x86_64", allow(unsafe_code))]
#[inline(always)]
pub(crate) fn prefetch<E>(from: &[E], at: usize) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        // SAFETY: every x86-64 processor has the instruction, and a prefetch of any address changes nothing but caches.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(from.as_ptr().wrapping_add(at).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (from, at);
}

/// Declares a function that is compiled for each instruction set; it may have one type parameter.
///
/// What it calls must be inlined to gain by it.
macro_rules! vectorised {
    ($(#[$meta:meta])* $visible:vis fn $name:ident$(<$parameter:ident: $bound:path>)?($($argument:ident: $type:ty),* $(,)?) $body:block) => {
        $(#[$meta])*
        #[cfg_attr(target_arch = "x86_64", allow(unsafe_code))]
        $visible fn $name$(<$parameter: $bound>)?($($argument: $type),*) {
            #[inline(always)]
            fn body$(<$parameter: $bound>)?($($argument: $type),*) $body

            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx2,fma")]
                fn avx512$(<$parameter: $bound>)?($($argument: $type),*) {
                    body$(::<$parameter>)?($($argument),*);
                }
                #[target_feature(enable = "avx2,fma")]
                fn avx2$(<$parameter: $bound>)?($($argument: $type),*) {
                    body$(::<$parameter>)?($($argument),*);
                }
                use $crate::vectors::InstructionSet;
                match InstructionSet::best() {
                    // SAFETY: `best` found the instructions in this processor; the function is safe but for them.
                    InstructionSet::Avx512 => return unsafe { avx512$(::<$parameter>)?($($argument),*) },
                    // SAFETY: as above.
                    InstructionSet::Avx2 => return unsafe { avx2$(::<$parameter>)?($($argument),*) },
                    InstructionSet::Portable => {}
                }
            }
            body$(::<$parameter>)?($($argument),*);
        }
    };
}
pub(crate) use vectorised;

#[cfg(test)]
mod tests {
    use super::*;

    vectorised! {
        fn add<E: crate::kernels::Real>(x: &[E], sum: &mut f64) {
            x.iter().for_each(|x| *sum += x.to_f64());
        }
    }

    #[test]
    fn the_environment_narrows_and_never_widens() {
        let widest = InstructionSet::within(None);
        assert!(widest.detected());
        assert_eq!(InstructionSet::within(Some("portable")), InstructionSet::Portable);
        assert!(InstructionSet::within(Some("avx2")) <= InstructionSet::Avx2);
        assert_eq!(InstructionSet::within(Some("avx512")), widest);
        assert_eq!(InstructionSet::within(Some("no such set")), widest);
    }

    #[test]
    fn a_vectorised_function_does_what_it_says() {
        let mut sum = 0.5;
        add(&[1.0f32, 2.0, 3.5], &mut sum);
        assert_eq!(sum, 7.0);
    }
}
