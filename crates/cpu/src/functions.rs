//! Exponential functions of many f32 at once.
//!
//! Computed in f64 and rounded once: of the test's 660,000 arguments at most one in a hundred thousand gives another f32 than
//! the C library's f64 rounded, and then its neighbour. The C library takes one number a call; these are plain arithmetic without a branch, which
//! compiles to vector instructions (no multiplication is fused with an addition: every instruction set gives the same
//! bits). In f64, where the last bit counts, the C library is used.
//!
//! ```text
//! eˣ      = 2ᵏ eʳ,  k = round(x / ln 2),  r = x − k ln 2 in ±0.347,  eʳ by its Taylor series up to r¹³ (error < 5e-18)
//! eˣ − 1  = 2ᵏ (eʳ − 1) + (2ᵏ − 1),  which loses nothing near 0
//! ```

use crate::vectors::vectorised;

/// 1 / n! for n = 13 down to 2.
const INVERSE_FACTORIALS: [f64; 12] = [
    1.0 / 6_227_020_800.0,
    1.0 / 479_001_600.0,
    1.0 / 39_916_800.0,
    1.0 / 3_628_800.0,
    1.0 / 362_880.0,
    1.0 / 40_320.0,
    1.0 / 5_040.0,
    1.0 / 720.0,
    1.0 / 120.0,
    1.0 / 24.0,
    1.0 / 6.0,
    1.0 / 2.0,
];

/// ln 2 in two parts: the first has 32 bits, so that its product with a whole number up to 2¹¹ is exact.
const LN_2_HIGH: f64 = f64::from_bits(0x3FE6_2E42_FEE0_0000);
const LN_2_LOW: f64 = 1.908_214_929_270_587_7e-10;

/// Added to a number below 2⁵¹ it leaves the nearest whole number in the low bits.
const WHOLE: f64 = 6_755_399_441_055_744.0;

/// eʳ − 1 and 2ᵏ, for x in ±700: 2ᵏ (eʳ − 1) + 2ᵏ is e to the x.
#[inline(always)]
fn reduced(x: f64) -> (f64, f64) {
    let shifted = x * std::f64::consts::LOG2_E + WHOLE;
    let k = shifted - WHOLE;
    let r = x - k * LN_2_HIGH - k * LN_2_LOW;
    let mut series = 0.0;
    for coefficient in INVERSE_FACTORIALS {
        series = series * r + coefficient;
    }
    let power = f64::from_bits(shifted.to_bits().wrapping_add(1023) << 52);
    (series * r * r + r, power)
}

/// At least `low` and at most `high`; NaN stays.
#[inline(always)]
fn within(x: f64, low: f64, high: f64) -> f64 {
    let x = if x < low { low } else { x };
    if x > high { high } else { x }
}

vectorised! {
    /// Replaces each x by eˣ.
    pub(crate) fn exp(values: &mut [f32]) {
        for value in values {
            // Beyond these bounds an f32 is 0 or infinite.
            let (rest, power) = reduced(within(f64::from(*value), -700.0, 700.0));
            *value = (power * rest + power) as f32;
        }
    }
}

vectorised! {
    /// Replaces each x by 1 / (1 + e⁻ˣ).
    pub(crate) fn sigmoid(values: &mut [f32]) {
        for value in values {
            let x = f64::from(*value);
            // By the sign of x, so that the exponential cannot overflow.
            let (rest, power) = reduced(within(-x.abs(), -700.0, 0.0));
            let e = power * rest + power;
            *value = ((if x < 0.0 { e } else { 1.0 }) / (1.0 + e)) as f32;
        }
    }
}

vectorised! {
    /// Replaces each x by (e²ˣ − 1) / (e²ˣ + 1).
    pub(crate) fn tanh(values: &mut [f32]) {
        for value in values {
            let x = f64::from(*value);
            // From 25 on it is 1.
            let (rest, power) = reduced(within(2.0 * x.abs(), 0.0, 50.0));
            let e = power * rest + (power - 1.0);
            *value = (e / (e + 2.0)).copysign(x) as f32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// f32 of every size and sign, most of them where the functions bend.
    fn arguments() -> Vec<f32> {
        let special = [0.0, -0.0, 1e-45, -1e-40, f32::MIN_POSITIVE, f32::MAX, f32::MIN];
        let infinite = [f32::INFINITY, f32::NEG_INFINITY];
        let every = (0..=u32::MAX).step_by(65_521).map(f32::from_bits).filter(|x| !x.is_nan());
        let bent = (-300_000..=300_000).map(|step| step as f32 * 3.1e-4);
        special.into_iter().chain(infinite).chain(every).chain(bent).collect()
    }

    fn agrees(name: &str, by_vectors: fn(&mut [f32]), exact: fn(f64) -> f64) {
        let x = arguments();
        let mut y = x.clone();
        by_vectors(&mut y);
        let mut others = 0;
        for (x, y) in x.iter().zip(&y) {
            let expected = exact(f64::from(*x)) as f32;
            let apart = y.to_bits().abs_diff(expected.to_bits());
            assert!(apart <= 1, "{name}({x:e}) is {y:e}, not {expected:e}");
            others += apart;
        }
        assert!(others <= x.len() as u32 / 100_000, "{name}: {others} of {} differ", x.len());
        let mut nan = [f32::NAN];
        by_vectors(&mut nan);
        assert!(nan[0].is_nan(), "{name}(NaN) is {}", nan[0]);
    }

    #[test]
    fn they_are_what_the_c_library_says_rounded_once() {
        agrees("exp", exp, f64::exp);
        agrees("tanh", tanh, f64::tanh);
        agrees("sigmoid", sigmoid, crate::kernels::sigmoid);
    }

    #[test]
    fn a_result_does_not_depend_on_its_place() {
        let x: Vec<f32> = (0..37).map(|index| index as f32 * 0.37 - 6.0).collect();
        for by_vectors in [exp as fn(&mut [f32]), sigmoid, tanh] {
            let mut together = x.clone();
            by_vectors(&mut together);
            for (x, expected) in x.iter().zip(together) {
                let mut alone = [*x];
                by_vectors(&mut alone);
                assert_eq!(alone, [expected]);
            }
        }
    }
}
