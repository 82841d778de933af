//! Where a judge means something else than we do, or can say nothing: each with its reason, each checked to differ.

use super::pytorch::Part;

/// Samples of PyTorch, by how their names begin, whose numbers of one part differ on these devices.
pub(crate) const SAMPLES: [(&str, Part, &[&str], &str); 4] = [
    (
        "nn.functional.binary_cross_entropy/",
        Part::Second,
        &["oracle, f64", "cpu, f64"],
        "PyTorch adds 1e-12 to a denominator of its second derivative",
    ),
    (
        "nn.functional.hardsigmoid/0",
        Part::Gradient,
        &["oracle, f64", "cpu, f64"],
        "PyTorch's slope is 1/6 rounded to f32",
    ),
    (
        "nn.functional.layer_norm/2",
        Part::Gradient,
        &["oracle, f64", "cpu, f64"],
        "of one number normalised alone the gradient is 0; PyTorch's is the rounding of what cancels",
    ),
    (
        "tan/0",
        Part::Output,
        &["webgpu, f32"],
        "WGSL bounds the error of cos absolutely: a quotient by one of its zeros has no digits",
    ),
];

/// Whether a sample is one of them.
pub(crate) fn is_listed(sample: &str) -> bool {
    SAMPLES.iter().any(|(name, ..)| sample.starts_with(name))
}

/// Calls that PyTorch refuses and our ops take.
pub(crate) const ACCEPTED: [(&str, &str); 4] = [
    ("masked_fill/refusal 0", "a value with an axis, which our op stretches"),
    ("nn.functional.max_pool1d/refusal 5", "an image without channels, which our pools take"),
    ("nn.functional.max_pool1d/refusal 22", "an image without channels, which our pools take"),
    ("nn.functional.prelu/refusal 0", "a slope with an axis, which our product stretches"),
];

/// Tests of ONNX that give other numbers.
pub(crate) const GRAPHS: [(&str, &str); 1] = [(
    "test_averagepool_2d_ceil_last_window_starts_on_pad",
    "its results are written with four digits",
)];
