//! `fill`, `unary`, `binary`, `select`: see `belamy_tensor::ops::pointwise` for the mathematics.
//!
//! One invocation owns one output element. Functions of one number are computed in f64 and rounded, on both paths
//! (exponential ones of f32 by [`crate::functions`], many at once),
//! except the piecewise linear ones, which are exact in any type. Those choose a factor and not a product: a choice
//! between numbers at hand compiles to a vector instruction, one that guards a multiplication to a jump that is
//! mispredicted for half of all numbers (1/7 of the speed).

use super::{
    Real, Run, SERIAL_ELEMENTS, coordinates, fill as fill_by_index, fill_chunks, for_real,
};
use crate::functions;
use belamy_tensor::ops::pointwise::{
    BinaryFunction, BroadcastParams, FillParams, UnaryFunction, UnaryParams,
};

pub(super) fn fill(run: Run<'_>) {
    for_real!(run, fill_of);
}

fn fill_of<E: Real>(mut run: Run<'_>) {
    let value = E::from_f64(FillParams::decode(&run.params).value);
    fill_chunks(run.output::<E>(), SERIAL_ELEMENTS, |_, chunk| chunk.fill(value));
}

pub(super) fn unary(run: Run<'_>) {
    for_real!(run, unary_of);
}

fn unary_of<E: Real + Arithmetic>(mut run: Run<'_>) {
    use UnaryFunction as F;
    let params = UnaryParams::decode(&run.params);
    let function = UnaryFunction::from_code(params.function).expect("the op encodes a known code");
    let (a, b) = (params.a, params.b);
    let (low, high) = (E::from_f64(a), E::from_f64(b));
    let (zero, one) = (E::from_f64(0.0), E::from_f64(1.0));
    let x = run.input::<E>(0);
    let y = run.output::<E>();
    let flag = |condition: bool| if condition { one } else { zero };
    // The match stands outside the loop so that each function compiles to a loop of its own.
    match function {
        F::Neg => map(x, y, |x| zero.sub(x)),
        F::Exp => in_place(x, y, E::exp),
        F::Log => map_f64(x, y, f64::ln),
        F::Sqrt => map_f64(x, y, f64::sqrt),
        F::Abs => map(x, y, |x| if x < zero { zero.sub(x) } else { x }),
        F::Sign => map(x, y, |x| match (x > zero, x < zero) {
            (true, _) => one,
            (_, true) => zero.sub(one),
            // 0 stays 0 and NaN stays NaN.
            _ => x,
        }),
        F::Square => map(x, y, |x| x.mul(x)),
        F::Reciprocal => map(x, y, |x| one.div(x)),
        F::Relu => map(x, y, |x| if x <= zero { zero } else { x }),
        F::LeakyRelu => map(x, y, |x| x.mul(if x <= zero { low } else { one })),
        F::Tanh => in_place(x, y, E::tanh),
        F::Sigmoid => in_place(x, y, E::sigmoid),
        F::Softplus => map_f64(x, y, |x| x.max(0.0) + (-x.abs()).exp().ln_1p()),
        F::Clamp => map(x, y, |x| {
            if x < low {
                low
            } else if x > high {
                high
            } else {
                x
            }
        }),
        F::Within => map(x, y, |x| flag(low <= x && x <= high)),
        F::AddScalar => map(x, y, |x| x.add(low)),
        F::MulScalar => map(x, y, |x| x.mul(low)),
        F::PowScalar if a.fract() == 0.0 && a.abs() < 64.0 => map_f64(x, y, |x| x.powi(a as i32)),
        F::PowScalar => map_f64(x, y, |x| x.powf(a)),
        F::GreaterScalar => map(x, y, |x| flag(x > low)),
        F::Sin => map_f64(x, y, f64::sin),
        F::Cos => map_f64(x, y, f64::cos),
    }
}

/// The logistic function, by the sign of `x` so that the exponential cannot overflow.
pub(crate) fn sigmoid(x: f64) -> f64 {
    let e = (-x.abs()).exp();
    if x < 0.0 { e / (1.0 + e) } else { 1.0 / (1.0 + e) }
}

fn map<E: Real>(x: &[E], y: &mut [E], f: impl Fn(E) -> E + Sync) {
    fill_chunks(y, 4 * SERIAL_ELEMENTS, |start, y| {
        for (y, &x) in y.iter_mut().zip(&x[start..]) {
            *y = f(x);
        }
    });
}

fn map_f64<E: Real>(x: &[E], y: &mut [E], f: impl Fn(f64) -> f64 + Sync) {
    map(x, y, |x| E::from_f64(f(x.to_f64())));
}

/// A function that replaces many numbers at once.
fn in_place<E: Real>(x: &[E], y: &mut [E], f: fn(&mut [E])) {
    fill_chunks(y, 4 * SERIAL_ELEMENTS, |start, y| {
        y.copy_from_slice(&x[start..][..y.len()]);
        f(y);
    });
}

