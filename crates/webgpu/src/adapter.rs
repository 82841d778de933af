//! Which adapters this machine has.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

/// What is known of an adapter before it is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adapter {
    /// Its number, as in `webgpu:1`.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// `discrete GPU`, `integrated GPU`, `virtual GPU`, `software` or `other`.
    pub kind: &'static str,
    /// The driver, with its version.
    pub driver: String,
    /// The interface that it is reached through: `vulkan` or `metal`.
    pub interface: String,
}

/// Every adapter, the fastest kinds first; their places are the numbers of devices.
///
/// Empty where there is no driver. A software adapter is enough to run everything: on Debian and Ubuntu it comes with
/// the package `mesa-vulkan-drivers`.
pub fn adapters() -> Vec<Adapter> {
    found()
        .iter()
        .enumerate()
        .map(|(index, adapter)| {
            let info = adapter.get_info();
            Adapter {
                index: index as u32,
                name: info.name,
                kind: kind(info.device_type).1,
                driver: format!("{} {}", info.driver, info.driver_info).trim().to_string(),
                interface: info.backend.to_string(),
            }
        })
        .collect()
}

/// The adapter of a number, or how to come by one.
pub(crate) fn choose(index: u32) -> Result<wgpu::Adapter, String> {
    let mut found = found();
    match found.len() {
        0 => Err("there is no adapter: a GPU's Vulkan driver provides one, and so does the software driver of the \
                  Debian package mesa-vulkan-drivers"
            .to_string()),
        count if index as usize >= count => {
            Err(format!("there are {count} adapters, counted from 0: see `belamy devices`"))
        }
        _ => Ok(found.swap_remove(index as usize)),
    }
}

/// A rank to sort adapters by, and what people call the kind.
fn kind(kind: wgpu::DeviceType) -> (u8, &'static str) {
    match kind {
        wgpu::DeviceType::DiscreteGpu => (0, "discrete GPU"),
        wgpu::DeviceType::IntegratedGpu => (1, "integrated GPU"),
        wgpu::DeviceType::VirtualGpu => (2, "virtual GPU"),
        wgpu::DeviceType::Other => (3, "other"),
        wgpu::DeviceType::Cpu => (4, "software"),
    }
}

fn found() -> Vec<wgpu::Adapter> {
    let backends = wgpu::Backends::VULKAN | wgpu::Backends::METAL;
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = backends;
    // The driver's validation layers are for those who write wgpu; it validates calls itself.
    descriptor.flags = wgpu::InstanceFlags::empty();
    let mut found = ready(wgpu::Instance::new(descriptor).enumerate_adapters(backends));
    found.retain(|adapter| {
        let shaders = adapter.get_downlevel_capabilities().flags;
        shaders.contains(wgpu::DownlevelFlags::COMPUTE_SHADERS)
    });
    found.sort_by_key(|adapter| kind(adapter.get_info().device_type).0);
    found
}

/// The result of a future that is ready at once, as wgpu's are outside of a browser.
pub(crate) fn ready<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => unreachable!("native wgpu answers without waiting"),
    }
}
