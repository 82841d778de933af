//! What each kernel is given and what it must write, by name.

use belamy_tensor::kernel::KernelId;

/// What an operand's elements are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Elements {
    /// Single precision.
    F32,
    /// 32-bit integers.
    U32,
    /// 32 bits of either: moved, not computed with.
    Bits,
}

/// An operand's name and type.
pub type Operand = (&'static str, Elements);

/// A kernel's operands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interface {
    /// The kernel.
    pub kernel: KernelId,
    /// What it reads, in order.
    pub inputs: &'static [Operand],
    /// What it writes, in order.
    pub outputs: &'static [Operand],
    /// Whether it takes lists of tensors: then the operands named here are one tensor's, and shared libraries alone can be
    /// given them.
    pub lists: bool,
}

macro_rules! operands {
    ($($name:ident $kind:ident),*) => { &[$((stringify!($name), Elements::$kind)),*] };
}

macro_rules! interfaces {
    ($($kernel:ident: [$($inputs:tt)*] -> [$($outputs:tt)*] $($lists:ident)?;)*) => {
        /// Every kernel's.
        pub const INTERFACES: &[Interface] = &[$(Interface {
            kernel: KernelId::$kernel,
            inputs: operands![$($inputs)*],
            outputs: operands![$($outputs)*],
            lists: interfaces!(@ $($lists)?),
        },)*];
    };
    (@ lists) => { true };
    (@) => { false };
}

interfaces! {
    fill: [] -> [y F32];
    unary: [x F32] -> [y F32];
    binary: [p F32, q F32] -> [y F32];
    select: [condition F32, p F32, q F32] -> [y F32];
    sum: [x F32] -> [y F32];
    max_rows: [x F32] -> [y F32, index U32];
    pick: [x F32, index U32] -> [y F32];
    place: [x F32, index U32] -> [y F32];
    broadcast: [x Bits] -> [y Bits];
    permute: [x Bits] -> [y Bits];
    matmul: [a F32, b F32] -> [y F32];
    conv2d: [x F32, w F32] -> [y F32];
    conv2d_grad_input: [g F32, w F32] -> [x F32];
    conv2d_grad_weight: [x F32, g F32] -> [w F32];
    avg_pool2d: [x F32] -> [y F32];
    avg_pool2d_spread: [y F32] -> [x F32];
    max_pool2d: [x F32] -> [y F32, index U32];
    max_pool2d_pick: [x F32, index U32] -> [y F32];
    max_pool2d_place: [y F32, index U32] -> [x F32];
    resize_nearest: [x Bits] -> [y Bits];
    resize_nearest_fold: [y F32] -> [x F32];
    resize_bilinear: [x F32] -> [y F32];
    resize_bilinear_fold: [y F32] -> [x F32];
    pad: [x Bits] -> [y Bits];
    crop: [x Bits] -> [y Bits];
    reflect_pad: [x Bits] -> [y Bits];
    reflect_pad_fold: [y F32] -> [x F32];
    concat: [a Bits, b Bits] -> [y Bits];
    gather_rows: [table Bits, index U32] -> [y Bits];
    scatter_add_rows: [y F32, index U32] -> [table F32];
    norm: [x F32, gamma F32, beta F32] -> [y F32, mean F32, variance F32];
    norm_statistics: [x F32] -> [mean F32, variance F32];
    norm_apply: [x F32, gamma F32, beta F32, mean F32, variance F32] -> [y F32];
    norm_grad: [x F32, gamma F32, beta F32, h F32, mean F32, variance F32]
        -> [grad_x F32, grad_gamma F32, grad_beta F32];
    norm_grad_sums: [x F32, gamma F32, beta F32, h F32, mean F32, variance F32]
        -> [sums F32, grad_gamma F32, grad_beta F32];
    norm_grad_apply: [x F32, gamma F32, beta F32, h F32, mean F32, variance F32, sums F32]
        -> [grad_x F32];
    running_statistics: [running_mean F32, running_variance F32, batch_mean F32, batch_variance F32]
        -> [moved_mean F32, moved_variance F32];
    bce_with_logits: [logits F32, targets F32] -> [y F32];
    bce_with_logits_mean: [logits F32, targets F32] -> [y F32, slope F32];
    dropout: [x F32, counter U32] -> [y F32];
    uniform: [counter U32] -> [y F32];
    normal: [counter U32] -> [y F32];
    bernoulli: [counter U32] -> [y F32];
    integers: [counter U32] -> [y U32];
    shuffled_indices: [counter U32] -> [y U32];
    advance_counter: [counter U32] -> [y U32];
    count_non_finite: [tensors F32] -> [y U32] lists;
    adam: [control F32, param F32, grad F32, first_moment F32, second_moment F32]
        -> [new_param F32, new_first_moment F32, new_second_moment F32] lists;
    sgd: [control F32, param F32, grad F32, velocity F32] -> [new_param F32, new_velocity F32] lists;
    rmsprop: [control F32, param F32, grad F32, mean_square F32, velocity F32]
        -> [new_param F32, new_mean_square F32, new_velocity F32] lists;
    global_norm: [tensors F32] -> [y F32] lists;
    next_control: [made U32] -> [control F32, next_made U32];
}

