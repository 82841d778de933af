//! Normalisation: against its definition in primitives, values and gradients, over batches and over instances; and its
//! halves.

use crate::case::Case;
use crate::values::Domain;
use belamy_tensor::ops::concat::concat;
use belamy_tensor::ops::norm::{
    Statistics, batch_norm, batch_norm_leaky_relu, instance_norm, instance_norm_leaky_relu,
    normalize, running_statistics,
};
use belamy_tensor::ops::norm_halves::{Normalization, norm_statistics};
use belamy_tensor::{Result, Tensor};

/// The definition over `[groups, rows, channels]`, in primitives.
fn definition(t: &[Tensor], grouped: [usize; 3], epsilon: f64) -> Result<Tensor> {
    let x = t[0].reshape(grouped)?;
    let mean = x.mean(&[1])?;
    let variance = x.square()?.mean(&[1])?.sub(&mean.square()?)?;
    let y = x.sub(&mean)?.mul(&variance.add_scalar(epsilon)?.pow_scalar(-0.5)?)?;
    let y = if t.len() > 1 { y.mul(&t[1])? } else { y };
    let y = if t.len() > 2 { y.add(&t[2])? } else { y };
    y.reshape(t[0].shape())
}

fn norm_case(variant: &str, dims: &[usize], instances: bool, affine: usize, epsilon: f64) -> Case {
    let channels = dims[dims.len() - 1];
    let groups = if instances { dims[0] } else { 1 };
    let rows = dims.iter().product::<usize>() / channels / groups;
    let op = if instances { "instance_norm" } else { "batch_norm" };
    let mut case = Case::new(op, variant, move |t| {
        let (gamma, beta) = (t.get(1), t.get(2));
        match instances {
            true => instance_norm(&t[0], gamma, beta, epsilon),
            false => Ok(batch_norm(&t[0], gamma, beta, epsilon)?.0),
        }
    })
    .input(dims, Domain::Normal)
    .reduction(rows)
    // A dozen roundings an element; gradients subtract two means of the size of the cotangent, and of two rows' they
    // leave almost nothing.
    .slack(if rows < 3 { 64.0 } else { 8.0 })
    .reference(move |t| definition(t, [groups, rows, channels], epsilon));
    if affine > 0 {
        case = case.input(&[channels], Domain::Positive);
    }
    if affine > 1 {
        case = case.input(&[channels], Domain::Normal);
    }
    case
}

/// Normalisation and leaky ReLU in one pass; `parts` 0 stands for instances.
fn activated_case(variant: &str, dims: &[usize], parts: usize, slope: f64) -> Case {
    let channels = dims[dims.len() - 1];
    let groups = if parts == 0 { dims[0] } else { parts };
    let rows = dims.iter().product::<usize>() / channels / groups;
    let op = if parts == 0 { "instance_norm" } else { "batch_norm" };
    Case::new(op, variant, move |t| match parts {
        0 => instance_norm_leaky_relu(&t[0], Some(&t[1]), Some(&t[2]), 1e-5, slope),
        _ => Ok(batch_norm_leaky_relu(&t[0], Some(&t[1]), Some(&t[2]), 1e-5, slope, parts)?.0),
    })
    .input(dims, Domain::Normal)
    .input(&[channels], Domain::Positive)
    .input(&[channels], Domain::Normal)
    .reduction(rows)
    .slack(8.0)
    .reference(move |t| {
        let u = definition(t, [groups, rows, channels], 1e-5)?;
        // max(u, 0) + slope min(u, 0)
        u.relu()?.sub(&u.neg()?.relu()?.mul_scalar(slope)?)
    })
}

