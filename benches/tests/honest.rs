//! What is wrong has no time, and what a recipe launches has a row.

use belamy_benches::ceilings::Ceilings;
use belamy_benches::describe;
use belamy_benches::judge::Answer;
use belamy_benches::measure::{self, Allowance, Flusher, Outcome, StepAnswer};
use belamy_benches::session::{self, KernelRow, Kernels, Observer, Options};
use belamy_benches::trace::{Launch, Trace};
use belamy_benches::training::Training;
use belamy_gan::Recipe;
use belamy_gan::recipe::RECIPES;
use belamy_tensor::kernel::KernelId;
use belamy_tensor::{Backend, Buffer, Call, DType, Device, Result, Wrapper};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

/// How a device is wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    /// It is right.
    None,
    /// All zeros.
    Zeros,
    /// Every number a little too large.
    Scaled,
    /// The numbers one place later.
    Shifted,
    /// One number, the largest, off by a twentieth.
    OneOff,
    /// The last number is not written.
    Unwritten,
    /// Right at first, wrong from the third launch on.
    Later,
}

/// The CPU, made wrong on purpose.
#[derive(Debug)]
struct Wrong {
    inner: Device,
    fault: Fault,
    /// Only this kernel is wrong; all if none.
    kernel: Option<KernelId>,
    launches: AtomicUsize,
    seen: Arc<Mutex<BTreeSet<&'static str>>>,
}

impl Wrapper for Wrong {
    fn inner(&self) -> &Device {
        &self.inner
    }

    fn launch(&self, call: Call<'_>) -> Result<()> {
        let Call { kernel, params, inputs, outputs } = call;
        self.seen.lock().unwrap().insert(kernel.name());
        let before = self.launches.fetch_add(1, Ordering::Relaxed);
        let mut old = vec![0; outputs[0].elements * 4];
        self.read(&outputs[0], &mut old)?;
        self.inner.backend().launch(Call { kernel, params, inputs, outputs: &mut *outputs })?;
        if self.kernel.is_some_and(|wrong| wrong != kernel) {
            return Ok(());
        }
        let mut bytes = old.clone();
        self.read(&outputs[0], &mut bytes)?;
        damage(self.fault, before, outputs[0].dtype, &mut bytes, &old);
        self.write(&mut outputs[0], &bytes)
    }
}

fn damage(fault: Fault, before: usize, dtype: DType, bytes: &mut [u8], old: &[u8]) {
    let words = bytes.as_chunks_mut::<4>().0;
    let scaled = |word: [u8; 4]| match dtype {
        DType::U32 => (u32::from_ne_bytes(word) ^ 1).to_ne_bytes(),
        _ => (f32::from_ne_bytes(word) * 1.05).to_ne_bytes(),
    };
    let size = |word: &[u8; 4]| match dtype {
        DType::U32 => f64::from(u32::from_ne_bytes(*word)),
        _ => f64::from(f32::from_ne_bytes(*word)).abs(),
    };
    match fault {
        Fault::None => {}
        Fault::Zeros => words.fill([0; 4]),
        Fault::Scaled => words.iter_mut().for_each(|word| *word = scaled(*word)),
        Fault::Shifted => words.rotate_right(1),
        Fault::OneOff => {
            let largest =
                (0..words.len()).max_by(|&a, &b| size(&words[a]).total_cmp(&size(&words[b])));
            if let Some(place) = largest {
                words[place] = scaled(words[place]);
            }
        }
        Fault::Unwritten => {
            let last = bytes.len() - 4;
            bytes[last..].copy_from_slice(&old[last..]);
        }
        Fault::Later if before >= 2 => words.iter_mut().for_each(|word| *word = scaled(*word)),
        Fault::Later => {}
    }
}

fn wrong(fault: Fault, kernel: Option<KernelId>) -> Device {
    let seen = Arc::default();
    let launches = AtomicUsize::new(0);
    Device::new(Wrong { inner: belamy_cpu::cpu(), fault, kernel, launches, seen })
}

