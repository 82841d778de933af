//! Faults in pointwise kernels.

use super::{Fault, Faults, Launch, outputs, reads};
use belamy_tensor::kernel::KernelId;
use belamy_tensor::ops::pointwise::{
    BinaryFunction, BroadcastParams, FillParams, UnaryFunction, UnaryParams,
};

/// The family's faults: in words, the kernel, the fault.
pub(super) fn faults() -> Faults {
    use KernelId::{binary, fill, select, unary};
    let sub = |launch: &mut Launch| {
        let function = BroadcastParams::decode(&launch.params).function;
        if function == BinaryFunction::Sub as u32
            && launch.inputs[0].len() == launch.inputs[1].len()
        {
            launch.inputs.swap(0, 1);
        }
    };
    vec![
        ("ones, whatever is asked", fill, reads!(FillParams, |p| p.value = 1.0)),
        ("sign lost", fill, reads!(FillParams, |p| p.value = p.value.abs())),
        (
            "leaky slope taken for 0",
            unary,
            reads!(UnaryParams, |p| {
                if p.function == UnaryFunction::LeakyRelu as u32 {
                    p.a = 0.0;
                }
            }),
        ),
        (
            "tanh by its Padé form",
            unary,
            Fault::Outputs(|launch| {
                remap(launch, UnaryFunction::Tanh, |x| x * (27.0 + x * x) / (27.0 + 9.0 * x * x));
            }),
        ),
        (
            "softplus linear above 4",
            unary,
            Fault::Outputs(|launch| {
                remap(
                    launch,
                    UnaryFunction::Softplus,
                    |x| if x > 4.0 { x } else { x.exp().ln_1p() },
                );
            }),
        ),
        (
            "softplus without care for large numbers",
            unary,
            Fault::Outputs(|launch| {
                remap(launch, UnaryFunction::Softplus, |x| (1.0 + x.exp()).ln());
            }),
        ),
        (
            "sigmoid without care for large numbers",
            unary,
            Fault::Outputs(|launch| {
                remap(launch, UnaryFunction::Sigmoid, |x| x.exp() / (1.0 + x.exp()));
            }),
        ),
        (
            "exp of f32 precision in f64",
            unary,
            Fault::Outputs(|launch| {
                remap(launch, UnaryFunction::Exp, |x| f64::from((x as f32).exp()));
            }),
        ),
        (
            "upper bound of clamp forgotten",
            unary,
            reads!(UnaryParams, |p| {
                if p.function == UnaryFunction::Clamp as u32 {
                    p.b = f64::INFINITY;
                }
            }),
        ),
        (
            "abs keeps the sign of numbers below -1",
            unary,
            Fault::Outputs(|launch| {
                remap(launch, UnaryFunction::Abs, |x| if x < -1.0 { x } else { x.abs() });
            }),
        ),
        (
            "stale operand",
            unary,
            Fault::Inputs(|launch| {
                if launch.previous.first().is_some_and(|x| x.len() == launch.inputs[0].len()) {
                    launch.inputs[0] = launch.previous[0].clone();
                }
            }),
        ),
        ("subtraction the wrong way round", binary, Fault::Inputs(sub)),
        (
            "stretched right operand read at its first element",
            binary,
            reads!(BroadcastParams, |p| {
                if p.flat == 0 {
                    p.strides_1 = [0; 6];
                }
            }),
        ),
        (
            "stretched left operand's middle axis not stepped",
            binary,
            reads!(BroadcastParams, |p| {
                if p.flat == 0 {
                    p.strides_0[4] = 0;
                }
            }),
        ),
        (
            "tanh's gradient 1 - p",
            binary,
            outputs!(BroadcastParams, |p, launch| {
                if p.function == BinaryFunction::TanhGrad as u32 && p.flat == 1 {
                    let pairs = launch.inputs[0].iter().zip(&launch.inputs[1]);
                    launch.outputs[0] = pairs.map(|(p, q)| (1.0 - p) * q).collect();
                }
            }),
        ),
        (
            "sigmoid's gradient p q",
            binary,
            reads!(BroadcastParams, |p| {
                if p.function == BinaryFunction::SigmoidGrad as u32 {
                    p.function = BinaryFunction::Mul as u32;
                }
            }),
        ),
        (
            "leaky gradient by the sign of the cotangent",
            binary,
            Fault::Inputs(|launch| {
                let p = BroadcastParams::decode(&launch.params);
                if p.function == BinaryFunction::LeakyReluGrad as u32 && p.flat == 1 {
                    launch.inputs[0] = launch.inputs[1].clone();
                }
            }),
        ),
        (
            "maximum is minimum",
            binary,
            reads!(BroadcastParams, |p| {
                if p.function == BinaryFunction::Maximum as u32 {
                    p.function = BinaryFunction::Minimum as u32;
                }
            }),
        ),
        (
            "condition inverted",
            select,
            Fault::Inputs(|launch| {
                launch.inputs[0].iter_mut().for_each(|c| *c = f64::from(u8::from(*c == 0.0)));
            }),
        ),
        (
            "other operand taken for zero",
            select,
            Fault::Inputs(|launch| {
                launch.inputs[2].iter_mut().for_each(|q| *q = 0.0);
            }),
        ),
    ]
}

/// Maps results of the given function of one number.
fn remap(launch: &mut Launch, function: UnaryFunction, wrong: fn(f64) -> f64) {
    if UnaryParams::decode(&launch.params).function == function as u32 {
        launch.outputs[0] = launch.inputs[0].iter().map(|&x| wrong(x)).collect();
    }
}
