use super::*;
use crate::commands::op::entry::{Given, Number, Otherwise};
use belamy_tensor::{DType, Device, Tensor};
use std::collections::{BTreeMap, HashSet};

/// One call of every op: its tensors' extents (integers are marked by `i`), its attributes, the output's extents.
const CALLS: &[(&str, &str, &str, &[usize])] = &[
    ("leaky_relu", "x=2,3", "slope=0.2", &[2, 3]),
    ("clamp", "x=2,3", "low=-inf high=1", &[2, 3]),
    ("within", "x=2,3", "low=0 high=1", &[2, 3]),
    ("add_scalar", "x=2,3", "constant=-1e3", &[2, 3]),
    ("mul_scalar", "x=2,3", "constant=2", &[2, 3]),
    ("pow_scalar", "x=2,3", "power=1.5", &[2, 3]),
    ("greater_scalar", "x=2,3", "threshold=0", &[2, 3]),
    ("leaky_relu_grad", "p=2,3 q=3", "slope=0.2", &[2, 3]),
    ("select", "condition=2,1 p=1,3 q=3", "", &[2, 3]),
    ("sum", "x=2,3,4", "axes=0,2", &[1, 3, 1]),
    ("mean", "x=2,3,4", "", &[1, 1, 1]),
    ("max", "x=2,3,4", "axes=1", &[2, 1, 4]),
    ("pick", "x=2,3 index=i2", "", &[2]),
    ("place", "x=2 index=i2", "columns=5", &[2, 5]),
    ("reshape", "x=2,3", "shape=3,1,2", &[3, 1, 2]),
    ("permute", "x=2,3,4", "axes=2,0,1", &[4, 2, 3]),
    ("broadcast", "x=3,1", "shape=2,3,4", &[2, 3, 4]),
    ("pad", "x=2,3", "before=1,0 after=0,4", &[3, 7]),
    ("crop", "x=4,5", "start=1,0 size=2,5", &[2, 5]),
    ("slice", "x=4,5", "axis=1 start=2 len=3", &[4, 3]),
    ("concat", "x0=2,3 x1=2,1 x2=2,4", "axis=1", &[2, 8]),
    ("matmul", "a=3,2 b=4,3", "transpose_a=true transpose_b=true", &[2, 4]),
    (
        "conv2d",
        "x=1,9,9,4 w=6,2,3,2",
        "stride=2,3 padding=1,0,2,1 dilation=3,2 groups=2",
        &[1, 4, 3, 6],
    ),
    (
        "conv_transpose2d",
        "x=1,3,4,4 w=6,3,2,2",
        "stride=2,3 padding=1,0 output_padding=1,2 groups=2",
        &[1, 6, 13, 6],
    ),
    (
        "conv2d_grad_input",
        "g=1,4,3,6 w=6,2,3,2",
        "image=9,9 stride=2,3 padding=1,0,2,1 dilation=3,2 groups=2",
        &[1, 9, 9, 4],
    ),
    (
        "conv2d_grad_weight",
        "x=1,9,9,4 g=1,4,3,6",
        "kernel=2,3 stride=2,3 padding=1,0,2,1 dilation=3,2 groups=2",
        &[6, 2, 3, 2],
    ),
    ("avg_pool2d", "x=1,4,6,2", "kernel=2,3 count_include_pad=false", &[1, 2, 2, 2]),
    ("avg_pool2d_spread", "g=1,2,2,2", "kernel=2,3 image=4,6", &[1, 4, 6, 2]),
    ("max_pool2d", "x=1,4,6,2", "kernel=2 stride=1 padding=same", &[1, 4, 6, 2]),
    ("max_pool2d_place", "g=1,2,2,2 index=i1,2,2,2", "kernel=2,3 image=4,6", &[1, 4, 6, 2]),
    ("max_pool2d_pick", "x=1,4,6,2 index=i1,2,2,2", "kernel=2,3", &[1, 2, 2, 2]),
    ("resize_nearest", "x=1,2,3,1", "size=4,5", &[1, 4, 5, 1]),
    ("resize_nearest_fold", "g=1,4,5,1", "image=2,3", &[1, 2, 3, 1]),
    ("resize_bilinear", "x=1,2,3,1", "size=4,5 align_corners=true", &[1, 4, 5, 1]),
    ("resize_bilinear_fold", "g=1,4,5,1", "image=2,3", &[1, 2, 3, 1]),
    ("reflect_pad2d", "x=1,3,4,1", "border=1,2,0,3", &[1, 6, 7, 1]),
    ("reflect_pad_fold", "g=1,6,7,1", "border=1,2,0,3", &[1, 3, 4, 1]),
    ("pixel_shuffle", "x=1,2,3,8", "factor=2", &[1, 4, 6, 2]),
    ("pixel_unshuffle", "x=1,4,6,2", "factor=2", &[1, 2, 3, 8]),
    ("gather_rows", "table=5,2 indices=i3,4", "", &[3, 4, 2]),
    ("scatter_add_rows", "values=3,4,2 indices=i3,4", "rows=5", &[5, 2]),
    ("batch_norm", "x=4,3 gamma=3", "epsilon=1e-3 slope=0.2 parts=2", &[4, 3]),
    ("instance_norm", "x=2,4,3 gamma=3 beta=3", "", &[2, 4, 3]),
    (
        "running_statistics",
        "running_mean=3 running_variance=3 mean=2,3 variance=2,3",
        "decay=0.9 count=4 unbiased=true",
        &[3],
    ),
    ("norm_statistics", "x=4,3", "parts=2", &[2, 3]),
    ("norm_apply", "x=4,3 gamma=3 beta=3 mean=2,3 variance=2,3", "slope=0.2", &[4, 3]),
    ("norm_grad_sums", "x=4,3 gamma=3 beta=3 mean=2,3 variance=2,3 h=4,3", "", &[2, 2, 3]),
    (
        "norm_grad_apply",
        "x=4,3 gamma=3 beta=3 mean=2,3 variance=2,3 h=4,3 sums=2,2,3",
        "epsilon=1e-3",
        &[4, 3],
    ),
    ("normalize", "x=4,3 mean=3 variance=3 beta=3", "", &[4, 3]),
    ("bce_with_logits", "logits=4,1 targets=4,1", "", &[4, 1]),
    ("bce_with_logits_mean", "logits=4,1 targets=4,1", "scale=2", &[]),
    ("full", "", "shape=2,3 value=0.5", &[2, 3]),
    ("cross_entropy_with_logits", "logits=4,3 labels=i4", "", &[4]),
    ("dropout", "x=4,3", "rate=0.5 seed=18446744073709551615 stream=3", &[4, 3]),
    ("uniform", "", "shape=4,3 low=-1 high=1 dtype=f64", &[4, 3]),
    ("normal", "", "shape= mean=1 std=2", &[]),
    ("bernoulli", "", "shape=4 p=0.5 step=2", &[4]),
    ("integers", "", "shape=4 bound=3 first_sample=7", &[4]),
    ("shuffled_indices", "", "batch=4 count=10 global_batch=8 draws=2 draw=1", &[4]),
    ("adam", "param=3 grad=3 first_moment=3", "learning_rate=0.1 step=2 epsilon_form=keras", &[3]),
    ("sgd", "param=3 grad=3", "learning_rate=0.1 momentum=0.9 nesterov=true", &[3]),
    ("rmsprop", "param=3 grad=3 mean_square=3", "learning_rate=0.1", &[3]),
    ("global_norm", "x0=3 x1=2,2", "", &[]),
    ("next_control", "", "learning_rate=0.1 schedule=linear end=9", &[2]),
    ("advance_counter", "", "step=3 steps=2", &[2]),
    ("count_non_finite", "x0=3", "", &[]),
];