/// The four operations in the type itself, correctly rounded, and functions of many numbers in place.
trait Arithmetic: Copy {
    fn add(self, other: Self) -> Self;
    fn sub(self, other: Self) -> Self;
    fn mul(self, other: Self) -> Self;
    fn div(self, other: Self) -> Self;
    fn exp(values: &mut [Self]);
    fn tanh(values: &mut [Self]);
    fn sigmoid(values: &mut [Self]);
}

macro_rules! arithmetic {
    ($($real:ty: $exp:expr, $tanh:expr, $sigmoid:expr;)*) => {$(
        impl Arithmetic for $real {
            fn add(self, other: Self) -> Self { self + other }
            fn sub(self, other: Self) -> Self { self - other }
            fn mul(self, other: Self) -> Self { self * other }
            fn div(self, other: Self) -> Self { self / other }
            fn exp(values: &mut [Self]) { $exp(values) }
            fn tanh(values: &mut [Self]) { $tanh(values) }
            fn sigmoid(values: &mut [Self]) { $sigmoid(values) }
        }
    )*};
}
arithmetic! {
    f32: functions::exp, functions::tanh, functions::sigmoid;
    f64: one_by_one(f64::exp), one_by_one(f64::tanh), one_by_one(sigmoid);
}

fn one_by_one(f: impl Fn(f64) -> f64) -> impl Fn(&mut [f64]) {
    move |values| values.iter_mut().for_each(|value| *value = f(*value))
}

pub(super) fn binary(run: Run<'_>) {
    for_real!(run, binary_of);
}

fn binary_of<E: Real + Arithmetic>(run: Run<'_>) {
    use BinaryFunction as F;
    let params = BroadcastParams::decode(&run.params);
    let function = BinaryFunction::from_code(params.function).expect("the op encodes a known code");
    let slope = E::from_f64(params.a);
    let (zero, one) = (E::from_f64(0.0), E::from_f64(1.0));
    match function {
        F::Add => zip(run, |p: E, q| p.add(q)),
        F::Sub => zip(run, |p: E, q| p.sub(q)),
        F::Mul => zip(run, |p: E, q| p.mul(q)),
        F::Div => zip(run, |p: E, q| p.div(q)),
        // NaN in either operand is passed on.
        F::Maximum => zip(run, |p: E, q| if p > q || p.to_f64().is_nan() { p } else { q }),
        F::Minimum => zip(run, |p: E, q| if p < q || p.to_f64().is_nan() { p } else { q }),
        F::Greater => zip(run, |p: E, q| if p > q { one } else { zero }),
        F::LeakyReluGrad => zip(run, |p: E, q| q.mul(if p <= zero { slope } else { one })),
        F::TanhGrad => zip(run, |p: E, q| one.sub(p.mul(p)).mul(q)),
        F::SigmoidGrad => zip(run, |p: E, q| p.mul(one.sub(p)).mul(q)),
    }
}

fn zip<E: Real>(mut run: Run<'_>, f: impl Fn(E, E) -> E + Sync) {
    let params = BroadcastParams::decode(&run.params);
    let (p, q) = (run.input::<E>(0), run.input::<E>(1));
    let y = run.output::<E>();
    if params.flat == 1 {
        fill_chunks(y, 4 * SERIAL_ELEMENTS, |start, y| {
            for ((y, &p), &q) in y.iter_mut().zip(&p[start..]).zip(&q[start..]) {
                *y = f(p, q);
            }
        });
        return;
    }
    // Rows along the last axis: one index computation serves a row.
    let columns = params.dims[5] as usize;
    let (step_p, step_q) = (params.strides_0[5] as usize, params.strides_1[5] as usize);
    let rows = (4 * SERIAL_ELEMENTS / columns.max(1)).max(1);
    fill_chunks(y, rows * columns, |start, y| {
        for (row, y) in y.chunks_mut(columns).enumerate() {
            let at = coordinates(start + row * columns, &params.dims);
            let (p, q) =
                (&p[offset(&at, &params.strides_0)..], &q[offset(&at, &params.strides_1)..]);
            for (column, y) in y.iter_mut().enumerate() {
                *y = f(p[column * step_p], q[column * step_q]);
            }
        }
    });
}

fn offset(at: &[usize; 6], strides: &[u32; 6]) -> usize {
    at.iter().zip(strides).map(|(&at, &stride)| at * stride as usize).sum()
}

pub(super) fn select(run: Run<'_>) {
    for_real!(run, select_of);
}

fn select_of<E: Real>(mut run: Run<'_>) {
    let params = BroadcastParams::decode(&run.params);
    let (condition, p, q) = (run.input::<E>(0), run.input::<E>(1), run.input::<E>(2));
    let zero = E::from_f64(0.0);
    fill_by_index(run.output::<E>(), |index| {
        let at = coordinates(index, &params.dims);
        if condition[offset(&at, &params.strides_0)] != zero {
            p[offset(&at, &params.strides_1)]
        } else {
            q[offset(&at, &params.strides_2)]
        }
    });
}
