//! `belamy op`: runs one op on tensors from a file.
//!
//! | file | what it holds |
//! |---|---|
//! | `mod` | the arguments; reading tensors, writing results and gradients |
//! | [`entry`] | what an op takes, and parsing its attributes |
//! | [`table`] | the ops |

mod entry;
mod table;

use crate::device;
use crate::failure::{Failure, Result};
use crate::output;
use belamy_gan::files;
use belamy_gan::recipe::suggestion;
use belamy_nn::weights;
use belamy_tensor::error::ErrorKind;
use belamy_tensor::{Graph, Tensor, grad};
use entry::{Entry, Given, Number};
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "Examples:
  belamy op --list
  belamy op conv2d --input xw.safetensors --out y.safetensors --attr stride=2 --attr padding=1
  belamy op conv2d --input xwg.safetensors --out y.safetensors --grad --device oracle";

/// Runs one op on the tensors of a safetensors file.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES, after_long_help = long_help())]
pub(crate) struct Arguments {
    /// The op.
    #[arg(value_name = "NAME", required_unless_present = "list")]
    name: Option<String>,
    /// The op's tensors, by the names that --list gives (x, w, ...). Activations are NHWC, weights [out, kh, kw, in].
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Where the result goes, as tensor `output`.
    #[arg(long, value_name = "FILE", required_unless_present = "list")]
    out: Option<PathBuf>,
    /// Set an attribute: stride=2, padding=1. May be repeated.
    #[arg(long = "attr", value_name = "KEY=VALUE")]
    attributes: Vec<String>,
    /// Take the output's cotangent as `grad_output` from the input, and write `grad_x` for each float tensor x.
    #[arg(long)]
    grad: bool,
    /// auto, cpu, oracle, webgpu or cuda, with :N for the N-th.
    #[arg(long, default_value = "auto")]
    device: String,
    /// List the op, or every op, with its tensors and attributes.
    #[arg(long)]
    list: bool,
    /// Print the list as JSON.
    #[arg(long, requires = "list")]
    json: bool,
}

/// The cotangent of the output, in the input file.
const GRAD_OUTPUT: &str = "grad_output";

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let mut entries = table::entries();
    if let Some(name) = &arguments.name {
        let names: Vec<&str> = entries.iter().map(|entry| entry.name).collect();
        if !names.contains(&name.as_str()) {
            let near = suggestion(name, names);
            let hint =
                if near.starts_with("did") { &near } else { "`belamy op --list` names them all" };
            return Err(Failure::usage(format!("there is no op {name:?}; {hint}")));
        }
        entries.retain(|entry| entry.name == name);
    }
    if arguments.list {
        return list(&entries, arguments.json);
    }
    let (Some(out), [op]) = (&arguments.out, &entries[..]) else {
        return Err(Failure::usage("name one op and its --out; `belamy op --list` names the ops"));
    };
    execute(op, arguments, out)
}

