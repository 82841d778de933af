//! Belamy's GANs: networks, objectives, the training step, data, pictures, and what a run leaves behind.
//!
//! | file | what it holds |
//! |---|---|
//! | [`recipe`] | everything that decides a training run, as data; the list of recipes |
//! | [`networks`] | the systems' networks, layer for layer |
//! | [`objective`] | what the two networks want: the game of 2014, its targets and conventions |
//! | [`adversarial`] | the families of objectives |
//! | [`regularizer`], [`augment`] | gradient penalties, clipping, instance noise, feature matching; DiffAugment |
//! | [`batches`] | what a step draws: real samples and noise |
//! | [`trainer`] | what a run trains, seen from outside; the design of training systems |
//! | [`pair`] | a generator and a discriminator, and Algorithm 1 |
//! | [`ensemble`], [`pool`] | more networks under one rule: pix2pix, CycleGAN, super-resolution; pools of fakes |
//! | [`run`] | a training run and its folder |
//! | [`sharing`] | batches that several ranks share |
//! | [`checkpoint`] | all that an exact resume needs, complete or absent |
//! | [`source`], [`data`] | finding and reading data |
//! | [`judge`] | what samples are worth: digits, points, lines; distances between sets of images |
//! | [`health`], [`lints`] | what a run's losses say; warnings before a run |
//! | [`show`], [`pictures`] | sample grids, scatter plots, curves, animations |
//! | [`latent`], [`pages`] | paths and arithmetic in noise; an end-of-run report and a quiz as pages |
//! | [`files`], [`journal`], [`tensorboard`], [`digest`] | files that are whole or absent, logs, events |
//! | [`memory`] | memory, or an error |
//! | [`error`] | what went wrong, and where |
#![forbid(unsafe_code)]

pub mod adversarial;
pub mod augment;
pub mod batches;
pub mod checkpoint;
pub mod data;
pub mod digest;
pub mod ensemble;
pub mod error;
pub mod files;
pub mod health;
pub mod journal;
pub mod judge;
pub mod latent;
pub mod lints;
pub mod lock;
pub mod memory;
pub mod networks;
pub mod objective;
pub mod pages;
pub mod pair;
pub mod pictures;
pub mod pool;
pub mod recipe;
pub mod regularizer;
pub mod run;
pub mod sharing;
pub mod show;
pub mod source;
pub mod tensorboard;
pub mod trainer;

pub use error::{Error, Result};
pub use pair::Pair;
pub use recipe::Recipe;
pub use trainer::Trainer;
