//! Recipes: everything that decides a training run, as data.

mod check;
mod list;
mod presets;

pub use list::{Entry, RECIPES};

use crate::adversarial::Objective;
use crate::data::ValueRange;
use crate::error::{Error, Result};
use crate::networks::{SUPER_RESOLUTION, Sizes, System};
use crate::objective::{GeneratorLoss, Labels, LossConvention};
use crate::regularizer::Regularizers;
use belamy_nn::optimizer::{Rule, Settings};
use serde::{Deserialize, Serialize};

/// Where real samples come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// Points `[x, sin x]`, made from the seed.
    Sine,
    /// Images of vertical lines, made from the seed.
    Lines,
    /// Handwritten digits: the 10,000 inside the program, or those of a folder.
    Mnist,
    /// A folder of images, or a zip of them.
    Images,
    /// One class of CIFAR-10, 0 to 9; 10 for all, labelled.
    Cifar,
    /// Calorimeter showers: by a parametrisation from the seed, or an HDF5 file in CaloChallenge's layout.
    Showers,
    /// A folder of images, each a target and the input that belongs to it side by side.
    SideBySide,
    /// Pairs of five violet circles and the green rectangles in their places, made from the seed.
    CirclesRectangles,
    /// Grey images and their colours, from a folder of images.
    GreyToColour,
    /// Images of two kinds, in the folders `trainA` and `trainB`.
    TwoFolders,
    /// Images of circles and images of squares, made from the seed.
    CirclesSquares,
    /// Small crops of photographs and their originals, from a folder of images.
    SuperResolution,
}

impl Source {
    /// Whether it yields images of two kinds.
    pub fn is_two(self) -> bool {
        !matches!(
            self,
            Source::Sine
                | Source::Lines
                | Source::Mnist
                | Source::Images
                | Source::Cifar
                | Source::Showers
        )
    }

    /// Whether it is made from the seed, so that no path is taken.
    pub fn is_made(self) -> bool {
        matches!(
            self,
            Source::Sine | Source::Lines | Source::CirclesRectangles | Source::CirclesSquares
        )
    }
}

/// What each part of a generator's loss is multiplied by, where it learns from more than the discriminator.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Terms {
    /// What the discriminator says.
    pub adversarial: f64,
    /// The mean absolute difference from the target: pix2pix.
    pub l1: f64,
    /// The mean absolute difference after the way there and back: CycleGAN.
    pub cycle: f64,
    /// The mean absolute change of what is of the other kind already: CycleGAN.
    pub identity: f64,
    /// The mean squared difference from the target: super-resolution.
    pub content: f64,
}

impl Default for Terms {
    /// The discriminator's word alone.
    fn default() -> Terms {
        Terms { adversarial: 1.0, l1: 0.0, cycle: 0.0, identity: 0.0, content: 0.0 }
    }
}

/// How the discriminator sees a real and a fake batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Passes {
    /// One after the other: batch norm takes each one's own statistics.
    Separate,
    /// Joined along the batch.
    Joined,
}

/// What batch norm takes for the batch where several ranks share one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BatchStatistics {
    /// The samples of all ranks: N ranks train as one does.
    #[default]
    Synchronised,
    /// Each rank's own samples: nothing is waited for on the way back, and the result depends on the number of ranks.
    PerRank,
}

/// When the generator is moved, and on which samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GeneratorUpdate {
    /// Both gradients are taken from one pass, before either network moves (TensorFlow's tutorials).
    Simultaneous,
    /// After the discriminator, on the same fake batch (pytorch/examples).
    Shared,
    /// After the discriminator, on fresh noise (Algorithm 1).
    Redrawn,
}

