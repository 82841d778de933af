//! Belamy's benchmarks: every kernel at every shape that a recipe's training step launches, whole steps, and the
//! ceilings of the machine they run on, measured in the same run.
//!
//! | file | what it holds |
//! |---|---|
//! | [`training`] | a recipe's training step on made-up data |
//! | [`trace`] | which kernels a step launches, on which shapes and numbers: asked of the backend, not declared |
//! | [`describe`] | a launch's shape and op in words |
//! | [`judge`] | whether a launch is right: the oracle's answer and a bound from the length of the sums |
//! | [`clock`] | repeats and their median and spread |
//! | [`ceilings`] | what the machine can do at best |
//! | [`measure`] | one launch, or one step, on one device: right first, timed second |
//! | [`scaling`] | steps that several ranks share, and a model of many |
//! | [`session`] | all of it within a number of seconds |
//! | [`roofline`] | the plot, as SVG and PNG |
//!
//! `belamy bench` prints what [`session::run`] returns; `cargo bench` times the same launches with criterion.

pub mod ceilings;
pub mod clock;
pub mod describe;
pub mod judge;
pub mod measure;
pub mod roofline;
pub mod scaling;
pub mod session;
pub mod trace;
pub mod training;
