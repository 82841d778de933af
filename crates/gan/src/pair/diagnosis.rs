//! Where a number that is not finite comes from.

use super::Pair;
use crate::batches::Batches;
use crate::error::Result;
use crate::recipe::GeneratorUpdate;
use belamy_nn::optimizer::gradients;
use belamy_nn::{Context, Network};
use belamy_tensor::Tensor;
use belamy_tensor::ops::finite::count_non_finite;

impl Pair {
    /// Repeats the step's passes from the same weights and draws, and names the first value that is not finite;
    /// `after` holds what the step made of the weights.
    pub(super) fn first_non_finite(
        &mut self,
        batches: &mut dyn Batches,
        after: &[Tensor],
    ) -> Result<String> {
        let mut cx = self.context()?;
        let real = batches.real(0, &mut cx)?;
        let place = bad(&real.samples)?.then(|| "the batch of real samples".to_owned());
        if let Some(place) = self.anywhere(place)? {
            return Ok(place);
        }
        let noise = batches.noise(&mut cx)?;
        let (fake, place) = self.look(&self.generator, &noise.samples, &noise.labels, &mut cx)?;
        if let Some(place) = place {
            return Ok(place);
        }
        for (samples, labels) in [(&real.samples, &real.labels), (&fake, &noise.labels)] {
            let (_, place) = self.look(&self.discriminator, samples, labels, &mut cx)?;
            if let Some(place) = place {
                return Ok(place);
            }
        }
        let simultaneous = self.recipe.generator_update == GeneratorUpdate::Simultaneous;
        let game = self.judge(&real, &fake, &noise, &mut cx)?;
        let mut place = self.first_bad_gradient(&game.loss_d, &self.discriminator)?;
        if simultaneous && place.is_none() {
            let (loss_g, _) = self.generator_loss(&real, &fake, &noise, Some(&game), &mut cx)?;
            place = self.first_bad_gradient(&loss_g, &self.generator)?;
        }
        if let Some(place) = place {
            return Ok(place);
        }
        // What the generator met: the discriminator after its update.
        self.restore_network(&self.discriminator, after);
        if let Some(place) = first_bad_weight(&self.discriminator)? {
            return Ok(format!("the optimiser's update of {place}"));
        }
        if !simultaneous {
            let noise = batches.noise(&mut cx)?;
            let fake = self.make(&noise, &mut cx)?;
            let (_, place) = self.look(&self.discriminator, &fake, &noise.labels, &mut cx)?;
            let (loss_g, _) = self.generator_loss(&real, &fake, &noise, None, &mut cx)?;
            let place = match place {
                None => self.first_bad_gradient(&loss_g, &self.generator)?,
                place => place,
            };
            if let Some(place) = place {
                return Ok(place);
            }
        }
        self.restore_network(&self.generator, after);
        Ok(match first_bad_weight(&self.generator)? {
            Some(place) => format!("the optimiser's update of {place}"),
            None => "a value between two networks".to_owned(),
        })
    }

    /// A network's pass with the first of its weights and layers that is not finite.
    fn look(
        &self,
        network: &Network,
        x: &Tensor,
        labels: &Option<Tensor>,
        cx: &mut Context,
    ) -> Result<(Tensor, Option<String>)> {
        // Batch norm over ranks hands what one has to all: whoever found it in the earliest place has it from nobody.
        let mut found = first_bad_weight(network)?.map(|place| (0, place));
        let mut layers = 0u32;
        let result = network.forward_observed(x, labels.as_ref(), cx, &mut |layer, y| {
            layers += 1;
            if found.is_none() && bad(y).unwrap_or(false) {
                let op = y.op_name().unwrap_or("its op");
                found = Some((layers, format!("the result of {op} in {}.{layer}", network.name())));
            }
        })?;
        Ok((result, self.earliest(found)?))
    }

    /// The loss of a network, or the first of its gradients, that is not finite.
    fn first_bad_gradient(&self, loss: &Tensor, network: &Network) -> Result<Option<String>> {
        let place = bad(loss)?.then(|| format!("the loss of the {}", network.name()));
        if let Some(place) = self.anywhere(place)? {
            return Ok(Some(place));
        }
        let grads = gradients(loss, network)?;
        let params = network.params();
        let names = params.iter().filter(|(_, param)| param.is_trainable()).map(|(name, _)| name);
        let mut place = None;
        // The backward pass meets the last layers first.
        let backwards = grads.iter().zip(names).collect::<Vec<_>>().into_iter().rev();
        for (number, (grad, name)) in (0..).zip(backwards) {
            if bad(grad)? {
                place = Some((number, format!("the gradient of {}.{name}", network.name())));
                break;
            }
        }
        self.earliest(place)
    }

    /// The place that any rank has found, the first of those that have, with its number where there are several: what one
    /// has to say ends the search of all.
    fn anywhere(&self, place: Option<String>) -> Result<Option<String>> {
        self.earliest(place.map(|place| (0, place)))
    }

    /// Likewise, of the rank whose place has the least number.
    fn earliest(&self, place: Option<(u32, String)>) -> Result<Option<String>> {
        let Some(ranks) = &self.ranks else { return Ok(place.map(|(_, place)| place)) };
        let own = place.map_or(Vec::new(), |(number, place)| {
            [&number.to_le_bytes()[..], place.as_bytes()].concat()
        });
        let places = ranks.all_gather(&own)?;
        let found = places.iter().enumerate().filter_map(|(rank, found)| {
            let (number, place) = found.split_first_chunk::<4>()?;
            Some((u32::from_le_bytes(*number), rank, String::from_utf8_lossy(place)))
        });
        let first = found.min_by_key(|(number, rank, _)| (*number, *rank));
        Ok(first.map(|(_, rank, place)| format!("{place} on rank {rank}")))
    }

    /// Puts the values of one network back from a snapshot of both.
    fn restore_network(&self, network: &Network, snapshot: &[Tensor]) {
        let own = network.params().len();
        let start = if network.name() == self.generator.name() { 0 } else { snapshot.len() - own };
        let params = network.params().into_iter();
        params.zip(&snapshot[start..]).for_each(|((_, param), value)| param.set(value.clone()));
    }
}

fn bad(tensor: &Tensor) -> Result<bool> {
    Ok(count_non_finite(&[tensor])?.item()? > 0.0)
}

fn first_bad_weight(network: &Network) -> Result<Option<String>> {
    for (name, param) in network.params() {
        if bad(&param.value())? {
            return Ok(Some(format!("{}.{name}", network.name())));
        }
    }
    Ok(None)
}
