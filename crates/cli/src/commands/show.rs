//! `belamy show`: the layer table of each network.

use crate::failure::Result;
use crate::output;
use belamy_cpu::cpu;
use belamy_gan::recipe::{RECIPES, Recipe};
use belamy_gan::{networks, run};
use belamy_nn::network::LayerRow;
use serde::Serialize;
use std::path::Path;

/// Prints the layer table of each network of a recipe or a run.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  belamy show mnist-mlp")]
pub(crate) struct Arguments {
    /// A recipe's name or a run's folder.
    #[arg(value_name = "RECIPE|RUN")]
    of: String,
    /// Set a field of the recipe first: key=value.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Tables {
    networks: Vec<Table>,
}

#[derive(Serialize)]
struct Table {
    name: String,
    total: usize,
    trainable: usize,
    /// Means and variances that batch norm keeps: in the total where the recipe's source counts them.
    running_statistics: usize,
    multiply_adds: u64,
    layers: Vec<LayerRow>,
}

/// The recipe of a name, or of a run's folder.
pub(crate) fn recipe_of(name: &str) -> Result<Recipe> {
    let path = Path::new(name);
    let is_recipe = RECIPES.iter().any(|entry| entry.name == name);
    if path.join("run.toml").exists() || (path.is_dir() && !is_recipe) {
        return Ok(run::read_plan(path)?.recipe);
    }
    Ok(Recipe::named(name)?)
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let mut recipe = recipe_of(&arguments.of)?;
    for assignment in &arguments.set {
        recipe.set(assignment)?;
    }
    let networks = networks::outline(recipe.system, &recipe.sizes(), &cpu())?;
    let mut tables = Tables { networks: Vec::new() };
    for network in networks {
        let mut layers = network.table()?;
        let trainable = layers.iter().map(|row| row.trainable).sum();
        let all: usize = layers.iter().map(|row| row.params).sum();
        if !recipe.system.counts_running_statistics() {
            layers.iter_mut().for_each(|row| row.params = row.trainable);
        }
        tables.networks.push(Table {
            name: network.name().to_owned(),
            total: recipe.system.count_params(&network),
            trainable,
            running_statistics: all - trainable,
            multiply_adds: layers.iter().map(|row| row.multiply_adds).sum(),
            layers,
        });
    }
    if arguments.json {
        return output::print_json(&tables);
    }
    let mut text = String::new();
    for table in &tables.networks {
        let mut rows = vec![["layer", "kind", "output", "parameters"].map(String::from).to_vec()];
        for row in &table.layers {
            let output = row.output.iter().map(usize::to_string).collect::<Vec<_>>().join("×");
            let params = output::with_commas(row.params as u64);
            rows.push(vec![row.name.clone(), row.layer.clone(), output, params]);
        }
        let count = |number: usize| output::with_commas(number as u64);
        text.push_str(&format!("{} of {}\n\n", table.name, recipe.name));
        text.push_str(&output::table(&rows, &[3]));
        text.push_str(&format!(
            "\ntotal {}  trainable {}  running statistics {} ({} the total)  multiply-adds {} a sample\n\n",
            count(table.total),
            count(table.trainable),
            count(table.running_statistics),
            if recipe.system.counts_running_statistics() { "in" } else { "not in" },
            output::with_commas(table.multiply_adds),
        ));
    }
    output::print(text.trim_end_matches('\n'))?;
    output::print("\n")
}