fn tensor(extents: &str, device: &Device) -> Tensor {
    let (integer, extents) = match extents.strip_prefix('i') {
        Some(extents) => (true, extents),
        None => (false, extents),
    };
    let dims: Vec<usize> = extents.split(',').map(|side| side.parse().unwrap()).collect();
    let shape = belamy_tensor::Shape::new(&dims).unwrap();
    let numbers: Vec<u32> = (0..shape.elements() as u32).collect();
    if integer {
        return Tensor::from_slice(&numbers, shape, device).unwrap();
    }
    let values: Vec<f64> = numbers.iter().map(|&number| f64::from(number) * 0.37 + 0.1).collect();
    Tensor::from_f64(&values, shape, DType::F32, device).unwrap()
}

fn given(entry: &Entry, tensors: &str, attributes: &str) -> Given {
    let device = belamy_cpu::oracle();
    let words: Vec<String> = attributes.split_whitespace().map(String::from).collect();
    let values = entry.values(&words).unwrap();
    let tensors: BTreeMap<String, Tensor> = tensors
        .split_whitespace()
        .map(|word| word.split_once('=').unwrap())
        .map(|(name, extents)| (name.to_owned(), tensor(extents, &device)))
        .collect();
    Given { tensors, values, device }
}

#[test]
fn every_op_runs_with_the_tensors_and_attributes_that_it_declares() {
    for entry in entries() {
        let call = CALLS.iter().find(|(name, ..)| *name == entry.name);
        let names: Vec<&str> = entry.operands.iter().map(|operand| operand.name).collect();
        // Functions of one or two tensors without attributes need no line of their own.
        let (_, tensors, attributes, shape) = match (call, &names[..]) {
            (Some(call), _) => *call,
            (None, ["x"]) => ("", "x=2,3", "", &[2, 3][..]),
            (None, ["p", "q"]) => ("", "p=2,1 q=3", "", &[2, 3][..]),
            _ => panic!("CALLS has no line for {}", entry.name),
        };
        for operand in entry.operands.iter().filter(|operand| operand.number == Number::One) {
            let named = format!("{}=", operand.name);
            assert!(
                tensors.split_whitespace().any(|word| word.starts_with(&named)),
                "{}",
                entry.name
            );
        }
        let outputs = entry.run(&given(&entry, tensors, attributes)).unwrap();
        assert_eq!(outputs[0].0, "output");
        assert_eq!(outputs[0].1.dims(), shape, "{}", entry.name);
    }
}

