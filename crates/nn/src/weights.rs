//! Weight files: safetensors, and the names and layouts of Keras and PyTorch.

use crate::{Error, Network, Param, Result};
use belamy_tensor::{DType, Device, Shape, Tensor};
use safetensors::tensor::{Dtype, SafeTensors};
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::Path;

/// The bytes of a safetensors file of named tensors, with `metadata` in its header.
pub fn to_bytes(tensors: &[(String, Tensor)], metadata: &[(&str, String)]) -> Result<Vec<u8>> {
    let layout = Layout::new(tensors, metadata)?;
    let mut bytes = room_for("a file of tensors", layout.start.len() + layout.content)?;
    layout.emit(&mut bytes)?.map_err(|error| Error::Weights(error.to_string()))?;
    Ok(bytes)
}

/// Writes a safetensors file of named tensors, one tensor at a time in memory. It is not flushed to disk.
///
/// Fails, naming the file, if it exists already, cannot be written or the disk is full.
pub fn write(path: &Path, tensors: &[(String, Tensor)], metadata: &[(&str, String)]) -> Result<()> {
    let cannot = |error: io::Error| Error::file(path, format!("cannot write: {error}"));
    let mut file = std::fs::File::create_new(path).map_err(cannot)?;
    Layout::new(tensors, metadata)?.emit(&mut file)?.map_err(cannot)
}

/// What a file of tensors holds: a header that is a multiple of 8 bytes, then the numbers of wider types before those of
/// narrower ones, so that all are aligned; by name among equals, so that equal tensors give equal bytes.
struct Layout<'a> {
    /// The header, after its length.
    start: Vec<u8>,
    sorted: Vec<(&'a str, &'a Tensor)>,
    /// How many bytes the numbers are.
    content: usize,
}

