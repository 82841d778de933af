//! Electromagnetic showers in a calorimeter: energies of voxels, in CaloChallenge's layout or by a parametrisation.
//!
//! A photon of energy E meets a block of 12 layers of 2 radiation lengths X₀, each of 5 rings of 6 sectors about its
//! path. The parametrisation, after Grindhammer and Peters (1993) and Longo and Sestili (1975), is simple enough for its
//! moments to be known, and random where real showers are:
//!
//! ```text
//! start     t₀ ~ Exp(9/7): the depth in X₀ at which the photon becomes a pair
//! along     f(t) = b (b s)^(a-1) exp(-b s) / Γ(a),  s = t - t₀,  b = 1/2,  a = 1 + b (ln(E / 10 MeV) + 1/2)
//! across    g(r) = p 2 r c² / (r² + c²)² + (1-p) 2 r w² / (r² + w²)²  in Molière radii,
//!           p = 0.8,  c = 0.2 + 0.02 t,  w = 1
//! around    h(φ) = (1 + 0.3 cos(φ - φ₀)) / 2π,  φ₀ uniform: a direction that the whole shower leans to
//! voxel     n ~ Poisson(E q / 5 MeV) spots, q = f g h over the voxel, each of an energy ~ Exp(5 MeV)
//! ```
//!
//! So given t₀ and φ₀ a voxel has mean E q and variance 2 · 5 MeV · E q, independent of the others, and the sum of all
//! a resolution of 10 % / √(E / GeV). From 40 spots on, their number is taken from a normal distribution.
//!
//! Networks see y = √(E_voxel / E), an image of 12 × 30 in [0, 1]. The incident energies are the fifteen of
//! CaloChallenge's first data set, 256 MeV · 2^k, and k is a sample's class.
//!
//! CaloChallenge (Krause et al., 2024, arXiv 2410.21611) keeps `incident_energies` `[N, 1]` and `showers` `[N, V]`, both in
//! MeV, in an HDF5 file. Voxels go ring by ring within a sector, sector by sector within a layer.

use super::{Dataset, ValueRange};
use crate::error::{Error, Result};
use crate::memory;
use belamy_tensor::philox::{Draws, normal_pair, uniform};
use rayon::prelude::*;

/// The stream of draws that [`parametrised`] takes: "CALO".
pub const STREAM: u32 = 0x4341_4C4F;

/// Layers of the block.
pub const LAYERS: usize = 12;
/// Sectors of a layer.
pub const SECTORS: usize = 6;
/// Rings of a sector.
pub const RINGS: usize = 5;
/// Voxels of a layer.
pub const VOXELS_A_LAYER: usize = SECTORS * RINGS;
/// Incident energies, and classes.
pub const ENERGIES: usize = 15;

/// A layer's thickness in radiation lengths.
pub const THICKNESS: f64 = 2.0;
/// Where rings end, in Molière radii; the last has no end.
pub const RING_ENDS: [f64; RINGS - 1] = [0.15, 0.4, 0.9, 2.0];
/// The radius that stands for each ring.
pub const RING_RADII: [f64; RINGS] = [0.075, 0.275, 0.65, 1.45, 3.0];
/// The mean energy of a spot in MeV.
pub const SPOT: f64 = 5.0;
/// The mean depth in radiation lengths at which a photon becomes a pair.
const CONVERSION: f64 = 9.0 / 7.0;
const DECAY: f64 = 0.5;
const CORE: f64 = 0.8;
const LEAN: f64 = 0.3;
/// From this mean on, a Poisson number is drawn as a normal one.
const MANY: f64 = 40.0;

/// The incident energy of a class in MeV.
pub fn incident_energy(class: u32) -> f64 {
    256.0 * 2f64.powi(class as i32)
}

/// The class of an incident energy in MeV: `None` where it is none of the fifteen, to a thousandth.
pub fn class_of(energy: f64) -> Option<u32> {
    let class = (energy / 256.0).log2().round();
    let is_one = (0.0..ENERGIES as f64).contains(&class)
        && (energy / incident_energy(class as u32) - 1.0).abs() < 1e-3;
    is_one.then_some(class as u32)
}

/// What a network sees of a voxel's share of the incident energy.
pub fn seen(share: f64) -> f32 {
    share.max(0.0).sqrt().min(1.0) as f32
}

/// The share of the incident energy that a network means.
pub fn share(seen: f32) -> f64 {
    let seen = f64::from(seen.clamp(0.0, 1.0));
    seen * seen
}

