//! Answers that can be written down: penalties of a linear critic, losses at chance, the generator's two losses, one
//! optimiser step by hand, derivatives of high order and graphs of great length.

use belamy_tensor::kernel::KernelId;
use belamy_tensor::ops::conv2d::{Window, conv2d};
use belamy_tensor::ops::loss::{bce_with_logits, cross_entropy_with_logits};
use belamy_tensor::ops::optimizer::{AdamOptions, adam};
use belamy_tensor::{Device, Graph, Tensor, grad};
use belamy_tests::trace::traced;
use belamy_tests::values::Numbers;

fn tensor(values: &[f64], dims: &[usize], device: &Device) -> Tensor {
    Tensor::from_slice(values, belamy_tensor::Shape::new(dims).unwrap(), device).unwrap()
}

fn close(got: &[f64], want: &[f64], bound: f64) {
    assert_eq!(got.len(), want.len());
    for (got, want) in got.iter().zip(want) {
        assert!((got - want).abs() <= bound, "{got} is not {want}");
    }
}

fn devices() -> [Device; 2] {
    [belamy_cpu::poisoned(false), belamy_cpu::poisoned(true)]
}

/// A critic f(x) = x·w on three samples: the gradient of its scores in x, as part of the graph, and w.
fn linear_critic(device: &Device) -> (Tensor, Tensor, Vec<f64>) {
    let weights = vec![0.6, -1.2, 0.9, 2.0];
    let w = tensor(&weights, &[4, 1], device).tracked();
    let x = tensor(&Numbers::new("linear critic", "x").normals(12), &[3, 4], device).tracked();
    let scores = x.matmul(&w).unwrap().sum_all().unwrap();
    let slope = grad(&scores, None, &[&x], Graph::Keep).unwrap().remove(0).unwrap();
    (slope, w, weights)
}

#[test]
fn the_gradient_penalty_of_a_linear_critic_is_exact() {
    for device in devices() {
        let (slope, w, weights) = linear_critic(&device);
        let norms = slope.square().unwrap().sum(&[1]).unwrap().sqrt().unwrap();
        let penalty = norms.add_scalar(-1.0).unwrap().square().unwrap().mean_all().unwrap();
        let length = weights.iter().map(|w| w * w).sum::<f64>().sqrt();
        close(&[penalty.item().unwrap()], &[(length - 1.0).powi(2)], 1e-13);
        let grad_w = grad(&penalty, None, &[&w], Graph::Drop).unwrap().remove(0).unwrap();
        let want: Vec<f64> = weights.iter().map(|w| 2.0 * (length - 1.0) * w / length).collect();
        close(&grad_w.to_vec::<f64>().unwrap(), &want, 1e-13);
    }
}

#[test]
fn r1_of_a_linear_critic_is_its_squared_length() {
    for device in devices() {
        let (slope, w, weights) = linear_critic(&device);
        let penalty = slope.square().unwrap().sum(&[1]).unwrap().mean_all().unwrap();
        close(&[penalty.item().unwrap()], &[weights.iter().map(|w| w * w).sum()], 1e-13);
        let grad_w = grad(&penalty, None, &[&w], Graph::Drop).unwrap().remove(0).unwrap();
        let want: Vec<f64> = weights.iter().map(|w| 2.0 * w).collect();
        close(&grad_w.to_vec::<f64>().unwrap(), &want, 1e-13);
    }
}

/// The mean binary cross-entropy of logits against one label.
fn loss(logits: &Tensor, label: f64) -> Tensor {
    let labels = Tensor::full(label, logits.shape(), logits.dtype(), logits.device()).unwrap();
    bce_with_logits(logits, &labels).unwrap().mean_all().unwrap()
}

#[test]
fn losses_at_chance_are_logarithms_of_two() {
    let ln_2 = std::f64::consts::LN_2;
    for device in devices() {
        let undecided = tensor(&[0.0; 6], &[6], &device);
        let generator = loss(&undecided, 1.0).item().unwrap();
        close(&[generator], &[ln_2], 1e-15);
        let discriminator = generator + loss(&undecided, 0.0).item().unwrap();
        close(&[discriminator], &[2.0 * ln_2], 1e-15);
    }
}

#[test]
fn one_class_is_always_right() {
    for device in devices() {
        let logits = tensor(&[-3.0, 0.0, 700.0], &[3, 1], &device).tracked();
        let labels = Tensor::from_slice(&[0u32; 3], [3], &device).unwrap();
        let loss = cross_entropy_with_logits(&logits, &labels).unwrap();
        close(&loss.to_f64().unwrap(), &[0.0; 3], 1e-13);
        let total = loss.sum_all().unwrap();
        let slope = grad(&total, None, &[&logits], Graph::Drop).unwrap().remove(0).unwrap();
        close(&slope.to_vec::<f64>().unwrap(), &[0.0; 3], 1e-15);
    }
}