/// Everything that decides a training run, apart from the seed, the device and the precision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// The recipe's name.
    pub name: String,
    /// Which pair of networks.
    pub system: System,
    /// Where real samples come from.
    pub source: Source,
    /// How many samples a made data set holds; 0 for all of a data set that is read.
    pub samples: usize,
    /// What the numbers of an image mean.
    pub range: ValueRange,
    /// Length of the noise vector.
    pub latent: usize,
    /// DCGAN-64's ngf; 0 where a system has one size.
    pub generator_width: usize,
    /// DCGAN-64's ndf; 0 where a system has one size.
    pub discriminator_width: usize,
    /// The discriminator's dropout rate; 0 where it has none.
    pub dropout: f64,
    /// Classes of a conditional system; 0 otherwise.
    pub classes: usize,
    /// Which class of CIFAR-10; 10 for all of them.
    #[serde(default)]
    pub class: usize,
    /// Side of the images, for systems of several sizes; 0 otherwise.
    #[serde(default)]
    pub side: usize,
    /// Channels of the images that a generator takes; 0 where it takes noise.
    #[serde(default)]
    pub input_channels: usize,
    /// Channels of the images, for systems that make grey or coloured ones; 0 otherwise.
    #[serde(default)]
    pub channels: usize,
    /// Residual blocks; 0 where there are none.
    #[serde(default)]
    pub blocks: usize,
    /// Real samples in a batch.
    pub batch: usize,
    /// Generator updates in a run.
    pub steps: u64,
    /// Discriminator updates for one of the generator, each on fresh data and noise: k of Algorithm 1.
    pub discriminator_steps: usize,
    /// How the discriminator sees real and fake batches.
    pub passes: Passes,
    /// What batch norm takes for the batch where several ranks share one.
    #[serde(default)]
    pub batch_statistics: BatchStatistics,
    /// When and on what the generator is moved.
    pub generator_update: GeneratorUpdate,
    /// What the generator minimises.
    pub generator_loss: GeneratorLoss,
    /// How the discriminator's two halves make one loss.
    pub loss_convention: LossConvention,
    /// Decay of the moving average of the generator's weights that samples are drawn from; 0 for none.
    pub average_decay: f64,
    /// Mirrors images left to right at random.
    pub mirror: bool,
    /// Enlarges images of two kinds to this side before a random crop of `side`; 0 for none.
    #[serde(default)]
    pub jitter: usize,
    /// What both networks want of the discriminator's logits.
    #[serde(default)]
    pub objective: Objective,
    /// Targets and their disturbance.
    pub labels: Labels,
    /// What each part of the generator's loss is multiplied by.
    #[serde(default)]
    pub terms: Terms,
    /// What keeps the discriminator smooth and the generator varied.
    #[serde(default)]
    pub regularizers: Regularizers,
    /// How many earlier fakes the discriminators' pools keep, to be shown again; 0 for none. For recipes whose generator takes
    /// noise without labels, and for CycleGAN.
    #[serde(default)]
    pub pool: usize,
    /// Measures the norms of both networks' gradients, and warns where they are large. For recipes whose generator takes
    /// noise.
    #[serde(default)]
    pub watch_gradients: bool,
    /// Generator updates without a discriminator, before the game begins.
    #[serde(default)]
    pub pretraining_steps: u64,
    /// The generator's optimiser.
    pub generator_optimizer: Settings,
    /// The discriminator's optimiser.
    pub discriminator_optimizer: Settings,
}

impl Recipe {
    /// The recipe of a name; an unknown one fails with the nearest that exists.
    ///
    /// ```
    /// use belamy_gan::recipe::Recipe;
    /// assert_eq!(Recipe::named("sine")?.batch, 150);
    /// let error = Recipe::named("sin").unwrap_err().to_string();
    /// assert!(error.contains("did you mean sine?"), "{error}");
    /// # Ok::<(), belamy_gan::Error>(())
    /// ```
    pub fn named(name: &str) -> Result<Recipe> {
        let names = RECIPES.iter().map(|entry| entry.name);
        match RECIPES.iter().find(|entry| entry.name == name) {
            Some(entry) => Ok((entry.make)()),
            None => Err(Error::recipe(format!(
                "there is no recipe {name:?}; {}",
                suggestion(name, names.collect())
            ))),
        }
    }

