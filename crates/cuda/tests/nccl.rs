//! Ranks whose devices add up what they have by themselves: the kernels on the processor, and in the place of NCCL a
//! library with its functions' names (`nccl/stand_in.cpp`). What NCCL itself does on several GPUs is not tested here.

mod common;
#[path = "../../gan/tests/common/recipes.rs"]
mod recipes;

use belamy_cuda::{Cuda, shim};
use belamy_gan::batches::DeviceBatches;
use belamy_gan::pair::Pair;
use belamy_gan::{Recipe, source};
use belamy_ranks::{Alone, meet};
use belamy_tensor::communicator::{Communicator, Numbers, Order, Ranks, Reduction, joined};
use belamy_tensor::{DType, Device, Result, Tensor};
use common::skip;
use recipes::{data, small, temporary};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(120);

/// The stand-in, built once; `None`, having said so, where there is no C++ compiler.
fn stand_in(test: &str) -> Option<&'static Path> {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    if !shim::present() {
        skip(test, "cxx", "there is no C++ compiler");
        return None;
    }
    Some(BUILT.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/nccl/stand_in.cpp");
        let library = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("libnccl-stand-in-{}.so", std::process::id()));
        let compiler = std::env::var("CXX").unwrap_or_else(|_| "c++".into());
        let output = Command::new(compiler)
            .args(["-std=c++17", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"])
            .arg(source)
            .arg("-o")
            .arg(&library)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        library
    }))
}

fn folder() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}