impl<'a> Layout<'a> {
    fn new(tensors: &'a [(String, Tensor)], metadata: &[(&str, String)]) -> Result<Layout<'a>> {
        let mut sorted: Vec<(&str, &Tensor)> =
            tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
        sorted.sort_by_key(|(name, tensor)| (Reverse(tensor.dtype().bytes()), *name));
        let repeated = |pair: &&[(&str, &Tensor)]| pair[0].0 == pair[1].0;
        if let Some(pair) = sorted.windows(2).find(repeated) {
            return Err(Error::Weights(format!("two tensors are named {}", pair[0].0)));
        }
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        let mut entries = Vec::new();
        if !metadata.is_empty() {
            let fields: Vec<String> = metadata
                .iter()
                .map(|(key, text)| format!("{}:{}", quoted(key), quoted(text)))
                .collect();
            entries.push(format!("\"__metadata__\":{{{}}}", fields.join(",")));
        }
        let mut end = 0;
        for (name, tensor) in &sorted {
            let dtype = match tensor.dtype() {
                DType::F32 => "F32",
                DType::F64 => "F64",
                DType::U32 => "U32",
            };
            let (name, shape, start) = (quoted(name), tensor.dims(), end);
            end += tensor.shape().elements() * tensor.dtype().bytes();
            let entry = format!(
                "\"dtype\":\"{dtype}\",\"shape\":{shape:?},\"data_offsets\":[{start},{end}]"
            );
            entries.push(format!("{name}:{{{entry}}}"));
        }
        let mut header = format!("{{{}}}", entries.join(","));
        header.push_str(&" ".repeat(header.len().next_multiple_of(8) - header.len()));
        let mut start = (header.len() as u64).to_le_bytes().to_vec();
        start.extend(header.as_bytes());
        Ok(Layout { start, sorted, content: end })
    }

    /// The one writer.
    fn emit(&self, out: &mut dyn io::Write) -> Result<io::Result<()>> {
        if let Err(error) = out.write_all(&self.start) {
            return Ok(Err(error));
        }
        for (_, tensor) in &self.sorted {
            let written = match tensor.dtype() {
                DType::F32 => out.write_all(bytemuck::cast_slice(&tensor.to_vec::<f32>()?)),
                DType::F64 => out.write_all(bytemuck::cast_slice(&tensor.to_vec::<f64>()?)),
                DType::U32 => out.write_all(bytemuck::cast_slice(&tensor.to_vec::<u32>()?)),
            };
            if written.is_err() {
                return Ok(written);
            }
        }
        Ok(Ok(()))
    }
}

/// The tensors of a safetensors file, by name. Fails on anything that is not one, naming the file.
pub fn read(path: &Path, device: &Device) -> Result<BTreeMap<String, Tensor>> {
    let cannot = |error: std::io::Error| Error::file(path, format!("cannot read: {error}"));
    // A pipe or a device would block or never end.
    if !std::fs::metadata(path).map_err(cannot)?.is_file() {
        return Err(Error::file(path, "cannot read: it is not a regular file"));
    }
    let bytes = std::fs::read(path).map_err(cannot)?;
    from_bytes(&bytes, device).map_err(|error| match error {
        Error::Weights(what) => Error::file(path, what),
        other => Error::file(path, other),
    })
}

/// As [`read`], from memory. f32, f64, u32 and non-negative i32 and i64 tensors are taken.
pub fn from_bytes(bytes: &[u8], device: &Device) -> Result<BTreeMap<String, Tensor>> {
    let refuse = |what: String| Error::Weights(what);
    let file = SafeTensors::deserialize(bytes)
        .map_err(|error| refuse(format!("is not a whole safetensors file: {error}")))?;
    let mut tensors = BTreeMap::new();
    for (name, view) in file.tensors() {
        let shape = Shape::new(view.shape())?;
        let data = view.data();
        let tensor = match view.dtype() {
            Dtype::F32 => Tensor::from_slice(&numbers::<f32>(&name, data)?, shape, device)?,
            Dtype::F64 => Tensor::from_slice(&numbers::<f64>(&name, data)?, shape, device)?,
            Dtype::U32 => Tensor::from_slice(&numbers::<u32>(&name, data)?, shape, device)?,
            Dtype::I32 => whole(&name, numbers::<i32>(&name, data)?, shape, device)?,
            Dtype::I64 => whole(&name, numbers::<i64>(&name, data)?, shape, device)?,
            other => {
                let what = format!("{name} is {other:?}; f32, f64, u32, i32 and i64 are read");
                return Err(refuse(what));
            }
        };
        tensors.insert(name, tensor);
    }
    Ok(tensors)
}

/// Numbers at any alignment: a tensor's bytes start wherever the header ends.
fn numbers<T: bytemuck::Pod>(name: &str, bytes: &[u8]) -> Result<Vec<T>> {
    let mut numbers = room_for(name, bytes.len() / size_of::<T>())?;
    numbers.extend(bytes.chunks_exact(size_of::<T>()).map(bytemuck::pod_read_unaligned::<T>));
    Ok(numbers)
}

/// An empty vector with room for a tensor's numbers.
fn room_for<T>(name: &str, count: usize) -> Result<Vec<T>> {
    let mut numbers = Vec::new();
    numbers.try_reserve_exact(count).map_err(|_| {
        let bytes = count.saturating_mul(size_of::<T>());
        Error::Weights(format!("out of memory: {bytes} bytes for {name}"))
    })?;
    Ok(numbers)
}

fn whole<T: TryInto<u32> + Copy>(
    name: &str,
    values: Vec<T>,
    shape: Shape,
    device: &Device,
) -> Result<Tensor> {
    let mut numbers: Vec<u32> = room_for(name, values.len())?;
    for value in values {
        let number = value.try_into();
        let outside = |_| Error::Weights(format!("{name} holds a number outside 0..2³²"));
        numbers.push(number.map_err(outside)?);
    }
    Ok(Tensor::from_slice(&numbers, shape, device)?)
}

/// A network's parameters with their full names, in the layout of files.
pub fn of_network(network: &Network) -> Result<Vec<(String, Tensor)>> {
    network
        .params()
        .into_iter()
        .map(|(name, param)| Ok((name, param.in_files(&param.value().detach())?)))
        .collect()
}

/// Puts named tensors into a network. Fails, changing nothing, unless names and shapes are exactly the network's.
pub fn into_network(network: &Network, mut tensors: BTreeMap<String, Tensor>) -> Result<()> {
    let params = network.params();
    let mut values = Vec::new();
    for (name, param) in &params {
        let tensor = tensors.remove(name).ok_or_else(|| {
            Error::Weights(format!("{}: the file has no tensor {name}", network.name()))
        })?;
        values.push(fitted(name, param, tensor)?);
    }
    if let Some(name) = tensors.keys().next() {
        let what = format!("{}: the network has no parameter {name}", network.name());
        return Err(Error::Weights(what));
    }
    params.iter().zip(values).for_each(|((_, param), value)| param.set(value));
    Ok(())
}

/// A tensor from a file as the parameter keeps it: its value, its average or a moment of it. Fails, naming it, unless it
/// is of floats and has the parameter's shape in files.
pub fn fitted(name: &str, param: &Param, tensor: Tensor) -> Result<Tensor> {
    let wanted = param.shape_in_files();
    if tensor.shape() != wanted || !tensor.dtype().is_float() {
        let found = tensor.meta();
        let what = format!("{name} is {} {}, not {wanted}", found.shape, found.dtype);
        return Err(Error::Weights(what));
    }
    Ok(param.in_files(&tensor.to_dtype(param.meta().dtype)?)?)
}

/// Whose names and layouts a file has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// This project's own.
    Belamy,
    /// `dense_18/kernel`, dense `[in, out]`, convolutions `[kh, kw, in, out]`, NHWC.
    Keras,
    /// `main.0.weight`, dense `[out, in]`, convolutions `[out, in, kh, kw]`, NCHW.
    Pytorch,
}

