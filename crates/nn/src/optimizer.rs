//! Optimisers: what moves a network's weights.
//!
//! One launch updates all tensors of a network. Step count and learning rate are made on the device, so that a
//! recorded step can be replayed.

use crate::schedule::Schedule;
use crate::weights::fitted;
use crate::{Network, Param, Result};
use belamy_tensor::communicator::Ranks;
use belamy_tensor::ops::optimizer::{self, AdamOptions, EpsilonForm, RmspropOptions, SgdOptions};
use belamy_tensor::ops::random;
use belamy_tensor::{Graph, Tensor, grad};
use serde::{Deserialize, Serialize};

/// Where an optimiser's ε stands: frameworks differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Convention {
    /// PyTorch: beside the root of the corrected moment (Adam); outside the root (RMSProp).
    Pytorch,
    /// Keras: beside the root of the uncorrected moment (Adam); inside the root (RMSProp).
    Keras,
}

impl From<Convention> for EpsilonForm {
    fn from(convention: Convention) -> EpsilonForm {
        match convention {
            Convention::Pytorch => EpsilonForm::Pytorch,
            Convention::Keras => EpsilonForm::Keras,
        }
    }
}

/// The update rule and its constants, each spelled out.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Rule {
    /// Kingma and Ba (2015).
    Adam {
        /// Decay of the first moment.
        beta_1: f64,
        /// Decay of the second moment.
        beta_2: f64,
        /// Keeps the division finite.
        epsilon: f64,
        /// Where ε stands.
        convention: Convention,
    },
    /// Stochastic gradient descent with momentum: v = momentum · v + g, p −= rate · v.
    Sgd {
        /// Decay of the velocity; 0 for none.
        momentum: f64,
        /// Whether to look ahead: p −= rate · (g + momentum · v).
        nesterov: bool,
    },
    /// Hinton (2012).
    RmsProp {
        /// Decay of the mean square.
        rho: f64,
        /// Keeps the division finite.
        epsilon: f64,
        /// Where ε stands.
        convention: Convention,
    },
}

impl Rule {
    /// A kind of rule with PyTorch's constants: `adam`, `sgd` (without momentum) or `rms_prop`.
    ///
    /// ```
    /// use belamy_nn::optimizer::Rule;
    /// assert!(matches!(Rule::usual("sgd"), Some(Rule::Sgd { momentum: 0.0, nesterov: false })));
    /// assert!(Rule::usual("sdg").is_none());
    /// ```
    pub fn usual(kind: &str) -> Option<Rule> {
        let (epsilon, convention) = (1e-8, Convention::Pytorch);
        match kind {
            "adam" => Some(Rule::Adam { beta_1: 0.9, beta_2: 0.999, epsilon, convention }),
            "sgd" => Some(Rule::Sgd { momentum: 0.0, nesterov: false }),
            "rms_prop" => Some(Rule::RmsProp { rho: 0.99, epsilon, convention }),
            _ => None,
        }
    }

    /// The names of the tensors it keeps for each parameter.
    fn slots(&self) -> &'static [&'static str] {
        match self {
            Rule::Adam { .. } => &["first_moment", "second_moment"],
            Rule::Sgd { momentum, .. } if *momentum == 0.0 => &[],
            Rule::Sgd { .. } => &["velocity"],
            Rule::RmsProp { .. } => &["mean_square"],
        }
    }
}

/// An update rule with its learning rate and limits: what a recipe says of an optimiser.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The base learning rate.
    pub learning_rate: f64,
    /// How the rate changes over steps.
    #[serde(default)]
    pub schedule: Schedule,
    /// Clips each gradient's elements to ±this (Keras' `clipvalue`); 0 for no limit.
    #[serde(default)]
    pub clip_value: f64,
    /// Scales all gradients so that their joint norm is at most this; 0 for no limit.
    #[serde(default)]
    pub clip_norm: f64,
    /// The update rule.
    pub rule: Rule,
}

