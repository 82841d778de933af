//! Losses of logits.

use crate::case::Case;
use crate::values::Domain;
use belamy_tensor::ops::loss::{bce_with_logits, bce_with_logits_mean, cross_entropy_with_logits};

fn bce(variant: &str, shape: &[usize], logits: Domain) -> Case {
    Case::new("bce_with_logits", variant, |t| bce_with_logits(&t[0], &t[1]))
        .input(shape, logits)
        .input(shape, Domain::Unit)
        .slack(4.0)
        .host_reference(|t| {
            // The textbook's form, which loses digits where logits are large but not among these.
            let loss = |(&x, &t): (&f64, &f64)| {
                let (real, fake) = (1.0 / (1.0 + (-x).exp()), 1.0 / (1.0 + x.exp()));
                -t * real.ln() - (1.0 - t) * fake.ln()
            };
            t[0].iter().zip(&t[1]).map(loss).collect()
        })
}

fn bce_mean(variant: &str, shape: &[usize], logits: Domain, scale: f64) -> Case {
    let count = shape.iter().product::<usize>();
    Case::new("bce_with_logits_mean", variant, move |t| bce_with_logits_mean(&t[0], &t[1], scale))
        .input(shape, logits)
        .input(shape, Domain::Unit)
        .reduction(count)
        .slack(4.0)
        .host_reference(move |t| {
            let loss = |(&x, &t): (&f64, &f64)| {
                let (real, fake) = (1.0 / (1.0 + (-x).exp()), 1.0 / (1.0 + x.exp()));
                -t * real.ln() - (1.0 - t) * fake.ln()
            };
            vec![scale * t[0].iter().zip(&t[1]).map(loss).sum::<f64>() / count as f64]
        })
}

fn cross_entropy(variant: &str, rows: usize, classes: usize, logits: Domain) -> Case {
    Case::new("cross_entropy_with_logits", variant, |t| cross_entropy_with_logits(&t[0], &t[1]))
        .input(&[rows, classes], logits)
        .constant(&[rows], Domain::Indices(classes as u32))
        .slack(4.0)
        .host_reference(move |t| {
            // The textbook's form, which overflows for large logits but not for these.
            let loss = |(row, &label): (&[f64], &f64)| {
                let sum: f64 = row.iter().map(|x| x.exp()).sum();
                sum.ln() - row[label as usize]
            };
            t[0].chunks_exact(classes).zip(&t[1]).map(loss).collect()
        })
}

/// The family's cases.
pub fn cases() -> Vec<Case> {
    vec![
        bce("4x5", &[4, 5], Domain::Normal),
        bce("column", &[7, 1], Domain::Normal),
        bce("far logits", &[3, 7], Domain::Wide),
        bce("large", &[41, 1009], Domain::Normal).large(),
        // Where a careless exponential overflows.
        Case::new("bce_with_logits", "extreme logits", |t| bce_with_logits(&t[0], &t[1]))
            .constant(&[6], Domain::Fixed(vec![-800.0, -300.0, -90.0, 90.0, 300.0, 800.0]))
            .constant(&[6], Domain::Fixed(vec![0.5, 1.0, 1.0, 0.25, 0.25, 0.0]))
            .rounded()
            .host_reference(|_| vec![400.0, 300.0, 90.0, 67.5, 225.0, 800.0]),
        Case::new("bce_with_logits", "labels 0 and 1", |t| bce_with_logits(&t[0], &t[1]))
            .input(&[5, 3], Domain::Normal)
            .constant(&[5, 3], Domain::Flag)
            .slack(4.0),
        bce_mean("4x5", &[4, 5], Domain::Normal, 1.0),
        bce_mean("one", &[1], Domain::Normal, 0.5),
        bce_mean("column, doubled", &[7, 1], Domain::Wide, 2.0),
        bce_mean("large", &[41, 1009], Domain::Normal, 1.0).large(),
        // The first derivative alone, as a training step takes it: targets are constants.
        Case::new("bce_with_logits_mean", "labels 0 and 1", |t| {
            bce_with_logits_mean(&t[0], &t[1], 2.0)
        })
        .input(&[257, 3], Domain::Normal)
        .constant(&[257, 3], Domain::Flag)
        .reduction(771)
        .slack(4.0),
        cross_entropy("5x7", 5, 7, Domain::Distinct),
        cross_entropy("two classes", 4, 2, Domain::Normal),
        cross_entropy("far logits", 6, 4, Domain::Wide),
    ]
}