    /// What the networks are made from.
    pub fn sizes(&self) -> Sizes {
        Sizes {
            latent: self.latent,
            generator_width: self.generator_width,
            discriminator_width: self.discriminator_width,
            dropout: self.dropout,
            classes: self.classes,
            side: self.side,
            input_channels: self.input_channels,
            channels: self.channels,
            blocks: self.blocks,
            spectral_norm: self.regularizers.spectral_norm,
            minibatch_stddev: self.regularizers.minibatch_stddev,
            auxiliary: self.regularizers.auxiliary > 0.0,
            generator_dropout: self.regularizers.generator_dropout,
        }
    }

    /// Sets a field by its name, with dots into tables: `labels.real=1`. Unknown fields fail with the nearest that
    /// exists, values of another kind with the kind that is wanted. `preset=lecture` stands for all fields as
    /// published, `preset=fixed` for those that train better where that is known, `preset=narrow` for networks that a
    /// processor can train: see [`Recipe::presets`].
    pub fn set(&mut self, assignment: &str) -> Result<()> {
        let (key, value) = assignment.split_once('=').ok_or_else(|| {
            Error::recipe(format!("{assignment:?} is not key=value, such as batch=64"))
        })?;
        let (key, value) = (key.trim(), value.trim());
        if key == "name" {
            return Err(Error::recipe(
                "a recipe's name cannot be set: it says which recipe a checkpoint is of",
            ));
        }
        match (key, value) {
            ("preset", "lecture") => {
                *self = Recipe::named(&self.name)?;
                return Ok(());
            }
            ("preset", "fixed") => return self.fix(),
            ("preset", "narrow") => return self.narrow(),
            ("preset", _) => {
                let hint = suggestion(value, vec!["lecture", "fixed", "narrow"]);
                return Err(Error::recipe(format!("there is no preset {value:?}; {hint}")));
            }
            _ => {}
        }
        let mut tree = serde_json::to_value(&*self).expect("a recipe is plain data");
        let mut known = Vec::new();
        leaves("", &tree, &mut known);
        let names: Vec<&str> = known.iter().map(String::as_str).collect();
        let pointer = format!("/{}", key.replace('.', "/"));
        // `discriminator_optimizer.rule=sgd` stands for the table of that rule with its usual constants.
        let rule = key.ends_with("_optimizer.rule").then(|| Rule::usual(value)).flatten();
        if key.ends_with("_optimizer.rule") && rule.is_none() && !value.starts_with('{') {
            let hint = "adam, sgd or rms_prop, or a whole table";
            return Err(Error::recipe(format!("{key} wants {hint}, not {value:?}")));
        }
        let is_table = value.starts_with('{') || rule.is_some();
        let Some(place) = tree.pointer_mut(&pointer).filter(|place| place.is_object() == is_table)
        else {
            let hint = suggestion(key, names);
            return Err(Error::recipe(format!(
                "recipe {} has no field {key:?}; {hint}",
                self.name
            )));
        };
        let parsed = match rule {
            Some(rule) => serde_json::to_value(rule).ok(),
            None => parsed(value, place),
        };
        *place = parsed.ok_or_else(|| {
            let wanted = match place {
                serde_json::Value::Bool(_) => "true or false",
                serde_json::Value::Number(number) if number.is_u64() => {
                    "a whole number, at least 0"
                }
                serde_json::Value::Number(_) => "a number",
                serde_json::Value::Object(_) => "a table such as {kind = \"constant\"}",
                _ => "a word",
            };
            Error::recipe(format!("{key} wants {wanted}, not {value:?}"))
        })?;
        let changed: Recipe = serde_json::from_value(tree).map_err(|error| {
            let hint = match key.strip_suffix(".kind") {
                // Another kind has other fields.
                Some(table) if error.to_string().contains("expected `") => {
                    format!("; set the whole table: {table}={{kind = \"{value}\", ...}} with the fields that it expects")
                }
                _ => nearest_word(&error.to_string()).unwrap_or_default(),
            };
            Error::recipe(format!("{key}={value}: {error}{hint}"))
        })?;
        changed.check()?;
        *self = changed;
        Ok(())
    }

