//! A device that is lost or out of memory: an error at the next call, no panic, no wait without end; and a training run
//! that goes on from its last checkpoint.

mod common;

use belamy_gan::files;
use belamy_gan::recipe::Recipe;
use belamy_gan::run::{Observer, Outcome, Plan, Run, Unobserved};
use belamy_gan::source::Material;
use belamy_tensor::{Device, Result, Tensor};
use belamy_webgpu::{Options, WebGpu};
use common::{open, say};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

fn zeros(elements: usize, device: &Device) -> Result<Tensor> {
    Tensor::from_slice(&vec![0.0f32; elements], [elements], device)
}

#[test]
fn a_lost_device_says_so_at_each_call() {
    for recorded in [false, true] {
        let Some((device, gpu)) = open("a lost device", Options::default()) else { return };
        let x = zeros(1000, &device).unwrap();
        let y = x.exp().unwrap();
        assert_eq!(y.to_vec::<f32>().unwrap()[999], 1.0);
        // With work that was recorded and not yet submitted, and without.
        let waiting = recorded.then(|| y.exp().unwrap());
        gpu.lose();
        let says = |result: Result<Vec<f32>>| {
            let error = result.unwrap_err().to_string();
            assert!(error.contains("device webgpu: the device was lost"), "{error}");
            assert!(error.lines().count() <= 2, "{error}");
            error
        };
        says(y.to_vec());
        says(waiting.map_or(y.clone(), |waiting| waiting).to_vec());
        says(x.exp().and_then(|y| y.to_vec()));
        assert!(says(x.sum_all().and_then(|y| y.to_vec())).starts_with("sum: "));
        says(zeros(77_777, &device).and_then(|z| z.to_vec()));
        says(device.synchronize().map(|()| Vec::new()));
        assert!(says(x.exp().and_then(|y| y.to_vec())).starts_with("unary: "));
    }
    // What is lost is one device: the adapter can be opened again.
    let Some((device, _)) = open("a lost device", Options::default()) else { return };
    assert_eq!(zeros(3, &device).unwrap().exp().unwrap().to_vec::<f32>().unwrap(), [1.0; 3]);
}

#[test]
fn a_tensor_that_no_adapter_can_hold_is_refused() {
    let Some((device, gpu)) = open("tensors too large", Options::default()) else { return };
    let one = zeros(1, &device).unwrap();
    let error = one.broadcast_to([65_535, 65_537]).unwrap_err().to_string();
    assert!(error.contains("device webgpu: 17179869180 bytes were asked for"), "{error}");
    let before = gpu.memory();
    assert_eq!(one.exp().unwrap().to_vec::<f32>().unwrap(), [1.0]);
    assert!(gpu.memory() < before + 1000);
}

#[test]
fn memory_that_is_kept_for_later_is_given_back_when_it_is_wanted() {
    let limit = 1 << 20;
    let Some((device, gpu)) = open("memory", Options { memory: Some(limit), ..Options::default() })
    else {
        return;
    };
    // 600 kB, and again as much of another size: the first must go.
    for elements in [150_000, 150_100, 150_200] {
        let x = zeros(elements, &device).unwrap();
        assert!(gpu.memory() >= 4 * elements as u64);
        assert!(gpu.memory() <= limit);
        drop(x);
    }
    // While it is in use it stays, and what does not fit is refused, again and again; what fits is not.
    let x = zeros(150_000, &device).unwrap();
    for _ in 0..2 {
        let error = x.exp().unwrap_err().to_string();
        assert!(error.contains("device webgpu: out of memory: 600000 bytes"), "{error}");
    }
    assert_eq!(zeros(1000, &device).unwrap().exp().unwrap().to_vec::<f32>().unwrap()[999], 1.0);
    drop(x);
    // Work that is recorded but not submitted keeps its buffers until it is done.
    let x = zeros(60_000, &device).unwrap();
    let y = x.exp().unwrap().exp().unwrap().sum_all().unwrap();
    let z = zeros(180_000, &device).unwrap();
    let sum = y.to_vec::<f32>().unwrap()[0];
    assert!((f64::from(sum) / (60_000.0 * std::f64::consts::E) - 1.0).abs() < 1e-4, "{sum}");
    assert_eq!(z.to_vec::<f32>().unwrap()[179_999], 0.0);
}

