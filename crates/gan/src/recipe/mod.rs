//! Recipes: everything that decides a training run, as data.

use crate::data::ValueRange;
use crate::error::{Error, Result};
use crate::networks::{Sizes, System};
use crate::objective::{GeneratorLoss, Labels, LossConvention};
use belamy_nn::optimizer::{Convention, Rule, Settings};
use belamy_nn::schedule::Schedule;
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
    /// A folder of images.
    Images,
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
    /// Real samples in a batch.
    pub batch: usize,
    /// Generator updates in a run.
    pub steps: u64,
    /// Discriminator updates for one of the generator, each on fresh data and noise: k of Algorithm 1.
    pub discriminator_steps: usize,
    /// How the discriminator sees real and fake batches.
    pub passes: Passes,
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
    /// Targets and their disturbance.
    pub labels: Labels,
    /// The generator's optimiser.
    pub generator_optimizer: Settings,
    /// The discriminator's optimiser.
    pub discriminator_optimizer: Settings,
}

/// The largest decay of an optimiser's moments.
const BELOW_ONE: f64 = 0.999_999_999;

fn adam(learning_rate: f64, beta_1: f64, epsilon: f64, convention: Convention) -> Settings {
    Settings {
        learning_rate,
        schedule: Schedule::Constant,
        clip_value: 0.0,
        clip_norm: 0.0,
        rule: Rule::Adam { beta_1, beta_2: 0.999, epsilon, convention },
    }
}

/// Adam as Keras runs it when nothing but the rate is given.
fn keras_adam(learning_rate: f64) -> Settings {
    adam(learning_rate, 0.9, 1e-7, Convention::Keras)
}

/// A line of the list of recipes: name, what it is, data it needs.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// The recipe's name.
    pub name: &'static str,
    /// What it trains, and after whom.
    pub summary: &'static str,
    /// What data it needs.
    pub data: &'static str,
    make: fn() -> Recipe,
}

/// Every recipe, in the lectures' order.
pub const RECIPES: &[Entry] = &[
    Entry {
        name: "mnist-mlp",
        summary: "digits by two multi-layer perceptrons (Bonacorsi, ISGC 2021)",
        data: "none: 10,000 digits are built in; or a folder with MNIST's idx files",
        make: mnist_mlp,
    },
    Entry {
        name: "sine",
        summary: "points on a sine curve by two tiny networks (Kasprowski, gan0)",
        data: "none: made from the seed",
        make: sine,
    },
    Entry {
        name: "lines-upsample",
        summary: "32×32 vertical lines, generator by upsampling (Kasprowski, gan1)",
        data: "none: made from the seed",
        make: lines_upsample,
    },
    Entry {
        name: "lines-transpose",
        summary: "32×32 vertical lines, generator by transposed convolutions (Kasprowski, gan1)",
        data: "none: made from the seed",
        make: || Recipe {
            name: "lines-transpose".into(),
            system: System::LinesTranspose,
            ..lines_upsample()
        },
    },
    Entry {
        name: "mnist-dcgan",
        summary: "digits by a DCGAN (TensorFlow tutorial)",
        data: "none: 10,000 digits are built in; or a folder with MNIST's idx files",
        make: mnist_dcgan,
    },
    Entry {
        name: "dcgan64",
        summary: "64×64 colour images by a DCGAN (pytorch/examples, after Radford et al. 2015)",
        data: "a folder of PNG or JPEG images",
        make: dcgan64,
    },
    Entry {
        name: "conditional-signs64",
        summary: "64×64 road signs of four classes by a conditional DCGAN (Kasprowski, lecture7)",
        data: "a folder with one sub-folder of images a class, four classes",
        make: conditional_signs64,
    },
];

fn sine() -> Recipe {
    Recipe {
        name: "sine".into(),
        system: System::Sine,
        source: Source::Sine,
        samples: 0,
        range: ValueRange::Unbounded,
        latent: 100,
        generator_width: 0,
        discriminator_width: 0,
        dropout: 0.0,
        classes: 0,
        batch: 150,
        steps: 5_000,
        discriminator_steps: 1,
        passes: Passes::Separate,
        generator_update: GeneratorUpdate::Simultaneous,
        generator_loss: GeneratorLoss::NonSaturating,
        loss_convention: LossConvention::Mean,
        average_decay: 0.0,
        mirror: false,
        labels: Labels::default(),
        generator_optimizer: keras_adam(1e-3),
        discriminator_optimizer: keras_adam(1e-3),
    }
}