/// What each of `count` ranks returns, a thread each, by rank.
fn on_all<T: Send>(count: usize, run: impl Fn(Ranks) -> T + Sync) -> Vec<T> {
    let ranks = meet(Arc::new(Alone), count, PATIENCE).unwrap();
    std::thread::scope(|scope| {
        let run = &run;
        let threads: Vec<_> =
            ranks.into_iter().map(|rank| scope.spawn(move || run(rank))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

/// A communicator that counts what goes through the host.
#[derive(Debug)]
struct Watched(Ranks, Arc<AtomicU64>);

impl Communicator for Watched {
    fn rank(&self) -> usize {
        self.0.rank()
    }
    fn size(&self) -> usize {
        self.0.size()
    }
    fn all_gather(&self, mine: &[u8]) -> Result<Vec<Vec<u8>>> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.all_gather(mine)
    }
    fn all_reduce_sum(&self, numbers: Numbers<'_>) -> Result<()> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.all_reduce_sum(numbers)
    }
    fn beside(&self) -> Ranks {
        Arc::new(Watched(self.0.beside(), self.1.clone()))
    }
    fn leave(&self, why: &str) {
        self.0.leave(why);
    }
    fn deadline(&self) -> Duration {
        self.0.deadline()
    }
}

const STEPS: usize = 5;

/// How a rank's steps are made.
#[derive(Clone, Copy, Debug, PartialEq)]
enum By {
    /// One by one, with sums that go through the host.
    Hosts,
    /// One by one, with the devices' own sums.
    Devices,
    /// The same, recorded and replayed from the fourth step on.
    Replays,
}

/// All weights and running statistics after some steps of a rank, and how often it called the others' hosts in them.
fn train(
    recipe: &Recipe,
    path: Option<&Path>,
    by: By,
    library: &Path,
    rank: Ranks,
) -> (Vec<u32>, u64) {
    let cuda = match by {
        By::Hosts => shim::open(folder(), &[]),
        By::Devices | By::Replays => shim::open_with_nccl(folder(), library),
    };
    let device = Device::new(cuda.unwrap());
    let calls = Arc::new(AtomicU64::new(0));
    let rank: Ranks = Arc::new(Watched(rank, calls.clone()));
    let mut pair = Pair::new(recipe.clone(), 1, DType::F32, &device).unwrap();
    pair.share(&rank).unwrap();
    assert_eq!(pair.records, by != By::Hosts && rank.size() > 1 || rank.size() == 1);
    pair.records = by == By::Replays;
    let data = source::load(recipe, path, 1).unwrap();
    let (data, discriminator) = (data.as_ref(), &pair.discriminator);
    let batches = DeviceBatches::new(recipe, data, discriminator, DType::F32, &device).unwrap();
    let mut batches = batches.shared_by(rank.size());
    calls.store(0, Ordering::Relaxed);
    for _ in 0..STEPS {
        pair.step(&mut batches).unwrap();
    }
    let called = calls.load(Ordering::Relaxed);
    pair.verify(&mut batches).unwrap();
    let params = pair.networks().flat_map(|network| network.params());
    let bits = |tensor: Tensor| tensor.to_vec::<f32>().unwrap().into_iter().map(f32::to_bits);
    (params.flat_map(|(_, param)| bits(param.value())).collect(), called)
}

fn apart(a: &[u32], b: &[u32]) -> f32 {
    let pairs = a.iter().zip(b).map(|(a, b)| (f32::from_bits(*a), f32::from_bits(*b)));
    pairs.map(|(a, b)| (a - b).abs() / b.abs().max(1.0)).fold(0.0, f32::max)
}

/// Ranks whose devices add up are one rank with the whole batch, and one another to the bit, recorded or not; nothing goes
/// through the hosts in a step.
fn devices_agree(test: &str, name: &str, settings: &[&str], count: usize) {
    let Some(library) = stand_in(test) else { return };
    let mut recipe = small(name);
    recipe.batch = 6;
    settings.iter().for_each(|setting| recipe.set(setting).unwrap());
    let folder = temporary(&format!("nccl-{test}"));
    let path = data(&recipe, &folder.join("data"));
    let run = |by: By, count: usize| {
        on_all(count, |rank| train(&recipe, path.as_deref(), by, library, rank))
    };
    let one = run(By::Replays, 1).remove(0).0;
    let devices = run(By::Devices, count);
    for (rank, (weights, calls)) in devices.iter().enumerate() {
        assert!(weights == &devices[0].0, "{name}: rank {rank} of {count} has its own weights");
        assert_eq!(*calls, 0, "{name}: rank {rank} of {count} asks the others' hosts");
    }
    assert!(run(By::Replays, count) == devices, "{name}: {count} ranks, replayed");
    let found = apart(&devices[0].0, &one);
    common::say(&format!("{name}: {count} ranks are {found:e} from one"));
    assert!(found <= 5e-6, "{name}: {count} ranks are {found:e} from one");
}

#[test]
fn a_convolutional_gan_with_batch_norm() {
    devices_agree("a_convolutional_gan_with_batch_norm", "mnist-dcgan", &[], 2);
}

#[test]
fn a_perceptron_with_dropout() {
    devices_agree("a_perceptron_with_dropout", "mnist-mlp", &[], 3);
}

#[test]
fn a_gradient_penalty_of_second_order() {
    let settings = ["regularizers.gradient_penalty=10", "discriminator_steps=2"];
    devices_agree("a_gradient_penalty_of_second_order", "sine", &settings, 2);
}

#[test]
fn without_nccl_hosts_are_asked_in_each_step() {
    let Some(library) = stand_in("without_nccl_hosts_are_asked_in_each_step") else { return };
    let recipe = small("sine");
    let calls = on_all(2, |rank| train(&recipe, None, By::Hosts, library, rank).1);
    assert!(calls.iter().all(|calls| *calls >= 2 * STEPS as u64), "{calls:?}");
}

#[test]
fn reductions_are_of_all_ranks_in_turn_and_beside() {
    let Some(library) = stand_in("reductions_are_of_all_ranks_in_turn_and_beside") else { return };
    on_all(3, |ranks| {
        let device = Device::new(shim::open_with_nccl(folder(), library).unwrap());
        let ranks = joined(&ranks, &device).unwrap();
        let own = ranks.on_device(&device).unwrap();
        let rank = ranks.rank() as f32;
        let x = Tensor::from_slice(&[rank, 1.0, -3.0 * rank], [3], &device).unwrap();
        let sum = own.all_reduce_tensor(Reduction::Sum, &x, Order::InTurn).unwrap();
        assert_eq!(sum.to_vec::<f32>().unwrap(), [3.0, 3.0, -9.0]);
        let mean = own.all_reduce_tensor(Reduction::Mean, &x, Order::Beside).unwrap();
        own.join().unwrap();
        assert_eq!(mean.to_vec::<f32>().unwrap(), [1.0, 1.0, -3.0]);
        let counts = Tensor::from_slice(&[ranks.rank() as u32, 5], [2], &device).unwrap();
        let sum = own.all_reduce_tensor(Reduction::Sum, &counts, Order::InTurn).unwrap();
        assert_eq!(sum.to_vec::<u32>().unwrap(), [3, 15]);
        // Numbers of another device are not its own.
        assert!(ranks.on_device(&belamy_cpu::cpu()).is_none());
    });
}

#[test]
fn where_devices_cannot_be_connected_hosts_are_asked() {
    let Some(library) = stand_in("where_devices_cannot_be_connected_hosts_are_asked") else {
        return;
    };
    let with = || Device::new(shim::open_with_nccl(folder(), library).unwrap());
    let without = || Device::new(shim::open(folder(), &[]).unwrap());
    let connected = |count: usize, device: &(dyn Fn(usize) -> Device + Sync)| {
        on_all(count, |ranks| {
            let device = device(ranks.rank());
            let ranks = joined(&ranks, &device).unwrap();
            // Whatever they use, they go on together.
            ranks.all_gather(&[]).unwrap();
            ranks.on_device(&device).is_some()
        })
    };
    assert_eq!(connected(2, &|_| with()), [true; 2]);
    // One has no NCCL; another has the very same device; one computes elsewhere.
    assert_eq!(connected(2, &|rank| if rank == 0 { with() } else { without() }), [false; 2]);
    let shared: Cuda = shim::open_with_nccl(folder(), library).unwrap();
    assert_eq!(connected(2, &|_| Device::new(shared.clone())), [false; 2]);
    let elsewhere = |rank| if rank == 0 { with() } else { belamy_cpu::cpu() };
    assert_eq!(connected(2, &elsewhere), [false; 2]);
    // NCCL itself fails on rank 3 of 5.
    let errors = on_all(5, |ranks| joined(&ranks, &with()).unwrap_err().to_string());
    for error in errors {
        assert!(error.contains("rank 3: NCCL, connecting GPUs: unhandled system error"), "{error}");
    }
}
