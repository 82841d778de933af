//! Seeded numbers for cases. All are exact in f32, so that one set of inputs serves f32 and f64 devices.

use belamy_tensor::philox::{self, Draws};

/// Where an input's numbers lie.
#[derive(Clone, Debug, PartialEq)]
pub enum Domain {
    /// Standard normal numbers.
    Normal,
    /// From 0.25 to 2.5: for logarithms, roots and divisors.
    Positive,
    /// Positive or negative, magnitude from 0.25 to 2.5: for reciprocals.
    NonZero,
    /// Normal numbers at least 0.05 away from each of these kinks.
    Away(Vec<f64>),
    /// Normal numbers, no two of one tensor closer than 0.02 (for maxima), in random order.
    Distinct,
    /// Normal numbers rounded to multiples of 1/4, then moved by this: two lattices never come near one another.
    Lattice(f64),
    /// Normal numbers scaled by 8, so that saturating functions saturate.
    Wide,
    /// Uniform in [0, 1).
    Unit,
    /// 0 or 1 with equal chances, as conditions and labels are.
    Flag,
    /// u32 integers below a bound.
    Indices(u32),
    /// These numbers, in order.
    Fixed(Vec<f64>),
    /// These u32 integers, in order: counters.
    Integers(Vec<u32>),
}

impl Domain {
    /// Whether the numbers are u32.
    pub fn is_integer(&self) -> bool {
        matches!(self, Domain::Indices(_) | Domain::Integers(_))
    }
}

/// A stream of random numbers that depends on a name and nothing else.
#[derive(Debug)]
pub struct Numbers {
    draws: Draws,
    next: u32,
}

/// FNV-1a: a seed from a name.
pub fn seed_of(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

impl Numbers {
    /// The stream of a case's name for one purpose (`inputs`, `cotangent`, ...).
    pub fn new(name: &str, purpose: &str) -> Numbers {
        let draws = Draws { seed: seed_of(name), stream: seed_of(purpose) as u32, step: 0 };
        Numbers { draws, next: 0 }
    }

    fn word(&mut self) -> u32 {
        let word = self.draws.word(0, self.next);
        self.next += 1;
        word
    }

    /// Uniform in [0, 1).
    pub fn uniform(&mut self) -> f64 {
        philox::uniform(self.word())
    }

    /// Standard normal, rounded to f32.
    pub fn normal(&mut self) -> f64 {
        let words = [self.word(), self.word()];
        f64::from(philox::normal_pair(words[0], words[1])[0] as f32)
    }

    /// An integer below `bound`.
    pub fn below(&mut self, bound: u32) -> u32 {
        philox::integer(self.word(), bound)
    }

    /// `count` standard normal numbers.
    pub fn normals(&mut self, count: usize) -> Vec<f64> {
        (0..count).map(|_| self.normal()).collect()
    }

    /// `count` numbers of a domain.
    pub fn draw(&mut self, domain: &Domain, count: usize) -> Vec<f64> {
        let values: Vec<f64> = match domain {
            Domain::Distinct => self.distinct(count),
            Domain::Fixed(values) => {
                assert_eq!(values.len(), count, "fixed values must fill the input's shape");
                values.clone()
            }
            Domain::Integers(values) => {
                assert_eq!(values.len(), count, "fixed integers must fill the input's shape");
                values.iter().map(|&value| f64::from(value)).collect()
            }
            _ => (0..count).map(|_| self.one(domain)).collect(),
        };
        match domain.is_integer() {
            true => values,
            false => values.into_iter().map(|value| f64::from(value as f32)).collect(),
        }
    }

    fn one(&mut self, domain: &Domain) -> f64 {
        match domain {
            Domain::Normal | Domain::Distinct | Domain::Fixed(_) | Domain::Integers(_) => {
                self.normal()
            }
            Domain::Positive => 0.25 + 2.25 * self.uniform(),
            Domain::NonZero => {
                let sign = if self.word() & 1 == 0 { 1.0 } else { -1.0 };
                sign * (0.25 + 2.25 * self.uniform())
            }
            Domain::Away(kinks) => loop {
                let value = self.normal();
                if kinks.iter().all(|kink| (value - kink).abs() > 0.05) {
                    break value;
                }
            },
            Domain::Lattice(offset) => (4.0 * self.normal()).round() / 4.0 + offset,
            Domain::Wide => 8.0 * self.normal(),
            Domain::Unit => self.uniform(),
            Domain::Flag => f64::from(self.word() & 1),
            Domain::Indices(bound) => f64::from(self.below(*bound)),
        }
    }

    /// Numbers on a grid of 0.04, jittered by less than 0.01, in random order.
    fn distinct(&mut self, count: usize) -> Vec<f64> {
        let middle = count as f64 / 2.0;
        let mut values: Vec<f64> = (0..count)
            .map(|index| (index as f64 - middle) * 0.04 + 0.02 * (self.uniform() - 0.5))
            .collect();
        for last in (1..count).rev() {
            let other = self.below(last as u32 + 1) as usize;
            values.swap(last, other);
        }
        values
    }
}
