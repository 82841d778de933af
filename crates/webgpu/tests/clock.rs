//! The device's own clock.

mod common;

use belamy_tensor::{DType, Tensor};
use belamy_webgpu::Options;
use common::{open, say};
use std::time::Instant;

#[test]
fn the_devices_clock_tells_the_time_of_the_work_and_of_nothing_else() {
    let Some((device, _)) = open("the device's clock", Options::default()) else { return };
    let a = Tensor::full(0.5, [512, 512], DType::F32, &device).unwrap();
    // Compiled beforehand.
    a.matmul(&a).unwrap().to_vec::<f32>().unwrap();
    let mut seconds = [0.0; 2];
    let mut by_the_host = 0.0;
    for (place, times) in [4, 16].into_iter().enumerate() {
        let start = Instant::now();
        let found = device
            .backend()
            .device_seconds(&mut || (0..times).try_for_each(|_| a.matmul(&a).map(drop)));
        by_the_host = start.elapsed().as_secs_f64();
        let Some(found) = found.unwrap() else {
            return say("skipped: the device's clock (this adapter has none that can be read)");
        };
        seconds[place] = found;
    }
    assert!(
        seconds[1] > 0.3 * by_the_host && seconds[1] < 1.05 * by_the_host,
        "{seconds:?} {by_the_host}"
    );
    // The machine may be doing other things.
    assert!(seconds[1] > 1.5 * seconds[0], "{seconds:?}");
    // What the host does meanwhile is not counted.
    let idle = device.backend().device_seconds(&mut || {
        std::thread::sleep(std::time::Duration::from_millis(200));
        a.matmul(&a).map(drop)
    });
    let idle = idle.unwrap().unwrap();
    assert!(idle > 0.2, "the queue's two marks stand 200 ms apart: {idle}");
}
