//! Benchmarks: see `step.rs` for whole training steps, `peers/` for the same work in PyTorch, `results/` for dated
//! measurements.