fn mnist_mlp() -> Recipe {
    Recipe {
        name: "mnist-mlp".into(),
        system: System::MnistMlp,
        source: Source::Mnist,
        range: ValueRange::Signed,
        dropout: 0.3,
        batch: 128,
        // 400 of the lecture's "epochs" of 128 iterations.
        steps: 51_200,
        passes: Passes::Joined,
        generator_update: GeneratorUpdate::Redrawn,
        labels: Labels { real: 0.9, ..Labels::default() },
        discriminator_optimizer: adam(2e-4, 0.5, 1e-7, Convention::Keras),
        ..sine()
    }
}

fn lines_upsample() -> Recipe {
    Recipe {
        name: "lines-upsample".into(),
        system: System::LinesUpsample,
        source: Source::Lines,
        samples: 1_000,
        range: ValueRange::Unit,
        dropout: 0.3,
        batch: 50,
        steps: 1_500,
        loss_convention: LossConvention::Sum,
        generator_optimizer: keras_adam(1e-4),
        discriminator_optimizer: keras_adam(1e-4),
        ..sine()
    }
}

fn mnist_dcgan() -> Recipe {
    Recipe {
        name: "mnist-dcgan".into(),
        system: System::MnistDcgan,
        source: Source::Mnist,
        samples: 0,
        range: ValueRange::Signed,
        batch: 256,
        // 50 epochs of 60,000 digits.
        steps: 11_719,
        ..lines_upsample()
    }
}

fn dcgan64() -> Recipe {
    let settings = adam(2e-4, 0.5, 1e-8, Convention::Pytorch);
    Recipe {
        name: "dcgan64".into(),
        system: System::Dcgan64,
        source: Source::Images,
        range: ValueRange::Signed,
        generator_width: 64,
        discriminator_width: 64,
        batch: 64,
        // 25 epochs of CelebA's 202,599 images.
        steps: 79_141,
        generator_update: GeneratorUpdate::Shared,
        loss_convention: LossConvention::Sum,
        generator_optimizer: settings,
        discriminator_optimizer: settings,
        ..sine()
    }
}

