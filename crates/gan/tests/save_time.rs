//! What a checkpoint costs, beside the plain writing and flushing of as many bytes in one file.
#![allow(clippy::print_stderr, reason = "a measurement is there to be read")]

use belamy_gan::{Pair, Recipe, checkpoint};
use belamy_tensor::DType;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

const REPEATS: u64 = 20;

/// The least and the median time of several runs.
fn times(mut work: impl FnMut(u64)) -> (Duration, Duration) {
    let mut times: Vec<Duration> = (0..REPEATS)
        .map(|repeat| {
            let start = Instant::now();
            work(repeat);
            start.elapsed()
        })
        .collect();
    times.sort();
    (times[0], times[times.len() / 2])
}

fn bytes_below(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
}

/// Saves 35 MB again and again. Disks differ and are shared, so the time is held against the disk's own.
#[test]
fn a_checkpoint_costs_little_more_than_its_bytes() {
    let device = belamy_cpu::cpu();
    let recipe = Recipe::named("mnist-mlp").unwrap();
    let mut pair = Pair::new(recipe, 1, DType::F32, &device).unwrap();
    let top = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let folder = top.join(format!("save-time-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();

    let save = times(|repeat| {
        pair.step = repeat;
        checkpoint::save(&pair, &folder).unwrap();
        checkpoint::prune(&folder, repeat, 1).unwrap();
    });
    let bytes = bytes_below(&folder.join(checkpoint::folder_name(REPEATS - 1)));
    let content = vec![1u8; bytes as usize];
    let plain = times(|repeat| {
        let mut file = std::fs::File::create(folder.join(format!("plain-{}", repeat % 2))).unwrap();
        file.write_all(&content).unwrap();
        file.sync_all().unwrap();
    });
    std::fs::remove_dir_all(&folder).unwrap();

    let of_16 = |time: Duration| time.as_secs_f64() * 1e3 * f64::from(16 << 20) / bytes as f64;
    eprintln!("a checkpoint of {bytes} bytes, as ms for 16 MiB (least, median of {REPEATS}):");
    eprintln!("  saved and pruned  {:.1}  {:.1}", of_16(save.0), of_16(save.1));
    eprintln!("  plain file        {:.1}  {:.1}", of_16(plain.0), of_16(plain.1));
    // Room for a busy machine: what must not come back is copying or flushing everything twice.
    assert!(of_16(save.0) < 3.0 * of_16(plain.0) + 25.0);
}
