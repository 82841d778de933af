//! `belamy recipes`: what there is to train.

use crate::failure::Result;
use crate::output;
use belamy_cpu::cpu;
use belamy_gan::networks;
use belamy_gan::recipe::{RECIPES, Recipe};
use serde::Serialize;

/// Lists the recipes, a line each: name, what it is, data it needs, parameters.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  belamy recipes --json")]
pub(crate) struct Arguments {
    /// Print a JSON array instead of a table.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Line {
    name: &'static str,
    summary: &'static str,
    data: &'static str,
    generator_params: usize,
    discriminator_params: usize,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let mut lines = Vec::new();
    for entry in RECIPES {
        let recipe = Recipe::named(entry.name)?;
        let networks = networks::outline(recipe.system, &recipe.sizes(), &cpu())?;
        let total = |network: &belamy_nn::Network| recipe.system.count_params(network);
        lines.push(Line {
            name: entry.name,
            summary: entry.summary,
            data: entry.data,
            generator_params: total(&networks[0]),
            discriminator_params: total(&networks[1]),
        });
    }
    if arguments.json {
        return output::print_json(&lines);
    }
    let count = |number: usize| output::with_commas(number as u64);
    let rows: Vec<Vec<String>> = lines
        .iter()
        .map(|line| {
            let params =
                format!("{} + {}", count(line.generator_params), count(line.discriminator_params));
            vec![line.name.into(), line.summary.into(), params, line.data.into()]
        })
        .collect();
    output::print(&output::table(&rows, &[2]))
}
