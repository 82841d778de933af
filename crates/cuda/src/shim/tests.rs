//! The judge judged: kernels with the faults that the shim is there to see.

use super::*;
use crate::driver::Argument;

const FAULTY: &str = r#"
extern "C" __global__ void faulty_copy(unsigned len, const float* x, float* y)
{
    const unsigned at = global_thread();
    if (at < len) y[at] = x[at];
}

extern "C" __global__ void faulty_divergence(float* y)
{
    if (threadIdx.x < 7) return;
    __syncthreads();
    y[threadIdx.x] = 1.0f;
}

extern "C" __global__ void faulty_barriers(float* y)
{
    if (threadIdx.x < 32) __syncthreads();
    else
        __syncthreads();
    y[threadIdx.x] = 1.0f;
}

extern "C" __global__ void faulty_unwritten(float* y)
{
    __shared__ float row[64];
    if (threadIdx.x != 5) row[threadIdx.x] = 1.0f;
    __syncthreads();
    y[threadIdx.x] = row[63 - threadIdx.x];
}

// A missing barrier: what a thread finds depends on who came first.
extern "C" __global__ void faulty_race(float* y)
{
    __shared__ float row[64];
    row[threadIdx.x] = 1.0f;
    __syncthreads();
    row[threadIdx.x] = threadIdx.x == 0 ? 2.0f : row[threadIdx.x - 1];
    y[threadIdx.x] = row[threadIdx.x];
}

extern "C" __global__ void faulty_no_fault(float* y)
{
    float sum = block_sum(float(threadIdx.x));
    sum = __shfl_sync(0xffffffffu, sum, 0);
    const float neighbour = __shfl_xor_sync(0xffffffffu, float(threadIdx.x), 1);
    if (threadIdx.x < 32) y[threadIdx.x] = sum + neighbour;
}
"#;

fn host() -> Option<Host> {
    if !present() {
        return None;
    }
    let folder = std::env::temp_dir().join(format!("belamy-shim-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    Some(Host::new(&folder, &[], None))
}

fn faulty() -> &'static Source {
    let common = Source::of("concat").unwrap().parts[0];
    let parts: &'static [_] = vec![common, ("faulty.cu", FAULTY)].leak();
    Box::leak(Box::new(Source { family: "faulty", parts }))
}

fn launch(host: &Host, entry: &str, threads: u32, arguments: &[Argument]) -> Result<(), String> {
    let source = faulty();
    let loaded = host.load(source);
    host.run(&loaded, &Launch { source, entry, blocks: 1, threads, shared: 0, arguments })
}

fn floats(host: &Host, address: u64, count: usize) -> Vec<f32> {
    let mut bytes = vec![0; 4 * count];
    host.read(address, &mut bytes).unwrap();
    bytes.chunks(4).map(|word| f32::from_ne_bytes(word.try_into().unwrap())).collect()
}

#[test]
fn each_fault_is_seen() {
    // Tests that need a compiler are named, and required, in tests/shim.rs.
    let Some(host) = host() else { return };
    let run = |entry: &str, threads: u32, arguments: &[Argument]| {
        launch(&host, entry, threads, arguments)
    };
    let (x, y) = (host.alloc(4 * 64).unwrap(), host.alloc(4 * 64).unwrap());
    let pointer = Argument::Pointer;

    // What is written or read beyond the end.
    run("faulty_copy", 64, &[Argument::U32(64), pointer(x), pointer(y)]).unwrap();
    assert!(floats(&host, y, 64).iter().all(|y| y.is_nan()), "new memory is NaN");
    host.write(x, &[0; 4 * 64]).unwrap();
    let small = host.alloc(4 * 63).unwrap();
    run("faulty_copy", 64, &[Argument::U32(64), pointer(small), pointer(y)]).unwrap();
    assert!(floats(&host, y, 64)[63].is_nan(), "a read beyond the end is NaN");
    let message = run("faulty_copy", 64, &[Argument::U32(64), pointer(x), pointer(small)]);
    assert!(message.unwrap_err().contains("behind a buffer of 252 bytes"));
    host.free(small, 0);

    // What is given is not what is taken.
    let message = run("faulty_copy", 64, &[Argument::U32(64), pointer(x)]);
    assert!(message.unwrap_err().contains("takes 3 arguments and was given 2"));

    // Barriers that not all threads reach, or not the same one.
    let message = run("faulty_divergence", 64, &[pointer(y)]).unwrap_err();
    assert!(message.contains("7 of 64 threads have ended"), "{message}");
    let message = run("faulty_barriers", 64, &[pointer(y)]).unwrap_err();
    assert!(message.contains("different barriers"), "{message}");

    // Shared memory that nobody wrote.
    run("faulty_unwritten", 64, &[pointer(y)]).unwrap();
    let found = floats(&host, y, 64);
    assert!(found[58].is_nan() && found[57] == 1.0, "{found:?}");

    // A race: runs in one order and in the other differ.
    let mut runs = Vec::new();
    for _ in 0..16 {
        run("faulty_race", 64, &[pointer(y)]).unwrap();
        runs.push(floats(&host, y, 64));
    }
    assert!(runs.iter().any(|run| *run != runs[0]), "sixteen runs were the same");

    // And a kernel without a fault is right, after all of these.
    run("faulty_no_fault", 256, &[pointer(y)]).unwrap();
    let sum = (0..256).sum::<i32>() as f32;
    let wanted: Vec<f32> = (0..32).map(|lane| sum + (lane ^ 1) as f32).collect();
    assert_eq!(floats(&host, y, 32), wanted);
}
