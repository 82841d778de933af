//! Numbers that another implementation computed: `golden/<family>.safetensors`, made by `python/make_golden.py`.
//!
//! A case has the tensors `<case>/in0`, .., `out`, and where it is differentiated `cotangent`, `grad<i>`, directions
//! `v<i>` and `gradgrad<i>` (the gradient of `Σ_j ⟨v_j, grad_j⟩`), all in this house's layouts; the file's metadata
//! names its op and attributes.

use crate::compare::{Mismatch, compare};
use belamy_tensor::ops::concat::concat;
use belamy_tensor::ops::conv2d::{Window, conv_transpose2d, conv2d};
use belamy_tensor::ops::gather::gather_rows;
use belamy_tensor::ops::loss::bce_with_logits;
use belamy_tensor::ops::matmul::matmul;
use belamy_tensor::ops::norm::{batch_norm, instance_norm};
use belamy_tensor::ops::pixel_shuffle::{pixel_shuffle, pixel_unshuffle};
use belamy_tensor::ops::pointwise::select;
use belamy_tensor::ops::pool2d::{avg_pool2d, max_pool2d};
use belamy_tensor::ops::reduce::pick;
use belamy_tensor::ops::resize::{resize_bilinear, resize_nearest};
use belamy_tensor::{DType, Device, Error, Graph, Shape, Tensor, grad};
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Files in the folder that hold whole training runs instead of ops.
const RUNS: &str = "parity_";

/// One tensor of a file.
#[derive(Clone, Debug)]
struct Array {
    shape: Shape,
    integer: bool,
    values: Vec<f64>,
}

impl Array {
    fn on(&self, dtype: DType, device: &Device) -> belamy_tensor::Result<Tensor> {
        if self.integer {
            let indices: Vec<u32> = self.values.iter().map(|&value| value as u32).collect();
            return Tensor::from_slice(&indices, self.shape, device);
        }
        Tensor::from_f64(&self.values, self.shape, dtype, device)
    }
}

/// One op applied to given numbers, with what it must give.
#[derive(Clone, Debug)]
pub struct GoldenCase {
    /// The file's stem.
    pub family: String,
    /// The case's name in the file.
    pub name: String,
    /// The op.
    pub op: String,
    attributes: Value,
    arrays: BTreeMap<String, Array>,
}

/// What was compared, and how it came out.
pub type Outcome = (String, Result<f64, Mismatch>);

/// Where the files are.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden")
}

/// Every case of every file in a folder, in the order of their names. Fails on the first file that cannot be read.
pub fn read(folder: &Path) -> Result<Vec<GoldenCase>, String> {
    let entries =
        std::fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "safetensors"))
        .filter(|path| !stem(path).starts_with(RUNS))
        .collect();
    files.sort();
    let mut cases = Vec::new();
    for file in files {
        let bytes = std::fs::read(&file).map_err(|error| format!("{}: {error}", file.display()))?;
        cases.extend(
            parse(&stem(&file), &bytes).map_err(|error| format!("{}: {error}", file.display()))?,
        );
    }
    Ok(cases)
}

fn stem(path: &Path) -> String {
    path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default()
}

fn parse(family: &str, bytes: &[u8]) -> Result<Vec<GoldenCase>, String> {
    let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|error| error.to_string())?;
    let file = SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?;
    let named = metadata.metadata().clone().unwrap_or_default();
    let mut cases = Vec::new();
    for (name, text) in &named {
        // The other entries are the versions of what made the file.
        let Ok(description) = serde_json::from_str::<Value>(text) else { continue };
        let Some(op) = description["op"].as_str() else { continue };
        let prefix = format!("{name}/");
        let mut arrays = BTreeMap::new();
        for full in file.names() {
            let Some(part) = full.strip_prefix(&prefix) else { continue };
            let view = file.tensor(full).map_err(|error| error.to_string())?;
            let (integer, values) = match view.dtype() {
                Dtype::F64 => (false, numbers(view.data(), f64::from_le_bytes)),
                Dtype::U32 => {
                    (true, numbers(view.data(), |bytes| f64::from(u32::from_le_bytes(bytes))))
                }
                other => return Err(format!("{full}: {other:?} is neither F64 nor U32")),
            };
            let shape = Shape::new(view.shape()).map_err(|error| error.to_string())?;
            arrays.insert(part.to_string(), Array { shape, integer, values });
        }
        cases.push(GoldenCase {
            family: family.to_string(),
            name: name.clone(),
            op: op.to_string(),
            attributes: description["attributes"].clone(),
            arrays,
        });
    }
    cases.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(cases)
}

