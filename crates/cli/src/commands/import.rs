//! `belamy import`: weights from Keras- and PyTorch-named safetensors.

use crate::failure::{Failure, Result};
use crate::output;
use belamy_cpu::cpu;
use belamy_gan::recipe::Recipe;
use belamy_gan::run::{self, Plan};
use belamy_gan::{checkpoint, trainer};
use belamy_nn::weights::{self, Origin};
use belamy_tensor::DType;
use belamy_tensor::ops::finite::count_non_finite;
use std::path::PathBuf;

/// Makes a run of a recipe's network from a weight file with Keras', PyTorch's or Belamy's names.
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  belamy import generator.safetensors --recipe conditional-signs64 --out runs/signs\n  belamy sample runs/signs --out signs.png"
)]
pub(crate) struct Arguments {
    /// The weight file.
    file: PathBuf,
    /// The recipe whose network it is.
    #[arg(long)]
    recipe: String,
    /// The run's folder, new or empty.
    #[arg(long, value_name = "RUN")]
    out: PathBuf,
    /// generator, discriminator or another of the recipe's networks; the rest start fresh.
    #[arg(long, default_value = "generator")]
    network: String,
    /// Set a field of the recipe first: key=value.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let mut recipe = Recipe::named(&arguments.recipe)?;
    for assignment in &arguments.set {
        recipe.set(assignment)?;
    }
    let device = cpu();
    let tensors = weights::read(&arguments.file, &device)?;
    let trainer = trainer::new(recipe.clone(), 1, DType::F32, &device)?;
    let networks: Vec<_> = trainer.parts().into_iter().map(|part| part.network).collect();
    let Some(network) = networks.iter().find(|network| network.name() == arguments.network) else {
        let names: Vec<&str> = networks.iter().map(|network| network.name()).collect();
        let message = format!("--network {}: there are {}", arguments.network, names.join(" and "));
        return Err(Failure::usage(message));
    };
    let origin = weights::import(network, tensors)
        .map_err(|error| Failure::new(format!("{}: {error}", arguments.file.display())))?;
    for (name, tensor) in weights::of_network(network)? {
        if count_non_finite(&[&tensor])?.item()? > 0.0 {
            let (file, what) = (arguments.file.display(), "holds a number that is not finite");
            return Err(Failure::new(format!("{file}: the tensor for {name} {what}")));
        }
    }
    let plan = Plan::new(recipe, 1, &device);
    run::claim(&arguments.out, &plan, || {
        checkpoint::save(trainer.as_ref(), &arguments.out.join("checkpoints"))
    })?;
    let from = match origin {
        Origin::Belamy => "Belamy",
        Origin::Keras => "Keras",
        Origin::Pytorch => "PyTorch",
    };
    output::print(&format!(
        "imported the {} with {from}'s names into {}\n",
        network.name(),
        arguments.out.display()
    ))
}
