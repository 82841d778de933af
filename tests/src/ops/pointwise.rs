//! Pointwise ops: every function, every way of stretching operands, both sides of every kink.

use super::view::stretched;
use crate::case::Case;
use crate::values::Domain;
use belamy_tensor::ops::pointwise::{BinaryFunction, UnaryFunction, binary, select, unary};
use belamy_tensor::{Shape, Tensor};

/// Constants `(a, b)` for a function of one number.
fn constants(function: UnaryFunction) -> (f64, f64) {
    match function {
        UnaryFunction::LeakyRelu => (0.2, 0.0),
        UnaryFunction::Clamp | UnaryFunction::Within => (-0.5, 0.75),
        UnaryFunction::AddScalar => (0.7, 0.0),
        UnaryFunction::MulScalar => (-1.3, 0.0),
        UnaryFunction::PowScalar => (2.5, 0.0),
        UnaryFunction::GreaterScalar => (0.3, 0.0),
        _ => (0.0, 0.0),
    }
}

fn full_case(variant: &str, shape: &'static [usize], value: f64) -> Case {
    Case::new("full", variant, move |t| {
        Tensor::full(value, Shape::new(shape)?, t[0].dtype(), t[0].device())
    })
    .constant(&[1], Domain::Normal)
    .rounded()
    .host_reference(move |_| vec![value; shape.iter().product()])
}

/// Where a function of one number is smooth, or at least where its value does not jump.
fn domain(function: UnaryFunction) -> Domain {
    use UnaryFunction as F;
    match function {
        F::Log | F::Sqrt | F::PowScalar => Domain::Positive,
        F::Reciprocal => Domain::NonZero,
        F::Abs | F::Sign | F::Relu | F::LeakyRelu => Domain::Away(vec![0.0]),
        F::Clamp | F::Within => Domain::Away(vec![-0.5, 0.75]),
        F::GreaterScalar => Domain::Away(vec![0.3]),
        _ => Domain::Normal,
    }
}

/// A second way of computing each function, from its definition.
fn definition(function: UnaryFunction, x: f64, a: f64, b: f64) -> f64 {
    use UnaryFunction as F;
    match function {
        F::Neg => -x,
        F::Exp => x.exp(),
        F::Log => x.ln(),
        F::Sqrt => x.sqrt(),
        F::Abs => x.abs(),
        F::Sign => x.signum(),
        F::Square => x * x,
        F::Reciprocal => 1.0 / x,
        F::Relu => x.max(0.0),
        F::LeakyRelu => x.max(0.0) + a * x.min(0.0),
        F::Tanh => 1.0 - 2.0 / ((2.0 * x).exp() + 1.0),
        F::Sigmoid => 0.5 * ((0.5 * x).tanh() + 1.0),
        F::Softplus => (1.0 + x.exp()).ln(),
        F::Clamp => x.clamp(a, b),
        F::Within => f64::from(u8::from((a..=b).contains(&x))),
        F::AddScalar => x + a,
        F::MulScalar => a * x,
        F::PowScalar => (a * x.ln()).exp(),
        F::GreaterScalar => f64::from(u8::from(x > a)),
        F::Sin => x.sin(),
        F::Cos => (x + std::f64::consts::FRAC_PI_2).sin(),
    }
}

fn unary_case(function: UnaryFunction, variant: &str, shape: &[usize], domain: Domain) -> Case {
    let (a, b) = constants(function);
    let case = Case::new(function.name(), variant, move |x| unary(function, &x[0], a, b));
    let constant = matches!(
        function,
        UnaryFunction::Sign | UnaryFunction::Within | UnaryFunction::GreaterScalar
    );
    let case = if constant { case.constant(shape, domain) } else { case.input(shape, domain) };
    let linear = matches!(function, UnaryFunction::Neg | UnaryFunction::MulScalar);
    let case = if linear { case.linear(&[0]) } else { case };
    // Several of the definitions cancel; the comparison is against the tensor's peak.
    case.slack(4.0)
        .host_reference(move |x| x[0].iter().map(|&x| definition(function, x, a, b)).collect())
}

/// p and q as each function of two numbers wants them.
fn domains(function: BinaryFunction) -> (Domain, Domain) {
    use BinaryFunction as F;
    match function {
        F::Div => (Domain::Normal, Domain::NonZero),
        F::Maximum | F::Minimum | F::Greater => (Domain::Lattice(0.0), Domain::Lattice(0.125)),
        F::LeakyReluGrad => (Domain::Away(vec![0.0]), Domain::Normal),
        _ => (Domain::Normal, Domain::Normal),
    }
}