/// The state of an optimiser over one network's trainable parameters.
#[derive(Debug, Clone)]
pub struct Optimizer {
    settings: Settings,
    /// Updates made so far.
    step: u64,
    /// The same on the device, where the update's number and learning rate are made; none until the first update
    /// after a start.
    made: Option<Tensor>,
    /// For each slot of the rule, a tensor for each parameter.
    state: Vec<Vec<Tensor>>,
}

impl Optimizer {
    /// A fresh optimiser for a network's trainable parameters: all moments 0.
    pub fn new(settings: Settings, network: &Network) -> Result<Optimizer> {
        let zeros = || -> Result<Vec<Tensor>> {
            let params = network.trainable();
            Ok(params
                .iter()
                .map(|param| param.value().detach().zeros_like())
                .collect::<Result<_, _>>()?)
        };
        let state = settings.rule.slots().iter().map(|_| zeros()).collect::<Result<_>>()?;
        Ok(Optimizer { settings, step: 0, made: None, state })
    }

    /// Updates made so far.
    pub fn step(&self) -> u64 {
        self.step
    }

    /// The learning rate of the next update.
    pub fn learning_rate(&self) -> f64 {
        self.settings.schedule.rate(self.settings.learning_rate, self.step)
    }

    /// Moves a network's trainable parameters by their gradients, clipped as the settings say.
    pub fn apply(&mut self, network: &Network, grads: &[Tensor]) -> Result<()> {
        let params = network.trainable();
        let Some(first) = params.first() else { return Ok(()) };
        let grads = self.clip(grads)?;
        let values: Vec<Tensor> = params.iter().map(|param| param.value().detach()).collect();
        let made = match self.made.take() {
            Some(made) => made,
            None => random::counter(self.step as u32, 0, first.value().device())?,
        };
        let Settings { learning_rate, schedule, .. } = self.settings;
        let (control, made) =
            optimizer::next_control(&made, learning_rate, schedule.into(), values[0].dtype())?;
        let (values, grads) = (references(&values), references(&grads));
        let slots: Vec<Vec<&Tensor>> = self.state.iter().map(|slot| references(slot)).collect();
        let moved = match self.settings.rule {
            Rule::Adam { beta_1, beta_2, epsilon, convention } => {
                let epsilon_form = convention.into();
                let options =
                    AdamOptions { beta_1, beta_2, epsilon, weight_decay: 0.0, epsilon_form };
                let update =
                    optimizer::adam(&control, &values, &grads, &slots[0], &slots[1], options)?;
                self.state = vec![update.first_moments, update.second_moments];
                update.params
            }
            Rule::Sgd { momentum, nesterov } => {
                let options = SgdOptions { momentum, nesterov, weight_decay: 0.0 };
                let velocities = slots.first().map_or(&[][..], |slot| slot);
                let update = optimizer::sgd(&control, &values, &grads, velocities, options)?;
                if !self.state.is_empty() {
                    self.state = vec![update.velocities];
                }
                update.params
            }
            Rule::RmsProp { rho, epsilon, convention } => {
                let options = RmspropOptions {
                    rho,
                    epsilon,
                    momentum: 0.0,
                    weight_decay: 0.0,
                    epsilon_form: convention.into(),
                };
                let update =
                    optimizer::rmsprop(&control, &values, &grads, &slots[0], &[], options)?;
                self.state = vec![update.mean_squares];
                update.params
            }
        };
        params.iter().zip(moved).for_each(|(param, value)| param.set(value));
        self.step += 1;
        self.made = Some(made);
        Ok(())
    }