/// Tells by the names whose file it is; `None` when no known scheme fits.
pub fn origin(tensors: &BTreeMap<String, Tensor>) -> Option<Origin> {
    let ends = |suffixes: &[&str]| {
        tensors.keys().any(|name| suffixes.iter().any(|suffix| name.ends_with(suffix)))
    };
    if ends(&["/kernel", "/kernel:0", "/gamma", "/gamma:0", "/embeddings", "/embeddings:0"]) {
        Some(Origin::Keras)
    } else if tensors.keys().any(|name| is_numbered_module(name)) {
        Some(Origin::Pytorch)
    } else if ends(&[".weight", ".gamma"]) {
        Some(Origin::Belamy)
    } else {
        None
    }
}

/// Puts a Keras- or PyTorch-named file into a network, by the order of layers of each kind.
///
/// Keras numbers layers of one kind in the order they were made (`conv2d_26` before `conv2d_27`), PyTorch modules by
/// their place (`main.0` before `main.3`). Fails, changing nothing, when a kind has more or fewer layers than the
/// network, or a shape differs after conversion.
pub fn import(network: &Network, tensors: BTreeMap<String, Tensor>) -> Result<Origin> {
    let origin = origin(&tensors).ok_or_else(|| {
        let names: Vec<&str> = tensors.keys().take(3).map(String::as_str).collect();
        Error::Weights(format!(
            "names such as {names:?} are neither Keras', PyTorch's nor Belamy's"
        ))
    })?;
    match origin {
        Origin::Belamy => into_network(network, tensors)?,
        Origin::Keras => import_ordered(network, keras_layers(tensors)?, keras_param)?,
        Origin::Pytorch => import_ordered(network, pytorch_layers(tensors)?, pytorch_param)?,
    }
    Ok(origin)
}

/// A foreign layer: its own name, and its tensors by the foreign parameter name.
#[derive(Debug)]
struct ForeignLayer {
    name: String,
    tensors: HashMap<String, Tensor>,
}

/// The place of the network's parameter in a foreign layer: its name there, and how its axes are ordered.
type Convert = fn(kind: &str, param: &str) -> Option<(&'static str, &'static [usize])>;

fn keras_param(kind: &str, param: &str) -> Option<(&'static str, &'static [usize])> {
    Some(match (kind, param) {
        ("dense", "weight") => ("kernel", &[1, 0]),
        ("conv2d", "weight") => ("kernel", &[3, 0, 1, 2]),
        // Keras keeps [kh, kw, out, in].
        ("conv_transpose2d", "weight") => ("kernel", &[2, 0, 1, 3]),
        ("embedding", "weight") => ("embeddings", &[]),
        ("batch_norm" | "instance_norm", "gamma") => ("gamma", &[]),
        ("batch_norm" | "instance_norm", "beta") => ("beta", &[]),
        ("batch_norm", "running_mean") => ("moving_mean", &[]),
        ("batch_norm", "running_variance") => ("moving_variance", &[]),
        (_, "bias") => ("bias", &[]),
        _ => return None,
    })
}

fn pytorch_param(kind: &str, param: &str) -> Option<(&'static str, &'static [usize])> {
    Some(match (kind, param) {
        ("dense" | "embedding", "weight") => ("weight", &[]),
        ("conv2d", "weight") => ("weight", &[0, 2, 3, 1]),
        // PyTorch keeps [in, out, kh, kw].
        ("conv_transpose2d", "weight") => ("weight", &[1, 2, 3, 0]),
        ("batch_norm" | "instance_norm", "gamma") => ("weight", &[]),
        ("batch_norm" | "instance_norm", "beta") => ("bias", &[]),
        ("batch_norm", "running_mean") => ("running_mean", &[]),
        ("batch_norm", "running_variance") => ("running_var", &[]),
        ("prelu", "slope") => ("weight", &[]),
        (_, "bias") => ("bias", &[]),
        _ => return None,
    })
}

