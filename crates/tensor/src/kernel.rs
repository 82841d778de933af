//! The list of kernels, and how their parameters travel.
//!
//! [`for_each_kernel!`](crate::for_each_kernel) is the one list in the house. It expands to [`KernelId`] here and to each backend's
//! dispatch: a backend that lacks a kernel does not compile.

/// Calls `$callback!` with every kernel, grouped by the file (the room) that holds it on each floor.
#[macro_export]
macro_rules! for_each_kernel {
    ($callback:ident) => {
        $callback! {
            pointwise: [unary, binary, select];
            reduce: [sum, max_rows, pick, place];
            view: [broadcast, permute];
            matmul: [matmul];
            conv2d: [conv2d, conv2d_grad_input, conv2d_grad_weight];
            pool2d: [avg_pool2d, avg_pool2d_spread, max_pool2d, max_pool2d_pick, max_pool2d_place];
            resize: [resize_nearest, resize_nearest_fold, resize_bilinear, resize_bilinear_fold];
            pad: [pad, crop, reflect_pad, reflect_pad_fold];
            concat: [concat];
            gather: [gather_rows, scatter_add_rows];
            norm: [norm, norm_grad];
            loss: [bce_with_logits];
            dropout: [dropout];
            random: [uniform, normal, bernoulli, integers, shuffled_indices];
            finite: [count_non_finite];
            optimizer: [adam, sgd, rmsprop, global_norm];
        }
    };
}

macro_rules! kernel_ids {
    ($($family:ident: [$($kernel:ident),* $(,)?];)*) => {
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
