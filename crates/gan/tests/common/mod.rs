//! What the golden tests share: numbers hashed from their places, and files that PyTorch's numbers lie in.

#![allow(dead_code, reason = "each test takes what it needs")]

use belamy_nn::{Network, weights};
use belamy_tensor::Tensor;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;

fn mix(mut h: u32) -> u32 {
    h ^= h >> 16;
    h = h.wrapping_mul(0x85eb_ca6b);
    h ^= h >> 13;
    h = h.wrapping_mul(0xc2b2_ae35);
    h ^ (h >> 16)
}

/// The filling that both sides share: uniform numbers hashed from their places.
pub(crate) fn filled(count: usize, salt: u32, scale: f64, offset: f64) -> Vec<f64> {
    let word = |i: usize| mix(mix(i as u32).wrapping_add(salt.wrapping_mul(2_654_435_761)));
    (0..count).map(|i| (f64::from(word(i) >> 8) / 16_777_216.0 - 0.5) * scale + offset).collect()
}

/// Fills a network as `tests/python/make_networks.py` says.
pub(crate) fn fill(network: &Network) {
    for (index, (name, param)) in network.params().into_iter().enumerate() {
        let (dtype, shape) = (param.meta().dtype, param.shape_in_files());
        let elements = shape.elements();
        let (scale, offset) = match name.rsplit('.').next().unwrap() {
            "weight" => ((12.0 / (elements / shape.dims()[0]) as f64).sqrt(), 0.0),
            "bias" | "beta" => (0.2, 0.0),
            "gamma" => (0.4, 1.0),
            "running_mean" => (0.4, 0.0),
            "running_variance" => (0.5, 1.0),
            "slope" => (0.2, 0.25),
            other => panic!("{other} has no filling"),
        };
        let values = filled(elements, index as u32 + 1, scale, offset);
        let device = param.value().device().clone();
        let value = Tensor::from_f64(&values, shape, dtype, &device).unwrap();
        param.set(param.in_files(&value).unwrap());
    }
}

/// A golden file.
pub(crate) struct Golden {
    pub(crate) metadata: Value,
    pub(crate) tensors: BTreeMap<String, Tensor>,
}

impl Golden {
    pub(crate) fn read(name: &str) -> Golden {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join(format!("../../tests/golden/{name}.safetensors"));
        let bytes = std::fs::read(&path).unwrap();
        let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let header: Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
        let tensors = weights::from_bytes(&bytes, &belamy_cpu::oracle()).unwrap();
        Golden { metadata: header["__metadata__"].clone(), tensors }
    }

    /// Of how many elements one is in the file.
    pub(crate) fn stride(&self) -> usize {
        self.metadata["stride"].as_str().unwrap().parse().unwrap()
    }

    pub(crate) fn values(&self, name: &str) -> Vec<f64> {
        self.tensors.get(name).unwrap_or_else(|| panic!("no {name}")).to_f64().unwrap()
    }
}