#[test]
fn every_op_of_the_case_table_can_be_run() {
    let known: HashSet<&str> = entries().iter().map(|entry| entry.name).collect();
    assert_eq!(known.len(), entries().len(), "names are distinct");
    for case in belamy_tests::ops::all_cases() {
        // Further results of an op are checked as ops of their own.
        let name = match case.op {
            "max_indices" => "max",
            "max_pool2d_indices" => "max_pool2d",
            "batch_norm_statistics" => "batch_norm",
            "reflect_pad" => "reflect_pad2d",
            other => other,
        };
        assert!(known.contains(name), "belamy op does not know {name}");
    }
}

#[test]
fn attributes_are_distinct_and_defaults_have_their_form() {
    for entry in entries() {
        let names: HashSet<&str> =
            entry.attributes.iter().map(|attribute| attribute.name).collect();
        assert_eq!(names.len(), entry.attributes.len(), "{}", entry.name);
        for attribute in &entry.attributes {
            if let Otherwise::Is(value) = attribute.otherwise {
                let words: Vec<String> = entry
                    .attributes
                    .iter()
                    .filter(|other| matches!(other.otherwise, Otherwise::Required))
                    .map(|other| format!("{}=1", other.name))
                    .chain([format!("{}={value}", attribute.name)])
                    .collect();
                assert!(entry.values(&words).is_ok(), "{} {}", entry.name, attribute.name);
            }
        }
    }
}

fn found(name: &str) -> Entry {
    entries().into_iter().find(|entry| entry.name == name).unwrap()
}

/// (top, bottom), (left, right).
type Padding = ((usize, usize), (usize, usize));

/// The image made, and the padding that `same` came to.
fn same(op: &str, tensors: &str, attributes: &str) -> (Vec<usize>, Padding) {
    let entry = found(op);
    let given = given(&entry, tensors, attributes);
    let (x, w) = (given.tensor("x"), given.tensor("w"));
    let padding = match op {
        "conv2d" => given.window(sides(x), sides(w)).padding,
        _ => given.transposed_window(sides(x), sides(w)).0.padding,
    };
    (entry.run(&given).unwrap()[0].1.dims().to_vec(), padding)
}

#[test]
fn same_padding_is_keras_own() {
    // ⌈image / stride⌉ outputs; an odd zero goes below and to the right.
    let (dims, padding) = same("conv2d", "x=1,8,9,1 w=1,5,4,1", "stride=2,1 padding=same");
    assert_eq!((&dims[..], padding), (&[1, 4, 9, 1][..], ((1, 2), (1, 2))));
    let (dims, padding) = same("conv2d", "x=1,7,7,1 w=1,3,3,1", "padding=same dilation=2");
    assert_eq!((&dims[..], padding), (&[1, 7, 7, 1][..], ((2, 2), (2, 2))));
    // Image times stride, with a kernel above, and below, the stride.
    let (dims, padding) = same("conv_transpose2d", "x=1,4,4,1 w=1,5,5,1", "stride=2 padding=same");
    assert_eq!((&dims[..], padding), (&[1, 8, 8, 1][..], ((1, 2), (1, 2))));
    let (dims, padding) =
        same("conv_transpose2d", "x=1,4,4,1 w=1,1,2,1", "stride=2,3 padding=same");
    assert_eq!((&dims[..], padding), (&[1, 8, 12, 1][..], ((0, 0), (0, 0))));
}