/// Each half of batch norm by itself, of statistics and sums that are not those of x.
fn half_cases(variant: &str, dims: &'static [usize], parts: usize, slope: f64) -> Vec<Case> {
    const EPSILON: f64 = 1e-3;
    let channels = dims[dims.len() - 1];
    let rows = dims.iter().product::<usize>() / channels / parts;
    let (grouped, of_each) = ([parts, rows, channels], [parts, channels]);
    // x, gamma, beta, mean, variance, h, sums
    let half = move |t: &[Tensor], of: fn(Normalization<'_>, &[Tensor]) -> Result<Tensor>| {
        let [x, gamma, beta, mean, variance] = [0, 1, 2, 3, 4].map(|place| &t[place]);
        of(Normalization { x, gamma, beta, mean, variance, epsilon: EPSILON, slope }, &t[5..])
    };
    // x − mean, the deviation, and u.
    let seen = move |t: &[Tensor]| {
        let along_rows = |of: &Tensor| of.reshape([parts, 1, channels]);
        let d = t[0].reshape(grouped)?.sub(&along_rows(&t[3])?)?;
        let deviation = along_rows(&t[4])?.add_scalar(EPSILON)?.sqrt()?;
        let u = d.div(&deviation)?.mul(&t[1])?.add(&t[2])?;
        Ok::<_, belamy_tensor::Error>((d, deviation, u))
    };
    // What the activation passes of h.
    let passed = move |u: &Tensor, h: &Tensor| {
        let factor = u.greater_scalar(0.0)?.mul_scalar(1.0 - slope)?.add_scalar(slope)?;
        h.reshape(grouped)?.mul(&factor)
    };
    let case = |op: &'static str, result: &str, operands: usize, build: BuildHalf| {
        let domains: [(&[usize], Domain); 7] = [
            (dims, Domain::Normal),
            (&[channels], Domain::Positive),
            (&[channels], Domain::Normal),
            (&of_each, Domain::Normal),
            (&of_each, Domain::Positive),
            (dims, Domain::Normal),
            (&[2, parts, channels], Domain::Normal),
        ];
        let case = Case::new(op, format!("{variant}{result}"), build).reduction(rows).slack(8.0);
        let operands = domains.into_iter().take(operands);
        operands.fold(case, |case, (shape, domain)| case.constant(shape, domain))
    };
    let statistics = |which: usize| -> BuildHalf {
        Box::new(move |t| {
            let statistics = norm_statistics(&t[0], parts)?;
            Ok([statistics.mean, statistics.variance][which].clone())
        })
    };
    let sums = |which: usize| -> BuildHalf {
        Box::new(move |t| half(t, [of_sums, of_gamma, of_beta][which]))
    };
    vec![
        case("norm_statistics", ", mean", 1, statistics(0))
            .reference(move |t| t[0].reshape(grouped)?.mean(&[1])?.reshape(of_each)),
        case("norm_statistics", ", variance", 1, statistics(1)).reference(move |t| {
            let x = t[0].reshape(grouped)?;
            x.sub(&x.mean(&[1])?)?.square()?.mean(&[1])?.reshape(of_each)
        }),
        case("norm_apply", "", 5, Box::new(move |t| half(t, |norm, _| norm.apply()))).reference(
            move |t| {
                let (_, _, u) = seen(t)?;
                // max(u, 0) + slope min(u, 0)
                let y = u.relu()?.sub(&u.neg()?.relu()?.mul_scalar(slope)?)?;
                y.reshape(t[0].shape())
            },
        ),
        case("norm_grad_sums", "", 6, sums(0)).reference(move |t| {
            let (d, _, u) = seen(t)?;
            let g = passed(&u, &t[5])?;
            let sums = [g.sum(&[1])?, g.mul(&d)?.sum(&[1])?];
            concat(&sums.each_ref(), 0)?.reshape([2, parts, channels])
        }),
        case("norm_grad_sums", ", gamma", 6, sums(1)).reference(move |t| {
            let (d, deviation, u) = seen(t)?;
            let products = passed(&u, &t[5])?.mul(&d.div(&deviation)?)?;
            products.sum(&[0, 1])?.reshape([channels])
        }),
        case("norm_grad_sums", ", beta", 6, sums(2)).reference(move |t| {
            let (_, _, u) = seen(t)?;
            passed(&u, &t[5])?.sum(&[0, 1])?.reshape([channels])
        }),
        case(
            "norm_grad_apply",
            "",
            7,
            Box::new(move |t| half(t, |norm, rest| norm.grad_apply(&rest[0], &rest[1]))),
        )
        .reference(move |t| {
            let (d, deviation, u) = seen(t)?;
            let mean = |which: usize| {
                let sums = t[6].slice(0, which, 1)?.reshape([parts, 1, channels])?;
                sums.mul_scalar(1.0 / rows as f64)
            };
            let xhat = d.div(&deviation)?;
            let left =
                passed(&u, &t[5])?.sub(&mean(0)?)?.sub(&xhat.mul(&mean(1)?.div(&deviation)?)?)?;
            left.mul(&t[1])?.div(&deviation)?.reshape(t[0].shape())
        }),
    ]
}