/// Keras layers by kind, in the order of their numbers.
fn keras_layers(tensors: BTreeMap<String, Tensor>) -> Result<Vec<(String, ForeignLayer)>> {
    let mut layers: BTreeMap<(String, u64), ForeignLayer> = BTreeMap::new();
    for (name, tensor) in tensors {
        let mut parts = name.trim_end_matches(":0").rsplit('/');
        let (Some(param), Some(layer)) = (parts.next(), parts.next()) else {
            return Err(Error::Weights(format!("{name} is not <layer>/<parameter>")));
        };
        let (stem, number) = match layer.rsplit_once('_') {
            Some((stem, digits)) if digits.parse::<u64>().is_ok() => {
                (stem, digits.parse().unwrap_or(0))
            }
            _ => (layer, 0),
        };
        let kind = match stem {
            "batch_normalization" => "batch_norm",
            "conv2d_transpose" => "conv_transpose2d",
            other => other,
        };
        let entry = layers
            .entry((kind.to_owned(), number))
            .or_insert_with(|| ForeignLayer { name: layer.to_owned(), tensors: HashMap::new() });
        if entry.tensors.insert(param.to_owned(), tensor).is_some() {
            let what = format!("{name}: there is another {param} of a {layer}");
            return Err(Error::Weights(what));
        }
    }
    Ok(layers.into_iter().map(|((kind, _), layer)| (kind, layer)).collect())
}

/// `main.0.weight` as module `main.0` and parameter `weight`.
fn pytorch_module(name: &str) -> Option<(&str, &str)> {
    let (module, param) = name.rsplit_once('.')?;
    let known = ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"];
    known.contains(&param).then_some((module, param))
}

/// Whether a name is a module's in a PyTorch `Sequential`: `main.0.weight`, `3.bias`.
fn is_numbered_module(name: &str) -> bool {
    pytorch_module(name).is_some_and(|(module, _)| {
        module.split('.').next_back().is_some_and(|part| part.parse::<u64>().is_ok())
    })
}

/// PyTorch modules in the order of the numbers in their names. Kinds are told by what the module holds.
fn pytorch_layers(tensors: BTreeMap<String, Tensor>) -> Result<Vec<(String, ForeignLayer)>> {
    let mut layers: BTreeMap<(Vec<u64>, String), ForeignLayer> = BTreeMap::new();
    for (name, tensor) in tensors {
        let Some((module, param)) = pytorch_module(&name) else {
            return Err(Error::Weights(format!("{name} is not <module>.<parameter>")));
        };
        let place = module.split('.').filter_map(|part| part.parse().ok()).collect();
        let entry = layers
            .entry((place, module.to_owned()))
            .or_insert_with(|| ForeignLayer { name: module.to_owned(), tensors: HashMap::new() });
        entry.tensors.insert(param.to_owned(), tensor);
    }
    // In PyTorch's files a kind does not show; layers pair up in order, and shapes decide whether they fit.
    Ok(layers.into_values().map(|layer| (String::new(), layer)).collect())
}

