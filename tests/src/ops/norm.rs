//! Normalisation: against its definition in primitives, values and gradients, over batches and over instances.

use crate::case::Case;
use crate::values::Domain;
use belamy_tensor::ops::concat::concat;
use belamy_tensor::ops::norm::{
    Statistics, batch_norm, batch_norm_leaky_relu, instance_norm, instance_norm_leaky_relu,
    normalize, running_statistics,
};
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