/// A kernel's interface.
///
/// ```
/// use belamy_lab::interface::of;
/// use belamy_tensor::kernel::KernelId;
/// let names: Vec<&str> = of(KernelId::conv2d).inputs.iter().map(|(name, _)| *name).collect();
/// assert_eq!(names, ["x", "w"]);
/// ```
pub fn of(kernel: KernelId) -> &'static Interface {
    let found = INTERFACES.iter().find(|interface| interface.kernel == kernel);
    found.expect("a test says that every kernel has one")
}

/// The kernel of a name; `conv2d_forward` is `conv2d`.
///
/// ```
/// use belamy_lab::interface::named;
/// use belamy_tensor::kernel::KernelId;
/// assert_eq!(named("conv2d_forward"), Some(KernelId::conv2d));
/// assert_eq!(named("conv3d"), None);
/// ```
pub fn named(name: &str) -> Option<KernelId> {
    let name = name.strip_suffix("_forward").unwrap_or(name);
    KernelId::ALL.iter().copied().find(|kernel| kernel.name() == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use belamy_tensor::{Call, DType, Device, Result, Wrapper};
    use std::collections::HashMap;
    use std::sync::{Arc, Mutex};

    type Seen = Arc<Mutex<HashMap<KernelId, Vec<[Vec<DType>; 2]>>>>;

    /// A device that notes of what types each kernel's operands are.
    #[derive(Debug)]
    struct Noting(Device, Seen);

    impl Wrapper for Noting {
        fn inner(&self) -> &Device {
            &self.0
        }

        fn launch(&self, call: Call<'_>) -> Result<()> {
            let inputs = call.inputs.iter().map(|buffer| buffer.dtype).collect();
            let outputs = call.outputs.iter().map(|buffer| buffer.dtype).collect();
            self.1.lock().unwrap().entry(call.kernel).or_default().push([inputs, outputs]);
            self.0.backend().launch(call)
        }
    }

    #[test]
    fn every_kernel_has_an_interface_and_is_called_by_it() {
        assert_eq!(INTERFACES.len(), KernelId::ALL.len());
        let seen = Seen::default();
        let device = Device::new(Noting(belamy_cpu::cpu(), Arc::clone(&seen)));
        let subject =
            belamy_tests::plan::Subject { device, dtypes: vec![DType::F32], threaded: false };
        let oracle = belamy_cpu::oracle();
        let small: Vec<_> =
            belamy_tests::ops::all_cases().into_iter().filter(|case| !case.large).collect();
        let modes = [belamy_tests::Mode::Parity, belamy_tests::Mode::ParityGradient];
        belamy_tests::plan::run(&small, &subject, &oracle, &modes);
        let seen = seen.lock().unwrap();
        for interface in INTERFACES {
            let name = interface.kernel.name();
            let calls = seen.get(&interface.kernel).unwrap_or_else(|| panic!("{name} has no case"));
            for [inputs, outputs] in calls {
                if interface.lists {
                    assert!(inputs.len() + outputs.len() >= 2, "{name}");
                    continue;
                }
                let agree = |types: &[DType], operands: &[Operand]| {
                    types.len() == operands.len()
                        && types.iter().zip(operands).all(|(dtype, (_, elements))| match elements {
                            Elements::F32 => *dtype == DType::F32,
                            Elements::U32 => *dtype == DType::U32,
                            Elements::Bits => true,
                        })
                };
                assert!(agree(inputs, interface.inputs), "{name} reads {inputs:?}");
                assert!(agree(outputs, interface.outputs), "{name} writes {outputs:?}");
            }
        }
    }
}