/// How a half's case is computed.
type BuildHalf = Box<dyn Fn(&[Tensor]) -> Result<Tensor> + Send + Sync>;

fn of_sums(norm: Normalization<'_>, h: &[Tensor]) -> Result<Tensor> {
    Ok(norm.grad_sums(&h[0])?.sums)
}

fn of_gamma(norm: Normalization<'_>, h: &[Tensor]) -> Result<Tensor> {
    Ok(norm.grad_sums(&h[0])?.grad_gamma)
}

fn of_beta(norm: Normalization<'_>, h: &[Tensor]) -> Result<Tensor> {
    Ok(norm.grad_sums(&h[0])?.grad_beta)
}

fn running_case(variant: &str, parts: usize, channels: usize, decay: f64, unbiased: bool) -> Case {
    let count = 9;
    Case::new("running_statistics", variant, move |t| {
        let batch = Statistics { mean: t[2].clone(), variance: t[3].clone(), count };
        let (mean, variance) = running_statistics(&t[0], &t[1], &batch, decay, unbiased)?;
        concat(&[&mean, &variance], 0)
    })
    .constant(&[channels], Domain::Normal)
    .constant(&[channels], Domain::Positive)
    .constant(&[parts, channels], Domain::Normal)
    .constant(&[parts, channels], Domain::Positive)
    .reduction(1 + parts)
    .slack(4.0)
    .host_reference(move |t| {
        let moved = |which: usize, channel: usize, factor: f64| {
            let part = |part: usize| factor * t[2 + which][part * channels + channel];
            let add = |running: f64, b: f64| decay * running + (1.0 - decay) * b;
            (0..parts).map(part).fold(t[which][channel], add)
        };
        let correction = if unbiased { count as f64 / (count as f64 - 1.0) } else { 1.0 };
        let means = (0..channels).map(|channel| moved(0, channel, 1.0));
        means.chain((0..channels).map(|channel| moved(1, channel, correction))).collect()
    })
}