/// ln Γ(x) for x > 0, to 1e-13 (Lanczos, g = 7, nine terms).
fn ln_gamma(x: f64) -> f64 {
    const TERMS: [f64; 9] = [
        0.999_999_999_999_809_9,
        676.520_368_121_885_1,
        -1_259.139_216_722_402_8,
        771.323_428_777_653_1,
        -176.615_029_162_140_6,
        12.507_343_278_686_905,
        -0.138_571_095_265_720_12,
        9.984_369_578_019_572e-6,
        1.505_632_735_149_311_6e-7,
    ];
    let x = x - 1.0;
    let t = x + 7.5;
    let sum: f64 = (1..9).map(|i| TERMS[i] / (x + i as f64)).sum::<f64>() + TERMS[0];
    0.5 * std::f64::consts::TAU.ln() + (x + 0.5) * t.ln() - t + sum.ln()
}

/// P(a, x), the share of a gamma distribution of shape a below x: a series below a + 1, above it Lentz's continued
/// fraction for the rest.
fn gamma_below(a: f64, x: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    let front = (a * x.ln() - x - ln_gamma(a)).exp();
    if x < a + 1.0 {
        let (mut term, mut sum, mut k) = (1.0 / a, 1.0 / a, a);
        while term > sum * 1e-16 {
            k += 1.0;
            term *= x / k;
            sum += term;
        }
        return front * sum;
    }
    let mut b = x + 1.0 - a;
    let (mut c, mut d) = (1e300, 1.0 / b);
    let mut fraction = d;
    for i in 1..500 {
        let i = f64::from(i);
        let term = -i * (i - a);
        b += 2.0;
        d = 1.0 / (term * d + b);
        c = b + term / c;
        fraction *= c * d;
        if (c * d - 1.0).abs() < 1e-16 {
            break;
        }
    }
    1.0 - front * fraction
}

/// The share of a shower of energy `energy` that begins at `start` which is left in each layer.
pub fn along(energy: f64, start: f64) -> [f64; LAYERS] {
    let shape = 1.0 + DECAY * ((energy / 10.0).ln() + 0.5);
    let mut above = 0.0;
    std::array::from_fn(|layer| {
        let below = gamma_below(shape, DECAY * (THICKNESS * (layer + 1) as f64 - start));
        let share = below - above;
        above = below;
        share
    })
}

/// The share of a layer's energy that each of its rings has.
pub fn across(layer: usize) -> [f64; RINGS] {
    let depth = THICKNESS * (layer as f64 + 0.5);
    let core = 0.2 + 0.02 * depth;
    let below = |r: f64| {
        let within = |radius: f64| r * r / (r * r + radius * radius);
        CORE * within(core) + (1.0 - CORE) * within(1.0)
    };
    std::array::from_fn(|ring| {
        let end = RING_ENDS.get(ring).map_or(1.0, |&end| below(end));
        let start = if ring == 0 { 0.0 } else { below(RING_ENDS[ring - 1]) };
        end - start
    })
}

/// The share of a ring's energy that each sector has, of a shower that leans to `direction`.
fn around(direction: f64) -> [f64; SECTORS] {
    let width = std::f64::consts::TAU / SECTORS as f64;
    std::array::from_fn(|sector| {
        let from = width * sector as f64 - direction;
        let lean = (from + width).sin() - from.sin();
        (width + LEAN * lean) / std::f64::consts::TAU
    })
}

/// Random numbers of one sample, in a row.
struct Row {
    draws: Draws,
    sample: u32,
    at: u32,
    block: [u32; 4],
}

impl Row {
    fn word(&mut self) -> u32 {
        if self.at.is_multiple_of(4) {
            self.block = self.draws.block(self.sample, self.at / 4);
        }
        self.at += 1;
        self.block[(self.at - 1) as usize % 4]
    }

    /// In (0, 1].
    fn uniform(&mut self) -> f64 {
        1.0 - uniform(self.word())
    }

    fn normal(&mut self) -> f64 {
        let words = [self.word(), self.word()];
        normal_pair(words[0], words[1])[0]
    }

    /// A Poisson number, by summing its probabilities up to a uniform one; normal where there are many.
    fn poisson(&mut self, mean: f64) -> f64 {
        if mean >= MANY {
            return (mean + mean.sqrt() * self.normal()).round().max(0.0);
        }
        let wanted = 1.0 - self.uniform();
        let (mut number, mut probability) = (0.0, (-mean).exp());
        let mut sum = probability;
        while wanted >= sum && probability > 0.0 {
            number += 1.0;
            probability *= mean / number;
            sum += probability;
        }
        number
    }