fn ceilings() -> &'static Ceilings {
    static CEILINGS: OnceLock<Ceilings> = OnceLock::new();
    CEILINGS.get_or_init(|| Ceilings::measure(&belamy_cpu::cpu()).unwrap())
}

/// Every recipe at a batch that a test can afford.
fn small() -> Vec<Recipe> {
    RECIPES
        .iter()
        .map(|entry| {
            let mut recipe = Recipe::named(entry.name).unwrap();
            recipe.batch = 3;
            if recipe.generator_width > 0 {
                (recipe.generator_width, recipe.discriminator_width) = (8, 8);
            }
            if recipe.source.is_two() {
                (recipe.batch, recipe.side, recipe.jitter) = (1, 32, 0);
            }
            recipe.check().unwrap();
            recipe
        })
        .collect()
}

fn launches(recipes: &[Recipe]) -> Vec<Launch> {
    let mut trace = Trace::default();
    for recipe in recipes {
        let _ = trace.add(recipe).unwrap();
    }
    trace.launches()
}

const QUICK: Allowance = Allowance { sampling: 0.0, one: 60.0 };

fn outcome(launch: &Launch, answer: &Answer, device: &Device) -> Outcome {
    let mut flusher = Flusher::new(device, false).unwrap();
    measure::launch(launch, answer, device, ceilings(), &mut flusher, QUICK)
}

#[test]
fn a_wrong_kernel_has_no_time_and_a_right_one_has() {
    let oracle = belamy_cpu::oracle();
    let faults = [
        Fault::Zeros,
        Fault::Scaled,
        Fault::Shifted,
        Fault::OneOff,
        Fault::Unwritten,
        Fault::Later,
    ];
    let mut rejected = [0; 6];
    let mut kernels = BTreeSet::new();
    // A shape of each op: the others differ in size alone.
    let mut seen = BTreeSet::new();
    for launch in launches(&small()) {
        let what = format!("{} {}", describe::op(&launch), describe::shape(&launch));
        if launch.outputs[0].elements < 2 || seen.contains(describe::op(&launch)) {
            continue;
        }
        let answer = Answer::to(&launch, &oracle).unwrap();
        if answer.share < 1.0 {
            // A fault outside the part that is compared may pass: another shape of the op is compared whole.
            continue;
        }
        seen.insert(describe::op(&launch));
        let right = outcome(&launch, &answer, &wrong(Fault::None, None));
        assert!(matches!(right, Outcome::Measured(_)), "{what}: {right:?}");
        kernels.insert(launch.kernel.name());
        let Outcome::Measured(figures) = right else { continue };
        assert!(figures.timing.median > 0.0 && figures.share > 0.0, "{what}: {figures:?}");
        // What does not change a result is no fault of it: zeros stay zeros, equal numbers may be shifted.
        let result = result(&launch);
        for (index, fault) in faults.into_iter().enumerate() {
            let old = vec![0xFF; result.len()];
            let mut damaged = result.clone();
            damage(fault, 2, launch.outputs[0].dtype, &mut damaged, &old);
            if damaged == result {
                continue;
            }
            let outcome = outcome(&launch, &answer, &wrong(fault, None));
            assert!(matches!(outcome, Outcome::Incorrect { .. }), "{what} {fault:?}: {outcome:?}");
            rejected[index] += 1;
        }
    }
    assert!(rejected.iter().all(|&count| count >= 20), "{rejected:?}");
    assert!(kernels.len() >= 20, "{kernels:?}");
}

/// The first output of a launch on the CPU.
fn result(launch: &Launch) -> Vec<u8> {
    let cpu = belamy_cpu::cpu();
    let alloc = |extent: &belamy_tensor::cost::Extent| {
        cpu.backend().alloc(extent.dtype, extent.elements).unwrap()
    };
    let mut outputs: Vec<Buffer> = launch.outputs.iter().map(alloc).collect();
    let inputs: Vec<&Buffer> = launch.inputs.iter().collect();
    let Launch { kernel, params, .. } = *launch;
    cpu.backend().launch(Call { kernel, params, inputs: &inputs, outputs: &mut outputs }).unwrap();
    let mut bytes = vec![0; outputs[0].elements * outputs[0].dtype.bytes()];
    cpu.backend().read(&outputs[0], &mut bytes).unwrap();
    bytes
}

