//! Ranks that share batches do what one rank does with whole ones: in f64, to the rounding of sums.

#[path = "common/recipes.rs"]
mod recipes;

use belamy_gan::Recipe;
use belamy_gan::batches::DeviceBatches;
use belamy_gan::pair::Pair;
use belamy_gan::source;
use belamy_nn::layers::RunningVariance;
use belamy_nn::network::Builder;
use belamy_nn::optimizer::{gradient_means, gradients};
use belamy_nn::{Context, Initializer};
use belamy_ranks::{Alone, meet};
use belamy_tensor::communicator::Ranks;
use belamy_tensor::kernel::KernelId;
use belamy_tensor::ops::all_reduce::all_reduce_means;
use belamy_tensor::ops::norm_over_ranks::batch_norm_over_ranks;
use belamy_tensor::ops::random;
use belamy_tensor::{Call, DType, Device, Graph, Result, Tensor, Wrapper, grad, grad_each};
use recipes::{data, small, temporary};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const STEPS: usize = 3;

/// All weights and running statistics after some steps of a rank, with what it measured in the last one.
fn train(recipe: &Recipe, path: Option<&Path>, rank: &Ranks) -> Vec<f64> {
    let device = belamy_cpu::cpu();
    let mut pair = Pair::new(recipe.clone(), 1, DType::F64, &device).unwrap();
    pair.share(rank).unwrap();
    let data = source::load(recipe, path, 1).unwrap();
    let (data, discriminator) = (data.as_ref(), &pair.discriminator);
    let batches = DeviceBatches::new(recipe, data, discriminator, DType::F64, &device).unwrap();
    let mut batches = batches.shared_by(rank.size());
    for _ in 0..STEPS {
        pair.step(&mut batches).unwrap();
        pair.verify(&mut batches).unwrap();
    }
    let params = pair.networks().flat_map(|network| network.params());
    params.flat_map(|(_, param)| param.value().to_f64().unwrap()).collect()
}

