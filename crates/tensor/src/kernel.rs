//! The list of kernels, and how their parameters travel.
//!
//! [`for_each_kernel!`](crate::for_each_kernel) is the one list in the house. It expands to [`KernelId`] here and to each backend's
//! dispatch: a backend that lacks a kernel does not compile.

use crate::ops::{
    concat::*, conv2d::*, finite::*, gather::*, loss::*, matmul::*, norm::*, optimizer::*, pad::*,
    pointwise::*, pool2d::*, random::*, reduce::*, resize::*, view::*,
};

/// Calls `$callback!` with every kernel and its parameter struct, grouped by the file (the room) that holds it on each
/// floor.
#[macro_export]
macro_rules! for_each_kernel {
    ($callback:ident) => {
        $callback! {
            pointwise: [
                fill(FillParams), unary(UnaryParams), binary(BroadcastParams), select(BroadcastParams)
            ];
            reduce: [sum(SumParams), max_rows(RowsParams), pick(RowsParams), place(RowsParams)];
            view: [broadcast(StridedParams), permute(StridedParams)];
            matmul: [matmul(MatmulParams)];
            conv2d: [
                conv2d(Conv2dParams), conv2d_grad_input(Conv2dParams), conv2d_grad_weight(Conv2dParams)
            ];
            pool2d: [
                avg_pool2d(Pool2dParams), avg_pool2d_spread(Pool2dParams), max_pool2d(Pool2dParams),
                max_pool2d_pick(Pool2dParams), max_pool2d_place(Pool2dParams)
            ];
            resize: [
                resize_nearest(ResizeParams), resize_nearest_fold(ResizeParams),
                resize_bilinear(ResizeParams), resize_bilinear_fold(ResizeParams)
            ];
            pad: [
                pad(PadParams), crop(PadParams),
                reflect_pad(ReflectPadParams), reflect_pad_fold(ReflectPadParams)
            ];
            concat: [concat(ConcatParams)];
            gather: [gather_rows(GatherParams), scatter_add_rows(GatherParams)];
            norm: [
                norm(NormParams), norm_statistics(NormParams), norm_apply(NormParams),
                norm_grad(NormParams), norm_grad_sums(NormParams), norm_grad_apply(NormParams),
                running_statistics(RunningParams)
            ];
            loss: [bce_with_logits(LossParams), bce_with_logits_mean(MeanLossParams)];
            dropout: [dropout(DrawParams)];
            random: [
                uniform(DrawParams), normal(DrawParams), bernoulli(DrawParams), integers(DrawParams),
                shuffled_indices(ShuffleParams), advance_counter(AdvanceParams)
            ];
            finite: [count_non_finite(FiniteParams)];
            optimizer: [
                adam(AdamParams), sgd(SgdParams), rmsprop(RmspropParams), global_norm(GlobalNormParams),
                next_control(ScheduleParams)
            ];
        }
    };
}

macro_rules! kernel_ids {
    ($($family:ident: [$($kernel:ident($params:ident)),* $(,)?];)*) => {
        /// A kernel, by the name it has in Rust, CUDA and WGSL.
        #[allow(non_camel_case_types, missing_docs, reason = "a kernel has one spelling in three languages")]
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[non_exhaustive]
        pub enum KernelId { $($($kernel,)*)* }

        impl KernelId {
            /// Every kernel, in the order of the list.
            pub const ALL: &[KernelId] = &[$($(KernelId::$kernel,)*)*];

            /// The kernel's name.
            pub fn name(self) -> &'static str {
                match self { $($(KernelId::$kernel => stringify!($kernel),)*)* }
            }

            /// The file stem of the room that holds it on each floor.
            pub fn family(self) -> &'static str {
                match self { $($(KernelId::$kernel => stringify!($family),)*)* }
            }

            /// The fields of the kernel's parameter struct.
            pub fn layout(self) -> &'static Layout {
                match self { $($(KernelId::$kernel => &$params::LAYOUT,)*)* }
            }
        }
    };
}
for_each_kernel!(kernel_ids);

/// The most integers a kernel takes.
pub const MAX_INTEGERS: usize = 26;
/// The most scalars a kernel takes.
pub const MAX_SCALARS: usize = 6;

/// A kernel's parameters as every backend can carry them: 32-bit integers, then real scalars (at most 32 words
/// where scalars are f32).
///
/// Written and read through the struct that [`kernel_params!`](crate::kernel_params) makes for each kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Params {
    /// Extents, strides, flags.
    pub integers: [u32; MAX_INTEGERS],
    /// Slopes, epsilons, rates. Kept in f64 so that f64 runs are f64 throughout; GPUs take them as f32.
    pub scalars: [f64; MAX_SCALARS],
}

