//! Losses of logits.

use crate::case::Case;
use crate::values::Domain;
use belamy_tensor::ops::loss::bce_with_logits;

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

/// The family's cases.
pub fn cases() -> Vec<Case> {
    vec![
        bce("4x5", &[4, 5], Domain::Normal),
        bce("column", &[7, 1], Domain::Normal),
        bce("far logits", &[3, 7], Domain::Wide),
        bce("large", &[41, 1009], Domain::Normal).large(),
        Case::new("bce_with_logits", "labels 0 and 1", |t| bce_with_logits(&t[0], &t[1]))
            .input(&[5, 3], Domain::Normal)
            .constant(&[5, 3], Domain::Flag)
            .slack(4.0),
    ]
}
