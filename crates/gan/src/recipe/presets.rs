//! Presets: other settings of a recipe, each under one name.

use super::list::adam;
use super::{Recipe, Source};
use crate::data::ValueRange;
use crate::error::{Error, Result};
use crate::networks::System;
use belamy_nn::optimizer::{Convention, Settings};
use belamy_nn::schedule::Schedule;

impl Recipe {
    /// The presets that [`Recipe::set`] knows for this recipe, besides `lecture`, which it begins with.
    pub fn presets(&self) -> &'static [&'static str] {
        match (self.system, self.source) {
            (System::LinesUpsample, Source::Lines)
            | (System::MnistDcgan | System::CifarDcgan, _)
            | (System::LinesUpsample | System::ConditionalGrey, Source::Images)
            | (System::ConditionalGrey, Source::Mnist) => &["fixed"],
            (System::Pix2pix | System::Cyclegan | System::Srgan, _) => &["narrow"],
            _ => &[],
        }
    }

    /// Settings under which a system trains in a fraction of the steps that its published ones need: DCGAN's Adam
    /// (β₁ = 0.5), a discriminator that learns no faster than the generator, and samples from averaged weights. Only
    /// where that was measured; others fail.
    pub(super) fn fix(&mut self) -> Result<()> {
        let dcgan_adam = |rate| adam(rate, 0.5, 1e-7, Convention::Keras);
        match self.system {
            System::LinesUpsample if self.source == Source::Lines => {
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
            System::LinesUpsample | System::ConditionalGrey if self.source == Source::Images => {
                self.generator_optimizer = dcgan_adam(2e-4);
                self.discriminator_optimizer = dcgan_adam(2e-4);
                self.average_decay = 0.99;
            }
            System::ConditionalGrey if self.source == Source::Mnist => {
                self.generator_optimizer = dcgan_adam(4e-4);
                self.discriminator_optimizer = dcgan_adam(4e-4);
                self.average_decay = 0.99;
                // 86 % of samples were the digit asked for after 2,500 steps; with dropout, 74 % after 2,000.
                self.dropout = 0.0;
            }
            // The book's data end at 0, its generator's tanh at -1.
            System::CifarDcgan => self.range = ValueRange::Signed,
            _ => return Err(self.no_preset("fixed")),
        }
        Ok(())
    }

    /// Networks that a processor can train: images of 64×64 or less, and a quarter of the channels.
    pub(super) fn narrow(&mut self) -> Result<()> {
        if !self.presets().contains(&"narrow") {
            return Err(self.no_preset("narrow"));
        }
        self.generator_width = 16;
        self.discriminator_width = 16;
        match self.system {
            System::Pix2pix => {
                self.side = 64;
                self.batch = self.batch.max(4);
                self.jitter = if self.jitter > 0 { 72 } else { 0 };
            }
            System::Cyclegan => {
                self.side = 64;
                self.blocks = 3;
                self.jitter = if self.jitter > 0 { 72 } else { 0 };
            }
            System::Srgan => {
                self.blocks = 4;
                self.batch = 8;
                self.steps = 6_000;
                self.pretraining_steps = 5_000;
                let settings = adam(1e-3, 0.9, 1e-8, Convention::Pytorch);
                let drops = Schedule::Staircase { every: 4_000, factor: 0.1 };
                self.generator_optimizer = Settings { schedule: drops, ..settings };
                self.discriminator_optimizer = Settings { learning_rate: 1e-4, ..settings };
            }
            _ => {}
        }
        Ok(())
    }

    fn no_preset(&self, preset: &str) -> Error {
        let known = [&["lecture"], self.presets()].concat().join(" and ");
        Error::recipe(format!("recipe {} has no preset {preset:?}, only {known}", self.name))
    }
}
