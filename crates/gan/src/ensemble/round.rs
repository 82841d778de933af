//! The passes, gradients and updates of one step, with closed eyes or open.

use super::Player;
use crate::error::Result;
use belamy_nn::{Context, Network};
use belamy_tensor::ops::finite::count_non_finite;
use belamy_tensor::{Graph, Tensor, grad};

/// What a rule works with during one step.
///
/// With open eyes it looks at every weight, layer, loss, gradient and update on the way, which reads each back from the
/// device, and remembers the first that is not finite.
#[derive(Debug)]
pub struct Round {
    /// The step's random numbers, in training mode.
    pub cx: Context,
    looking: bool,
    found: Option<String>,
}

impl Round {
    /// The work of one step.
    pub fn new(cx: Context, looking: bool) -> Round {
        Round { cx, looking, found: None }
    }

    /// The first place that is not finite, if any was met with open eyes.
    pub fn found(self) -> Option<String> {
        self.found
    }

    /// Looks at a tensor, if eyes are open and nothing was found yet.
    pub fn look(&mut self, tensor: &Tensor, place: impl FnOnce() -> String) -> Result<()> {
        if self.looking && self.found.is_none() && count_non_finite(&[tensor])?.item()? > 0.0 {
            self.found = Some(place());
        }
        Ok(())
    }

    fn look_at_weights(&mut self, network: &Network, what: &str) -> Result<()> {
        if self.looking && self.found.is_none() {
            for (name, param) in network.params() {
                self.look(&param.value(), || format!("{what}{}.{name}", network.name()))?;
            }
        }
        Ok(())
    }

    /// A network's pass.
    pub fn forward(&mut self, network: &Network, x: &Tensor) -> Result<Tensor> {
        if !self.looking {
            return Ok(network.forward(x, None, &mut self.cx)?);
        }
        self.look_at_weights(network, "")?;
        let mut found = self.found.take();
        let result = network.forward_observed(x, None, &mut self.cx, &mut |layer, y| {
            let bad = || count_non_finite(&[y]).and_then(|count| count.item());
            if found.is_none() && bad().is_ok_and(|count| count > 0.0) {
                let op = y.op_name().unwrap_or("its op");
                found = Some(format!("the result of {op} in {}.{layer}", network.name()));
            }
        });
        self.found = found;
        Ok(result?)
    }

    /// The gradients of a loss for a network's weights, zeros where it does not depend on one.
    pub fn gradients(&mut self, loss: &Tensor, network: &Network) -> Result<Vec<Tensor>> {
        Ok(self.gradients_of(loss, &[network])?.pop().unwrap_or_default())
    }

    /// The gradients of one loss for several networks' weights, in one walk.
    pub fn gradients_of(
        &mut self,
        loss: &Tensor,
        networks: &[&Network],
    ) -> Result<Vec<Vec<Tensor>>> {
        let names: Vec<&str> = networks.iter().map(|network| network.name()).collect();
        self.look(loss, || format!("the loss of the {}", names.join(" and the ")))?;
        let values: Vec<Vec<Tensor>> = networks
            .iter()
            .map(|network| network.trainable().iter().map(|param| param.value()).collect())
            .collect();
        let wanted: Vec<&Tensor> = values.iter().flatten().collect();
        let mut grads = grad(loss, None, &wanted, Graph::Drop)?.into_iter();
        let mut result = Vec::new();
        for (network, values) in networks.iter().zip(&values) {
            let of_network = values
                .iter()
                .map(|value| match grads.next().flatten() {
                    Some(grad) => Ok(grad),
                    None => value.detach().zeros_like(),
                })
                .collect::<Result<Vec<_>, _>>()?;
            self.look_at_gradients(network, &of_network)?;
            result.push(of_network);
        }
        Ok(result)
    }

    fn look_at_gradients(&mut self, network: &Network, grads: &[Tensor]) -> Result<()> {
        if self.looking && self.found.is_none() {
            let params = network.params();
            let names = params.iter().filter(|(_, param)| param.is_trainable());
            // The backward pass meets the last layers first.
            for (grad, (name, _)) in grads.iter().zip(names).collect::<Vec<_>>().into_iter().rev() {
                self.look(grad, || format!("the gradient of {}.{name}", network.name()))?;
            }
        }
        Ok(())
    }

    /// Moves a player's weights.
    pub fn apply(&mut self, player: &mut Player, grads: &[Tensor]) -> Result<()> {
        player.optimizer.apply(&player.network, grads)?;
        self.look_at_weights(&player.network, "the optimiser's update of ")
    }
}