    /// The sum of `count` exponential numbers of mean 1: a gamma number (Marsaglia and Tsang, 2000).
    fn exponentials(&mut self, count: f64) -> f64 {
        if count == 0.0 {
            return 0.0;
        }
        let d = count - 1.0 / 3.0;
        let c = 1.0 / (9.0 * d).sqrt();
        loop {
            let x = self.normal();
            let v = (1.0 + c * x).powi(3);
            if v > 0.0 && self.uniform().ln() < 0.5 * x * x + d - d * v + d * v.ln() {
                return d * v;
            }
        }
    }
}

/// The energies in MeV of one shower's voxels.
fn shower(draws: Draws, sample: u32, energy: f64) -> [f64; LAYERS * VOXELS_A_LAYER] {
    let mut row = Row { draws, sample, at: 0, block: [0; 4] };
    let start = -CONVERSION * row.uniform().ln();
    let direction = std::f64::consts::TAU * row.uniform();
    let (layers, sectors) = (along(energy, start), around(direction));
    let mut voxels = [0.0; LAYERS * VOXELS_A_LAYER];
    for (layer, of_layer) in voxels.chunks_exact_mut(VOXELS_A_LAYER).enumerate() {
        let rings = across(layer);
        for (sector, of_sector) in of_layer.chunks_exact_mut(RINGS).enumerate() {
            for (voxel, ring) in of_sector.iter_mut().zip(rings) {
                let mean = energy * layers[layer] * sectors[sector] * ring;
                let spots = row.poisson(mean / SPOT);
                *voxel = SPOT * row.exponentials(spots);
            }
        }
    }
    voxels
}

/// `[count, 12, 30, 1]` showers by the parametrisation above, of all fifteen energies in turn. Sample i is a function of
/// (seed, i) alone. Fails if the count is 0 or its values do not fit 32-bit indices.
pub fn parametrised(count: usize, seed: u64) -> Result<Dataset> {
    let voxels = LAYERS * VOXELS_A_LAYER;
    if count == 0 || count > u32::MAX as usize / voxels {
        let most = u32::MAX as usize / voxels;
        return Err(Error::data(format!("{count} showers cannot be made: 1 to {most} can")));
    }
    let draws = Draws { seed, stream: STREAM, step: 0 };
    let mut images = memory::room(count * voxels, "data")?;
    images.resize(count * voxels, 0.0);
    let labels: Vec<u32> = (0..count as u32).map(|index| index % ENERGIES as u32).collect();
    images.par_chunks_exact_mut(voxels).enumerate().for_each(|(index, image)| {
        let energy = incident_energy(labels[index]);
        let voxels = shower(draws, index as u32, energy);
        image.iter_mut().zip(voxels).for_each(|(seen_, voxel)| *seen_ = seen(voxel / energy));
    });
    Dataset::new(images, &[count, LAYERS, VOXELS_A_LAYER, 1], Some(labels), ValueRange::Unit)
}

/// The data set of incident energies in MeV and `[N, V]` voxel energies in MeV. V must be 360, in the order of the module's
/// header, and the energies of the fifteen. Fails, naming the first shower that is not so.
pub fn from_energies(incident: &[f64], voxels: &[f64]) -> Result<Dataset> {
    let size = LAYERS * VOXELS_A_LAYER;
    let count = incident.len();
    if count == 0 || voxels.len() != count * size {
        let found = voxels.len();
        return Err(Error::data(format!("{count} showers have {found} voxels, not {size} each")));
    }
    let mut labels = Vec::with_capacity(count);
    let mut images = memory::room(voxels.len(), "data")?;
    for (number, (energy, voxels)) in incident.iter().zip(voxels.chunks_exact(size)).enumerate() {
        let class = class_of(*energy).ok_or_else(|| {
            Error::data(format!(
                "shower {number} is of {energy} MeV, which is none of 256 MeV · 2^k, k < {ENERGIES}"
            ))
        })?;
        if let Some(voxel) = voxels.iter().position(|voxel| !(*voxel >= 0.0 && voxel.is_finite())) {
            let found = voxels[voxel];
            return Err(Error::data(format!("voxel {voxel} of shower {number} has {found} MeV")));
        }
        labels.push(class);
        images.extend(voxels.iter().map(|voxel| seen(voxel / energy)));
    }
    Dataset::new(images, &[count, LAYERS, VOXELS_A_LAYER, 1], Some(labels), ValueRange::Unit)
}

#[cfg(test)]
mod tests;
