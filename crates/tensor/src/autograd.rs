//! Gradients as values: one function, any order.
//!
//! Every op's derivative is written in Tensors ([`Op::backward`](crate::op::Op::backward)), so a gradient is a tensor
//! like any other and can be differentiated again. [`Graph::Keep`] hands the rules live tensors, which record;
//! [`Graph::Drop`] hands them detached ones, which cannot. The walk is iterative, computes only what leads to the
//! tensors asked for, and is the only place that accumulates and undoes broadcasting.
//!
//! A graph keeps the numbers that its rules say they read ([`Op::reads_input`](crate::op::Op::reads_input)) and no others: of a
//! convolution its image, unless its weight is frozen, of a leaky ReLU its result. A rule that reads more than it says
//! panics, at its first launch.

use crate::error::{Error, Result};
use crate::{Shape, Tensor};
use std::collections::{HashMap, HashSet};

/// Whether gradients are themselves part of a graph.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Graph {
    /// Gradients are constants: a training step.
    Drop,
    /// Gradients can be differentiated again: gradient penalties, R1.
    Keep,
}

/// What a derivative rule is given.
#[derive(Debug)]
pub struct Backward<'a> {
    /// The op's inputs: with the numbers that the op says its rule reads.
    pub inputs: &'a [Tensor],
    /// The op's output, likewise.
    pub output: &'a Tensor,
    /// What else the op saved.
    pub saved: &'a [Tensor],
    /// The cotangent of the output.
    pub grad: &'a Tensor,
    /// Which inputs' cotangents are wanted.
    pub needs: &'a [bool],
    /// Whether the result will be differentiated again.
    pub graph: Graph,
}

impl Backward<'_> {
    /// The cotangents of an op by differentiating its definition in primitives: right to any order, by construction.
    pub fn through(
        &self,
        definition: impl FnOnce(&[Tensor]) -> Result<Tensor>,
    ) -> Result<Vec<Option<Tensor>>> {
        // Each input is seen through an identity of its own. Where one input was made from another, the identities
        // keep the partial derivatives apart, and what they yield still depends on the live inputs.
        let inputs = self
            .inputs
            .iter()
            .zip(self.needs)
            .map(|(input, &needed)| match (input.is_tracked(), needed) {
                (true, _) => input.reshape(input.shape()),
                (false, true) => Ok(input.tracked()),
                (false, false) => Ok(input.clone()),
            })
            .collect::<Result<Vec<Tensor>>>()?;
        let output = definition(&inputs)?;
        let wanted: Vec<&Tensor> = inputs
            .iter()
            .zip(self.needs)
            .filter(|(_, needed)| **needed)
            .map(|(input, _)| input)
            .collect();
        let mut grads = grad(&output, Some(self.grad), &wanted, self.graph)?.into_iter();
        Ok(self
            .needs
            .iter()
            .map(|&needed| if needed { grads.next().flatten() } else { None })
            .collect())
    }
}

/// The gradient of `⟨seed, y⟩` with respect to each of `wrt`; `None` where `y` does not depend on it.
///
/// `seed` is the cotangent of `y`, of its shape; without one `y` must hold a single number. Nothing is stored
/// anywhere: two calls give two sets of gradients, and no `zero_grad` exists.
///
/// ```
/// # let device = belamy_cpu::oracle();
/// use belamy_tensor::{Graph, Tensor, grad};
/// let x = Tensor::from_slice(&[3.0f64], [1], &device)?.tracked();
/// let y = &(&x * &x) * &x;
/// let first = grad(&y, None, &[&x], Graph::Keep)?.remove(0).unwrap();
/// let second = grad(&first, None, &[&x], Graph::Drop)?.remove(0).unwrap();
/// assert_eq!((first.item()?, second.item()?), (27.0, 18.0)); // 3x² and 6x
/// # Ok::<(), belamy_tensor::Error>(())
/// ```
#[track_caller]
pub fn grad(
    y: &Tensor,
    seed: Option<&Tensor>,
    wrt: &[&Tensor],
    graph: Graph,
) -> Result<Vec<Option<Tensor>>> {
    grad_each(y, seed, wrt, graph, &mut |_, _| Ok(()))
}

