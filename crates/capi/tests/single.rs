//! A single sample of a small generator: the bits of samples drawn together, no memory, no thread.

use belamy_c::Status;
use belamy_c::generator::*;
use belamy_c::status::belamy_last_error;
use belamy_c::trainer::*;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ffi::{CStr, CString};
use std::ptr::{null, null_mut};

/// The system's allocator, which counts what this thread asks for.
struct Counting;

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: the system's allocator does the work; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = COUNT.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps to the contract of this very function.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let _ = COUNT.try_with(|count| count.set(count.get() + 1));
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn last() -> String {
    // SAFETY: the text ends with a zero and is this thread's.
    unsafe { CStr::from_ptr(belamy_last_error()) }.to_string_lossy().into_owned()
}

/// A generator of a recipe after a step on made-up samples.
fn opened(recipe: &CStr, settings: &CStr) -> *mut Generator {
    let name = recipe.to_str().unwrap();
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("single-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&path);
    let run = CString::new(path.to_str().unwrap()).unwrap();
    let (mut trainer, mut generator) = (null_mut(), null_mut());
    // SAFETY: texts end with zeros, pointers lead to what the functions say, and the trainer is freed once.
    unsafe {
        let open = belamy_trainer_open(recipe.as_ptr(), settings.as_ptr(), 3, null(), &mut trainer);
        assert_eq!(open, Status::Ok, "{}", last());
        let (batch, elements) = (belamy_trainer_batch(trainer), belamy_trainer_elements(trainer));
        let samples: Vec<f32> =
            (0..batch * elements).map(|i| (i as f32 * 0.1).sin().abs()).collect();
        let labels: Vec<u32> = (0..batch as u32).map(|label| label % 15).collect();
        let labels = if name == "showers" { labels.as_ptr() } else { null() };
        let step = belamy_trainer_step(trainer, samples.as_ptr(), labels, null_mut());
        assert_eq!(step, Status::Ok, "{}", last());
        assert_eq!(belamy_trainer_save(trainer, run.as_ptr()), Status::Ok, "{}", last());
        belamy_trainer_free(trainer);
        let open = belamy_generator_open(run.as_ptr(), null(), &mut generator);
        assert_eq!(open, Status::Ok, "{}", last());
    }
    std::fs::remove_dir_all(&path).unwrap();
    generator
}

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count)
}

#[test]
fn a_single_sample_is_the_same_bits_and_takes_no_memory_and_no_thread() {
    const TOGETHER: usize = 40;
    for (recipe, settings) in [
        (c"showers", c"batch=30\nsamples=30\naverage_decay=0.5"),
        (c"mnist-mlp", c"batch=4"),
        (c"sine", c"batch=4"),
    ] {
        let generator = opened(recipe, settings);
        // SAFETY: the handle is valid until it is freed, and pointers lead to what the functions say.
        unsafe {
            let (latent, elements) =
                (belamy_generator_latent(generator), belamy_generator_elements(generator));
            let classes = belamy_generator_classes(generator) as u32;
            let noise: Vec<f32> =
                (0..TOGETHER * latent).map(|i| 2.0 * (i as f32 * 0.77).sin()).collect();
            let labels: Vec<u32> = (0..TOGETHER as u32).map(|i| i * 7 % classes.max(1)).collect();
            let of = |first: usize| match classes {
                0 => null(),
                _ => labels[first..].as_ptr(),
            };
            let mut together = vec![f32::NAN; TOGETHER * elements];
            let draw = |first: usize, count: usize, out: &mut [f32]| {
                let noise = noise[first * latent..].as_ptr();
                let (out, room) = (out.as_mut_ptr(), out.len());
                let status =
                    belamy_generator_sample_from(generator, noise, of(first), count, out, room);
                assert_eq!(status, Status::Ok);
            };
            draw(0, TOGETHER, &mut together);
            let mut alone = vec![f32::NAN; elements];
            draw(0, 1, &mut alone);
            let threads_before = threads();
            let memory_before = COUNT.get();
            for first in 0..TOGETHER {
                draw(first, 1, &mut alone);
                assert!(alone == together[first * elements..][..elements], "{recipe:?}: {first}");
            }
            let memory_after = COUNT.get();
            assert_eq!(memory_after, memory_before, "{recipe:?}: {TOGETHER} calls took memory");
            assert_eq!(threads(), threads_before, "{recipe:?}: {TOGETHER} calls began threads");
            // A few at once, and classes in turn where none are given.
            if classes > 0 {
                let mut few = vec![f32::NAN; 3 * elements];
                let noise = noise.as_ptr();
                let room = few.len();
                let status = belamy_generator_sample_from(
                    generator,
                    noise,
                    null(),
                    3,
                    few.as_mut_ptr(),
                    room,
                );
                assert_eq!(status, Status::Ok, "{}", last());
                let in_turn = [0u32, 1, 2];
                let mut told = vec![f32::NAN; 3 * elements];
                let status = belamy_generator_sample_from(
                    generator,
                    noise,
                    in_turn.as_ptr(),
                    3,
                    told.as_mut_ptr(),
                    room,
                );
                assert!(status == Status::Ok && few == told);
                let wrong = [classes];
                let mut out = vec![f32::NAN; elements];
                let status = belamy_generator_sample_from(
                    generator,
                    noise,
                    wrong.as_ptr(),
                    1,
                    out.as_mut_ptr(),
                    elements,
                );
                assert_eq!(status, Status::Argument);
                assert!(last().contains("label 15: there are 0 to 14"), "{}", last());
            }
            belamy_generator_free(generator);
        }
    }
}
