//! The commands, a file each: its arguments, then what it does.

pub(crate) mod bench;
pub(crate) mod check;
pub(crate) mod devices;
pub(crate) mod evaluate;
pub(crate) mod export;
pub(crate) mod import;
#[cfg(feature = "cuda")]
pub(crate) mod kernels;
pub(crate) mod lab;
pub(crate) mod op;
pub(crate) mod play;
pub(crate) mod recipes;
pub(crate) mod sample;
pub(crate) mod show;
pub(crate) mod slurm;
pub(crate) mod train;