    /// The shapes of one image of each kind as the data must have them, for systems that make images from images: before
    /// a random crop, if there is one.
    pub fn two_shapes(&self) -> [[usize; 3]; 2] {
        let side = self.side.max(self.jitter);
        let first = match self.system {
            System::Srgan => side / SUPER_RESOLUTION,
            _ => side,
        };
        [[first, first, self.input_channels], [side, side, self.channels]]
    }
}

/// The value of a word, of the kind that stands in its place already.
fn parsed(word: &str, place: &serde_json::Value) -> Option<serde_json::Value> {
    use serde_json::Value;
    match place {
        Value::Bool(_) => word.parse().ok().map(Value::Bool),
        Value::Number(number) if number.is_u64() => {
            word.replace('_', "").parse::<u64>().ok().map(Value::from)
        }
        Value::Number(_) => word.parse::<f64>().ok().filter(|x| x.is_finite()).map(Value::from),
        // `{kind = "sgd", momentum = 0.9, nesterov = false}`: a table is replaced as a whole.
        Value::Object(_) => {
            let table: toml::Table = toml::from_str(&format!("table = {word}")).ok()?;
            serde_json::to_value(table.get("table")?).ok()
        }
        _ => Some(Value::from(word)),
    }
}

/// "; did you mean y?" for serde's "unknown variant `x`, expected one of `y`, `z`".
fn nearest_word(message: &str) -> Option<String> {
    let words: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    let (word, known) = words.split_first().filter(|_| message.starts_with("unknown "))?;
    let near = suggestion(word, known.to_vec());
    near.starts_with("did you mean").then(|| format!("; {near}"))
}

/// The dotted names of all plain values.
fn leaves(prefix: &str, value: &serde_json::Value, names: &mut Vec<String>) {
    match value {
        serde_json::Value::Object(fields) => {
            for (key, value) in fields {
                let dot = if prefix.is_empty() { "" } else { "." };
                leaves(&format!("{prefix}{dot}{key}"), value, names);
            }
        }
        _ => names.push(prefix.to_owned()),
    }
}

/// "did you mean x?" for the nearest known name, or the whole list where none is near.
pub fn suggestion(word: &str, known: Vec<&str>) -> String {
    let last = |name: &str| name.rsplit('.').next().unwrap_or(name).to_owned();
    let nearest = known
        .iter()
        .map(|name| (edit_distance(word, name).min(edit_distance(word, &last(name)) + 1), name))
        .min();
    match nearest {
        Some((distance, name)) if distance <= 2.max(word.len() / 3) => {
            format!("did you mean {name}?")
        }
        _ => format!("there are {}", known.join(", ")),
    }
}