#[test]
fn a_label_of_nine_tenths_leaves_a_floor() {
    for device in devices() {
        let best = tensor(&[9.0f64.ln()], &[1], &device).tracked();
        let floor = loss(&best, 0.9);
        close(&[floor.item().unwrap()], &[0.32508], 5e-6);
        close(&[floor.item().unwrap()], &[-(0.9 * 0.9f64.ln() + 0.1 * 0.1f64.ln())], 1e-14);
        let slope = grad(&floor, None, &[&best], Graph::Drop).unwrap().remove(0).unwrap();
        close(&slope.to_vec::<f64>().unwrap(), &[0.0], 1e-15);
        for away in [-1.0, 0.0, 2.0, 2.4, 9.0] {
            let there = loss(&tensor(&[away], &[1], &device), 0.9).item().unwrap();
            assert!(there > floor.item().unwrap(), "{away}");
        }
    }
}

#[test]
fn the_generators_two_losses_have_the_known_slopes() {
    let logits = [-6.0, -1.5, 0.0, 0.3, 4.0];
    let sigmoid = |a: f64| 1.0 / (1.0 + (-a).exp());
    for device in devices() {
        let a = tensor(&logits, &[5], &device).tracked();
        let labels = |label: f64| Tensor::full(label, [5], a.dtype(), &device).unwrap();
        // Minimax: ln(1 − σ(a)) is minimised.
        let minimax = bce_with_logits(&a, &labels(0.0)).unwrap().neg().unwrap().sum_all().unwrap();
        let slope = grad(&minimax, None, &[&a], Graph::Drop).unwrap().remove(0).unwrap();
        let want: Vec<f64> = logits.iter().map(|&a| -sigmoid(a)).collect();
        close(&slope.to_vec::<f64>().unwrap(), &want, 1e-15);
        // Non-saturating: −ln σ(a) is minimised.
        let saturating = bce_with_logits(&a, &labels(1.0)).unwrap().sum_all().unwrap();
        let slope = grad(&saturating, None, &[&a], Graph::Drop).unwrap().remove(0).unwrap();
        let want: Vec<f64> = logits.iter().map(|&a| -(1.0 - sigmoid(a))).collect();
        close(&slope.to_vec::<f64>().unwrap(), &want, 1e-15);
    }
}

#[test]
fn two_steps_of_adam_by_hand() {
    for device in devices() {
        let one = |value: f64| tensor(&[value], &[1], &device);
        let step = |t: f64| tensor(&[t, 0.1], &[2], &device);
        let options = AdamOptions { epsilon: 0.0, ..AdamOptions::default() };
        // m = 0.1·4 = 0.4, v = 0.001·16 = 0.016; corrected 4 and 16: the step is 0.1·4/4.
        let first =
            adam(&step(1.0), &[&one(1.0)], &[&one(4.0)], &[&one(0.0)], &[&one(0.0)], options)
                .unwrap();
        let [p, m, v] =
            [&first.params, &first.first_moments, &first.second_moments].map(|list| &list[0]);
        close(
            &[p.item().unwrap(), m.item().unwrap(), v.item().unwrap()],
            &[0.9, 0.4, 0.016],
            1e-15,
        );
        // m = 0.9·0.4 + 0.1·2 = 0.56, v = 0.999·0.016 + 0.001·4 = 0.019984; corrected 0.56/0.19 and
        // 0.019984/0.001999: the step is 0.1·2.947368421/3.161803046.
        let second = adam(&step(2.0), &[p], &[&one(2.0)], &[m], &[v], options).unwrap();
        let [p, m, v] =
            [&second.params, &second.first_moments, &second.second_moments].map(|list| &list[0]);
        close(&[m.item().unwrap(), v.item().unwrap()], &[0.56, 0.019984], 1e-15);
        close(&[p.item().unwrap()], &[0.9 - 0.1 * 2.947_368_421 / 3.161_803_046], 2e-9);
    }
}

#[test]
fn the_third_derivative_of_x_tanh_x_is_right() {
    for device in devices() {
        let values = [-1.7, -0.4, 0.0, 0.9, 2.3];
        let x = tensor(&values, &[5], &device).tracked();
        let mut y = x.tanh().unwrap().mul(&x).unwrap();
        for _ in 0..3 {
            let ones = y.detach().ones_like().unwrap();
            y = grad(&y, Some(&ones), &[&x], Graph::Keep).unwrap().remove(0).unwrap();
        }
        let third = |x: f64| {
            let t = x.tanh();
            let s = 1.0 - t * t;
            -6.0 * t * s - 2.0 * x * s * (s - 2.0 * t * t)
        };
        close(&y.to_vec::<f64>().unwrap(), &values.map(third), 1e-13);
    }
}

