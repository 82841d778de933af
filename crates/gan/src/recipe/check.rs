//! What no recipe may be: values that no run could have, and fields that do not go together.

use super::{Recipe, Source, Terms};
use crate::data::ValueRange;
use crate::data::showers::ENERGIES;
use crate::error::{Error, Result};
use crate::networks::System;
use crate::objective::Labels;
use belamy_nn::optimizer::Rule;
use belamy_nn::schedule::Schedule;

/// The largest decay of an optimiser's moments.
const BELOW_ONE: f64 = 0.999_999_999;
/// The smallest factor or divisor of a schedule: devices take its logarithm.
const ABOVE_ZERO: f64 = 1e-9;

impl Recipe {
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
        if !within(noise, -1.0, 1.0) {
            return refuse("labels.noise must be from -1 to 1");
        }
        let sized = self.system.translates()
            || matches!(
                self.system,
                System::Dcgan64 | System::CifarDcgan | System::Faces | System::Showers
            );
        let lacks = |width: usize| !(1..=4096).contains(&width);
        if sized && (lacks(self.generator_width) || lacks(self.discriminator_width)) {
            return refuse("generator_width and discriminator_width must be from 1 to 4096");
        }
        if self.system == System::LettersFailing && lacks(self.discriminator_width) {
            return refuse("discriminator_width must be from 1 to 4096");
        }
        self.check_images()?;
        self.check_regularizers()?;
        self.check_optimizers()
    }

    /// The fields of systems that have several sizes of images, or make images from images.
    fn check_images(&self) -> Result<()> {
        let refuse = |what: &str| Err(Error::recipe(format!("recipe {}: {what}", self.name)));
        let side = self.side;
        match self.system {
            System::Faces if side != 32 && side != 64 => return refuse("side must be 32 or 64"),
            System::ConditionalGrey if side == 0 || !side.is_multiple_of(4) || side > 256 => {
                return refuse("side must be a multiple of 4 from 4 to 256");
            }
            System::Showers if self.classes != ENERGIES => {
                return refuse("classes must be 15, the incident energies");
            }
            System::ConditionalGrey if self.classes == 0 => return refuse("classes must not be 0"),
            System::Pix2pix if !side.is_power_of_two() || !(32..=1024).contains(&side) => {
                return refuse("side must be a power of two from 32 to 1024");
            }
            System::Cyclegan if !(32..=1024).contains(&side) || !side.is_multiple_of(4) => {
                return refuse("side must be a multiple of 4 from 32 to 1024");
            }
            System::Srgan if !(32..=1024).contains(&side) || !side.is_multiple_of(16) => {
                return refuse("side must be a multiple of 16 from 32 to 1024");
            }
            _ => {}
        }
        if self.source.is_two() != self.system.translates() {
            return refuse("its source does not yield what its system takes");
        }
        if (self.source == Source::Showers) != (self.system == System::Showers) {
            return refuse("its source does not yield what its system takes");
        }
        if self.source == Source::Showers && self.range != ValueRange::Unit {
            return refuse("range must be unit: what networks see of a voxel is in [0, 1]");
        }
        if self.source == Source::Cifar && self.class > 10 {
            return refuse("class must be from 0 to 9, or 10 for all");
        }
        if self.pool > 10_000 {
            return refuse("pool must be from 0 to 10000");
        }
        if self.pool > 0
            && (self.classes > 0 || self.system.translates() && self.system != System::Cyclegan)
        {
            return refuse("pool must be 0: an earlier fake belongs to another label or image");
        }
        if self.watch_gradients && self.system.translates() {
            return refuse(
                "watch_gradients must be false: it is for recipes of one pair of networks",
            );
        }
        let Terms { adversarial, l1, cycle, identity, content } = self.terms;
        let all = [adversarial, l1, cycle, identity, content];
        if !all.iter().all(|term| (0.0..=1e6).contains(term)) {
            return refuse("terms must be from 0 to 1000000");
        }
        if !self.system.translates() {
            return Ok(());
        }
        if ![self.input_channels, self.channels].iter().all(|channels| matches!(channels, 1 | 3)) {
            return refuse("input_channels and channels must be 1 or 3");
        }
        if self.system == System::Srgan && self.input_channels != self.channels {
            return refuse("input_channels and channels must be the same");
        }
        if self.system == System::Srgan && self.jitter != 0 {
            return refuse("jitter must be 0: crops are taken when the data are read");
        }
        if self.jitter != 0 && !(side..=2 * side).contains(&self.jitter) {
            return refuse("jitter must be 0, or from side to twice side");
        }
        if self.blocks > 256 {
            return refuse("blocks must be from 0 to 256");
        }
        Ok(())
    }

    fn check_regularizers(&self) -> Result<()> {
        let refuse = |what: &str| Err(Error::recipe(format!("recipe {}: {what}", self.name)));
        let own = &self.regularizers;
        let strengths = [
            own.gradient_penalty,
            own.r1,
            own.clip_weights,
            own.instance_noise,
            own.feature_matching,
            own.auxiliary,
            own.generator_dropout,
        ];
        if !strengths.iter().all(|strength| (0.0..=1e6).contains(strength)) {
            return refuse("regularizers must be from 0 to 1000000");
        }
        if own.penalty_every == 0 || own.minibatch_stddev > 1024 {
            let what =
                "regularizers.penalty_every must be 1 or more, minibatch_stddev 1024 or less";
            return refuse(what);
        }
        if own.generator_dropout > 0.99 {
            return refuse("regularizers.generator_dropout must be from 0 to 0.99");
        }
        if own.auxiliary > 0.0 && self.classes == 0 {
            return refuse("regularizers.auxiliary wants a recipe with classes");
        }
        if self.system.translates()
            && (strengths.iter().any(|strength| *strength > 0.0)
                || own.augment
                || own.minibatch_stddev > 0)
        {
            return refuse("of the regularizers only spectral_norm is for systems that translate");
        }
        if (own.augment || own.minibatch_stddev > 0)
            && matches!(
                self.system,
                System::Sine | System::MnistMlp | System::LettersFailing | System::Showers
            )
        {
            return refuse("augment and minibatch_stddev want a discriminator of convolutions");
        }
        Ok(())
    }

    fn check_optimizers(&self) -> Result<()> {
        let optimizers = [
            ("generator_optimizer", &self.generator_optimizer),
            ("discriminator_optimizer", &self.discriminator_optimizer),
        ];
        for (optimizer, settings) in optimizers {
            let most = f64::MAX;
            let mut limits = vec![
                ("learning_rate", settings.learning_rate, 0.0, most),
                ("clip_value", settings.clip_value, 0.0, most),
                ("clip_norm", settings.clip_norm, 0.0, most),
            ];
            // A decay of 1 would never forget, and divide by 0.
            match settings.rule {
                Rule::Adam { beta_1, beta_2, epsilon, .. } => limits.extend([
                    ("rule.beta_1", beta_1, 0.0, BELOW_ONE),
                    ("rule.beta_2", beta_2, 0.0, BELOW_ONE),
                    ("rule.epsilon", epsilon, 0.0, 1.0),
                ]),
                Rule::RmsProp { rho, epsilon, .. } => limits.extend([
                    ("rule.rho", rho, 0.0, BELOW_ONE),
                    ("rule.epsilon", epsilon, 0.0, 1.0),
                ]),
                Rule::Sgd { momentum, .. } => {
                    limits.push(("rule.momentum", momentum, 0.0, BELOW_ONE));
                }
            }
            // A rate below 0 would climb.
            match settings.schedule {
                Schedule::Constant | Schedule::LinearDecay { .. } => {}
                Schedule::Staircase { factor, .. } => {
                    limits.push(("schedule.factor", factor, ABOVE_ZERO, most));
                }
                Schedule::Geometric { divisor, lowest } => limits.extend([
                    ("schedule.divisor", divisor, ABOVE_ZERO, most),
                    ("schedule.lowest", lowest, 0.0, most),
                ]),
                Schedule::InverseTime { decay } => {
                    limits.push(("schedule.decay", decay, 0.0, most));
                }
            }
            for (name, value, least, most) in limits {
                if !(least..=most).contains(&value) {
                    let most = if most == f64::MAX {
                        String::new()
                    } else {
                        format!(" and at most {most}")
                    };
                    return Err(Error::recipe(format!(
                        "recipe {}: {optimizer}.{name} must be finite, at least {least}{most}, not {value}",
                        self.name
                    )));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use toml::Value;

    /// Every number of a table that is a float, by its path.
    fn floats(prefix: &str, value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Table(fields) => {
                for (key, value) in fields {
                    let dot = if prefix.is_empty() { "" } else { "." };
                    floats(&format!("{prefix}{dot}{key}"), value, found);
                }
            }
            Value::Float(_) => found.push(prefix.to_owned()),
            _ => {}
        }
    }

    fn at<'a>(value: &'a mut Value, path: &str) -> &'a mut Value {
        path.split('.').fold(value, |value, key| &mut value[key])
    }

    #[test]
    fn no_number_of_a_recipe_may_be_nan_or_infinite() {
        let rules = [
            "{kind = \"adam\", beta_1 = 0.5, beta_2 = 0.9, epsilon = 1e-8, convention = \"keras\"}",
            "{kind = \"rms_prop\", rho = 0.9, epsilon = 1e-8, convention = \"keras\"}",
            "{kind = \"sgd\", momentum = 0.9, nesterov = false}",
        ];
        let schedules = [
            "{kind = \"staircase\", every = 5, factor = 0.5}",
            "{kind = \"geometric\", divisor = 1.1, lowest = 0.1}",
            "{kind = \"inverse_time\", decay = 0.1}",
        ];
        let mut seen = Vec::new();
        for name in ["mnist-dcgan", "pix2pix"] {
            for (rule, schedule) in rules.into_iter().zip(schedules) {
                let mut recipe = Recipe::named(name).unwrap();
                for network in ["generator", "discriminator"] {
                    recipe.set(&format!("{network}_optimizer.rule={rule}")).unwrap();
                    recipe.set(&format!("{network}_optimizer.schedule={schedule}")).unwrap();
                }
                let whole = Value::try_from(&recipe).unwrap();
                whole.clone().try_into::<Recipe>().unwrap().check().unwrap();
                let mut paths = Vec::new();
                floats("", &whole, &mut paths);
                for path in &paths {
                    for wrong in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
                        let mut damaged = whole.clone();
                        *at(&mut damaged, path) = Value::Float(wrong);
                        // As it is read from run.toml, which knows nan and inf.
                        let text = toml::to_string(&damaged).unwrap();
                        let recipe: Recipe = toml::from_str(&text).unwrap();
                        let Err(error) = recipe.check() else { panic!("{path} = {wrong} passed") };
                        assert!(matches!(error, Error::Recipe { .. }), "{error}");
                        let error = error.to_string();
                        // A table of like numbers may be named as one.
                        let table = path.split('.').next().unwrap();
                        let exact = path.contains("optimizer");
                        assert!(
                            error.contains(if exact { path } else { table }),
                            "{path}: {error}"
                        );
                    }
                }
                seen.extend(paths);
            }
        }
        for key in ["factor", "divisor", "lowest", "decay"] {
            assert!(seen.contains(&format!("generator_optimizer.schedule.{key}")), "{seen:?}");
        }
        assert!(seen.contains(&"terms.l1".to_owned()) && seen.contains(&"labels.noise".to_owned()));
    }

    #[test]
    fn a_schedule_neither_climbs_nor_vanishes() {
        for schedule in [
            "{kind = \"staircase\", every = 5, factor = -0.5}",
            "{kind = \"staircase\", every = 5, factor = 0.0}",
            "{kind = \"geometric\", divisor = 0.0, lowest = 0.1}",
            "{kind = \"geometric\", divisor = 1.1, lowest = -0.1}",
            "{kind = \"inverse_time\", decay = -0.1}",
        ] {
            let mut recipe = Recipe::named("sine").unwrap();
            let error = recipe.set(&format!("generator_optimizer.schedule={schedule}"));
            let error = error.unwrap_err().to_string();
            assert!(error.contains("generator_optimizer.schedule."), "{error}");
        }
    }
}
