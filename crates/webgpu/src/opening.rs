//! How an adapter becomes a device: which features and limits it is asked for.

use crate::adapter::{self, ready};
use crate::cache::Cache;
use crate::memory::Pool;
use crate::pipelines::Pipelines;
use crate::recorder::Recorder;
use crate::textures::Textures;
use crate::timestamps::Timestamps;
use crate::{Counters, Faults, Precision, Products, State, WebGpu, kernels};
use belamy_tensor::{Device, DeviceId, Error, ErrorKind, Result};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

/// How a device is opened. [`Default`] is what programs want.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Which adapter, counting as [`adapter::adapters`] does.
    pub index: u32,
    /// Whether every access of a shader is checked, as a browser would: for tests and for distrust. Without it the
    /// shaders run as they are written.
    pub checked: bool,
    /// Whether every new buffer is filled with NaN and stands between NaNs, looked after at each launch: for tests.
    pub canaries: bool,
    /// Whether the adapter is taken for one that grants no more than WebGPU's default limits, so that those kernels run
    /// which any adapter can: for tests and for comparisons.
    pub portable: bool,
    /// Groups along an axis at most, where that is to be less than WebGPU's 65,535: for tests, so that small cases are
    /// folded over two axes as large ones are.
    pub most_groups: Option<u32>,
    /// Bytes that all buffers may take together, where that is to be less than the adapter has.
    pub memory: Option<u64>,
    /// How products are computed, where that is not to follow from the adapter and from their shapes: for tests and for
    /// comparisons. Opening fails where the adapter lacks what it needs.
    pub products: Option<Products>,
    /// What the operands of products are rounded to. Opening fails where the adapter lacks what that needs.
    pub precision: Precision,
}

/// Opens an adapter as a device. Fails, saying what to do, when there is none of that number.
pub fn open(options: Options) -> Result<Device> {
    Ok(Device::new(WebGpu::open(options)?))
}

impl WebGpu {
    /// As [`open`], for those who want the [`Counters`] too. Compiled shaders are kept in the user's cache folder, as
    /// [`belamy_tensor::cache`] has it; a device that is opened for tests neither reads nor writes there.
    pub fn open(options: Options) -> Result<WebGpu> {
        let for_tests = options.checked || options.canaries;
        let folder = if for_tests { None } else { belamy_tensor::cache::folder("pipelines") };
        WebGpu::open_with_cache(options, folder.as_deref())
    }

    /// As [`WebGpu::open`], with compiled shaders kept in this folder, or not at all.
    pub fn open_with_cache(options: Options, folder: Option<&Path>) -> Result<WebGpu> {
        let id = DeviceId { name: "webgpu", index: options.index };
        let refuse = |message| Error::new(ErrorKind::Device { device: id, message });
        let adapter = adapter::choose(options.index).map_err(refuse)?;
        let (limits, precision) = (adapter.limits(), options.precision);
        let name = adapter.get_info().name;
        if let Some(message) = precision.lacking(&name, adapter.features()) {
            return Err(refuse(message));
        }
        let products = match options.products {
            Some(products) if !products.computes_in(precision) => {
                let other = if precision == Precision::F32 { "f16" } else { "f32" };
                return Err(refuse(format!("{products:?} products are computed in {other} alone")));
            }
            Some(products) if products.can_run_on(&adapter) => products,
            Some(products) => {
                return Err(refuse(format!("{name} lacks what {products:?} products need")));
            }
            None => Products::best_on(&adapter, precision),
        };
        let wide_limits = wgpu::Limits {
            max_storage_buffers_per_shader_stage: kernels::WIDE,
            // And the parameters.
            max_buffers_and_acceleration_structures_per_shader_stage: kernels::WIDE + 1,
            ..products.limits()
        };
        let wide = !options.portable && wide_limits.check_limits(&limits);
        // The default limits are what the shaders are written for, but for the wide ones; sizes of memory follow the
        // adapter.
        let required_limits = wgpu::Limits {
            max_buffer_size: limits.max_buffer_size,
            max_storage_buffer_binding_size: limits.max_storage_buffer_binding_size,
            ..match wide {
                true => wide_limits,
                false => products.limits(),
            }
        };
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("belamy"),
            required_features: products.features()
                | precision.features()
                | Cache::feature(&adapter)
                | Timestamps::features(&adapter),
            required_limits,
            experimental_features: products.experiments(),
            memory_hints: wgpu::MemoryHints::Performance,
            ..Default::default()
        };
        let (device, queue) = ready(adapter.request_device(&descriptor))
            .map_err(|error| refuse(format!("{name}: {error}")))?;
        let faults = Arc::new(Faults::default());
        let seen = Arc::clone(&faults);
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| seen.set(error.to_string())));
        let seen = Arc::clone(&faults);
        device.set_device_lost_callback(move |reason, message| {
            // Dropping the last handle is told here too, but then there is nobody left to ask.
            let message = if message.is_empty() { format!("{reason:?}") } else { message };
            seen.set(format!("the device was lost: {message}"));
        });
        let cache = folder.and_then(|folder| Cache::open(&device, &adapter.get_info(), folder));
        let pipelines = Pipelines::new(options.checked, cache);
        let recorder = Recorder::new(&device);
        let largest = limits.max_storage_buffer_binding_size.min(limits.max_buffer_size);
        let most_groups = options.most_groups.unwrap_or(kernels::MOST_GROUPS);
        let most_groups = most_groups.clamp(1, kernels::MOST_GROUPS);
        let pool = Pool::new(options.canaries, options.memory.unwrap_or(u64::MAX));
        let state = Mutex::new(State {
            pipelines,
            textures: Textures::default(),
            recorder,
            counters: Counters::default(),
            dispatches: BTreeMap::new(),
        });
        let timestamps = Timestamps::new(&device, &queue);
        Ok(WebGpu {
            id,
            device,
            queue,
            largest,
            most_groups,
            wide,
            products,
            by_shape: options.products.is_none(),
            precision,
            blocks: products.blocks(&adapter),
            foreign: None,
            timestamps,
            pool,
            state,
            faults,
        })
    }
}
