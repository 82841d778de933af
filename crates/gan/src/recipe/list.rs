//! The recipes, each with every constant of its source.

use super::{BatchStatistics, GeneratorUpdate, Passes, Recipe, Source, Terms};
use crate::adversarial::Objective;
use crate::data::ValueRange;
use crate::data::showers::ENERGIES;
use crate::networks::System;
use crate::objective::{GeneratorLoss, Labels, LossConvention};
use crate::regularizer::Regularizers;
use belamy_nn::optimizer::{Convention, Rule, Settings};
use belamy_nn::schedule::Schedule;

pub(super) fn adam(
    learning_rate: f64,
    beta_1: f64,
    epsilon: f64,
    convention: Convention,
) -> Settings {
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
    pub(super) make: fn() -> Recipe,
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
        name: "letters-failing",
        summary: "digits by a discriminator far too strong, an example of collapse (Wolter)",
        data: "none: 10,000 digits are built in; or a folder with MNIST's idx files",
        make: letters_failing,
    },
    Entry {
        name: "cifar-dcgan",
        summary: "32×32 horses by a DCGAN (Chollet, section 8.5)",
        data: "a folder with CIFAR-10's binary batches, or one of them",
        make: cifar_dcgan,
    },
    Entry {
        name: "faces32",
        summary: "32×32 faces by a DCGAN (the lecture's variant of keras.io's)",
        data: "a folder of PNG or JPEG images, or a zip of them",
        make: || Recipe { name: "faces32".into(), side: 32, latent: 64, ..faces64() },
    },
    Entry {
        name: "faces64",
        summary: "64×64 faces by a DCGAN (keras.io)",
        data: "a folder of PNG or JPEG images, or a zip of them",
        make: faces64,
    },
    Entry {
        name: "dcgan64",
        summary: "64×64 colour images by a DCGAN (pytorch/examples, after Radford et al. 2015)",
        data: "a folder of PNG or JPEG images",
        make: dcgan64,
    },
    Entry {
        name: "signs",
        summary: "32×32 grey road signs by the lines' networks (Kasprowski, gan2)",
        data: "a folder of PNG, JPEG or PPM images, or a zip of them",
        make: signs,
    },
    Entry {
        name: "signs-conditional",
        summary: "32×32 grey road signs of four classes by a conditional DCGAN (Kasprowski)",
        data: "a folder with one sub-folder of images a class, four classes",
        make: signs_conditional,
    },
    Entry {
        name: "conditional-signs64",
        summary: "64×64 road signs of four classes by a conditional DCGAN (Kasprowski, lecture7)",
        data: "a folder with one sub-folder of images a class, four classes",
        make: conditional_signs64,
    },
    Entry {
        name: "mnist-conditional",
        summary: "digits of the class that is asked for, by the signs' grey conditional networks",
        data: "none: 10,000 digits are built in; or a folder with MNIST's idx files",
        make: mnist_conditional,
    },
    Entry {
        name: "showers",
        summary: "energies of a calorimeter's voxels for a photon's energy (after CaloGAN, Paganini et al. 2018)",
        data: "none: made by a parametrisation; or an HDF5 file in CaloChallenge's layout",
        make: showers,
    },
    Entry {
        name: "pix2pix",
        summary: "images from images that belong to them, such as facades from plans (Isola et al. 2017)",
        data: "a folder of images, each with target and input side by side, or one with train/ and test/",
        make: pix2pix,
    },
    Entry {
        name: "circles-rectangles",
        summary: "green rectangles from violet circles by pix2pix (Kasprowski)",
        data: "none: made from the seed",
        make: circles_rectangles,
    },
    Entry {
        name: "colorize",
        summary: "colours for grey images by pix2pix's networks",
        data: "a folder of PNG or JPEG images, or a zip of them",
        make: colorize,
    },
    Entry {
        name: "cyclegan",
        summary: "images of one kind to another and back, such as horses and zebras (Zhu et al. 2017)",
        data: "a folder with trainA/ and trainB/ of images, and perhaps testA/ and testB/",
        make: cyclegan,
    },
    Entry {
        name: "circles-squares",
        summary: "squares from circles and back by CycleGAN's networks (Kasprowski)",
        data: "none: made from the seed",
        make: circles_squares,
    },
    Entry {
        name: "srgan",
        summary: "photographs at four times their resolution (Ledig et al. 2017)",
        data: "a folder of PNG or JPEG images, or a zip of them",
        make: srgan,
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
        class: 0,
        side: 0,
        input_channels: 0,
        channels: 0,
        blocks: 0,
        batch: 150,
        steps: 5_000,
        discriminator_steps: 1,
        passes: Passes::Separate,
        batch_statistics: BatchStatistics::Synchronised,
        generator_update: GeneratorUpdate::Simultaneous,
        generator_loss: GeneratorLoss::NonSaturating,
        loss_convention: LossConvention::Mean,
        average_decay: 0.0,
        watch_gradients: false,
        mirror: false,
        jitter: 0,
        objective: Objective::default(),
        labels: Labels::default(),
        terms: Terms::default(),
        regularizers: Regularizers::default(),
        pool: 0,
        pretraining_steps: 0,
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

/// `gan2_signs`: the nets and settings of the lines, on photographs of one class.
fn signs() -> Recipe {
    Recipe {
        name: "signs".into(),
        source: Source::Images,
        samples: 0,
        channels: 1,
        steps: 6_000,
        ..lines_upsample()
    }
}

fn signs_conditional() -> Recipe {
    Recipe {
        name: "signs-conditional".into(),
        system: System::ConditionalGrey,
        source: Source::Images,
        samples: 0,
        classes: 4,
        side: 32,
        steps: 80_000,
        ..lines_upsample()
    }
}

fn mnist_conditional() -> Recipe {
    Recipe {
        name: "mnist-conditional".into(),
        source: Source::Mnist,
        classes: 10,
        side: 28,
        ..signs_conditional()
    }
}

/// Rates and strengths by our own trials.
fn showers() -> Recipe {
    Recipe {
        name: "showers".into(),
        system: System::Showers,
        source: Source::Showers,
        samples: 30_000,
        range: ValueRange::Unit,
        latent: 64,
        generator_width: 64,
        discriminator_width: 256,
        classes: ENERGIES,
        batch: 128,
        steps: 20_000,
        generator_update: GeneratorUpdate::Redrawn,
        average_decay: 0.995,
        regularizers: Regularizers { r1: 1e-3, ..Regularizers::default() },
        generator_optimizer: adam(3e-4, 0.5, 1e-8, Convention::Pytorch),
        discriminator_optimizer: adam(1e-3, 0.5, 1e-8, Convention::Pytorch),
        ..sine()
    }
}

/// D learns from half batches of 16; the generator's labels are not smoothed.
fn letters_failing() -> Recipe {
    let mut settings = adam(2e-4, 0.5, 1e-7, Convention::Keras);
    settings.schedule = Schedule::InverseTime { decay: 8e-8 };
    Recipe {
        name: "letters-failing".into(),
        system: System::LettersFailing,
        source: Source::Mnist,
        range: ValueRange::Signed,
        discriminator_width: 64,
        dropout: 0.2,
        batch: 16,
        steps: 10_000,
        generator_update: GeneratorUpdate::Redrawn,
        generator_optimizer: settings,
        discriminator_optimizer: settings,
        ..sine()
    }
}

/// The data are in [0, 1] and the generator ends in tanh: so it is in the book. `preset=fixed` takes [-1, 1].
fn cifar_dcgan() -> Recipe {
    let rms_prop = |learning_rate| Settings {
        learning_rate,
        schedule: Schedule::InverseTime { decay: 1e-8 },
        clip_value: 1.0,
        clip_norm: 0.0,
        rule: Rule::RmsProp { rho: 0.9, epsilon: 1e-7, convention: Convention::Keras },
    };
    Recipe {
        name: "cifar-dcgan".into(),
        system: System::CifarDcgan,
        source: Source::Cifar,
        class: 7,
        range: ValueRange::Unit,
        latent: 32,
        generator_width: 256,
        discriminator_width: 128,
        dropout: 0.4,
        batch: 20,
        steps: 10_000,
        passes: Passes::Joined,
        generator_update: GeneratorUpdate::Redrawn,
        // The source calls fakes 1, and its noise lifts that: seen from here it lowers.
        labels: Labels { noise: -0.05, ..Labels::default() },
        generator_optimizer: rms_prop(4e-4),
        discriminator_optimizer: rms_prop(8e-4),
        ..sine()
    }
}

fn faces64() -> Recipe {
    Recipe {
        name: "faces64".into(),
        system: System::Faces,
        source: Source::Images,
        range: ValueRange::Unit,
        latent: 128,
        generator_width: 128,
        discriminator_width: 64,
        dropout: 0.2,
        side: 64,
        batch: 32,
        // 20 epochs of CelebA's 202,599 images.
        steps: 126_640,
        passes: Passes::Joined,
        generator_update: GeneratorUpdate::Redrawn,
        // The source calls fakes 1, and its noise lifts that: seen from here it lowers.
        labels: Labels { noise: -0.05, ..Labels::default() },
        generator_optimizer: keras_adam(1e-4),
        discriminator_optimizer: keras_adam(1e-4),
        ..sine()
    }
}

fn pix2pix() -> Recipe {
    let settings = adam(2e-4, 0.5, 1e-7, Convention::Keras);
    Recipe {
        name: "pix2pix".into(),
        system: System::Pix2pix,
        source: Source::SideBySide,
        range: ValueRange::Signed,
        latent: 1,
        generator_width: 64,
        discriminator_width: 64,
        dropout: 0.5,
        side: 256,
        input_channels: 3,
        channels: 3,
        batch: 1,
        steps: 40_000,
        mirror: true,
        jitter: 286,
        loss_convention: LossConvention::Sum,
        terms: Terms { l1: 100.0, ..Terms::default() },
        generator_optimizer: settings,
        discriminator_optimizer: settings,
        ..sine()
    }
}

/// 500 pairs of five circles; 100 epochs of batch 8, D's loss halved.
fn circles_rectangles() -> Recipe {
    Recipe {
        name: "circles-rectangles".into(),
        source: Source::CirclesRectangles,
        samples: 500,
        batch: 8,
        steps: 6_200,
        mirror: false,
        jitter: 0,
        loss_convention: LossConvention::Mean,
        ..pix2pix()
    }
}

fn colorize() -> Recipe {
    Recipe {
        name: "colorize".into(),
        source: Source::GreyToColour,
        input_channels: 1,
        jitter: 0,
        ..pix2pix()
    }
}

fn cyclegan() -> Recipe {
    let mut settings = adam(2e-4, 0.5, 1e-8, Convention::Pytorch);
    // 100 + 100 epochs of the 1,067 horses.
    settings.schedule = Schedule::LinearDecay { start: 106_700, end: 213_400 };
    Recipe {
        name: "cyclegan".into(),
        system: System::Cyclegan,
        source: Source::TwoFolders,
        range: ValueRange::Signed,
        latent: 1,
        generator_width: 64,
        discriminator_width: 64,
        side: 256,
        input_channels: 3,
        channels: 3,
        blocks: 9,
        batch: 1,
        steps: 213_400,
        mirror: true,
        jitter: 286,
        objective: Objective::LeastSquares,
        terms: Terms { cycle: 10.0, identity: 5.0, ..Terms::default() },
        pool: 50,
        generator_optimizer: settings,
        discriminator_optimizer: settings,
        ..sine()
    }
}

fn circles_squares() -> Recipe {
    let settings = adam(2e-4, 0.5, 1e-8, Convention::Pytorch);
    Recipe {
        name: "circles-squares".into(),
        source: Source::CirclesSquares,
        samples: 500,
        side: 128,
        blocks: 6,
        steps: 20_000,
        mirror: false,
        jitter: 0,
        generator_optimizer: settings,
        discriminator_optimizer: settings,
        ..cyclegan()
    }
}

/// SRResNet for a million updates, then SRGAN for 200,000.
fn srgan() -> Recipe {
    let mut settings = adam(1e-4, 0.9, 1e-8, Convention::Pytorch);
    settings.schedule = Schedule::Staircase { every: 1_100_000, factor: 0.1 };
    let mut discriminator = settings;
    discriminator.schedule = Schedule::Staircase { every: 100_000, factor: 0.1 };
    Recipe {
        name: "srgan".into(),
        system: System::Srgan,
        source: Source::SuperResolution,
        range: ValueRange::Signed,
        latent: 1,
        generator_width: 64,
        discriminator_width: 64,
        side: 96,
        input_channels: 3,
        channels: 3,
        blocks: 16,
        batch: 16,
        steps: 1_200_000,
        pretraining_steps: 1_000_000,
        mirror: true,
        terms: Terms { adversarial: 1e-3, content: 1.0, ..Terms::default() },
        generator_optimizer: settings,
        discriminator_optimizer: discriminator,
        ..sine()
    }
}