fn import_ordered(
    network: &Network,
    foreign: Vec<(String, ForeignLayer)>,
    convert: Convert,
) -> Result<()> {
    let own = network.layers_with_params();
    let mut rest: Vec<Option<(String, ForeignLayer)>> = foreign.into_iter().map(Some).collect();
    let mut values = Vec::new();
    for (name, kind, params) in own {
        // An empty foreign kind fits any: the next layer in order is taken.
        let next = rest
            .iter_mut()
            .find(|layer| {
                layer.as_ref().is_some_and(|(found, _)| found.is_empty() || found == kind)
            })
            .and_then(Option::take);
        let Some((_, mut layer)) = next else {
            let what = format!("{}: the file has no {kind} for {name}", network.name());
            return Err(Error::Weights(what));
        };
        for param in params {
            let full = format!("{}.{name}.{}", network.name(), param.name());
            let (foreign, axes) = convert(kind, param.name()).ok_or_else(|| {
                Error::Weights(format!("{full} has no counterpart in such a file"))
            })?;
            let tensor = layer.tensors.remove(foreign).ok_or_else(|| {
                Error::Weights(format!("{} holds no {foreign} for {full}", layer.name))
            })?;
            let tensor = match axes {
                [] => tensor,
                axes if axes.len() == tensor.shape().rank() => tensor.permute(axes)?,
                axes => {
                    let what = format!(
                        "{}: {foreign} has {} axes, not {}",
                        layer.name,
                        tensor.shape().rank(),
                        axes.len()
                    );
                    return Err(Error::Weights(what));
                }
            };
            values.push((param, fitted(&format!("{} (for {full})", layer.name), param, tensor)?));
        }
        layer.tensors.remove("num_batches_tracked");
        if let Some(extra) = layer.tensors.keys().next() {
            let what = format!("{}: {name} has no place for {extra}", layer.name);
            return Err(Error::Weights(what));
        }
    }
    if let Some((_, layer)) = rest.into_iter().flatten().next() {
        let what = format!("{}: the network has no layer for {}", network.name(), layer.name);
        return Err(Error::Weights(what));
    }
    values.into_iter().for_each(|(param, value)| param.set(value));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_the_safetensors_crate_reads() {
        let device = belamy_cpu::cpu();
        let tensors = [
            ("b".to_owned(), Tensor::from_slice(&[1u32, 2, 3], [3], &device).unwrap()),
            ("a \"quoted\"".to_owned(), Tensor::from_slice(&[0.5f32; 6], [2, 3], &device).unwrap()),
            ("z".to_owned(), Tensor::from_slice(&[0.1f64, -0.0], [1, 2], &device).unwrap()),
            ("scalar".to_owned(), Tensor::from_slice(&[7.0f32], [0; 0], &device).unwrap()),
        ];
        let bytes = to_bytes(&tensors, &[("made", "by \\ hand".to_owned())]).unwrap();
        let (length, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
        assert_eq!(length % 8, 0);
        assert_eq!(metadata.metadata().as_ref().unwrap()["made"], "by \\ hand");
        let read = from_bytes(&bytes, &device).unwrap();
        assert_eq!(read.len(), tensors.len());
        for (name, tensor) in &tensors {
            assert_eq!(read[name].dims(), tensor.dims());
            assert_eq!(read[name].dtype(), tensor.dtype());
            assert_eq!(read[name].to_f64().unwrap(), tensor.to_f64().unwrap());
        }
        // The order of the list does not matter.
        let mut turned = tensors.to_vec();
        turned.reverse();
        assert_eq!(to_bytes(&turned, &[("made", "by \\ hand".to_owned())]).unwrap(), bytes);
        assert!(
            read.keys().eq(from_bytes(&to_bytes(&turned, &[]).unwrap(), &device).unwrap().keys())
        );
        assert!(from_bytes(&to_bytes(&[], &[]).unwrap(), &device).unwrap().is_empty());
    }

    #[test]
    fn a_layer_that_keras_names_in_two_places_is_refused() {
        let device = belamy_cpu::cpu();
        let kernel = |name: &str| {
            (name.to_owned(), Tensor::from_slice(&[1.0f32; 6], [2, 3], &device).unwrap())
        };
        let once = [kernel("a/dense_1/kernel"), kernel("b/dense_2/kernel")];
        assert_eq!(keras_layers(once.into()).unwrap().len(), 2);
        // With and without the end that TensorFlow gives its variables.
        for other in ["b/dense_1/kernel", "a/dense_1/kernel:0", "b/dense_01/kernel"] {
            let twice = [kernel("a/dense_1/kernel"), kernel(other)];
            let error = keras_layers(twice.into()).unwrap_err();
            assert!(matches!(error, Error::Weights(_)), "{error}");
            let error = error.to_string();
            assert!(error.contains("there is another kernel of a dense"), "{error}");
        }
    }

    #[test]
    fn a_file_is_written_once_and_errors_name_it() {
        let device = belamy_cpu::cpu();
        let tensors = [("x".to_owned(), Tensor::from_slice(&[1.0f32; 9], [9], &device).unwrap())];
        let path = std::env::temp_dir().join(format!("belamy-weights-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        write(&path, &tensors, &[]).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), to_bytes(&tensors, &[]).unwrap());
        let error = write(&path, &tensors, &[]).unwrap_err().to_string();
        assert!(error.contains("belamy-weights-") && error.contains("cannot write"), "{error}");
        std::fs::remove_file(path).unwrap();
        let twice = [tensors[0].clone(), tensors[0].clone()];
        assert!(to_bytes(&twice, &[]).unwrap_err().to_string().contains("two tensors"));
    }
}