#[test]
fn a_wrong_step_has_no_time() {
    let mut recipe = Recipe::named("sine").unwrap();
    recipe.batch = 8;
    let answer = StepAnswer::to(&recipe, &belamy_cpu::oracle()).unwrap();
    let traced = Trace::default().add(&recipe).unwrap();
    let step = |device: &Device| {
        let mut flusher = Flusher::new(device, false).unwrap();
        measure::step(&recipe, &traced, device, ceilings(), &mut flusher, QUICK)
    };
    let right = wrong(Fault::None, None);
    assert_eq!(answer.judge(&right).unwrap(), Ok(()));
    assert!(matches!(step(&right), Outcome::Measured(_)));
    for kernel in [KernelId::matmul, KernelId::bce_with_logits_mean, KernelId::adam] {
        let device = wrong(Fault::Zeros, Some(kernel));
        let judged = answer.judge(&device).unwrap();
        let outcome = step(&device);
        // Each look alone might miss something; none that passes both is timed.
        let caught = judged.is_err() || matches!(outcome, Outcome::Incorrect { .. });
        assert!(caught, "{}: {judged:?}, {outcome:?}", kernel.name());
        assert!(matches!(outcome, Outcome::Incorrect { .. }), "{}: {outcome:?}", kernel.name());
    }
}

struct Nobody;

impl Observer for Nobody {
    fn stage(&mut self, _what: &'static str) {}
    fn reached(&mut self, _done: u64, _total: u64) {}
}

#[test]
fn every_kernel_that_a_step_launches_has_a_row() {
    let recipes = small();
    let options = Options {
        recipes: recipes.clone(),
        steps: false,
        kernels: Kernels::All,
        seconds: 60.0,
        cold: false,
    };
    let report = session::run(&[belamy_cpu::cpu()], &options, &mut Nobody).unwrap();
    // A busy machine has no time for the last ones, and the report says for which.
    assert!(report.not_traced.len() + 5 <= recipes.len(), "{:?}", report.not_traced);
    // Asked of another device than the one that makes the table.
    let seen: Arc<Mutex<BTreeSet<&'static str>>> = Arc::default();
    let device = Device::new(Wrong {
        inner: belamy_cpu::cpu(),
        fault: Fault::None,
        kernel: None,
        launches: AtomicUsize::new(0),
        seen: Arc::clone(&seen),
    });
    let mut steps: BTreeSet<&str> = BTreeSet::new();
    for recipe in recipes.iter().filter(|recipe| !report.not_traced.contains(&recipe.name)) {
        let mut training = Training::new(recipe, &device).unwrap();
        training.step().unwrap();
        // Data sets and weights are made by kernels too, which no step launches.
        seen.lock().unwrap().clear();
        training.step().unwrap();
        steps.extend(seen.lock().unwrap().iter().copied());
    }
    let rows: BTreeSet<&str> = report.kernels.iter().map(|row| row.kernel).collect();
    assert_eq!(rows, steps);
    let listed: BTreeSet<&str> = rows.iter().chain(&report.in_no_step).copied().collect();
    assert_eq!(listed, KernelId::ALL.iter().map(|kernel| kernel.name()).collect());
    for name in ["conv2d", "conv2d_grad_input", "conv2d_grad_weight", "matmul", "norm", "norm_grad"]
    {
        assert!(rows.contains(name), "{name}");
    }
    let wrong = |row: &&KernelRow| {
        row.devices
            .iter()
            .any(|cell| matches!(cell.outcome, Outcome::Incorrect { .. } | Outcome::Failed { .. }))
    };
    assert_eq!(report.kernels.iter().filter(wrong).collect::<Vec<_>>(), Vec::<&KernelRow>::new());
}
