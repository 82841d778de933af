//! Weight files: safetensors with Belamy's, Keras' and PyTorch's names, as `belamy import`, `sample` and `op` read them.
#![no_main]

use belamy_fuzz::source::Source;
use belamy_fuzz::tensors::{self, Entries, Entry};
use belamy_nn::layers::{Padding, RunningVariance};
use belamy_nn::network::Builder;
use belamy_nn::weights::{self, Origin};
use belamy_nn::{Initializer, Network};
use belamy_tensor::{DType, Device};
use libfuzzer_sys::fuzz_target;
use std::rc::Rc;

/// Writing takes as long as reading: one file of so many is written and read again.
const WRITTEN: usize = 4;

/// A network, and files that it takes.
struct Model {
    network: Network,
    bases: Vec<Entries>,
}

struct State {
    device: Device,
    models: Vec<Model>,
}

thread_local! {
    static STATE: State = state().expect("sound networks");
}

/// Two networks with a layer of each kind that can be imported: fewer tensors in a file are quicker to read.
fn state() -> belamy_tensor::Result<State> {
    let device = belamy_cpu::cpu();
    let (half, zero) = (Initializer::Constant(0.5), Some(Initializer::Constant(0.0)));
    let points = Builder::new("generator", [3], &device, DType::F32, 1)
        .dense(8, half, zero)?
        .batch_norm(0.9, 1e-5, RunningVariance::Unbiased, half)?
        .build();
    let images = Builder::new("generator", [2, 2, 2], &device, DType::F32, 1)
        .conv2d(3, 2, 1, Padding::Same, half, zero)?
        .instance_norm(1e-5, true)?
        .conv_transpose2d(2, 3, 2, Padding::Same, half, None)?
        .build();
    let keras_points = [
        ("dense_4/kernel:0", &[3, 8][..]),
        ("dense_4/bias:0", &[8]),
        ("batch_normalization_2/gamma:0", &[8]),
        ("batch_normalization_2/beta:0", &[8]),
        ("batch_normalization_2/moving_mean:0", &[8]),
        ("batch_normalization_2/moving_variance:0", &[8]),
    ];
    let keras_images = [
        ("conv2d/kernel:0", &[2, 2, 2, 3][..]),
        ("conv2d/bias:0", &[3]),
        ("instance_norm/gamma:0", &[3]),
        ("instance_norm/beta:0", &[3]),
        ("conv2d_transpose_1/kernel:0", &[3, 3, 2, 3]),
    ];
    let pytorch_points = [
        ("main.0.weight", &[8, 3][..]),
        ("main.0.bias", &[8]),
        ("main.1.weight", &[8]),
        ("main.1.bias", &[8]),
        ("main.1.running_mean", &[8]),
        ("main.1.running_var", &[8]),
        ("main.1.num_batches_tracked", &[1]),
    ];
    let pytorch_images = [
        ("main.3.weight", &[3, 2, 2, 2][..]),
        ("main.3.bias", &[3]),
        ("main.4.weight", &[3]),
        ("main.4.bias", &[3]),
        ("main.5.weight", &[3, 2, 3, 3]),
    ];
    let models = vec![
        model(points, &keras_points, &pytorch_points, &device)?,
        model(images, &keras_images, &pytorch_images, &device)?,
    ];
    Ok(State { device, models })
}

/// A network with its own file, and with Keras' and PyTorch's names and shapes.
fn model(
    network: Network,
    keras: &[(&str, &[usize])],
    pytorch: &[(&str, &[usize])],
    device: &Device,
) -> belamy_tensor::Result<Model> {
    let entries = |named: &[(&str, &[usize])]| -> Entries {
        named.iter().map(|(name, shape)| Rc::new(Entry::of_f32(name, shape))).collect()
    };
    let own = weights::of_network(&network).expect("its own numbers");
    let own: Vec<_> = own.iter().map(|(name, tensor)| (name.as_str(), tensor.dims())).collect();
    let bases = vec![entries(&own), entries(keras), entries(pytorch)];
    for base in &bases {
        let tensors = weights::from_bytes(&tensors::file(base), device).expect("a sound file");
        weights::import(&network, tensors).expect("the network's own shapes");
    }
    Ok(Model { network, bases })
}

fn seeds() -> Vec<Vec<u8>> {
    let of_model = |(index, model): (usize, &Model)| {
        let seeds = tensors::seeds(&model.bases).into_iter();
        seeds.map(|seed| [&[index as u8][..], &seed].concat()).collect::<Vec<_>>()
    };
    let mut seeds =
        STATE.with(|state| state.models.iter().enumerate().flat_map(of_model).collect::<Vec<_>>());
    // Keras' first tensor twice, in two models.
    seeds.push(vec![0, 3, 6, 0, 5, 6, 0, 2, b'b', b'/']);
    seeds
}

fn check(file: &[u8], device: &Device, network: &Network) {
    let Ok(tensors) = weights::from_bytes(file, device) else { return };
    let held: usize = tensors.values().map(|tensor| tensor.meta().bytes()).sum();
    assert!(held <= file.len(), "{held} bytes out of {}", file.len());
    let is_written = file.len().is_multiple_of(WRITTEN);
    if is_written {
        let named: Vec<_> =
            tensors.iter().map(|(name, tensor)| (name.clone(), tensor.clone())).collect();
        let again = weights::to_bytes(&named, &[]).expect("names are not repeated");
        let again = weights::from_bytes(&again, device).expect("what was written can be read");
        assert!(tensors.keys().eq(again.keys()));
        for (tensor, again) in tensors.values().zip(again.values()) {
            assert_eq!(tensor.meta(), again.meta());
        }
    }
    let counted = tensors.keys().filter(|name| !name.ends_with("num_batches_tracked")).count();
    let params = network.params().len();
    match weights::import(network, tensors) {
        // PyTorch's counter of batches has no place here; all else has one place each.
        Ok(Origin::Pytorch) => assert!(counted <= params, "{counted} in {params} places"),
        Ok(_) => assert_eq!(counted, params, "a tensor took another's place"),
        Err(_) => return,
    }
    if is_written {
        let own = weights::of_network(network).expect("its own numbers");
        weights::into_network(network, own.into_iter().collect()).expect("its own shapes");
    }
}

fuzz_target!(init: belamy_fuzz::begin(seeds), |data: &[u8]| {
    STATE.with(|State { device, models }| {
        let mut source = Source::new(data);
        let Model { network, bases } = &models[source.choice(models.len())];
        let file = tensors::chosen(bases, &mut source);
        belamy_fuzz::written(&file);
        check(&file, device, network);
        // The device keeps what was given back, of every length that there ever was.
        device.backend().release().expect("memory goes back");
    });
});