impl Params {
    /// The parameters as a struct of C has them: the integers as `uint32_t`, then the scalars as `float`.
    ///
    /// ```
    /// use belamy_tensor::kernel::KernelId;
    /// use belamy_tensor::ops::pointwise::FillParams;
    /// let params = FillParams { len: 7, value: 0.5 }.encode();
    /// let bytes = params.packed(KernelId::fill.layout());
    /// assert_eq!(bytes, [7u32.to_ne_bytes(), 0.5f32.to_ne_bytes()].concat());
    /// ```
    pub fn packed(&self, layout: &Layout) -> Vec<u8> {
        let words: usize = layout.integers.iter().map(|(_, words)| words).sum();
        let integers = self.integers[..words].iter().flat_map(|word| word.to_ne_bytes());
        let scalars = self.scalars[..layout.scalars.len()].iter();
        integers.chain(scalars.flat_map(|&scalar| (scalar as f32).to_ne_bytes())).collect()
    }
}

/// The fields of a parameter struct, in order: what a device's struct of the same name must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The struct's name.
    pub name: &'static str,
    /// Each integer field and how many 32-bit words it takes: 1, or an array's length.
    pub integers: &'static [(&'static str, usize)],
    /// Each scalar field.
    pub scalars: &'static [&'static str],
}

/// Declares a kernel's parameter struct: named fields on this side, one flat block on the device's.
///
/// ```
/// belamy_tensor::kernel_params! {
///     /// Parameters of an example.
///     pub struct ExampleParams { integers { len: u32, dims: [u32; 2] } scalars { slope } }
/// }
/// let params = ExampleParams { len: 3, dims: [4, 5], slope: 0.2 };
/// assert_eq!(ExampleParams::decode(&params.encode()), params);
/// ```
#[macro_export]
macro_rules! kernel_params {
    ($(#[$doc:meta])* pub struct $name:ident {
        integers { $($integer:ident: $kind:tt),* $(,)? }
        scalars { $($scalar:ident),* $(,)? }
    }) => {
        $(#[$doc])*
        #[allow(missing_docs, reason = "the kernel's header explains each field")]
        #[derive(Clone, Copy, Debug, PartialEq)]
        pub struct $name { $(pub $integer: $kind,)* $(pub $scalar: f64,)* }

        impl $name {
            /// The fields, for devices to lay them out their own way.
            pub const LAYOUT: $crate::kernel::Layout = $crate::kernel::Layout {
                name: stringify!($name),
                integers: &[$((stringify!($integer), size_of::<$kind>() / 4),)*],
                scalars: &[$(stringify!($scalar),)*],
            };

            /// The flat form.
            #[allow(unused_mut, unused_variables, unused_assignments)]
            pub fn encode(&self) -> $crate::kernel::Params {
                let mut params = $crate::kernel::Params::default();
                let mut integers = params.integers.iter_mut();
                $($crate::kernel::Word::store(self.$integer, &mut integers);)*
                let mut scalars = params.scalars.iter_mut();
                $(*scalars.next().expect("a kernel takes at most MAX_SCALARS scalars") = self.$scalar;)*
                params
            }

            /// The named form.
            #[allow(unused_mut, unused_variables)]
            pub fn decode(params: &$crate::kernel::Params) -> Self {
                let mut integers = params.integers.iter();
                let mut scalars = params.scalars.iter();
                Self {
                    $($integer: $crate::kernel::Word::load(&mut integers),)*
                    $($scalar: *scalars.next().expect("a kernel takes at most MAX_SCALARS scalars"),)*
                }
            }
        }
    };
}

/// A parameter that travels as one or more 32-bit words.
pub trait Word: Sized {
    /// Appends the words.
    fn store(self, words: &mut std::slice::IterMut<'_, u32>);
    /// Takes the words back.
    fn load(words: &mut std::slice::Iter<'_, u32>) -> Self;
}

impl Word for u32 {
    fn store(self, words: &mut std::slice::IterMut<'_, u32>) {
        *words.next().expect("a kernel takes at most MAX_INTEGERS integers") = self;
    }
    fn load(words: &mut std::slice::Iter<'_, u32>) -> u32 {
        *words.next().expect("a kernel takes at most MAX_INTEGERS integers")
    }
}

impl<const N: usize> Word for [u32; N] {
    fn store(self, words: &mut std::slice::IterMut<'_, u32>) {
        self.into_iter().for_each(|word| word.store(words));
    }
    fn load(words: &mut std::slice::Iter<'_, u32>) -> [u32; N] {
        std::array::from_fn(|_| u32::load(words))
    }
}
