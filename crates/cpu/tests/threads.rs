//! The threads that kernels run on: made once in a process, so this file has one test.

use belamy_tensor::ops::matmul::matmul;
use belamy_tensor::{Device, Shape, Tensor};

#[test]
fn the_thread_that_starts_them_is_one_of_them() {
    belamy_cpu::start_threads(2, true).unwrap();
    assert_eq!((rayon::current_thread_index(), rayon::current_num_threads()), (Some(0), 2));
    let why = belamy_cpu::start_threads(3, false).unwrap_err().to_string();
    assert!(why.contains("its threads"), "{why}");
    let product = |device: &Device| {
        let numbers = |seed: usize| -> Vec<f32> {
            (0..160 * 160).map(|at| ((at * seed) % 31) as f32 - 15.0).collect()
        };
        let shape = Shape::new(&[1, 160, 160]).unwrap();
        let [a, b] = [7, 11].map(|seed| Tensor::from_slice(&numbers(seed), shape, device).unwrap());
        matmul(&a, &b, false, true).unwrap().to_vec::<f32>().unwrap()
    };
    // Whole numbers below 2²⁴ have one sum in any order; another thread hands its work over.
    let want = product(&belamy_cpu::oracle());
    assert_eq!(product(&belamy_cpu::cpu()), want);
    let other = std::thread::spawn(move || product(&belamy_cpu::cpu()));
    assert_eq!(other.join().unwrap(), want);
}