fn on_ranks(recipe: &Recipe, path: Option<&Path>, count: usize) -> Vec<Vec<f64>> {
    let ranks = meet(Arc::new(Alone), count, Duration::from_secs(120)).unwrap();
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            ranks.iter().map(|rank| scope.spawn(move || train(recipe, path, rank))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
fn gradients_that_are_averaged_while_they_are_computed_are_those_averaged_afterwards() {
    let ranks = meet(Arc::new(Alone), 3, Duration::from_secs(60)).unwrap();
    let bits = |grads: Vec<Tensor>| -> Vec<Vec<u32>> {
        let bits = |grad: Tensor| grad.to_vec::<f32>().unwrap().into_iter().map(f32::to_bits);
        grads.into_iter().map(|grad| bits(grad).collect()).collect()
    };
    let own = |rank: &Ranks| {
        let device = belamy_cpu::cpu();
        // Full width: 5.9 MB of gradients fill several buckets, and one layer alone more than one.
        let pair = Pair::new(Recipe::named("mnist-mlp").unwrap(), 1, DType::F32, &device).unwrap();
        let network = &pair.discriminator;
        let images: Vec<f32> =
            (0..4 * 784).map(|i| ((i * 37 + rank.rank() * 101) % 97) as f32 / 97.0).collect();
        let images = Tensor::from_slice(&images, [4, 784], &device).unwrap();
        let counter = random::counter(1, 0, &device).unwrap();
        let said = network.forward(&images, None, &mut Context::at(1, &counter)).unwrap();
        let loss = said.square().unwrap().mean_all().unwrap();
        let afterwards = all_reduce_means(&gradients(&loss, network).unwrap(), rank).unwrap();
        let meanwhile = gradient_means(&loss, network, rank).unwrap();
        let bytes: usize = afterwards.iter().map(|grad| grad.meta().bytes()).sum();
        assert!(bytes > 4 << 20);
        assert!(bits(meanwhile) == bits(afterwards.clone()), "rank {}", rank.rank());
        bits(afterwards)
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = ranks.iter().map(|rank| scope.spawn(move || own(rank))).collect();
        let found: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        assert!(found.iter().all(|rank| rank == &found[0]));
    });
}

#[test]
fn each_gradient_is_told_once_and_when_it_is_whole() {
    let device = belamy_cpu::oracle();
    let tensor = |values: &[f64]| Tensor::from_slice(values, [values.len()], &device).unwrap();
    let [first, shared, last, apart] =
        [[0.5, -1.0], [2.0, 0.25], [1.5, 3.0], [7.0, 7.0]].map(|own| tensor(&own).tracked());
    // `shared` is used by the first layer and, twice, by the last: it is whole after all others.
    let hidden = (&(&first * &shared) + &first).tanh().unwrap();
    let y = (&(&hidden * &last) * &(&shared * &shared)).sum_all().unwrap();
    let wrt = [&first, &shared, &last, &apart];
    for graph in [Graph::Drop, Graph::Keep] {
        let mut told = Vec::new();
        let grads = grad_each(&y, None, &wrt, graph, &mut |place, grad| {
            told.push((place, grad.to_vec::<f64>()?));
            Ok(())
        })
        .unwrap();
        assert_eq!(told.iter().map(|(place, _)| *place).collect::<Vec<_>>(), [2, 0, 1]);
        for (place, values) in told {
            assert_eq!(grads[place].as_ref().unwrap().to_vec::<f64>().unwrap(), values);
        }
        assert!(grads[3].is_none());
    }
    let refused = grad_each(&y, None, &wrt, Graph::Drop, &mut |_, _| Err(device.error("enough")));
    assert!(refused.unwrap_err().to_string().contains("enough"));
}

fn ranks_agree_with_one(name: &str, settings: &[&str]) {
    let mut recipe = small(name);
    recipe.batch = 8;
    settings.iter().for_each(|setting| recipe.set(setting).unwrap());
    let folder =
        temporary(&format!("ranks-{name}-{}", settings.join("-").replace(['.', '='], "-")));
    let path = data(&recipe, &folder.join("data"));
    let one = on_ranks(&recipe, path.as_deref(), 1).remove(0);
    let start = Pair::new(recipe.clone(), 1, DType::F64, &belamy_cpu::cpu()).unwrap();
    let params = start.networks().flat_map(|network| network.params());
    let start: Vec<f64> = params.flat_map(|(_, param)| param.value().to_f64().unwrap()).collect();
    assert!(one != start, "{name} has not moved");
    for count in [2, 4] {
        let found = on_ranks(&recipe, path.as_deref(), count);
        for (rank, weights) in found.iter().enumerate() {
            assert!(weights == &found[0], "{name}: rank {rank} of {count} has weights of its own");
        }
        let apart = found[0].iter().zip(&one).map(|(a, b)| (a - b).abs() / b.abs().max(1.0));
        let apart = apart.fold(0.0, f64::max);
        assert!(apart <= 1e-10, "{name} {settings:?}: {count} ranks are {apart:e} from one");
        let again = on_ranks(&recipe, path.as_deref(), count);
        assert!(again[0] == found[0], "{name}: {count} ranks do something else the second time");
    }
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn mnist_mlp() {
    ranks_agree_with_one("mnist-mlp", &[]);
}

/// A rank may have a single sample, where batch norm by itself refuses one.
#[test]
fn one_sample_a_rank() {
    ranks_agree_with_one("mnist-mlp", &["batch=4"]);
}

#[test]
fn sine() {
    ranks_agree_with_one("sine", &[]);
}

/// Batch norm in the generator, dropout in both halves of the discriminator's batch.
#[test]
fn mnist_dcgan() {
    ranks_agree_with_one("mnist-dcgan", &[]);
}

/// Batch norm in both networks, of real and fake samples apart and together.
#[test]
fn dcgan64() {
    ranks_agree_with_one("dcgan64", &[]);
    ranks_agree_with_one("dcgan64", &["passes=joined"]);
}

/// Second derivatives through batch norm whose statistics are of all ranks.
#[test]
fn dcgan64_with_a_gradient_penalty() {
    ranks_agree_with_one("dcgan64", &["objective=wasserstein", "regularizers.gradient_penalty=10"]);
}

#[test]
fn mnist_conditional_with_an_auxiliary_classifier() {
    ranks_agree_with_one("mnist-conditional", &["regularizers.auxiliary=1"]);
}

/// Everything that is drawn for a sample: flipped and noisy labels, noise on samples, augmentation.
#[test]
fn mnist_dcgan_with_all_that_is_drawn() {
    let settings = [
        "labels.flip=0.1",
        "labels.noise=0.1",
        "regularizers.instance_noise=0.1",
        "regularizers.instance_noise_steps=100",
        "regularizers.r1=1",
        "regularizers.augment=true",
        "watch_gradients=true",
    ];
    ranks_agree_with_one("mnist-dcgan", &settings);
}

/// `batch_statistics=per-rank`: a rank normalises its samples as if they were the whole batch, and the running statistics
/// are those of the batch that they are a share of.
#[test]
fn a_rank_may_normalise_by_its_own_samples() {
    let device = belamy_cpu::cpu();
    let layer = || {
        let builder = Builder::new("norm", [3], &device, DType::F64, 1);
        let norm =
            builder.batch_norm(0.9, 1e-5, RunningVariance::Biased, Initializer::Constant(1.5));
        norm.unwrap().build()
    };
    let values: Vec<f64> = (0..24).map(|index| f64::from(index * index % 17)).collect();
    let rows = |from: usize, count: usize| {
        Tensor::from_slice(&values[3 * from..][..3 * count], [count, 3], &device).unwrap()
    };
    let trained = |x: &Tensor, rank: Option<&Ranks>| {
        let network = layer();
        let mut cx = Context::train(1, 0, 0, &device).unwrap();
        if let Some(rank) = rank {
            cx.set_ranks(rank);
            cx.set_own_statistics(true);
        }
        let y = network.forward(x, None, &mut cx).unwrap().to_vec::<f64>().unwrap();
        let params = network.params().into_iter().filter(|(name, _)| name.contains("running"));
        let running = params.flat_map(|(_, param)| param.value().to_vec::<f64>().unwrap());
        (y, running.collect::<Vec<f64>>())
    };
    let (_, of_all) = trained(&rows(0, 8), None);
    let ranks = meet(Arc::new(Alone), 2, Duration::from_secs(60)).unwrap();
    std::thread::scope(|scope| {
        for (index, rank) in ranks.iter().enumerate() {
            let (trained, rows, of_all) = (&trained, &rows, &of_all);
            scope.spawn(move || {
                let own = rows(4 * index, 4);
                let (alone, running_alone) = trained(&own, None);
                let (y, running) = trained(&own, Some(rank));
                assert_eq!(y, alone, "rank {index}");
                assert_ne!(running, running_alone, "rank {index}");
                for (found, expected) in running.iter().zip(of_all) {
                    assert!(
                        (found - expected).abs() <= 1e-14 * expected.abs(),
                        "{found} {expected}"
                    );
                }
            });
        }
    });
}

/// Ranks that normalise by their own samples keep the same weights, and train to others than ranks that share statistics.
#[test]
fn dcgan64_by_statistics_of_each_rank() {
    let mut recipe = small("dcgan64");
    recipe.batch = 8;
    let folder = temporary("ranks-own-statistics");
    let path = data(&recipe, &folder.join("data"));
    let shared = on_ranks(&recipe, path.as_deref(), 2);
    recipe.set("batch_statistics=per-rank").unwrap();
    let own = on_ranks(&recipe, path.as_deref(), 2);
    assert!(own[0] == own[1], "rank 1 has weights of its own");
    assert!(own[0] == on_ranks(&recipe, path.as_deref(), 2)[0], "another result the second time");
    let apart = own[0].iter().zip(&shared[0]).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(apart > 1e-6, "statistics make no difference: {apart:e}");
    std::fs::remove_dir_all(folder).unwrap();
}

/// A device that notes which kernels it launches.
#[derive(Debug)]
struct Noting(Device, Arc<Mutex<Vec<KernelId>>>);

impl Wrapper for Noting {
    fn inner(&self) -> &Device {
        &self.0
    }

    fn launch(&self, call: Call<'_>) -> Result<()> {
        self.1.lock().unwrap().push(call.kernel);
        self.0.backend().launch(call)
    }
}

/// Batch norm of `x: [parts, R, 3]` as a batch of so many parts: the result, mean and variance, and the gradients of x,
/// gamma and beta for the cotangent `h`; with the kernels that these launched.
fn normalised(
    [x, h]: [&[f64]; 2],
    parts: usize,
    slope: f64,
    rank: &Ranks,
) -> (Vec<Vec<f64>>, Vec<KernelId>) {
    let launched = Arc::default();
    let device = Device::new(Noting(belamy_cpu::cpu(), Arc::clone(&launched)));
    let rows = x.len() / 3;
    let tensor = |values: &[f64], shape: &[usize]| {
        Tensor::from_slice(values, belamy_tensor::Shape::new(shape).unwrap(), &device).unwrap()
    };
    let (x, h) = (tensor(x, &[rows, 3]).tracked(), tensor(h, &[rows, 3]));
    let gamma = tensor(&[0.5, 2.0, -1.5], &[3]).tracked();
    let beta = tensor(&[0.25, -0.5, 0.0], &[3]).tracked();
    let (y, statistics) =
        batch_norm_over_ranks(&x, &gamma, &beta, 1e-3, slope, parts, rank).unwrap();
    assert_eq!(statistics.count, rows / parts * rank.size());
    let grads = grad(&y, Some(&h), &[&x, &gamma, &beta], Graph::Drop).unwrap();
    let all = [y, statistics.mean, statistics.variance].into_iter();
    let all = all.chain(grads.into_iter().flatten()).map(|found| found.to_f64().unwrap());
    let all = all.collect();
    let launched = launched.lock().unwrap().clone();
    (all, launched)
}

/// Each part of a batch over all ranks is normalised, and differentiated, as if it were in one place: by two kernels in
/// each direction, whatever the number of parts.
#[test]
fn batch_norm_of_parts_over_ranks_is_that_of_whole_parts() {
    for (parts, count, rows, slope) in [(1, 2, 5, 1.0), (2, 3, 4, 0.2), (3, 4, 1, 0.0)] {
        let numbers = |seed: usize| -> Vec<f64> {
            let number = |index: usize| ((index * index * 7 + index * seed) % 101) as f64 / 16.0;
            (0..parts * count * rows * 3).map(number).collect()
        };
        // [parts, ranks, rows, 3], of which a rank has [parts, rows, 3].
        let (x, h) = (numbers(13), numbers(29));
        let own = |all: &[f64], rank: usize| -> Vec<f64> {
            let part = |part: usize| &all[(part * count + rank) * rows * 3..][..rows * 3];
            (0..parts).flat_map(part).copied().collect()
        };
        let alone = meet(Arc::new(Alone), 1, Duration::from_secs(60)).unwrap();
        let (whole, _) = normalised([&x, &h], parts, slope, &alone[0]);
        let ranks = meet(Arc::new(Alone), count, Duration::from_secs(60)).unwrap();
        let found: Vec<Vec<Vec<f64>>> = std::thread::scope(|scope| {
            let (x, h) = (&x, &h);
            let threads: Vec<_> = ranks
                .iter()
                .enumerate()
                .map(|(index, rank)| {
                    scope.spawn(move || {
                        let (x, h) = (own(x, index), own(h, index));
                        let (found, launched) = normalised([&x, &h], parts, slope, rank);
                        let halves = [
                            KernelId::norm_statistics,
                            KernelId::norm_apply,
                            KernelId::norm_grad_sums,
                            KernelId::norm_grad_apply,
                        ];
                        assert_eq!(launched, halves);
                        found
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let close = |found: &[f64], wanted: &[f64], what: &str| {
            assert_eq!(found.len(), wanted.len(), "{what}");
            for (found, wanted) in found.iter().zip(wanted) {
                let bound = 1e-12 * (1.0 + wanted.abs());
                assert!((found - wanted).abs() <= bound, "{what}: {found} is not {wanted}");
            }
        };
        for (rank, found) in found.iter().enumerate() {
            for (place, what) in [(0, "y"), (3, "grad_x")] {
                close(&found[place], &own(&whole[place], rank), what);
            }
            for (place, what) in [(1, "mean"), (2, "variance")] {
                close(&found[place], &whole[place], what);
            }
        }
        for (place, what) in [(4, "grad_gamma"), (5, "grad_beta")] {
            let sum = |c: usize| found.iter().map(|found| found[place][c]).sum::<f64>();
            close(&[0, 1, 2].map(sum), &whole[place], what);
        }
    }
}

#[test]
fn what_cannot_be_shared_says_so() {
    let ranks = meet(Arc::new(Alone), 3, Duration::from_secs(1)).unwrap();
    let refused = |settings: &[&str]| {
        let mut recipe = small("mnist-dcgan");
        settings.iter().for_each(|setting| recipe.set(setting).unwrap());
        let mut pair = Pair::new(recipe, 1, DType::F32, &belamy_cpu::cpu()).unwrap();
        pair.share(&ranks[0]).unwrap_err().to_string()
    };
    assert!(refused(&["batch=8"]).contains("8 cannot be shared evenly by 3"));
    let many = refused(&["batch=9", "regularizers.minibatch_stddev=3"]);
    assert!(many.contains("minibatch_stddev"), "{many}");
}