/// The family's cases.
pub fn cases() -> Vec<Case> {
    let mut cases = vec![
        norm_case("image", &[2, 3, 2, 3], false, 2, 1e-5),
        norm_case("rows", &[7, 3], false, 2, 1e-5),
        norm_case("two rows", &[2, 3], false, 2, 1e-3),
        norm_case("one channel", &[3, 2, 3, 1], false, 2, 1e-5),
        norm_case("keras epsilon", &[4, 2, 1, 2], false, 2, 1e-3),
        norm_case("gamma only", &[5, 3], false, 1, 1e-5),
        norm_case("plain", &[2, 2, 3, 2], false, 0, 1e-5),
        norm_case("large", &[7, 13, 11, 19], false, 2, 1e-5).large(),
        norm_case("large rows", &[601, 67], false, 2, 1e-5).large(),
        // More rows than a few blocks sum.
        norm_case("large, many rows", &[4097, 3], false, 2, 1e-5).large(),
        norm_case("image", &[2, 3, 2, 2], true, 2, 1e-5),
        norm_case("odd", &[3, 1, 5, 2], true, 2, 1e-5),
        norm_case("two pixels", &[2, 1, 2, 3], true, 2, 1e-3),
        norm_case("plain", &[2, 3, 3, 1], true, 0, 1e-5),
        norm_case("rank three", &[2, 5, 2], true, 2, 1e-5),
        norm_case("large, many instances", &[70, 8, 4], true, 2, 1e-5).large(),
        norm_case("large", &[5, 13, 17, 23], true, 2, 1e-5).large(),
    ];
    cases.extend([
        activated_case("relu", &[4, 3, 2, 3], 1, 0.0),
        activated_case("leaky relu", &[5, 2, 3, 2], 1, 0.2),
        activated_case("two parts", &[6, 2, 3, 2], 2, 1.0),
        activated_case("three parts, leaky relu", &[6, 3, 5], 3, 0.3),
        activated_case("large, two parts", &[10, 13, 11, 19], 2, 1.0).large(),
        activated_case("large, two parts, leaky relu", &[10, 13, 11, 19], 2, 0.2).large().kinked(),
        activated_case("relu", &[3, 4, 2, 3], 0, 0.0),
        activated_case("large, leaky relu", &[3, 13, 17, 23], 0, 0.2).large().kinked(),
        running_case("biased", 1, 5, 0.99, false),
        running_case("unbiased", 1, 3, 0.9, true),
        running_case("two parts", 2, 7, 0.75, true),
        running_case("many channels", 3, 1031, 0.9, false).large(),
    ]);
    for (variant, dims, parts, slope) in [
        ("image", &[4, 3, 2, 3][..], 1, 0.2),
        ("rows of eight", &[9, 8], 1, 1.0),
        ("two parts", &[6, 2, 3, 2], 2, 0.1),
        ("three parts", &[6, 3, 4], 3, 0.3),
    ] {
        cases.extend(half_cases(variant, dims, parts, slope));
    }
    for (variant, dims, parts, slope) in [
        ("large, two parts", &[10, 13, 11, 19][..], 2, 0.2),
        ("large, many rows", &[4097, 3], 1, 1.0),
        ("large, rows of 68", &[602, 68], 2, 0.0),
    ] {
        cases.extend(half_cases(variant, dims, parts, slope).into_iter().map(Case::large));
    }
    for (variant, variance) in [("mean", false), ("variance", true)] {
        cases.push(
            Case::new("batch_norm_statistics", variant, move |t| {
                let statistics = batch_norm(&t[0], None, None, 1e-5)?.1;
                Ok(if variance { statistics.variance } else { statistics.mean })
            })
            .constant(&[3, 5, 4, 3], Domain::Normal)
            .reduction(60)
            .host_reference(move |t| {
                let column = |channel: usize| t[0].iter().skip(channel).step_by(3);
                (0..3)
                    .map(|channel| {
                        let mean = column(channel).sum::<f64>() / 60.0;
                        let squares = column(channel).map(|x| (x - mean).powi(2));
                        if variance { squares.sum::<f64>() / 60.0 } else { mean }
                    })
                    .collect()
            }),
        );
    }
    cases.push(
        Case::new("normalize", "image", |t| {
            normalize(&t[0], &t[1], &t[2], Some(&t[3]), Some(&t[4]), 1e-3)
        })
        .input(&[2, 2, 3, 3], Domain::Normal)
        .input(&[3], Domain::Normal)
        .input(&[3], Domain::Positive)
        .input(&[3], Domain::Positive)
        .input(&[3], Domain::Normal)
        .slack(8.0),
    );
    cases.push(
        Case::new("normalize", "no beta", |t| {
            normalize(&t[0], &t[1], &t[2], Some(&t[3]), None, 1e-5)
        })
        .input(&[4, 3], Domain::Normal)
        .input(&[3], Domain::Normal)
        .input(&[3], Domain::Positive)
        .input(&[3], Domain::Positive)
        .linear(&[3])
        .slack(8.0),
    );
    cases
}