/// A folder of its own that goes away with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn plan(device: &Device) -> Plan {
    let mut plan = Plan::new(Recipe::named("sine").unwrap(), 3, device);
    (plan.recipe.steps, plan.log_every, plan.checkpoint_every) = (20, 5, 4);
    plan.sample_every = 0;
    plan
}

fn train(run: &mut Run, observer: &mut dyn Observer) -> belamy_gan::Result<Outcome> {
    run.train(observer, &AtomicBool::new(false))
}

/// Every file of a checkpoint.
fn checkpoint(out: &Path, step: u64) -> BTreeMap<String, Vec<u8>> {
    let folder = out.join(format!("checkpoints/step-{step:08}"));
    files::verify(&folder).unwrap();
    std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| {
            (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap())
        })
        .collect()
}

/// Takes the device away in the middle of training.
struct Thief(Arc<WebGpu>, u64);

impl Observer for Thief {
    fn stepped(&mut self, step: u64) {
        if step == self.1 {
            self.0.lose();
        }
    }
}

/// Takes all memory in the middle of training.
struct Hog(Device, u64, Vec<Tensor>);

impl Observer for Hog {
    fn stepped(&mut self, step: u64) {
        let Hog(device, when, taken) = self;
        if step == *when {
            for elements in [1 << 18, 1 << 14, 1 << 10, 1 << 6, 4] {
                while let Ok(tensor) = zeros(elements, device) {
                    taken.push(tensor);
                }
            }
            assert!(!taken.is_empty());
        }
    }
}

/// Goes on with a run that a fault has ended, and compares with one that met none.
fn resumed(out: &Path, whole: &Path) {
    let (device, _) = open("resuming", Options::default()).unwrap();
    let plan = belamy_gan::run::read_plan(out).unwrap();
    let mut run = Run::resume(plan, &Material::Endless, &device, out).unwrap();
    assert_eq!(train(&mut run, &mut Unobserved).unwrap(), Outcome::Finished { step: 20 });
    let unbroken = checkpoint(whole, 20);
    assert!(unbroken.len() >= 4);
    assert!(checkpoint(out, 20) == unbroken, "a resumed run leaves the same bytes");
}

#[test]
fn training_on_a_device_that_fails_goes_on_from_its_last_checkpoint() {
    let Some((device, _)) = open("training on a device that fails", Options::default()) else {
        return;
    };
    let folder = Folder::new("webgpu-faults");
    let at = |name: &str| folder.0.join(name);
    let mut run = Run::create(plan(&device), &Material::Endless, &device, &at("whole")).unwrap();
    train(&mut run, &mut Unobserved).unwrap();

    // Lost between two checkpoints; it is noticed in the next step.
    let (device, gpu) = open("a device that is lost", Options::default()).unwrap();
    let mut run = Run::create(plan(&device), &Material::Endless, &device, &at("lost")).unwrap();
    let error = train(&mut run, &mut Thief(gpu, 10)).unwrap_err().to_string();
    say(format_args!("a device lost while training: {error}"));
    assert!(error.starts_with("after step 10: "), "{error}");
    assert!(error.contains("device webgpu: the device was lost"), "{error}");
    assert!(error.ends_with("training stopped, checkpoints written before are kept"), "{error}");
    drop(run);
    checkpoint(&at("lost"), 8);
    resumed(&at("lost"), &at("whole"));

    // Out of memory, because somebody else takes what there is.
    let options = Options { memory: Some(16 << 20), ..Options::default() };
    let (device, _) = open("a device without memory", options).unwrap();
    let mut run = Run::create(plan(&device), &Material::Endless, &device, &at("full")).unwrap();
    let mut hog = Hog(device, 10, Vec::new());
    let error = train(&mut run, &mut hog).unwrap_err().to_string();
    say(format_args!("out of memory while training: {error}"));
    assert!(error.starts_with("after step 10: "), "{error}");
    assert!(error.contains("device webgpu: out of memory: "), "{error}");
    drop(run);
    checkpoint(&at("full"), 8);
    resumed(&at("full"), &at("whole"));
}