    fn clip(&self, grads: &[Tensor]) -> Result<Vec<Tensor>> {
        let Settings { clip_value, clip_norm, .. } = self.settings;
        let mut grads = grads.to_vec();
        if clip_value > 0.0 {
            for grad in &mut grads {
                *grad = grad.clamp(-clip_value, clip_value)?;
            }
        }
        if clip_norm > 0.0 {
            let norm = optimizer::global_norm(&references(&grads))?;
            // min(1, clip / norm), without asking the host.
            let scale =
                norm.add_scalar(1e-12)?.reciprocal()?.mul_scalar(clip_norm)?.clamp(0.0, 1.0)?;
            for grad in &mut grads {
                *grad = grad.mul(&scale)?;
            }
        }
        Ok(grads)
    }

    /// Every tensor that an update replaces besides the parameters, in a fixed order: for recording a step.
    pub fn tensors(&self) -> Vec<Tensor> {
        self.state.iter().flatten().chain(&self.made).cloned().collect()
    }

    /// Moves the kept tensors to memory of their own; the number of updates is then sent anew.
    pub fn copy_tensors(&mut self) -> Result<()> {
        for tensor in self.state.iter_mut().flatten() {
            *tensor = tensor.mul_scalar(1.0)?;
        }
        self.made = None;
        Ok(())
    }

    /// Notes updates that were made on the device, by a recorded step.
    pub fn note_updates(&mut self, updates: u64) {
        self.step += updates;
    }

    /// Notes that no more than `step` updates were made, and that what is on the device does not say so.
    pub fn set_step(&mut self, step: u64) {
        self.step = step;
        self.made = None;
    }

    /// The kept tensors with names `<slot>.<parameter>`, in the layout of files, for a checkpoint.
    pub fn state(&self, network: &Network) -> Result<Vec<(String, Tensor)>> {
        let params = named_trainable(network);
        let mut state = Vec::new();
        for (slot, tensors) in self.settings.rule.slots().iter().zip(&self.state) {
            for ((name, param), tensor) in params.iter().zip(tensors) {
                state.push((format!("{slot}.{name}"), param.in_files(tensor)?));
            }
        }
        Ok(state)
    }

    /// Takes kept tensors back; `take` finds one by name. Fails when a tensor is missing or of another shape.
    pub fn restore(
        &mut self,
        network: &Network,
        step: u64,
        mut take: impl FnMut(&str) -> Result<Tensor>,
    ) -> Result<()> {
        let params = named_trainable(network);
        for (slot, tensors) in self.settings.rule.slots().iter().zip(&mut self.state) {
            for ((name, param), tensor) in params.iter().zip(tensors) {
                let name = format!("{slot}.{name}");
                *tensor = fitted(&name, param, take(&name)?)?;
            }
        }
        self.set_step(step);
        Ok(())
    }
}

fn references(tensors: &[Tensor]) -> Vec<&Tensor> {
    tensors.iter().collect()
}

/// The gradient of `loss` for each of a network's trainable parameters, zeros where the loss does not depend on one.
///
/// Only what leads to these parameters is differentiated: another network on the way is frozen by construction.
pub fn gradients(loss: &Tensor, network: &Network) -> Result<Vec<Tensor>> {
    let values: Vec<Tensor> = network.trainable().iter().map(|param| param.value()).collect();
    let grads = grad(loss, None, &references(&values), Graph::Drop)?;
    grads
        .into_iter()
        .zip(&values)
        .map(|(grad, value)| Ok(grad.map_or_else(|| value.detach().zeros_like(), Ok)?))
        .collect()
}

/// As [`gradients`], averaged over the ranks that share the batch. Every rank calls it; fails when one has left.
pub fn gradient_means(loss: &Tensor, network: &Network, ranks: &Ranks) -> Result<Vec<Tensor>> {
    let values: Vec<Tensor> = network.trainable().iter().map(|param| param.value()).collect();
    Ok(belamy_tensor::ops::gradient_means::gradient_means(loss, &references(&values), ranks)?)
}

fn named_trainable(network: &Network) -> Vec<(String, &Param)> {
    network.params().into_iter().filter(|(_, param)| param.is_trainable()).collect()
}
