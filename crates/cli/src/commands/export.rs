//! `belamy export`: a trained network as an ONNX model.

use crate::failure::{Failure, Result};
use crate::output;
use belamy_cpu::cpu;
use belamy_gan::files::write_atomically;
use belamy_gan::run;
use belamy_nn::Network;
use belamy_nn::average::Average;
use belamy_nn::onnx::Layout;
use std::path::PathBuf;

/// Writes a network of a run's newest checkpoint as an ONNX model.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  belamy export runs/mnist-mlp-001 --out digits.onnx\n  belamy export runs/cyclegan-001 --network generator_back --opset 21 --out zebras-to-horses.onnx\n\nThe model computes inference: averaged weights where the run keeps them, running statistics, no dropout. Its inputs are\n`input` and, for a conditional network, `labels` (64-bit integers); its output is `output`; the batch may be of any size.\nA discriminator's output are logits."
)]
pub(crate) struct Arguments {
    /// The run's folder.
    run: PathBuf,
    /// The file.
    #[arg(long, value_name = "FILE.onnx")]
    out: PathBuf,
    /// generator, or for recipes of two ways generator_back: what a checkpoint keeps for drawing samples.
    #[arg(long, default_value = "generator")]
    network: String,
    /// The version of the operator set: 13, 17 or 21.
    #[arg(long, default_value_t = 17)]
    opset: u32,
    /// Where the channels of images stand: nchw, as in ONNX, or nhwc, as in Belamy.
    #[arg(long, default_value = "nchw")]
    layout: String,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let layout = match arguments.layout.as_str() {
        "nchw" => Layout::ChannelsFirst,
        "nhwc" => Layout::ChannelsLast,
        other => return Err(Failure::usage(format!("--layout {other}: there are nchw and nhwc"))),
    };
    let plan = run::read_plan(&arguments.run)?;
    let device = cpu();
    let mut model = None;
    let mut names = Vec::new();
    let mut offer = |network: &Network, average: Option<&mut Average>| -> Result<()> {
        if !network.name().starts_with("generator") {
            return Ok(());
        }
        names.push(network.name().to_owned());
        if network.name() != arguments.network {
            return Ok(());
        }
        if let Some(average) = average {
            average.exchange(network);
        }
        let range = serde_json::to_value(plan.recipe.range).unwrap_or_default();
        let seed = plan.seed.to_string();
        let notes = [
            ("recipe", plan.recipe.name.as_str()),
            ("seed", seed.as_str()),
            ("range", range.as_str().unwrap_or_default()),
        ];
        model = Some(network.onnx(arguments.opset, layout, &notes)?);
        Ok(())
    };
    if plan.recipe.system.translates() {
        let mut ensemble = run::open_ensemble(&arguments.run, &plan, &device)?;
        for player in ensemble.players_mut() {
            offer(&player.network, player.average.as_mut())?;
        }
    } else {
        let mut pair = run::open_generator(&arguments.run, &plan, &device)?;
        offer(&pair.generator, pair.average.as_mut())?;
    }
    let Some(model) = model else {
        let known = names.join(" and ");
        return Err(Failure::usage(format!("--network {}: there is {known}", arguments.network)));
    };
    write_atomically(&arguments.out, &model)?;
    output::print(&format!("{}\n", arguments.out.display()))
}
