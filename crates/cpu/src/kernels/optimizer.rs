//! `adam`, `sgd`, `rmsprop`, `global_norm`, `next_control`: see `belamy_tensor::ops::optimizer` for the mathematics.
//!
//! Updates cut every parameter into chunks of [`CHUNK`] elements, which run in parallel; each is one loop over its
//! operands in the parameters' own type, without a branch, so that it vectorises.

#[cfg(test)]
mod tests;

use super::{Real, Run, SERIAL_ELEMENTS, for_real};
use crate::storage::Storage;
use crate::vectors::vectorised;
use belamy_tensor::ops::optimizer::{AdamParams, RmspropParams, ScheduleParams, SgdParams};
use rayon::prelude::*;
use std::ops::{Add, Div, Mul, Sub};

/// Elements per task.
const CHUNK: usize = 2 * SERIAL_ELEMENTS;

/// Arithmetic in the type itself.
trait Arithmetic:
    Real + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> + Div<Output = Self>
{
    fn sqrt(self) -> Self;
}

impl Arithmetic for f32 {
    fn sqrt(self) -> f32 {
        self.sqrt()
    }
}

impl Arithmetic for f64 {
    fn sqrt(self) -> f64 {
        self.sqrt()
    }
}

/// Runs `body` on each chunk of each parameter: on what it reads of the parameter, its gradient and `STATES` states,
/// and on what it writes: the new parameter and the new states.
fn for_each_chunk<E: Real, const STATES: usize>(
    inputs: &[&Storage],
    outputs: &mut [&mut Storage],
    body: &(dyn Fn(Chunk<'_, E, STATES>) + Sync),
) {
    let tensors = outputs.len() / (1 + STATES);
    let list = |list: usize| &inputs[1 + list * tensors..][..tensors];
    let mut chunks = Vec::new();
    let (new_params, mut rest) = outputs.split_at_mut(tensors);
    let mut new_states = Vec::with_capacity(STATES);
    for _ in 0..STATES {
        let (head, tail) = rest.split_at_mut(tensors);
        new_states.push(head.iter_mut());
        rest = tail;
    }
    for (index, new_param) in new_params.iter_mut().enumerate() {
        let mut states: Vec<_> = new_states
            .iter_mut()
            .map(|list| list.next().expect("each list has each parameter"))
            .map(|storage| storage.values_mut::<E>().chunks_mut(CHUNK))
            .collect();
        for (at, new_param) in new_param.values_mut::<E>().chunks_mut(CHUNK).enumerate() {
            let seen = |storage: &Storage| -> std::ops::Range<usize> {
                let start = at * CHUNK;
                start..storage.values::<E>().len().min(start + CHUNK)
            };
            let read = |which: usize| {
                let storage = list(which)[index];
                &storage.values::<E>()[seen(storage)]
            };
            chunks.push(Chunk {
                param: read(0),
                grad: read(1),
                state: std::array::from_fn(|state| read(2 + state)),
                new_param,
                new_state: std::array::from_fn(|state| {
                    states[state].next().expect("a state has its parameter's length")
                }),
            });
        }
    }
    chunks.into_par_iter().for_each(body);
}

struct Chunk<'a, E, const STATES: usize> {
    param: &'a [E],
    grad: &'a [E],
    state: [&'a [E]; STATES],
    new_param: &'a mut [E],
    new_state: [&'a mut [E]; STATES],
}

/// The step's number and the learning rate.
fn control<E: Real>(run: &Run<'_>) -> (f64, f64) {
    let control = run.input::<E>(0);
    (control[0].to_f64(), control[1].to_f64())
}

pub(super) fn adam(run: Run<'_>) {
    for_real!(run, adam_of);
}

fn adam_of<E: Arithmetic>(mut run: Run<'_>) {
    let p = AdamParams::decode(&run.params);
    let (step, rate) = control::<E>(&run);
    let correction_1 = 1.0 - p.beta_1.powf(step);
    let correction_2 = (1.0 - p.beta_2.powf(step)).sqrt();
    // Both forms are p − size · m / (√v · scale + ε).
    let (size, scale) = match p.keras {
        0 => (rate / correction_1, 1.0 / correction_2),
        _ => (rate * correction_2 / correction_1, 1.0),
    };
    let [size, scale, epsilon, decay] = [size, scale, p.epsilon, p.weight_decay].map(E::from_f64);
    let [keep_1, take_1] = [p.beta_1, 1.0 - p.beta_1].map(E::from_f64);
    let [keep_2, take_2] = [p.beta_2, 1.0 - p.beta_2].map(E::from_f64);
    for_each_chunk::<E, 2>(&run.inputs, &mut run.outputs, &|chunk| {
        let constants = [size, scale, epsilon, decay, keep_1, take_1, keep_2, take_2];
        adam_chunk::<E>(chunk, constants);
    });
}

vectorised! {
    fn adam_chunk<E: Arithmetic>(chunk: Chunk<'_, E, 2>, constants: [E; 8]) {
        let [size, scale, epsilon, decay, keep_1, take_1, keep_2, take_2] = constants;
        let Chunk { param, grad, state: [m, v], new_param, new_state: [new_m, new_v] } = chunk;
        // One length for all, so that the loop needs no bounds checks.
        let len = new_param.len();
        let (param, grad, m, v) = (&param[..len], &grad[..len], &m[..len], &v[..len]);
        let (new_m, new_v) = (&mut new_m[..len], &mut new_v[..len]);
        for i in 0..len {
            let g = grad[i] + decay * param[i];
            let first = keep_1 * m[i] + take_1 * g;
            let second = keep_2 * v[i] + take_2 * (g * g);
            new_m[i] = first;
            new_v[i] = second;
            new_param[i] = param[i] - size * first / (second.sqrt() * scale + epsilon);
        }
    }
}

pub(super) fn sgd(run: Run<'_>) {
    for_real!(run, sgd_of);
}

fn sgd_of<E: Arithmetic>(mut run: Run<'_>) {
    let p = SgdParams::decode(&run.params);
    let rate = E::from_f64(control::<E>(&run).1);
    let [momentum, decay] = [p.momentum, p.weight_decay].map(E::from_f64);
    if p.momentum == 0.0 {
        for_each_chunk::<E, 0>(&run.inputs, &mut run.outputs, &|chunk| {
            let old = chunk.param.iter().zip(chunk.grad);
            for (new_param, (&param, &grad)) in chunk.new_param.iter_mut().zip(old) {
                *new_param = param - rate * (grad + decay * param);
            }
        });
        return;
    }
    // The look-ahead is g + momentum · u; without it, 0 · g + 1 · u.
    let (of_grad, of_velocity) = match p.nesterov {
        0 => (E::from_f64(0.0), E::from_f64(1.0)),
        _ => (E::from_f64(1.0), momentum),
    };
    for_each_chunk::<E, 1>(&run.inputs, &mut run.outputs, &|chunk| {
        let Chunk { param, grad, state: [u], new_param, new_state: [new_u] } = chunk;
        let len = new_param.len();
        let (param, grad, u, new_u) = (&param[..len], &grad[..len], &u[..len], &mut new_u[..len]);
        for i in 0..len {
            let g = grad[i] + decay * param[i];
            let velocity = momentum * u[i] + g;
            new_u[i] = velocity;
            new_param[i] = param[i] - rate * (of_grad * g + of_velocity * velocity);
        }
    });
}

pub(super) fn rmsprop(run: Run<'_>) {
    for_real!(run, rmsprop_of);
}

fn rmsprop_of<E: Arithmetic>(mut run: Run<'_>) {
    let p = RmspropParams::decode(&run.params);
    let rate = control::<E>(&run).1;
    let [keep, take] = [p.rho, 1.0 - p.rho].map(E::from_f64);
    let [momentum, decay] = [p.momentum, p.weight_decay].map(E::from_f64);
    // The learning rate stands inside the velocity (Keras) or outside; ε under the root or beside it.
    let (inside, outside, under, beside) = match p.keras {
        0 => (1.0, rate, 0.0, p.epsilon),
        _ => (rate, 1.0, p.epsilon, 0.0),
    };
    let [inside, outside, under, beside] = [inside, outside, under, beside].map(E::from_f64);
    let direction = move |g: E, s: E| inside * g / ((s + under).sqrt() + beside);
    if p.momentum == 0.0 {
        for_each_chunk::<E, 1>(&run.inputs, &mut run.outputs, &|chunk| {
            let Chunk { param, grad, state: [s], new_param, new_state: [new_s] } = chunk;
            let len = new_param.len();
            let (param, grad, s, new_s) =
                (&param[..len], &grad[..len], &s[..len], &mut new_s[..len]);
            for i in 0..len {
                let g = grad[i] + decay * param[i];
                let square = keep * s[i] + take * (g * g);
                new_s[i] = square;
                new_param[i] = param[i] - outside * direction(g, square);
            }
        });
        return;
    }
    for_each_chunk::<E, 2>(&run.inputs, &mut run.outputs, &|chunk| {
        let Chunk { param, grad, state: [s, u], new_param, new_state: [new_s, new_u] } = chunk;
        let len = new_param.len();
        let (param, grad, s, u) = (&param[..len], &grad[..len], &s[..len], &u[..len]);
        let (new_s, new_u) = (&mut new_s[..len], &mut new_u[..len]);
        for i in 0..len {
            let g = grad[i] + decay * param[i];
            let square = keep * s[i] + take * (g * g);
            let velocity = momentum * u[i] + direction(g, square);
            new_s[i] = square;
            new_u[i] = velocity;
            new_param[i] = param[i] - outside * velocity;
        }
    });
}

pub(super) fn global_norm(run: Run<'_>) {
    for_real!(run, global_norm_of);
}

fn global_norm_of<E: Real>(mut run: Run<'_>) {
    let chunks: Vec<&[E]> =
        run.inputs.iter().flat_map(|input| input.values::<E>().chunks(CHUNK)).collect();
    let sums: Vec<f64> = chunks.into_par_iter().map(sum_of_squares).collect();
    run.output::<E>()[0] = E::from_f64(sums.iter().sum::<f64>().sqrt());
}

pub(super) fn next_control(run: Run<'_>) {
    for_real!(run, next_control_of);
}

fn next_control_of<E: Real>(mut run: Run<'_>) {
    let schedule = ScheduleParams::decode(&run.params);
    let counter = run.input::<u32>(0);
    let (made, next) = (counter[0], counter[0].wrapping_add(1));
    let control = [f64::from(next), schedule.rate(made)].map(E::from_f64);
    run.output::<E>().copy_from_slice(&control);
    run.outputs[1].values_mut::<u32>().copy_from_slice(&[next, counter[1]]);
}

/// Four interleaved sums in f64: the additions of one would wait for one another.
fn sum_of_squares<E: Real>(x: &[E]) -> f64 {
    let mut lanes = [0.0; 4];
    for quad in x.chunks(4) {
        for (lane, x) in lanes.iter_mut().zip(quad) {
            *lane += x.to_f64() * x.to_f64();
        }
    }
    (lanes[0] + lanes[1]) + (lanes[2] + lanes[3])
}