fn conditional_signs64() -> Recipe {
    Recipe {
        name: "conditional-signs64".into(),
        system: System::ConditionalSigns64,
        source: Source::Images,
        samples: 0,
        classes: 4,
        steps: 80_000,
        generator_optimizer: keras_adam(1e-5),
        discriminator_optimizer: keras_adam(1e-5),
        ..lines_upsample()
    }
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
        }
    }

    /// Settings under which a system trains in a fraction of the steps that its published ones need: DCGAN's Adam
    /// (β₁ = 0.5), a discriminator that learns no faster than the generator, and samples from averaged weights. Only
    /// where that was measured; others fail.
    fn fix(&mut self) -> Result<()> {
        let dcgan_adam = |rate| adam(rate, 0.5, 1e-7, Convention::Keras);
        match self.system {
            System::LinesUpsample => {
                self.generator_optimizer = dcgan_adam(1e-3);
                self.discriminator_optimizer = dcgan_adam(2e-4);
                self.average_decay = 0.98;
            }
            System::MnistDcgan => {
                self.generator_optimizer = dcgan_adam(2e-4);
                self.discriminator_optimizer = dcgan_adam(2e-4);
                self.average_decay = 0.995;
                self.batch = 64;
            }
            _ => {
                return Err(Error::recipe(format!(
                    "recipe {} has no preset \"fixed\", only \"lecture\", which it begins with",
                    self.name
                )));
            }
        }
        Ok(())
    }

    /// Sets a field by its name, with dots into tables: `labels.real=1`. Unknown fields fail with the nearest that
    /// exists, values of another kind with the kind that is wanted. `preset=lecture` stands for all fields as
    /// published, `preset=fixed` for those of `lines-upsample` and `mnist-dcgan` that train in fewer steps.
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
            ("preset", _) => {
                let hint = suggestion(value, vec!["lecture", "fixed"]);
                return Err(Error::recipe(format!("there is no preset {value:?}; {hint}")));
            }
            _ => {}
        }
        let mut tree = serde_json::to_value(&*self).expect("a recipe is plain data");
        let mut known = Vec::new();
        leaves("", &tree, &mut known);
        let names: Vec<&str> = known.iter().map(String::as_str).collect();
        let pointer = format!("/{}", key.replace('.', "/"));
        let is_table = value.starts_with('{');
        let Some(place) = tree.pointer_mut(&pointer).filter(|place| place.is_object() == is_table)
        else {
            let hint = suggestion(key, names);
            return Err(Error::recipe(format!(
                "recipe {} has no field {key:?}; {hint}",
                self.name
            )));
        };
        *place = parsed(value, place).ok_or_else(|| {
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
            let hint = nearest_word(&error.to_string()).unwrap_or_default();
            Error::recipe(format!("{key}={value}: {error}{hint}"))
        })?;
        changed.check()?;
        *self = changed;
        Ok(())
    }

    /// Refuses values that no run could have.
    pub fn check(&self) -> Result<()> {
        let refuse = |what: &str| Err(Error::recipe(format!("recipe {}: {what}", self.name)));
        let within = |value: f64, low: f64, high: f64| value >= low && value <= high;
        if self.batch == 0 || self.batch > 1 << 20 {
            return refuse("batch must be from 1 to 1048576");
        }
        if self.latent == 0 || self.latent > 1 << 20 {
            return refuse("latent must be from 1 to 1048576");
        }
        if self.discriminator_steps == 0 || self.discriminator_steps > 1000 {
            return refuse("discriminator_steps must be from 1 to 1000");
        }
        if self.steps == 0 || self.steps >= u64::from(u32::MAX) {
            return refuse("steps must be from 1 to 4294967294");
        }
        if !within(self.dropout, 0.0, 0.99) {
            return refuse("dropout must be from 0 to 0.99");
        }
        if !within(self.average_decay, 0.0, 0.999_999) {
            return refuse("average_decay must be from 0 to 0.999999");
        }
        let Labels { real, fake, generator, noise, flip } = self.labels;
        if ![real, fake, generator, flip].into_iter().all(|label| within(label, 0.0, 1.3))
            || flip > 1.0
        {
            return refuse("labels must be from 0 to 1.3, and flip from 0 to 1");
        }
        if !within(noise, 0.0, 1.0) {
            return refuse("labels.noise must be from 0 to 1");
        }
        let widths = [self.generator_width, self.discriminator_width];
        if self.system == System::Dcgan64 && !widths.iter().all(|width| (1..=4096).contains(width))
        {
            return refuse("generator_width and discriminator_width must be from 1 to 4096");
        }
        self.check_optimizers()
    }

    fn check_optimizers(&self) -> Result<()> {
        let optimizers = [
            ("generator_optimizer", &self.generator_optimizer),
            ("discriminator_optimizer", &self.discriminator_optimizer),
        ];
        for (optimizer, settings) in optimizers {
            let mut limits = vec![
                ("learning_rate", settings.learning_rate, f64::MAX),
                ("clip_value", settings.clip_value, f64::MAX),
                ("clip_norm", settings.clip_norm, f64::MAX),
            ];
            // A decay of 1 would never forget, and divide by 0.
            match settings.rule {
                Rule::Adam { beta_1, beta_2, epsilon, .. } => limits.extend([
                    ("rule.beta_1", beta_1, BELOW_ONE),
                    ("rule.beta_2", beta_2, BELOW_ONE),
                    ("rule.epsilon", epsilon, 1.0),
                ]),
                Rule::RmsProp { rho, epsilon, .. } => {
                    limits.extend([("rule.rho", rho, BELOW_ONE), ("rule.epsilon", epsilon, 1.0)]);
                }
                Rule::Sgd { momentum, .. } => limits.push(("rule.momentum", momentum, BELOW_ONE)),
            }
            for (name, value, most) in limits {
                if !(0.0..=most).contains(&value) {
                    let most = if most == f64::MAX {
                        String::new()
                    } else {
                        format!(" and at most {most}")
                    };
                    return Err(Error::recipe(format!(
                        "recipe {}: {optimizer}.{name} must be finite, at least 0{most}, not {value}",
                        self.name
                    )));
                }
            }
        }
        Ok(())
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

/// Levenshtein's distance between two words.
fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
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
            ("generator_optimizer.rule=sgd", "no field"),
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
