//! Faults in generators, counting and optimisers.

use super::{Fault, Faults, outputs, reads};
use belamy_tensor::kernel::KernelId;
use belamy_tensor::ops::optimizer::{AdamParams, RmspropParams, ScheduleParams, SgdParams};
use belamy_tensor::ops::random::{AdvanceParams, DrawParams};

/// The family's faults: in words, the kernel, the fault.
pub(super) fn faults() -> Faults {
    use KernelId::{
        adam, advance_counter, bernoulli, count_non_finite, dropout, global_norm, integers,
        next_control, normal, rmsprop, sgd, shuffled_indices, uniform,
    };
    let step = || Fault::Inputs(|launch| launch.inputs[0][0] = 0.0);
    let first = || Fault::Inputs(|launch| launch.inputs[0][1] = 0.0);
    let stream = || reads!(DrawParams, |p| p.stream += 1);
    let seed = || reads!(DrawParams, |p| p.seed[1] = 0);
    vec![
        (
            "kept elements not enlarged",
            dropout,
            outputs!(DrawParams, |p, launch| {
                launch.outputs[0].iter_mut().for_each(|y| *y *= 1.0 - p.a)
            }),
        ),
        ("one mask for every sample", dropout, Fault::Inputs(|launch| launch.inputs[1][1] += 1.0)),
        (
            "keeps what it should drop",
            dropout,
            outputs!(DrawParams, |p, launch| {
                let pairs = launch.inputs[0].iter().zip(&launch.outputs[0]);
                launch.outputs[0] =
                    pairs.map(|(x, y)| if *y == 0.0 { x / (1.0 - p.a) } else { 0.0 }).collect()
            }),
        ),
        ("step ignored", uniform, step()),
        ("first sample ignored", uniform, first()),
        ("upper word of the seed ignored", uniform, seed()),
        ("stream off by one", uniform, stream()),
        ("step ignored", normal, step()),
        (
            "pairs exchanged",
            normal,
            Fault::Outputs(|launch| {
                launch.outputs[0].chunks_exact_mut(2).for_each(|pair| pair.swap(0, 1));
            }),
        ),
        ("variance for deviation", normal, reads!(DrawParams, |p| p.b *= p.b)),
        ("chances inverted", bernoulli, reads!(DrawParams, |p| p.a = 1.0 - p.a)),
        ("first sample ignored", bernoulli, first()),
        ("bound included", integers, reads!(DrawParams, |p| p.bound += 1)),
        ("stream off by one", integers, stream()),
        ("always by one", advance_counter, reads!(AdvanceParams, |p| p.steps = 1)),
        (
            "first sample moved too",
            advance_counter,
            Fault::Outputs(|launch| launch.outputs[0][1] += 1.0),
        ),
        ("updates counted from 0", next_control, step()),
        ("schedule ignored", next_control, reads!(ScheduleParams, |p| p.kind = 0)),
        ("decay begins at once", next_control, reads!(ScheduleParams, |p| p.start = 0)),
        ("no floor", next_control, reads!(ScheduleParams, |p| p.lowest = 0.0)),
        (
            "counter left where it is",
            next_control,
            Fault::Outputs(|launch| launch.outputs[1] = launch.inputs[0].clone()),
        ),
        ("step ignored", shuffled_indices, step()),
        ("first sample ignored", shuffled_indices, first()),
        (
            "infinities taken for numbers",
            count_non_finite,
            Fault::Inputs(|launch| {
                let infinite = |x: &&mut f64| x.is_infinite();
                launch.inputs.iter_mut().flatten().filter(infinite).for_each(|x| *x = 0.0);
            }),
        ),
        (
            "last tensor not looked at",
            count_non_finite,
            Fault::Inputs(|launch| {
                if let Some(last) = launch.inputs.last_mut() {
                    last.iter_mut().for_each(|x| *x = 0.0);
                }
            }),
        ),
        (
            "largest numbers taken for infinite",
            count_non_finite,
            Fault::Inputs(|launch| {
                let largest = |x: &&mut f64| x.abs() >= f64::from(f32::MAX);
                launch.inputs.iter_mut().flatten().filter(largest).for_each(|x| *x = f64::NAN);
            }),
        ),
        ("step counts from 0", adam, Fault::Inputs(|launch| launch.inputs[0][0] -= 1.0)),
        ("step not counted", adam, Fault::Inputs(|launch| launch.inputs[0][0] = 1.0)),
        (
            "betas exchanged",
            adam,
            reads!(AdamParams, |p| std::mem::swap(&mut p.beta_1, &mut p.beta_2)),
        ),
        ("epsilon in the other place", adam, reads!(AdamParams, |p| p.keras ^= 1)),
        ("weight decay forgotten", adam, reads!(AdamParams, |p| p.weight_decay = 0.0)),
        (
            "moments not carried on",
            adam,
            Fault::Outputs(|launch| {
                launch.outputs[2] = launch.inputs[5].clone();
            }),
        ),
        (
            "second parameter by the first's learning rate of 0",
            sgd,
            Fault::Outputs(|launch| {
                launch.outputs[1] = launch.inputs[2].clone();
            }),
        ),
        ("nesterov forgotten", sgd, reads!(SgdParams, |p| p.nesterov = 0)),
        (
            "momentum of 0.9 always",
            sgd,
            reads!(SgdParams, |p| {
                if p.momentum > 0.0 {
                    p.momentum = 0.9;
                }
            }),
        ),
        ("epsilon in the other place", rmsprop, reads!(RmspropParams, |p| p.keras ^= 1)),
        ("rho for 1 - rho", rmsprop, reads!(RmspropParams, |p| p.rho = 1.0 - p.rho)),
        (
            "last tensor left out",
            global_norm,
            Fault::Inputs(|launch| {
                if let Some(last) = launch.inputs.last_mut() {
                    last.iter_mut().for_each(|x| *x = 0.0);
                }
            }),
        ),
        (
            "no root taken",
            global_norm,
            Fault::Outputs(|launch| {
                launch.outputs[0].iter_mut().for_each(|y| *y *= *y);
            }),
        ),
    ]
}