/// As [`grad`], telling `whole` of each gradient, with its place in `wrt`, as soon as nothing more is added to it: the last
/// layers' first, while those before them are still to be computed. What it fails with ends the walk.
#[track_caller]
pub fn grad_each(
    y: &Tensor,
    seed: Option<&Tensor>,
    wrt: &[&Tensor],
    graph: Graph,
    whole: &mut dyn FnMut(usize, &Tensor) -> Result<()>,
) -> Result<Vec<Option<Tensor>>> {
    let seed = match seed {
        Some(seed) if seed.meta() == y.meta() => seed.clone(),
        Some(seed) => {
            let rule = "the seed must have the output's shape and type";
            return Err(Error::shape("grad", &[y.shape(), seed.shape()], rule));
        }
        None if y.shape().elements() == 1 => y.detach().ones_like()?,
        None => {
            let rule = "without a seed the output must be a single number";
            return Err(Error::shape("grad", &[y.shape()], rule));
        }
    };
    let targets: HashSet<u64> = wrt.iter().map(|tensor| tensor.id()).collect();
    let (order, leads) = paths(y, &targets);
    let mut awaited = Awaited::new(wrt, &order, &leads);

    let mut grads: HashMap<u64, Tensor> = HashMap::new();
    let mut results: HashMap<u64, Tensor> = HashMap::new();
    if leads.contains(&y.id()) {
        grads.insert(y.id(), seed);
    }
    for tensor in order.iter().rev() {
        let Some(grad) = grads.remove(&tensor.id()) else {
            awaited.passed(tensor, &grads, whole)?;
            continue;
        };
        if targets.contains(&tensor.id()) {
            results.insert(tensor.id(), grad.clone());
        }
        let Some(node) = tensor.node() else { continue };
        let needs: Vec<bool> =
            node.inputs.iter().map(|input| leads.contains(&input.id())).collect();
        if !needs.contains(&true) {
            continue;
        }
        let live = graph == Graph::Keep;
        let seen = |tensor: &Tensor| if live { tensor.clone() } else { tensor.detach() };
        let inputs: Vec<Tensor> = node.inputs.iter().map(seen).collect();
        let output = seen(&tensor.as_output());
        let cx = Backward {
            inputs: &inputs,
            output: &output,
            saved: &node.saved,
            grad: &grad,
            needs: &needs,
            graph,
        };
        let cotangents = node.op.backward(&cx)?;
        assert_eq!(cotangents.len(), inputs.len(), "{}: one cotangent per input", node.op.name());
        for ((input, cotangent), needed) in node.inputs.iter().zip(cotangents).zip(needs) {
            let (Some(cotangent), true) = (cotangent, needed) else { continue };
            let cotangent = sum_to(cotangent, input.shape(), node.op.name())?;
            let total = match grads.remove(&input.id()) {
                Some(sum) => sum.add(&cotangent)?,
                None => cotangent,
            };
            grads.insert(input.id(), total);
        }
        awaited.passed(tensor, &grads, whole)?;
    }
    Ok(wrt.iter().map(|tensor| results.get(&tensor.id()).cloned()).collect())
}

/// How many uses of each target the walk has yet to pass.
struct Awaited(HashMap<u64, (usize, usize)>);

impl Awaited {
    /// Targets that nothing uses are not awaited: `y` itself, or what it does not depend on.
    fn new(wrt: &[&Tensor], order: &[Tensor], leads: &HashSet<u64>) -> Awaited {
        let places = wrt.iter().enumerate().map(|(place, target)| (target.id(), (place, 0)));
        let mut awaited: HashMap<u64, (usize, usize)> = places.collect();
        let nodes = order.iter().filter(|tensor| leads.contains(&tensor.id()));
        for input in nodes.flat_map(|tensor| tensor.node().map_or(&[][..], |node| &node.inputs)) {
            if let Some((_, uses)) = awaited.get_mut(&input.id()) {
                *uses += 1;
            }
        }
        Awaited(awaited)
    }

    /// The walk has passed a tensor: tells of the targets that it was the last to use.
    fn passed(
        &mut self,
        tensor: &Tensor,
        grads: &HashMap<u64, Tensor>,
        whole: &mut dyn FnMut(usize, &Tensor) -> Result<()>,
    ) -> Result<()> {
        for input in tensor.node().map_or(&[][..], |node| &node.inputs) {
            let Some((place, uses)) = self.0.get_mut(&input.id()) else { continue };
            *uses = uses.saturating_sub(1);
            if let (0, Some(grad)) = (*uses, grads.get(&input.id())) {
                whole(*place, grad)?;
                self.0.remove(&input.id());
            }
        }
        Ok(())
    }
}

/// The tensors that `y` was made from, inputs before outputs, and the ids of those that lead to a target.
fn paths(y: &Tensor, targets: &HashSet<u64>) -> (Vec<Tensor>, HashSet<u64>) {
    let mut order = Vec::new();
    let mut leads = HashSet::new();
    let mut seen = HashSet::new();
    // Each entry is visited twice: first to push its inputs, then, when they are done, to be placed after them.
    let mut stack = vec![(y.clone(), false)];
    while let Some((tensor, inputs_done)) = stack.pop() {
        let inputs = tensor.node().map_or(&[][..], |node| &node.inputs);
        if inputs_done {
            if targets.contains(&tensor.id())
                || inputs.iter().any(|input| leads.contains(&input.id()))
            {
                leads.insert(tensor.id());
            }
            order.push(tensor);
        } else if tensor.is_tracked() && seen.insert(tensor.id()) {
            stack.push((tensor.clone(), true));
            stack.extend(inputs.iter().map(|input| (input.clone(), false)));
        }
    }
    (order, leads)
}

/// Sums a cotangent over the axes along which its input was repeated.
fn sum_to(cotangent: Tensor, shape: Shape, op: &'static str) -> Result<Tensor> {
    if cotangent.shape() == shape {
        return Ok(cotangent);
    }
    let (from, to) = (cotangent.shape().padded(), shape.padded());
    let lost = from.len() - cotangent.shape().rank();
    if shape.broadcast(&cotangent.shape()) != Some(cotangent.shape()) {
        let rule = format!("{op} returned a cotangent that does not fit its input");
        return Err(Error::shape("grad", &[cotangent.shape(), shape], rule));
    }
    let axes: Vec<usize> =
        (lost..from.len()).filter(|&axis| from[axis] != to[axis]).map(|axis| axis - lost).collect();
    cotangent.sum(&axes)?.reshape(shape)
}