#[test]
fn a_graph_of_200_000_ops_is_walked_and_dropped_on_a_small_stack() {
    let walk = || {
        let device = belamy_cpu::oracle();
        let x = tensor(&[1.5], &[1], &device).tracked();
        let mut y = x.clone();
        for step in 0..200_000 {
            y = if step % 2 == 0 { y.add_scalar(0.5) } else { y.mul_scalar(-1.0) }.unwrap();
        }
        let slope = grad(&y, None, &[&x], Graph::Drop).unwrap().remove(0).unwrap();
        assert_eq!(slope.item().unwrap(), 1.0);
        drop(slope);
        drop(y);
    };
    std::thread::Builder::new().stack_size(256 << 10).spawn(walk).unwrap().join().unwrap();
}

/// Whether a tensor's memory goes back when the tensor is dropped, though what was made of it lives on.
fn is_let_go_of(tensor: Tensor) -> bool {
    let memory = std::sync::Arc::downgrade(&tensor.buffer().storage);
    drop(tensor);
    memory.upgrade().is_none()
}

#[test]
fn what_no_derivative_reads_is_let_go_of() {
    let device = belamy_cpu::oracle();
    let numbers = |name: &str, count| Numbers::new(name, "released").normals(count);
    let x = tensor(&numbers("x", 2 * 5 * 5 * 3), &[2, 5, 5, 3], &device);
    let weight = tensor(&numbers("weight", 4 * 3 * 3 * 3), &[4, 3, 3, 3], &device);
    let slopes = |x: &Tensor, weight: &Tensor, is_let_go: bool| {
        let y = conv2d(x, weight, Window::new(2, 1)).unwrap();
        let biased = y.add_scalar(0.5).unwrap();
        let active = biased.leaky_relu(0.2).unwrap();
        let squashed = active.tanh().unwrap();
        let score = squashed.square().unwrap().sum_all().unwrap();
        // A convolution reads neither what it made nor, if its weight is frozen, what it was made of; a leaky ReLU what it
        // made, as what is made of it does here.
        let kept = [y, biased, active, squashed];
        if is_let_go {
            assert_eq!(kept.map(is_let_go_of), [true, true, false, false]);
        }
        let wanted: Vec<&Tensor> = [x, weight].into_iter().filter(|t| t.is_tracked()).collect();
        let first = grad(&score, None, &wanted, Graph::Keep).unwrap();
        let sum = first.iter().flatten().map(|g| g.square().unwrap().sum_all().unwrap());
        let sum = sum.reduce(|a, b| a.add(&b).unwrap()).unwrap();
        let second = grad(&sum, None, &wanted, Graph::Drop).unwrap();
        let all = first.into_iter().chain(second).flatten();
        all.map(|slope| slope.to_vec::<f64>().unwrap()).collect::<Vec<_>>()
    };
    let (tracked, frozen) = (x.tracked(), weight.detach());
    assert_eq!(slopes(&tracked, &frozen, true), slopes(&tracked, &frozen, false));
    let learned = weight.tracked();
    assert_eq!(slopes(&tracked, &learned, true), slopes(&tracked, &learned, false));
    // What is convolved is read for the weight's gradient alone.
    let of_weight = |weight: &Tensor| {
        let middle = x.tracked().add_scalar(1.0).unwrap();
        let _kept = conv2d(&middle, weight, Window::new(2, 1)).unwrap();
        is_let_go_of(middle)
    };
    assert!(of_weight(&frozen) && !of_weight(&learned));
    // A leaky ReLU that turns signs around reads what it was made of.
    let middle = x.tracked().add_scalar(1.0).unwrap();
    let _kept = middle.leaky_relu(-0.5).unwrap();
    assert!(!is_let_go_of(middle));
}

#[test]
fn a_frozen_discriminator_costs_no_weight_gradients() {
    let (device, seen) = traced();
    let numbers = |name: &str, count| Numbers::new(name, "frozen").normals(count);
    let noise = tensor(&numbers("noise", 2 * 6 * 6 * 3), &[2, 6, 6, 3], &device);
    let generator = tensor(&numbers("g", 4 * 3 * 3 * 3), &[4, 3, 3, 3], &device).tracked();
    let discriminator = tensor(&numbers("d", 2 * 4 * 4 * 4), &[2, 4, 4, 4], &device).tracked();
    let image = conv2d(&noise, &generator, Window::new(1, 1)).unwrap().tanh().unwrap();
    let score = conv2d(&image, &discriminator, Window::new(2, 1)).unwrap().sum_all().unwrap();
    assert!(!seen.kernels().contains(&KernelId::conv2d_grad_weight));
    // Into the image and no further: neither network's weights.
    grad(&score, None, &[&image], Graph::Drop).unwrap().remove(0).unwrap();
    assert!(seen.kernels().contains(&KernelId::conv2d_grad_input));
    assert!(!seen.kernels().contains(&KernelId::conv2d_grad_weight));
    let both = grad(&score, None, &[&generator, &discriminator], Graph::Drop).unwrap();
    assert!(both.iter().all(Option::is_some));
    let unrelated = tensor(&[1.0], &[1], &device).tracked();
    assert!(grad(&score, None, &[&unrelated], Graph::Drop).unwrap()[0].is_none());
}
