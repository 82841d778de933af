//! Faults in joining, gathering, normalisation and losses.

use super::{Fault, Faults, drop_where, inputs, outputs, reads};
use belamy_tensor::kernel::KernelId;
use belamy_tensor::ops::gather::GatherParams;
use belamy_tensor::ops::loss::MeanLossParams;
use belamy_tensor::ops::norm::{NormParams, RunningParams};

/// The family's faults: in words, the kernel, the fault.
pub(super) fn faults() -> Faults {
    use KernelId::{
        bce_with_logits, bce_with_logits_mean, concat, gather_rows, norm, norm_apply, norm_grad,
        norm_grad_apply, norm_grad_sums, norm_statistics, running_statistics, scatter_add_rows,
    };
    vec![
        (
            "equal parts exchanged",
            concat,
            Fault::Inputs(|launch| {
                if launch.inputs[0].len() == launch.inputs[1].len() {
                    launch.inputs.swap(0, 1);
                }
            }),
        ),
        (
            "second part one place further",
            concat,
            Fault::Inputs(|launch| launch.inputs[1].rotate_right(1)),
        ),
        (
            "index out of range clamped",
            gather_rows,
            inputs!(GatherParams, |p, launch| {
                launch.inputs[1].iter_mut().for_each(|i| *i = i.min(f64::from(p.rows) - 1.0))
            }),
        ),
        (
            "repeated indices overwrite",
            scatter_add_rows,
            inputs!(GatherParams, |p, launch| {
                let columns = p.columns as usize;
                let index = launch.inputs[1].clone();
                drop_where(&mut launch.inputs[0], |i| {
                    index[i / columns + 1..].contains(&index[i / columns])
                })
            }),
        ),
        (
            "index out of range wraps around",
            scatter_add_rows,
            inputs!(GatherParams, |p, launch| {
                launch.inputs[1].iter_mut().for_each(|i| *i %= f64::from(p.rows))
            }),
        ),
        ("epsilon forgotten", norm, reads!(NormParams, |p| p.epsilon = 0.0)),
        (
            "unbiased variance",
            norm,
            outputs!(NormParams, |p, launch| {
                let (c, rows) = (p.channels as usize, f64::from(p.rows));
                for (i, y) in launch.outputs[0].iter_mut().enumerate() {
                    let beta = launch.inputs[2][i % c];
                    *y = beta + (*y - beta) * ((rows - 1.0) / rows).sqrt();
                }
            }),
        ),
        (
            "beta forgotten",
            norm,
            Fault::Inputs(|launch| drop_where(&mut launch.inputs[2], |_| true)),
        ),
        (
            "deviation saved as variance",
            norm,
            Fault::Outputs(|launch| {
                launch.outputs[2].iter_mut().for_each(|v| *v = v.sqrt());
            }),
        ),
        (
            "cotangent's mean not subtracted",
            norm_grad,
            outputs!(NormParams, |p, launch| {
                let (c, rows) = (p.channels as usize, p.rows as usize);
                for i in 0..launch.outputs[0].len() {
                    let (group, channel) = (i / (rows * c), i % c);
                    let at = |row: usize| launch.inputs[3][(group * rows + row) * c + channel];
                    let mean = (0..rows).map(at).sum::<f64>() / rows as f64;
                    let variance = launch.inputs[5][group * c + channel];
                    launch.outputs[0][i] +=
                        launch.inputs[1][channel] * mean / (variance + p.epsilon).sqrt();
                }
            }),
        ),
        (
            "gamma left out of the image's gradient",
            norm_grad,
            outputs!(NormParams, |p, launch| {
                let gamma = &launch.inputs[1];
                let c = p.channels as usize;
                launch.outputs[0].iter_mut().enumerate().for_each(|(i, y)| *y /= gamma[i % c])
            }),
        ),
        (
            "beta's gradient is a mean",
            norm_grad,
            outputs!(NormParams, |p, launch| {
                let count = f64::from(p.rows * p.groups);
                launch.outputs[2].iter_mut().for_each(|y| *y /= count)
            }),
        ),
        (
            "gamma's and beta's gradients exchanged",
            norm_grad,
            Fault::Outputs(|launch| launch.outputs.swap(1, 2)),
        ),
        ("activation forgotten", norm, reads!(NormParams, |p| p.slope = 1.0)),
        ("slope squared", norm, reads!(NormParams, |p| p.slope *= p.slope)),
        (
            "one statistic for all parts",
            norm,
            Fault::Outputs(|launch| {
                let c = launch.inputs[1].len();
                let parts = launch.outputs[1].len() / c;
                if parts == 1 {
                    return;
                }
                for which in [1, 2] {
                    let all = launch.outputs[which].clone();
                    for (i, value) in launch.outputs[which].iter_mut().enumerate() {
                        let sum: f64 = all.iter().skip(i % c).step_by(c).sum();
                        *value = sum / parts as f64;
                    }
                }
            }),
        ),
        ("activation's derivative forgotten", norm_grad, reads!(NormParams, |p| p.slope = 1.0)),
        (
            "activation's sign without beta",
            norm_grad,
            Fault::Inputs(|launch| drop_where(&mut launch.inputs[2], |_| true)),
        ),
        (
            "deviations about zero",
            norm_statistics,
            Fault::Outputs(|launch| {
                let means = launch.outputs[0].clone();
                launch.outputs[1].iter_mut().zip(means).for_each(|(v, mean)| *v += mean * mean);
            }),
        ),
        (
            "statistics of the first part for all",
            norm_apply,
            inputs!(NormParams, |p, launch| {
                let c = p.channels as usize;
                for statistic in &mut launch.inputs[3..5] {
                    (c..statistic.len()).for_each(|i| statistic[i] = statistic[i % c]);
                }
            }),
        ),
        ("epsilon forgotten", norm_apply, reads!(NormParams, |p| p.epsilon = 0.0)),
        (
            "sums of all that arrives, not of what the activation passes",
            norm_grad_sums,
            reads!(NormParams, |p| p.slope = 1.0),
        ),
        (
            "products about zero",
            norm_grad_sums,
            outputs!(NormParams, |p, launch| {
                let columns = (p.groups * p.channels) as usize;
                let (sums, products) = launch.outputs[0].split_at_mut(columns);
                let means = launch.inputs[4].iter().zip(sums);
                products.iter_mut().zip(means).for_each(|(y, (mean, sum))| *y += mean * *sum);
            }),
        ),
        (
            "sums taken for means",
            norm_grad_apply,
            inputs!(NormParams, |p, launch| {
                launch.inputs[6].iter_mut().for_each(|sum| *sum *= f64::from(p.rows));
            }),
        ),
        (
            "sums and products exchanged",
            norm_grad_apply,
            Fault::Inputs(|launch| {
                let half = launch.inputs[6].len() / 2;
                launch.inputs[6].rotate_left(half);
            }),
        ),
        (
            "decay taken for what is taken",
            running_statistics,
            reads!(RunningParams, |p| std::mem::swap(&mut p.decay, &mut p.taken)),
        ),
        (
            "variance not corrected",
            running_statistics,
            reads!(RunningParams, |p| p.correction = 1.0),
        ),
        ("first part only", running_statistics, reads!(RunningParams, |p| p.parts = 1)),
        (
            "parts in the wrong order",
            running_statistics,
            inputs!(RunningParams, |p, launch| {
                let c = p.channels as usize;
                let rows: Vec<Vec<f64>> =
                    launch.inputs[2].chunks(c).rev().map(<[f64]>::to_vec).collect();
                launch.inputs[2] = rows.concat();
            }),
        ),
        (
            "sum for mean",
            bce_with_logits_mean,
            reads!(MeanLossParams, |p| p.scale *= f64::from(p.len)),
        ),
        (
            "gradient saved without its scale",
            bce_with_logits_mean,
            outputs!(MeanLossParams, |p, launch| {
                launch.outputs[1].iter_mut().for_each(|slope| *slope /= p.scale);
            }),
        ),
        (
            "labels inverted",
            bce_with_logits,
            Fault::Inputs(|launch| {
                launch.inputs[1].iter_mut().for_each(|t| *t = 1.0 - *t);
            }),
        ),
        (
            "without care for large logits",
            bce_with_logits,
            Fault::Outputs(|launch| {
                let pairs = launch.inputs[0].iter().zip(&launch.inputs[1]);
                launch.outputs[0] = pairs.map(|(x, t)| (1.0 + x.exp()).ln() - x * t).collect();
            }),
        ),
    ]
}
