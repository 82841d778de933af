//! Dropout, against the generator called element by element.

use crate::case::Case;
use crate::values::Domain;
use belamy_tensor::ops::dropout::dropout;
use belamy_tensor::ops::random::RandomKey;
use belamy_tensor::philox::{self, Draws};

const KEY: RandomKey = RandomKey { seed: 0x1234_5678_9abc_def0, stream: 5 };

fn dropout_case(variant: &str, shape: &[usize], rate: f64, step: u32, first: u32) -> Case {
    let key = KEY;
    let per_sample: usize = shape[1..].iter().product();
    Case::new("dropout", variant, move |t| dropout(&t[0], rate, key, &t[1]))
        .input(shape, Domain::Normal)
        .constant(&[2], Domain::Integers(vec![step, first]))
        .linear(&[0])
        .absolute(1)
        .host_reference(move |t| {
            let draws = Draws { seed: key.seed, stream: key.stream, step };
            let keep = |index: usize| {
                let word =
                    draws.word(first + (index / per_sample) as u32, (index % per_sample) as u32);
                philox::uniform(word) >= rate
            };
            let scaled =
                |(index, x): (usize, &f64)| if keep(index) { x / (1.0 - rate) } else { 0.0 };
            t[0].iter().enumerate().map(scaled).collect()
        })
}

/// The family's cases.
pub fn cases() -> Vec<Case> {
    let edge = philox::uniform(Draws { seed: KEY.seed, stream: KEY.stream, step: 1 }.word(0, 0));
    vec![
        dropout_case("half", &[3, 7], 0.5, 0, 0),
        dropout_case("image", &[2, 3, 3, 2], 0.3, 17, 0),
        dropout_case("a later part of the batch", &[3, 5], 0.25, 2, 61),
        // A number that is drawn is not below itself.
        dropout_case("on the edge", &[2, 3], edge, 1, 0),
        dropout_case("none", &[2, 3], 0.0, 1, 0),
        dropout_case("large", &[37, 601], 0.4, 3, 0).large(),
    ]
}
