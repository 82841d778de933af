//! Philox 4x32-10: random numbers as a pure function of a key and a counter.
//!
//! Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3" (SC 2011). A draw here depends on
//! nothing but (seed, stream, step, global sample index, position within the sample), so no split of a batch over
//! threads, devices or ranks changes it, and a run resumed at step N draws what an unbroken run would have drawn.
//! Integers and uniforms are bit-identical on every device; normals agree to rounding.

const MULTIPLIER_0: u32 = 0xD251_1F53;
const MULTIPLIER_1: u32 = 0xCD9E_8D57;
const WEYL_0: u32 = 0x9E37_79B9;
const WEYL_1: u32 = 0xBB67_AE85;

/// Ten rounds of Philox 4x32: four random words for one counter under one key.
///
/// ```
/// // The published test vector of the Random123 library for a zero key and counter.
/// let words = belamy_tensor::philox::philox4x32(0, [0; 4]);
/// assert_eq!(words, [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
/// ```
#[inline]
pub fn philox4x32(key: u64, counter: [u32; 4]) -> [u32; 4] {
    let (mut key_0, mut key_1) = (key as u32, (key >> 32) as u32);
    let mut c = counter;
    for _ in 0..10 {
        let product_0 = u64::from(MULTIPLIER_0) * u64::from(c[0]);
        let product_1 = u64::from(MULTIPLIER_1) * u64::from(c[2]);
        c = [
            (product_1 >> 32) as u32 ^ c[1] ^ key_0,
            product_1 as u32,
            (product_0 >> 32) as u32 ^ c[3] ^ key_1,
            product_0 as u32,
        ];
        key_0 = key_0.wrapping_add(WEYL_0);
        key_1 = key_1.wrapping_add(WEYL_1);
    }
    c
}

/// [`philox4x32`] of `N` counters `[word][counter]` at once: of each the first two words, and the other two, as one number
/// whose lower half is the first. A loop over counters within each round, which becomes vector instructions where it is
/// compiled for them: a word has the place of two, as its products need, and what is left in the upper half counts for
/// nothing.
#[inline(always)]
pub fn philox4x32_together<const N: usize>(key: u64, counters: [[u32; N]; 4]) -> [[u64; N]; 2] {
    const LOWER: u64 = u32::MAX as u64;
    let (mut key_0, mut key_1) = (key as u32, (key >> 32) as u32);
    let mut c = [[0; N]; 4];
    for (to, from) in c.as_flattened_mut().iter_mut().zip(counters.as_flattened()) {
        *to = u64::from(*from);
    }
    for _ in 0..10 {
        for n in 0..N {
            let product_0 = u64::from(MULTIPLIER_0) * (c[0][n] & LOWER);
            let product_1 = u64::from(MULTIPLIER_1) * (c[2][n] & LOWER);
            c[0][n] = (product_1 >> 32) ^ c[1][n] ^ u64::from(key_0);
            c[1][n] = product_1;
            c[2][n] = (product_0 >> 32) ^ c[3][n] ^ u64::from(key_1);
            c[3][n] = product_0;
        }
        key_0 = key_0.wrapping_add(WEYL_0);
        key_1 = key_1.wrapping_add(WEYL_1);
    }
    let mut pairs = [[0; N]; 2];
    for n in 0..N {
        pairs[0][n] = c[0][n] & LOWER | c[1][n] << 32;
        pairs[1][n] = c[2][n] & LOWER | c[3][n] << 32;
    }
    pairs
}

/// Where in the space of all draws a tensor's numbers come from.
///
/// Word `i` of sample `n` is lane `i % 4` of `philox4x32(seed, [i / 4, n, step, stream])`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draws {
    /// The run's seed.
    pub seed: u64,
    /// Which use of randomness this is: noise, dropout of one layer, shuffling, an initialiser, ...
    pub stream: u32,
    /// The training step.
    pub step: u32,
}

impl Draws {
    /// The four words `4 * block ..` of a sample.
    #[inline]
    pub fn block(&self, sample: u32, block: u32) -> [u32; 4] {
        philox4x32(self.seed, [block, sample, self.step, self.stream])
    }

    /// Word `index` of a sample.
    #[inline]
    pub fn word(&self, sample: u32, index: u32) -> u32 {
        self.block(sample, index / 4)[index as usize % 4]
    }
}

/// A uniform number in [0, 1): the word's upper 24 bits, exact in f32.
#[inline]
pub fn uniform(word: u32) -> f64 {
    f64::from(word >> 8) * (1.0 / 16_777_216.0)
}