/// How many letters must be added, dropped, replaced or exchanged with their neighbour to make one word of another.
fn edit_distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            if i == 0 || j == 0 {
                rows[i][j] = i + j;
                continue;
            }
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = replaced.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = least;
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_recipe_is_valid_and_survives_its_own_file_form() {
        for entry in RECIPES {
            let recipe = Recipe::named(entry.name).unwrap();
            assert_eq!(recipe.name, entry.name);
            recipe.check().unwrap();
            let text = serde_json::to_string(&recipe).unwrap();
            assert_eq!(serde_json::from_str::<Recipe>(&text).unwrap(), recipe);
        }
    }

    #[test]
    fn a_preset_that_is_refused_changes_nothing() {
        for name in ["sine", "mnist-dcgan", "dcgan64", "showers"] {
            let mut recipe = Recipe::named(name).unwrap();
            assert!(recipe.set("preset=narrow").is_err(), "{name}");
            assert_eq!(recipe, Recipe::named(name).unwrap());
        }
    }

    #[test]
    fn every_setting_that_the_advice_names_is_one() {
        let page = include_str!("../../../../docs/advice.md");
        let words = page.split('`').skip(1).step_by(2);
        let settings: Vec<&str> = words.filter(|word| word.contains('=')).collect();
        assert!(settings.len() > 20, "{settings:?}");
        for setting in settings {
            let mut recipe = Recipe::named("mnist-dcgan").unwrap();
            if setting.contains("auxiliary") {
                recipe = Recipe::named("mnist-conditional").unwrap();
            }
            recipe.set(setting).unwrap_or_else(|error| panic!("{setting}: {error}"));
        }
    }

    #[test]
    fn a_rule_may_be_named_alone() {
        let mut recipe = Recipe::named("dcgan64").unwrap();
        let generator = recipe.generator_optimizer;
        recipe.set("discriminator_optimizer.rule=sgd").unwrap();
        let rule = Rule::Sgd { momentum: 0.0, nesterov: false };
        assert_eq!(recipe.discriminator_optimizer.rule, rule);
        assert_eq!(recipe.generator_optimizer, generator);
        recipe.set("generator_optimizer.rule=adam").unwrap();
        assert!(matches!(recipe.generator_optimizer.rule, Rule::Adam { beta_1: 0.9, .. }));
    }

    #[test]
    fn presets_are_whole_sets_of_fields() {
        let published = Recipe::named("lines-upsample").unwrap();
        let mut recipe = published.clone();
        recipe.set("preset=fixed").unwrap();
        recipe.check().unwrap();
        assert_eq!((recipe.generator_optimizer.learning_rate, recipe.average_decay), (1e-3, 0.98));
        recipe.set("preset=lecture").unwrap();
        assert_eq!(recipe, published);
        let error = recipe.set("preset=fixd").unwrap_err().to_string();
        assert!(error.contains("did you mean fixed?"), "{error}");
        let error = Recipe::named("sine").unwrap().set("preset=fixed").unwrap_err().to_string();
        assert!(error.contains("no preset"), "{error}");
        // What a recipe says of its presets is so, and every one of them is a recipe that can be run.
        for entry in RECIPES {
            for preset in ["fixed", "narrow"] {
                let mut recipe = Recipe::named(entry.name).unwrap();
                let is_known = recipe.presets().contains(&preset);
                assert_eq!(
                    recipe.set(&format!("preset={preset}")).is_ok(),
                    is_known,
                    "{}",
                    entry.name
                );
                recipe.check().unwrap();
            }
        }
    }

    #[test]
    fn letters_that_changed_places_are_one_mistake() {
        let pairs = [("sien", "sine", 1), ("sien", "signs", 2), ("", "ab", 2), ("abc", "abc", 0)];
        for (a, b, expected) in pairs {
            assert_eq!((edit_distance(a, b), edit_distance(b, a)), (expected, expected), "{a} {b}");
        }
    }

    #[test]
    fn fields_are_set_by_name_and_mistakes_are_explained() {
        let mut recipe = Recipe::named("mnist-mlp").unwrap();
        recipe.set("labels.real=1").unwrap();
        recipe.set("generator_optimizer.learning_rate=2e-4").unwrap();
        recipe.set("generator_loss=minimax").unwrap();
        recipe
            .set("discriminator_optimizer.rule={kind = \"sgd\", momentum = 0.9, nesterov = false}")
            .unwrap();
        assert_eq!((recipe.labels.real, recipe.generator_optimizer.learning_rate), (1.0, 2e-4));
        let mistakes = [
            ("bacth=3", "did you mean batch?"),
            ("label.real=1", "did you mean labels.real?"),
            ("batch=many", "a whole number"),
            ("batch=-1", "a whole number"),
            ("batch=0", "from 1 to"),
            ("labels=1", "no field"),
            ("batch", "key=value"),
            ("generator_loss=wasserstein", "minimax"),
            ("labels.real=NaN", "a number"),
            ("generator_loss=minimaxi", "did you mean minimax?"),
            ("generator_optimizer.rule.beta_1=1", "at most 0.999999999"),
            ("generator_optimizer.rule=sdg", "adam, sgd or rms_prop"),
            ("generator_optimizer.rule={kind=sgd}", "a table"),
            ("generator_optimizer.rule={kind=\"sgd\"}", "momentum"),
            ("generator_optimizer.rule={kind=\"sgdd\"}", "did you mean sgd?"),
        ];
        let before = recipe.clone();
        for (assignment, hint) in mistakes {
            let error = recipe.set(assignment).unwrap_err().to_string();
            assert!(error.contains(hint), "{assignment}: {error}");
            assert_eq!(recipe, before, "{assignment} must change nothing");
        }
    }
}