fn execute(op: &Entry, arguments: &Arguments, out: &Path) -> Result<()> {
    let values = op.values(&arguments.attributes)?;
    let device = device::find(&arguments.device)?;
    if arguments.grad && !op.differentiable {
        return Err(Failure::usage(format!("{} has no derivative: leave --grad out", op.name)));
    }
    let wants_tensors = op.operands.iter().any(|operand| operand.number != Number::Optional);
    let (path, mut file) = match &arguments.input {
        Some(path) => (path.as_path(), weights::read(path, &device)?),
        None if wants_tensors => {
            let names = names(op);
            return Err(Failure::usage(format!("{} wants --input, a file with {names}", op.name)));
        }
        None => (Path::new(""), BTreeMap::new()),
    };
    let seed = if arguments.grad { Some(taken(&mut file, GRAD_OUTPUT, op, path)?) } else { None };
    let mut tensors = operands(op, &mut file, path)?;
    if arguments.grad {
        tensors = tensors
            .into_iter()
            .map(|(name, tensor)| {
                let tensor = if tensor.dtype().is_float() { tensor.tracked() } else { tensor };
                (name, tensor)
            })
            .collect();
    }
    let given = Given { tensors, values, device };
    let outputs = op.run(&given).map_err(refused)?;
    let mut results: Vec<(String, Tensor)> =
        outputs.iter().map(|(name, tensor)| ((*name).to_owned(), tensor.clone())).collect();
    if let Some(seed) = seed {
        results.extend(gradients(&given, &outputs[0].1, &seed, path)?);
    }
    files::write_atomically(out, &weights::to_bytes(&results, &[])?)?;
    file.remove(GRAD_OUTPUT);
    if !file.is_empty() {
        let unread: Vec<&str> = file.keys().map(String::as_str).collect();
        let (path, names) = (path.display(), names(op));
        let text = format!("{path}: {} not read; {} takes {names}", unread.join(", "), op.name);
        // A closed stderr is no reason to fail.
        drop(writeln!(std::io::stderr(), "{text}"));
    }
    output::print(&format!("{}\n", out.display()))
}

/// An attribute out of range is a bad argument; all else is the file's or the device's.
fn refused(error: belamy_tensor::Error) -> Failure {
    match error.kind() {
        ErrorKind::Argument { .. } => Failure::usage(error.to_string()),
        _ => Failure::from(error),
    }
}

/// `x w gamma?`
fn names(op: &Entry) -> String {
    op.operands.iter().map(entry::Operand::shown).collect::<Vec<_>>().join(" ")
}

/// A tensor that must be in the file.
fn taken(
    file: &mut BTreeMap<String, Tensor>,
    name: &str,
    op: &Entry,
    path: &Path,
) -> Result<Tensor> {
    file.remove(name).ok_or_else(|| {
        // What the op takes by its own name is no misspelling of another.
        let takes = |found: &str| {
            found == GRAD_OUTPUT || op.operands.iter().any(|operand| operand.name == found)
        };
        let others: Vec<&str> =
            file.keys().map(String::as_str).filter(|found| !takes(found)).collect();
        let hint = match others[..] {
            [] => String::new(),
            // Every name of a letter or two is near to every other.
            _ if name.len() <= 2 => format!("; it holds {}", others.join(", ")),
            _ => format!("; {}", suggestion(name, others)),
        };
        let (path, op) = (path.display(), op.name);
        Failure::new(format!("{path}: {op} wants a tensor {name}, which is not in it{hint}"))
    })
}

/// The op's tensors, taken out of the file's.
fn operands(
    op: &Entry,
    file: &mut BTreeMap<String, Tensor>,
    path: &Path,
) -> Result<BTreeMap<String, Tensor>> {
    let mut tensors = BTreeMap::new();
    for operand in &op.operands {
        let name = operand.name;
        let wanted = match operand.number {
            Number::One => vec![name.to_owned()],
            Number::Optional if file.contains_key(name) => vec![name.to_owned()],
            Number::Optional => Vec::new(),
            Number::Several => {
                let numbered = |found: &String| {
                    let index =
                        found.strip_prefix(name).and_then(|digits| digits.parse::<u32>().ok());
                    index.is_some_and(|index| *found == format!("{name}{index}"))
                };
                // With x2 there, x0 and x1 must be too.
                let count = file.keys().filter(|found| numbered(found)).count().max(1);
                (0..count).map(|index| format!("{name}{index}")).collect()
            }
        };
        for name in wanted {
            let tensor = taken(file, &name, op, path)?;
            tensors.insert(name, tensor);
        }
    }
    Ok(tensors)
}

