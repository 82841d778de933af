//! What the tests on an adapter share: opening it, or saying by name that there is none.

#[allow(dead_code, reason = "each test program uses a part")]
pub(crate) mod products;

use belamy_tensor::Device;
use belamy_webgpu::{Options, WebGpu};
use std::collections::BTreeSet;
use std::fmt::Display;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

/// A line that is seen though the test passes.
#[allow(dead_code, reason = "each test program uses a part")]
pub(crate) fn say(line: impl Display) {
    // Straight to the stream: the test harness hides what passing tests print.
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

/// The device of a test, and a second handle to look at its counters. Nothing where this machine has no adapter, and
/// what is not tested then is said by name; `BELAMY_REQUIRE=webgpu` makes that fail.
///
/// Tests leave the user's cache alone.
#[allow(dead_code, reason = "each test program uses a part")]
pub(crate) fn open(tested: &str, options: Options) -> Option<(Device, Arc<WebGpu>)> {
    match WebGpu::open_with_cache(options, None) {
        Ok(gpu) => {
            let gpu = Arc::new(gpu);
            Some((Device::new(Arc::clone(&gpu)), gpu))
        }
        Err(error) => {
            let required = std::env::var("BELAMY_REQUIRE").unwrap_or_default();
            assert!(!required.split(',').any(|name| name.trim() == "webgpu"), "{error}");
            // Once each, whatever the number of devices that a test opens.
            static SAID: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
            let line = format!("skipped: {tested} on webgpu: {error}");
            if SAID.lock().unwrap_or_else(PoisonError::into_inner).insert(line.clone()) {
                say(line);
            }
            None
        }
    }
}
