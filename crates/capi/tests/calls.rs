//! The calls themselves: what they refuse, and a hundred threads at once.

use belamy_c::Status;
use belamy_c::generator::*;
use belamy_c::status::belamy_last_error;
use belamy_c::trainer::*;
use std::ffi::{CStr, CString};
use std::ptr::{null, null_mut};

fn last() -> String {
    // SAFETY: the text ends with a zero and is this thread's.
    unsafe { CStr::from_ptr(belamy_last_error()) }.to_string_lossy().into_owned()
}

#[track_caller]
fn refused(status: Status, as_what: Status, says: &str) {
    assert_eq!(status, as_what, "{}", last());
    assert!(last().contains(says), "{}", last());
}

/// A run of a small conditional recipe, saved by a trainer.
fn saved(name: &str) -> CString {
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&path);
    let run = CString::new(path.to_str().unwrap()).unwrap();
    let settings = c"classes=3\nside=8\n\nbatch=4\nlatent=5\naverage_decay=0.5";
    let mut trainer = null_mut();
    // SAFETY: texts end with zeros, pointers lead to what the functions say, and the handle is freed once.
    unsafe {
        let open = belamy_trainer_open(
            c"mnist-conditional".as_ptr(),
            settings.as_ptr(),
            3,
            null(),
            &mut trainer,
        );
        assert_eq!(open, Status::Ok, "{}", last());
        assert_eq!((belamy_trainer_batch(trainer), belamy_trainer_elements(trainer)), (4, 64));
        let samples: Vec<f32> = (0..256).map(|i| (i as f32 * 0.1).sin().abs()).collect();
        let mut losses = [f32::NAN; 2];
        for labels in [[0u32, 1, 2, 0], [2, 1, 0, 1]] {
            let step = belamy_trainer_step(
                trainer,
                samples.as_ptr(),
                labels.as_ptr(),
                losses.as_mut_ptr(),
            );
            assert_eq!(step, Status::Ok, "{}", last());
        }
        assert!(losses.iter().all(|loss| loss.is_finite() && *loss > 0.0), "{losses:?}");
        let labels = [0u32, 1, 2, 3];
        let step = |samples: *const f32, labels: *const u32| {
            belamy_trainer_step(trainer, samples, labels, null_mut())
        };
        refused(step(samples.as_ptr(), labels.as_ptr()), Status::Argument, "label 3");
        refused(step(samples.as_ptr(), null()), Status::Argument, "labels is null");
        refused(step(null(), labels.as_ptr()), Status::Argument, "samples is null");
        let mut bad = samples.clone();
        bad[70] = f32::NAN;
        refused(step(bad.as_ptr(), labels.as_ptr()), Status::Argument, "sample 1");
        assert_eq!(belamy_trainer_save(trainer, run.as_ptr()), Status::Ok, "{}", last());
        refused(belamy_trainer_save(trainer, run.as_ptr()), Status::File, "not empty");
        belamy_trainer_free(trainer);
    }
    run
}

#[test]
fn what_is_asked_for_wrongly_is_refused() {
    let run = saved("refused");
    let mut generator = null_mut();
    let mut trainer = null_mut();
    // SAFETY: as above; null pointers are what is tested.
    unsafe {
        let mut open =
            |run: *const _, device: *const _| belamy_generator_open(run, device, &mut generator);
        refused(open(null(), null()), Status::Argument, "run is null");
        refused(open(c"\xff".as_ptr(), null()), Status::Argument, "UTF-8");
        refused(open(c"/nowhere".as_ptr(), null()), Status::File, "/nowhere");
        refused(open(run.as_ptr(), c"gpu".as_ptr()), Status::Argument, "gpu");
        refused(open(run.as_ptr(), c"cpu:x".as_ptr()), Status::Argument, "not a number");
        assert_eq!(open(run.as_ptr(), c"cpu".as_ptr()), Status::Ok, "{}", last());
        refused(
            belamy_generator_open(run.as_ptr(), null(), null_mut()),
            Status::Argument,
            "out is null",
        );
        assert_eq!(
            (belamy_generator_latent(generator), belamy_generator_classes(generator)),
            (5, 3)
        );
        assert_eq!(
            (belamy_generator_elements(generator), belamy_generator_elements(null())),
            (64, 0)
        );
        let mut out = [f32::NAN; 128];
        let mut draw = |labels: *const u32, count, room| {
            belamy_generator_sample(generator, 1, labels, count, out.as_mut_ptr(), room)
        };
        refused(draw(null(), 3, 128), Status::Argument, "room for 128");
        refused(draw(null(), usize::MAX, 128), Status::Argument, "room for 128");
        refused(draw([0u32, 3].as_ptr(), 2, 128), Status::Argument, "label 3");
        assert_eq!(draw(null(), 0, 0), Status::Ok);
        assert!(out.iter().all(|value| value.is_nan()), "something was written");
        let from = |noise: *const f32| {
            belamy_generator_sample_from(generator, noise, null(), 2, out.as_mut_ptr(), 128)
        };
        refused(
            {
                let mut from = from;
                from(null())
            },
            Status::Argument,
            "noise is null",
        );
        refused(
            belamy_generator_sample(null(), 1, null(), 0, null_mut(), 0),
            Status::Argument,
            "generator is null",
        );
        belamy_generator_free(generator);
        belamy_generator_free(null_mut());
        belamy_trainer_free(null_mut());
        let mut train = |recipe: *const _, settings: *const _| {
            belamy_trainer_open(recipe, settings, 1, null(), &mut trainer)
        };
        refused(train(c"sin".as_ptr(), null()), Status::Argument, "did you mean sine?");
        refused(
            train(c"sine".as_ptr(), c"bach=3".as_ptr()),
            Status::Argument,
            "did you mean batch?",
        );
        refused(train(c"pix2pix".as_ptr(), null()), Status::Argument, "images from images");
    }
}

#[test]
fn a_hundred_threads_at_once_draw_what_one_does() {
    let run = saved("threads");
    let mut generator = null_mut();
    // SAFETY: as above.
    let opened = unsafe { belamy_generator_open(run.as_ptr(), null(), &mut generator) };
    assert_eq!(opened, Status::Ok, "{}", last());
    let draw = |generator: usize, seed: u64| {
        let mut out = vec![f32::NAN; 7 * 64];
        // SAFETY: the handle is valid until it is freed below, and many threads may use it.
        let status = unsafe {
            belamy_generator_sample(
                generator as *const Generator,
                seed,
                null(),
                7,
                out.as_mut_ptr(),
                out.len(),
            )
        };
        assert_eq!(status, Status::Ok, "{}", last());
        out
    };
    let handle = generator as usize;
    let alone: Vec<Vec<f32>> = (0..100).map(|seed| draw(handle, seed)).collect();
    assert_ne!(alone[0], alone[1]);
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..100).map(|seed| scope.spawn(move || draw(handle, seed))).collect();
        for (thread, alone) in threads.into_iter().zip(&alone) {
            assert!(thread.join().unwrap() == *alone, "threads draw other samples");
        }
    });
    // SAFETY: nobody uses it any more.
    unsafe { belamy_generator_free(generator) };
}