/// `grad_<name>` for each float tensor; zeros where the output does not depend on it.
fn gradients(
    given: &Given,
    output: &Tensor,
    seed: &Tensor,
    path: &Path,
) -> Result<Vec<(String, Tensor)>> {
    if seed.meta() != output.meta() {
        let (path, found, wanted) = (path.display(), seed.meta(), output.meta());
        return Err(Failure::new(format!(
            "{path}: {GRAD_OUTPUT} is {} {}, but the output is {} {}",
            found.shape, found.dtype, wanted.shape, wanted.dtype
        )));
    }
    let floats: Vec<(&String, &Tensor)> =
        given.tensors.iter().filter(|(_, tensor)| tensor.dtype().is_float()).collect();
    let wanted: Vec<&Tensor> = floats.iter().map(|(_, tensor)| *tensor).collect();
    let grads = grad(output, Some(seed), &wanted, Graph::Drop)?;
    floats
        .into_iter()
        .zip(grads)
        .map(|((name, tensor), grad)| {
            let grad = grad.map_or_else(|| tensor.zeros_like(), Ok)?;
            Ok((format!("grad_{name}"), grad))
        })
        .collect()
}

#[derive(Serialize)]
struct Listing {
    ops: Vec<Line>,
}

#[derive(Serialize)]
struct Line {
    name: &'static str,
    what: &'static str,
    tensors: Vec<TensorLine>,
    attributes: Vec<AttributeLine>,
    differentiable: bool,
}

#[derive(Serialize)]
struct TensorLine {
    name: &'static str,
    shape: &'static str,
    /// "one", "optional", or "several": name0, name1, ...
    number: &'static str,
}

#[derive(Serialize)]
struct AttributeLine {
    name: &'static str,
    wants: String,
    required: bool,
    /// The default's text; what absence means, where that depends on the call.
    default: Option<&'static str>,
}

fn line(op: &Entry) -> Line {
    let number = |number| match number {
        Number::One => "one",
        Number::Optional => "optional",
        Number::Several => "several",
    };
    let tensors = op.operands.iter().map(|operand| TensorLine {
        name: operand.name,
        shape: operand.shape,
        number: number(operand.number),
    });
    let attributes = op.attributes.iter().map(|attribute| AttributeLine {
        name: attribute.name,
        wants: attribute.form.wants(),
        required: matches!(attribute.otherwise, entry::Otherwise::Required),
        default: match attribute.otherwise {
            entry::Otherwise::Required => None,
            entry::Otherwise::Is(value) => Some(value),
            entry::Otherwise::Means(what) => Some(what),
        },
    });
    Line {
        name: op.name,
        what: op.what,
        tensors: tensors.collect(),
        attributes: attributes.collect(),
        differentiable: op.differentiable,
    }
}

fn list(entries: &[Entry], json: bool) -> Result<()> {
    if json {
        return output::print_json(&Listing { ops: entries.iter().map(line).collect() });
    }
    let [op] = entries else { return output::print(&overview(entries)) };
    let mut rows = Vec::new();
    for operand in &op.operands {
        rows.push(vec!["tensor".to_owned(), operand.shown(), operand.shape.to_owned()]);
    }
    for attribute in &op.attributes {
        rows.push(vec!["attribute".to_owned(), attribute.shown(), attribute.form.wants()]);
    }
    let derivative = if op.differentiable { "" } else { " (no derivative)" };
    output::print(&format!("{}: {}{derivative}\n{}", op.name, op.what, output::table(&rows, &[])))
}

/// A line an op: its tensors, its attributes with their defaults, what it is.
fn overview(entries: &[Entry]) -> String {
    let rows: Vec<Vec<String>> = entries
        .iter()
        .map(|op| {
            let attributes: Vec<String> =
                op.attributes.iter().map(entry::Attribute::shown).collect();
            vec![op.name.to_owned(), names(op), op.what.to_owned(), attributes.join(" ")]
        })
        .collect();
    output::table(&rows, &[])
}

fn long_help() -> String {
    let mut text = format!(
        "{EXAMPLES}\n\nOps, each with its tensors (? optional), what it is, and its attributes:\n"
    );
    for line in overview(&table::entries()).lines() {
        text.push_str(&format!("  {line}\n"));
    }
    text
}
