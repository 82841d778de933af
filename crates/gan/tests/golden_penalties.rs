//! Whole gradients of a discriminator's step with WGAN-GP's penalty and with R1, against PyTorch's in f64: second
//! derivatives through convolutions, transposed ones, batch and instance norm, and activations.
//! `tests/python/make_penalties.py` says what is computed.

mod common;

use belamy_gan::adversarial::Objective;
use belamy_gan::objective::{Answers, Labels};
use belamy_gan::recipe::Recipe;
use belamy_gan::{networks, regularizer};
use belamy_nn::layers::{Activation, Padding, RunningVariance};
use belamy_nn::network::Builder;
use belamy_nn::optimizer::gradients;
use belamy_nn::{Context, Initializer, Network};
use belamy_tensor::{DType, Device, Shape, Tensor};
use common::{Golden, fill, filled};

fn mixed(device: &Device) -> Network {
    let zero = Initializer::Constant(0.0);
    Builder::new("discriminator", [8, 8, 2], device, DType::F64, 1)
        .conv2d(4, 3, 2, Padding::Zeros(1), zero, Some(zero))
        .and_then(|builder| builder.instance_norm(1e-5, true))
        .and_then(|builder| builder.activation(Activation::LeakyRelu(0.2)))
        .and_then(|builder| builder.conv_transpose2d(3, 4, 2, Padding::Zeros(1), zero, Some(zero)))
        .and_then(|builder| builder.batch_norm(0.9, 1e-5, RunningVariance::Unbiased, zero))
        .and_then(|builder| builder.activation(Activation::Tanh))
        .and_then(|builder| builder.conv2d(2, 3, 1, Padding::Zeros(1), zero, Some(zero)))
        .and_then(|builder| builder.activation(Activation::Sigmoid))
        .and_then(|builder| builder.flatten())
        .and_then(|builder| builder.dense(4, zero, Some(zero)))
        .and_then(|builder| builder.activation(Activation::Relu))
        .and_then(|builder| builder.dense(1, zero, Some(zero)))
        .unwrap()
        .build()
}

fn dcgan64(device: &Device) -> Network {
    let mut recipe = Recipe::named("dcgan64").unwrap();
    (recipe.generator_width, recipe.discriminator_width) = (1, 4);
    networks::build(recipe.system, &recipe.sizes(), device, DType::F64, 1).unwrap().1
}

/// The largest difference of a gradient from PyTorch's, relative to that parameter's largest element.
fn worst(
    critic: &str,
    network: &Network,
    loss_name: &str,
    golden: &Golden,
    device: &Device,
) -> f64 {
    fill(network);
    let shape = Shape::new(&[&[3], network.input().dims()].concat()).unwrap();
    let images = |salt: u32| {
        Tensor::from_f64(&filled(shape.elements(), salt, 2.0, 0.0), shape, DType::F64, device)
    };
    let (real, fake) = (images(1000).unwrap(), images(1001).unwrap());
    let share = Tensor::from_f64(&filled(3, 1002, 1.0, 0.5), [3, 1, 1, 1], DType::F64, device);
    let mut cx = Context::train(1, 0, 0, device).unwrap();
    let mut ask = |x: &Tensor, cx: &mut Context| Ok(network.forward(x, None, cx)?);
    let answers =
        Answers::Apart { real: ask(&real, &mut cx).unwrap(), fake: ask(&fake, &mut cx).unwrap() };
    let (objective, penalty) = if loss_name == "wgan_gp" {
        let share = share.unwrap();
        let at = regularizer::gradient_penalty_at(&share, &real, &fake, &mut cx, &mut ask);
        (Objective::Wasserstein, at.unwrap())
    } else {
        (Objective::CrossEntropy, regularizer::r1(&real, &mut cx, &mut ask).unwrap())
    };
    let labels = Labels::default();
    let game = objective.discriminator_loss(&answers, &labels, 1.0, &mut None, &mut cx).unwrap();
    let loss = game.add(&penalty.mul_scalar(10.0).unwrap()).unwrap();
    let case = format!("{critic}/{loss_name}");
    let mut worst = 0.0f64;
    let mut compare = |what: &str, found: &[f64], expected: &[f64]| {
        assert_eq!(found.len(), expected.len(), "{case}: {what}");
        let largest = expected.iter().fold(1e-3f64, |most, value| most.max(value.abs()));
        for (a, b) in found.iter().zip(expected) {
            let error = (a - b).abs() / largest;
            assert!(error <= 1e-9, "{case}: {what}: {a} is not {b}");
            worst = worst.max(error);
        }
    };
    compare("loss", &[loss.item().unwrap()], &golden.values(&format!("{case}/loss")));
    compare("penalty", &[penalty.item().unwrap()], &golden.values(&format!("{case}/penalty")));
    let grads = gradients(&loss, network).unwrap();
    let params = network.params();
    let places = params.iter().enumerate().filter(|(_, (_, param))| param.is_trainable());
    let mut count = 0;
    for ((place, (name, param)), grad) in places.zip(&grads) {
        let values = param.in_files(grad).unwrap().to_f64().unwrap();
        let sampled: Vec<f64> = values.iter().step_by(golden.stride()).copied().collect();
        compare(name, &sampled, &golden.values(&format!("{case}/gradient/{:02}", place + 1)));
        count += 1;
    }
    assert_eq!(count, grads.len());
    worst
}

#[test]
fn gradients_of_penalised_steps_are_pytorchs() {
    let golden = Golden::read("penalties");
    let device = belamy_cpu::cpu();
    for loss in ["wgan_gp", "r1"] {
        for (critic, network) in [("mixed", mixed(&device)), ("dcgan64", dcgan64(&device))] {
            let worst = worst(critic, &network, loss, &golden, &device);
            assert!(worst < 1e-10, "{critic} {loss}: {worst:.1e}");
        }
    }
}