fn numbers<const N: usize>(bytes: &[u8], read: impl Fn([u8; N]) -> f64) -> Vec<f64> {
    let words = bytes.chunks_exact(N);
    words.map(|word| read(word.try_into().expect("chunks are of this length"))).collect()
}

impl GoldenCase {
    /// `family/name`.
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.family, self.name)
    }

    fn number(&self, key: &str) -> f64 {
        self.attributes[key].as_f64().unwrap_or(f64::NAN)
    }

    fn flag(&self, key: &str) -> bool {
        self.attributes[key].as_bool().unwrap_or(false)
    }

    fn sizes(&self, key: &str) -> Vec<usize> {
        let list = self.attributes[key].as_array();
        list.map(|list| {
            list.iter().filter_map(|size| size.as_u64().map(|size| size as usize)).collect()
        })
        .unwrap_or_default()
    }

    fn pair(&self, key: &str) -> [usize; 2] {
        let sizes = self.sizes(key);
        [sizes.first().copied().unwrap_or(1), sizes.get(1).copied().unwrap_or(1)]
    }

    fn border(&self) -> ((usize, usize), (usize, usize)) {
        let side = |axis: usize, end: usize| {
            self.attributes["padding"][axis][end].as_u64().unwrap_or(0) as usize
        };
        ((side(0, 0), side(0, 1)), (side(1, 0), side(1, 1)))
    }

    fn window(&self) -> Window {
        Window {
            stride: self.pair("stride").into(),
            padding: self.border(),
            dilation: self.pair("dilation").into(),
            groups: self.attributes["groups"].as_u64().unwrap_or(1) as usize,
        }
    }

    /// The op under test. Fails for an op that this program does not know.
    fn build(&self, t: &[Tensor]) -> belamy_tensor::Result<Tensor> {
        let x = &t[0];
        match self.op.as_str() {
            "neg" => x.neg(),
            "exp" => x.exp(),
            "log" => x.log(),
            "sqrt" => x.sqrt(),
            "abs" => x.abs(),
            "sign" => x.sign(),
            "square" => x.square(),
            "reciprocal" => x.reciprocal(),
            "relu" => x.relu(),
            "tanh" => x.tanh(),
            "sigmoid" => x.sigmoid(),
            "softplus" => x.softplus(),
            "sin" => x.sin(),
            "cos" => x.cos(),
            "leaky_relu" => x.leaky_relu(self.number("slope")),
            "clamp" => x.clamp(self.number("low"), self.number("high")),
            "add_scalar" => x.add_scalar(self.number("constant")),
            "mul_scalar" => x.mul_scalar(self.number("constant")),
            "pow_scalar" => x.pow_scalar(self.number("power")),
            "greater_scalar" => x.greater_scalar(self.number("threshold")),
            "add" => x.add(&t[1]),
            "sub" => x.sub(&t[1]),
            "mul" => x.mul(&t[1]),
            "div" => x.div(&t[1]),
            "maximum" => x.maximum(&t[1]),
            "minimum" => x.minimum(&t[1]),
            "greater" => x.greater(&t[1]),
            "select" => select(x, &t[1], &t[2]),
            "sum" => x.sum(&self.sizes("axes")),
            "mean" => x.mean(&self.sizes("axes")),
            "max" => x.max(&self.sizes("axes")),
            "pick" => pick(x, &t[1]),
            "matmul" => matmul(x, &t[1], self.flag("transpose_a"), self.flag("transpose_b")),
            "conv2d" => conv2d(x, &t[1], self.window()),
            "conv_transpose2d" => {
                conv_transpose2d(x, &t[1], self.window(), self.pair("output_padding").into())
            }
            "avg_pool2d" => {
                avg_pool2d(x, self.pair("kernel"), self.window(), self.flag("count_include_pad"))
            }
            "max_pool2d" => max_pool2d(x, self.pair("kernel"), self.window()),
            "resize" if self.attributes["mode"] == "nearest" => {
                resize_nearest(x, self.pair("size"))
            }
            "resize" => resize_bilinear(x, self.pair("size"), self.flag("align_corners")),
            "pad" if self.attributes["mode"] == "reflect" => x.reflect_pad2d(self.border()),
            "pad" => {
                let ((top, bottom), (left, right)) = self.border();
                let padded = |x: &Tensor| x.pad(&[0, top, left, 0], &[0, bottom, right, 0]);
                match self.attributes["value"].as_f64() {
                    Some(value) if value != 0.0 => {
                        padded(&x.add_scalar(-value)?)?.add_scalar(value)
                    }
                    _ => padded(x),
                }
            }
            "concat" => {
                let axis = self.attributes["axis"].as_u64().unwrap_or(0) as usize;
                concat(&t.iter().collect::<Vec<_>>(), axis)
            }
            "pixel_shuffle" => pixel_shuffle(x, self.number("factor") as usize),
            "pixel_unshuffle" => pixel_unshuffle(x, self.number("factor") as usize),
            "gather" => gather_rows(x, &t[1]),
            "batch_norm" => Ok(batch_norm(x, t.get(1), t.get(2), self.number("epsilon"))?.0),
            "instance_norm" => instance_norm(x, t.get(1), t.get(2), self.number("epsilon")),
            "binary_cross_entropy_with_logits" => bce_with_logits(x, &t[1]),
            other => Err(Error::argument("golden", format!("no op is called {other}"))),
        }
    }

    /// Checks output, gradients (constant and as part of a graph) and second derivatives, each as far as the file
    /// has it. Returns what was checked with each outcome; `Err` where the op refused. [`Mismatch::Meaningless`] says
    /// that a number is too small for the type, beside the terms that cancel in it.
    pub fn check(&self, dtype: DType, device: &Device) -> belamy_tensor::Result<Vec<Outcome>> {
        let mut inputs = Vec::new();
        while let Some(array) = self.arrays.get(&format!("in{}", inputs.len())) {
            let tensor = array.on(dtype, device)?;
            let tracked = self.arrays.contains_key(&format!("grad{}", inputs.len()));
            inputs.push(if tracked { tensor.tracked() } else { tensor });
        }
        let output = self.build(&inputs)?;
        let mut outcomes = vec![self.outcome("out", dtype, Some(&output))?];
        let Some(cotangent) = self.arrays.get("cotangent") else { return Ok(outcomes) };
        let cotangent = cotangent.on(dtype, device)?;
        let wanted: Vec<usize> =
            (0..inputs.len()).filter(|&index| inputs[index].is_tracked()).collect();
        let wrt: Vec<&Tensor> = wanted.iter().map(|&index| &inputs[index]).collect();
        let dropped = grad(&output, Some(&cotangent), &wrt, Graph::Drop)?;
        let kept = grad(&output, Some(&cotangent), &wrt, Graph::Keep)?;
        for (index, gradient) in wanted.iter().zip(&dropped).chain(wanted.iter().zip(&kept)) {
            outcomes.push(self.outcome(&format!("grad{index}"), dtype, gradient.as_ref())?);
        }
        let mut seconds: Vec<Option<Tensor>> = vec![None; wanted.len()];
        for (index, first) in wanted.iter().zip(&kept) {
            let Some(direction) = self.arrays.get(&format!("v{index}")) else {
                return Ok(outcomes);
            };
            let Some(first) = first else { continue };
            let direction = direction.on(dtype, device)?;
            let parts = grad(first, Some(&direction), &wrt, Graph::Drop)?;
            for (sum, part) in seconds.iter_mut().zip(parts) {
                *sum = match (sum.take(), part) {
                    (Some(sum), Some(part)) => Some(sum.add(&part)?),
                    (sum, part) => sum.or(part),
                };
            }
        }
        for (index, second) in wanted.iter().zip(&seconds) {
            outcomes.push(self.outcome(&format!("gradgrad{index}"), dtype, second.as_ref())?);
        }
        Ok(outcomes)
    }

    fn outcome(
        &self,
        part: &str,
        dtype: DType,
        got: Option<&Tensor>,
    ) -> belamy_tensor::Result<Outcome> {
        let what = format!("{} {part} in {dtype}", self.full_name());
        let Some(want) = self.arrays.get(part) else {
            let missing = Mismatch::Presence { what: format!("the file has no {part}") };
            return Ok((what, Err(missing)));
        };
        let (values, shape) = match got {
            Some(got) => (got.to_f64()?, got.shape()),
            None => (vec![0.0; want.values.len()], want.shape),
        };
        // Gradients sum terms of the cotangent's size, which may cancel; what is zero by construction must be zero.
        let peak = |values: &[f64]| values.iter().fold(0.0f64, |most, value| most.max(value.abs()));
        let largest = peak(&want.values);
        let terms = self.arrays.get("cotangent").map_or(0.0, |cotangent| peak(&cotangent.values));
        let (relative, absolute) = if dtype == DType::F32 { (4e-6, 1e-6) } else { (1e-13, 1e-15) };
        let bound = if largest == 0.0 { 0.0 } else { relative * largest + absolute * terms };
        let outcome = match compare(&values, shape, &want.values, want.shape, |_| bound) {
            Err(Mismatch::Meaningless { .. }) if largest == 0.0 => Ok(0.0),
            outcome => outcome,
        };
        Ok((what, outcome))
    }
}
