//! Every kernel at every shape of the recipes under criterion, for those who change one:
//!
//! ```text
//! cargo bench -p belamy-benches --bench kernels -- --save-baseline before conv2d      at one commit
//! cargo bench -p belamy-benches --bench kernels -- --baseline before conv2d           at another
//! ```
//!
//! The words filter benchmarks by name, which is the op, its shape and the device. BELAMY_BENCH_DEVICE is cpu, oracle
//! or webgpu (cpu if it is not set), BELAMY_BENCH_RECIPES a list of recipes with commas between (all if it is not set).
//! A kernel that is wrong is not timed: it ends the run.

#![allow(clippy::print_stderr, reason = "criterion has no place for what is wrong")]

use belamy_benches::describe;
use belamy_benches::judge::Answer;
use belamy_benches::measure::Ready;
use belamy_benches::trace::Trace;
use belamy_gan::Recipe;
use belamy_gan::recipe::RECIPES;
use belamy_tensor::Device;
use criterion::{Criterion, Throughput};
use std::env;
use std::error::Error;
use std::time::Duration;

fn device() -> Result<Device, Box<dyn Error>> {
    match env::var("BELAMY_BENCH_DEVICE").as_deref() {
        Err(_) | Ok("cpu") => Ok(belamy_cpu::cpu()),
        Ok("oracle") => Ok(belamy_cpu::oracle()),
        Ok("webgpu") => Ok(belamy_webgpu::open(belamy_webgpu::Options::default())?),
        Ok(other) => Err(format!("BELAMY_BENCH_DEVICE={other}: cpu, oracle or webgpu").into()),
    }
}

fn recipes() -> Result<Vec<Recipe>, Box<dyn Error>> {
    let names = env::var("BELAMY_BENCH_RECIPES")
        .unwrap_or_else(|_| RECIPES.iter().map(|entry| entry.name).collect::<Vec<_>>().join(","));
    Ok(names.split(',').map(Recipe::named).collect::<Result<_, _>>()?)
}

fn main() -> Result<(), Box<dyn Error>> {
    let (device, oracle) = (device()?, belamy_cpu::oracle());
    let mut trace = Trace::default();
    for recipe in recipes()? {
        trace.add(&recipe)?;
    }
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .configure_from_args();
    for launch in trace.launches() {
        let name =
            format!("{} {} on {}", describe::op(&launch), describe::shape(&launch), device.id());
        let mut group = criterion.benchmark_group(describe::op(&launch));
        let cost = launch.cost();
        group.throughput(match cost.flop {
            0 => Throughput::Bytes(cost.bytes),
            flop => Throughput::Elements(flop),
        });
        // Prepared only if the filter lets it run.
        group.bench_function(name.clone(), |bencher| {
            let prepared = || -> Result<_, Box<dyn Error>> {
                let mut ready = Ready::new(&launch, &device)?;
                ready.verify(&Answer::to(&launch, &oracle)?)??;
                Ok(ready)
            };
            match prepared() {
                Ok(mut ready) => bencher.iter(|| ready.run(1).expect("it has just run")),
                Err(why) => {
                    eprintln!("{name} is wrong and has no time: {why}");
                    std::process::exit(1);
                }
            }
        });
        group.finish();
    }
    criterion.final_summary();
    Ok(())
}
