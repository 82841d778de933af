//! The files beside `tests/judges/README.md`: an index in JSON, and all tensors' numbers end to end in safetensors, both
//! compressed.

use belamy_tensor::{DType, Device, Result, Shape, Tensor};
use flate2::read::GzDecoder;
use safetensors::SafeTensors;
use serde_json::Value;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// What a tensor's numbers mean.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Float,
    Integer,
    Boolean,
}

/// A tensor's numbers. Integers fit 32 bits, so f64 holds every kind exactly.
#[derive(Clone, Debug)]
pub(crate) struct Array {
    pub(crate) kind: Kind,
    pub(crate) shape: Shape,
    pub(crate) values: Vec<f64>,
}

impl Array {
    /// The numbers on a device, as floating point whatever their kind: 0 and 1 for booleans.
    pub(crate) fn on(&self, dtype: DType, device: &Device) -> Result<Tensor> {
        Tensor::from_f64(&self.values, self.shape, dtype, device)
    }

    /// The numbers as integers.
    pub(crate) fn integers(&self) -> Vec<i64> {
        self.values.iter().map(|&value| value as i64).collect()
    }
}

/// An index and the numbers that it points to.
pub(crate) struct Archive {
    pub(crate) index: Value,
    inputs: Vec<f64>,
    integers: Vec<f64>,
    results: Vec<f64>,
}

fn unpacked(name: &str) -> Result<Vec<u8>, String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("judges").join(name);
    let mut bytes = Vec::new();
    File::open(&path)
        .and_then(|file| GzDecoder::new(file).read_to_end(&mut bytes))
        .map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(bytes)
}

impl Archive {
    /// The archive whose files begin with `stem`. Fails when one is absent or damaged.
    pub(crate) fn open(stem: &str) -> Result<Archive, String> {
        let index = serde_json::from_slice(&unpacked(&format!("{stem}.json.gz"))?)
            .map_err(|error| format!("{stem}.json.gz: {error}"))?;
        let name = format!("{stem}.safetensors.gz");
        let bytes = unpacked(&name)?;
        let file = SafeTensors::deserialize(&bytes).map_err(|error| format!("{name}: {error}"))?;
        let part = |part: &str| {
            file.tensor(part).map(|view| view.data()).map_err(|error| format!("{name}: {error}"))
        };
        Ok(Archive {
            index,
            inputs: words(part("inputs")?, |word| f64::from(f32::from_le_bytes(word))),
            integers: words(part("integers")?, |word| f64::from(i32::from_le_bytes(word))),
            results: words(part("results")?, f64::from_le_bytes),
        })
    }

    /// The tensor that a record of the index describes; `None` where the value is no record of a tensor.
    pub(crate) fn array(&self, record: &Value) -> Option<Array> {
        let kind = match record["kind"].as_str()? {
            "integer" => Kind::Integer,
            "boolean" => Kind::Boolean,
            _ => Kind::Float,
        };
        let part = match record["part"].as_str()? {
            "inputs" => &self.inputs,
            "integers" => &self.integers,
            _ => &self.results,
        };
        let dims = record["shape"].as_array()?.iter().map(|extent| extent.as_u64());
        let dims =
            dims.map(|extent| extent.map(|extent| extent as usize)).collect::<Option<Vec<_>>>()?;
        let shape = Shape::new(&dims).ok()?;
        let at = record["at"].as_u64()? as usize;
        Some(Array { kind, shape, values: part.get(at..at + shape.elements())?.to_vec() })
    }
}

fn words<const N: usize>(bytes: &[u8], read: impl Fn([u8; N]) -> f64) -> Vec<f64> {
    let words = bytes.chunks_exact(N);
    words.map(|word| read(word.try_into().expect("chunks are of this length"))).collect()
}