fn definition_of_two(function: BinaryFunction, p: f64, q: f64, a: f64) -> f64 {
    use BinaryFunction as F;
    match function {
        F::Add => p + q,
        F::Sub => p - q,
        F::Mul => p * q,
        F::Div => p / q,
        F::Maximum => p.max(q),
        F::Minimum => p.min(q),
        F::Greater => f64::from(u8::from(p > q)),
        F::LeakyReluGrad => q * if p > 0.0 { 1.0 } else { a },
        F::TanhGrad => q - p * p * q,
        F::SigmoidGrad => p * q - p * p * q,
    }
}

fn binary_case(function: BinaryFunction, variant: &str, p: &[usize], q: &[usize]) -> Case {
    use BinaryFunction as F;
    let a = if function == F::LeakyReluGrad { 0.2 } else { 0.0 };
    let case = Case::new(function.name(), variant, move |x| binary(function, &x[0], &x[1], a));
    let (domain_p, domain_q) = domains(function);
    let case = match function {
        F::Greater => case.constant(p, domain_p).constant(q, domain_q),
        F::LeakyReluGrad => case.constant(p, domain_p).input(q, domain_q),
        _ => case.input(p, domain_p).input(q, domain_q),
    };
    let case = match function {
        F::Mul => case.linear(&[0, 1]),
        F::Div => case.linear(&[0]),
        F::LeakyReluGrad | F::TanhGrad | F::SigmoidGrad => case.linear(&[1]),
        _ => case,
    };
    let shapes = [p.to_vec(), q.to_vec()];
    let dims = together(&shapes);
    // A stretched operand's gradient sums over the stretched axes.
    case.slack(4.0).host_reference(move |x| {
        let (p, q) = (stretched(&x[0], &shapes[0], &dims), stretched(&x[1], &shapes[1], &dims));
        p.iter().zip(&q).map(|(&p, &q)| definition_of_two(function, p, q, a)).collect()
    })
}

/// The extents that all shapes stretch to.
fn together(shapes: &[Vec<usize>]) -> Vec<usize> {
    let shape = |dims: &[usize]| Shape::new(dims).expect("a case's shapes are valid");
    let all = shapes.iter().try_fold(Shape::SCALAR, |sum, dims| sum.broadcast(&shape(dims)));
    all.expect("a case's shapes stretch to one").dims().to_vec()
}