/// Two independent standard normal numbers from two words, by Box and Muller (1958).
///
/// The radius takes 1 - u, which is never 0, so the largest magnitude is sqrt(-2 ln 2^-24) = 5.77.
#[inline]
pub fn normal_pair(word_0: u32, word_1: u32) -> [f64; 2] {
    let radius = (-2.0 * (1.0 - uniform(word_0)).ln()).sqrt();
    let (sine, cosine) = (std::f64::consts::TAU * uniform(word_1)).sin_cos();
    [radius * cosine, radius * sine]
}

/// An integer in 0..bound from one word, by the upper half of a 64-bit product.
#[inline]
pub fn integer(word: u32, bound: u32) -> u32 {
    ((u64::from(word) * u64::from(bound)) >> 32) as u32
}

/// The image of `index` under a random permutation of 0..count, without a table.
///
/// A balanced Feistel network over the smallest even number of bits that holds `count`, eight rounds of Philox,
/// walked until the result falls below `count` (Black and Rogaway, "Ciphers with arbitrary finite domains", 2002).
/// Each (seed, stream, step) gives another permutation; shuffling an epoch needs no memory and no host.
///
/// ```
/// use belamy_tensor::philox::{Draws, permuted};
/// let draws = Draws { seed: 1, stream: 2, step: 3 };
/// let mut seen: Vec<u32> = (0..1000).map(|index| permuted(index, 1000, &draws)).collect();
/// seen.sort_unstable();
/// assert!(seen.into_iter().eq(0..1000));
/// ```
pub fn permuted(index: u32, count: u32, draws: &Draws) -> u32 {
    debug_assert!(index < count);
    let bits = (32 - count.saturating_sub(1).leading_zeros()).max(2);
    let half = bits.div_ceil(2);
    let mask = (1u64 << half) - 1;
    let mut value = u64::from(index);
    loop {
        let (mut left, mut right) = (value >> half, value & mask);
        for round in 0..8 {
            let mixed = u64::from(draws.block(right as u32, round)[0]) & mask;
            (left, right) = (right, left ^ mixed);
        }
        value = (left << half) | right;
        if value < u64::from(count) {
            return value as u32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_published_test_vectors() {
        // Random123 `kat_vectors`, philox4x32 10 rounds.
        let ones = philox4x32(u64::MAX, [u32::MAX; 4]);
        assert_eq!(ones, [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
        let digits = philox4x32(
            (0x299f_31d0 << 32) | 0xa409_3822,
            [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
        );
        assert_eq!(digits, [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]);
    }

    #[test]
    fn together_as_one_by_one() {
        let counters: [[u32; 7]; 4] = std::array::from_fn(|word| {
            std::array::from_fn(|n| (word as u32 * 7 + n as u32).wrapping_mul(0x9E37_79B1))
        });
        let together = philox4x32_together(0x0123_4567_89AB_CDEF, counters);
        for n in 0..7 {
            let one = philox4x32(0x0123_4567_89AB_CDEF, counters.map(|words| words[n]));
            let [first, second] = together.map(|pairs| pairs[n]);
            assert_eq!([first, first >> 32, second, second >> 32].map(|word| word as u32), one);
        }
    }

    #[test]
    fn normals_have_the_moments_of_a_normal() {
        let draws = Draws { seed: 7, stream: 0, step: 0 };
        let mut sums = [0.0f64; 4];
        let count = 200_000;
        for sample in 0..count / 4 {
            let words = draws.block(sample, 0);
            let pairs = [normal_pair(words[0], words[1]), normal_pair(words[2], words[3])];
            for x in pairs.concat() {
                (0..4).for_each(|power| sums[power] += x.powi(power as i32 + 1));
            }
        }
        let moments = sums.map(|sum| sum / f64::from(count));
        assert!(moments[0].abs() < 0.01, "{moments:?}");
        assert!((moments[1] - 1.0).abs() < 0.015, "{moments:?}");
        assert!(moments[2].abs() < 0.04, "{moments:?}");
        assert!((moments[3] - 3.0).abs() < 0.12, "{moments:?}");
    }

    #[test]
    fn every_count_is_permuted_onto_itself() {
        for count in [1, 2, 3, 4, 5, 16, 17, 150, 1000] {
            let draws = Draws { seed: 3, stream: 1, step: count };
            let mut seen = vec![false; count as usize];
            (0..count).for_each(|index| seen[permuted(index, count, &draws) as usize] = true);
            assert!(seen.into_iter().all(|hit| hit), "{count}");
        }
    }
}