/// The family's cases.
pub fn cases() -> Vec<Case> {
    let mut cases = vec![
        full_case("scalar", &[], -0.75),
        full_case("3x5x7", &[3, 5, 7], 0.1),
        full_case("large", &[41, 1009], 1.0).large(),
    ];
    for &function in UnaryFunction::ALL {
        cases.push(unary_case(function, "3x5x7", &[3, 5, 7], domain(function)));
        // Within every function's domain, and where none of them vanishes.
        cases.push(unary_case(function, "one", &[1], Domain::Fixed(vec![0.5])));
    }
    for function in [UnaryFunction::Tanh, UnaryFunction::LeakyRelu] {
        cases.push(unary_case(function, "large", &[41, 1009], domain(function)).large());
    }
    for function in [UnaryFunction::Tanh, UnaryFunction::Sigmoid, UnaryFunction::Softplus] {
        // Saturated: the derivative is tiny but not lost. Softplus' plain definition still holds at these sizes.
        cases.push(unary_case(function, "saturated", &[6, 7], Domain::Wide));
    }
    let extremes = vec![-800.0, -90.0, 0.0, 90.0, 800.0];
    for (function, want) in [
        (UnaryFunction::Sigmoid, vec![0.0, (-90.0f64).exp(), 0.5, 1.0, 1.0]),
        (UnaryFunction::Softplus, vec![0.0, (-90.0f64).exp(), std::f64::consts::LN_2, 90.0, 800.0]),
        (UnaryFunction::Tanh, vec![-1.0, -1.0, 0.0, 1.0, 1.0]),
    ] {
        // Where a careless exponential overflows.
        cases.push(
            Case::new(function.name(), "extremes", move |x| unary(function, &x[0], 0.0, 0.0))
                .constant(&[5], Domain::Fixed(extremes.clone()))
                .slack(4.0)
                .host_reference(move |_| want.clone()),
        );
    }
    // Those that kernels compute in a way of their own, and neighbours of each, which must not be taken for them.
    for power in [2.0, 3.0, -1.0, 0.5, -2.0, -0.5, 4.0, -3.0, 0.6, -0.6] {
        cases.push(
            Case::new("pow_scalar", format!("power {power}"), move |x| x[0].pow_scalar(power))
                .input(&[4, 5], Domain::Positive)
                .slack(4.0)
                .host_reference(move |x| x[0].iter().map(|x| (power * x.ln()).exp()).collect()),
        );
    }
    for &function in BinaryFunction::ALL {
        cases.push(binary_case(function, "4x5", &[4, 5], &[4, 5]));
        cases.push(binary_case(function, "row", &[3, 4, 5], &[5]));
        cases.push(binary_case(function, "column", &[4, 5], &[4, 1]));
        cases.push(binary_case(function, "scalar left", &[], &[3, 5]));
        cases.push(binary_case(function, "both sides", &[3, 1, 5], &[4, 1]));
        cases.push(binary_case(function, "middle", &[2, 1, 3, 1], &[2, 5, 1, 2]));
        cases.push(binary_case(function, "six axes", &[1, 2, 1, 2, 1, 3], &[2, 1, 2, 1, 2, 1]));
    }
    // Of equals neither is greater, and what lies on an edge is within.
    cases.push(
        Case::new("greater_scalar", "edge", |x| {
            unary(UnaryFunction::GreaterScalar, &x[0], 0.25, 0.0)
        })
        .constant(&[3], Domain::Fixed(vec![0.25, 1.0, 0.125]))
        .rounded()
        .host_reference(|_| vec![0.0, 1.0, 0.0]),
    );
    cases.push(
        Case::new("within", "edges", |x| unary(UnaryFunction::Within, &x[0], -0.5, 0.75))
            .constant(&[5], Domain::Fixed(vec![-0.5, 0.75, -1.0, 1.0, 0.0]))
            .rounded()
            .host_reference(|_| vec![1.0, 1.0, 0.0, 0.0, 1.0]),
    );
    // The logarithm of 0 is below all numbers; that of a subnormal one is not.
    cases.push(
        Case::new("log", "smallest", |x| x[0].log()?.clamp(-200.0, 200.0))
            .constant(&[4], Domain::Fixed(vec![0.0, 1e-40, 1e-30, 1e30]))
            .slack(4.0)
            .host_reference(|x| x[0].iter().map(|x| x.ln().max(-200.0)).collect()),
    );
    cases.push(
        Case::new("greater", "ties", |x| binary(BinaryFunction::Greater, &x[0], &x[1], 0.0))
            .constant(&[4], Domain::Fixed(vec![1.0, -2.0, 0.0, 3.0]))
            .constant(&[4], Domain::Fixed(vec![1.0, -2.0, 0.0, 2.0]))
            .rounded()
            .host_reference(|_| vec![0.0, 0.0, 0.0, 1.0]),
    );
    for function in [BinaryFunction::Mul, BinaryFunction::LeakyReluGrad] {
        cases.push(binary_case(function, "large", &[53, 811], &[53, 811]).large());
        cases.push(binary_case(function, "large stretched", &[37, 1, 61], &[23, 1]).large());
    }
    for (variant, condition, p, q) in [
        ("4x5", &[4, 5][..], &[4, 5][..], &[4, 5][..]),
        ("condition stretched", &[4, 1], &[4, 5], &[4, 5]),
        ("operands stretched", &[3, 4, 5], &[5], &[4, 1]),
        ("scalar other", &[2, 3], &[2, 3], &[]),
        ("large", &[97, 211], &[97, 211], &[211]),
    ] {
        let shapes = [condition.to_vec(), p.to_vec(), q.to_vec()];
        let dims = together(&shapes);
        let case = Case::new("select", variant, |x| select(&x[0], &x[1], &x[2]))
            .constant(condition, Domain::Flag)
            .input(p, Domain::Normal)
            .input(q, Domain::Normal)
            .slack(4.0)
            .host_reference(move |x| {
                let all: Vec<Vec<f64>> =
                    x.iter().zip(&shapes).map(|(x, shape)| stretched(x, shape, &dims)).collect();
                let choose = |i: usize| if all[0][i] != 0.0 { all[1][i] } else { all[2][i] };
                (0..all[0].len()).map(choose).collect()
            });
        cases.push(if variant == "large" { case.large() } else { case });
    }
    cases
}
