//! Compiled shaders on disk, where the driver can be handed them back: Vulkan's pipeline cache.
//!
//! A file holds what one driver made on one adapter of one version of the shaders, and says so by its name and again in
//! its first bytes, with a digest: one that is damaged, or that belongs to another adapter under this name, is not
//! looked at. It is only ever replaced whole.

use belamy_tensor::cache::{key, write_whole};
use std::path::{Path, PathBuf};

/// Bytes of the digest that a file begins with.
const DIGEST: usize = 32;

/// A device's compiled shaders, and where they are kept.
#[derive(Debug)]
pub(crate) struct Cache {
    cache: wgpu::PipelineCache,
    name: String,
    folder: PathBuf,
    /// Bytes that were found on disk.
    found: usize,
    /// Shaders compiled when this was last looked at, and when it was last saved.
    seen: u64,
    saved: u64,
}

impl Cache {
    /// What the device asks of the adapter to have a cache, if it can be had.
    pub(crate) fn feature(adapter: &wgpu::Adapter) -> wgpu::Features {
        adapter.features() & wgpu::Features::PIPELINE_CACHE
    }

    /// The cache of a device in a folder, which need not exist; none where the device was opened without.
    pub(crate) fn open(
        device: &wgpu::Device,
        info: &wgpu::AdapterInfo,
        folder: &Path,
    ) -> Option<Cache> {
        if !device.features().contains(wgpu::Features::PIPELINE_CACHE) {
            return None;
        }
        let numbers = format!("{:x} {:x} {}", info.vendor, info.device, info.backend);
        let mut texts = vec![
            &info.name,
            &info.driver,
            &info.driver_info,
            numbers.as_str(),
            env!("CARGO_PKG_VERSION"),
        ];
        texts.extend(belamy_shaders::SOURCES.iter().map(|(_, text)| *text));
        let name = key(&texts);
        let bytes = std::fs::read(folder.join(&name)).unwrap_or_default();
        let found = checked(&name, &bytes);
        let scope = device.push_error_scope(wgpu::ErrorFilter::Validation);
        let cache = create(device, found);
        // A driver that does not know its own file again.
        let refused = crate::adapter::ready(scope.pop()).is_some();
        let cache = if refused { create(device, None) } else { cache };
        let found = found.filter(|_| !refused).map_or(0, <[u8]>::len);
        Some(Cache { cache, name, folder: folder.to_path_buf(), found, seen: 0, saved: 0 })
    }

    /// For a pipeline that is about to be made.
    pub(crate) fn pipelines(&self) -> &wgpu::PipelineCache {
        &self.cache
    }

    /// Bytes that were found on disk.
    pub(crate) fn found(&self) -> usize {
        self.found
    }

    /// Saves the cache if there is more in it than before, and nothing was compiled since this was last asked: not
    /// while a program still meets new shaders at every turn. `compiled` counts the shaders.
    pub(crate) fn save_when_quiet(&mut self, compiled: u64) {
        if compiled == self.seen {
            self.save(compiled);
        }
        self.seen = compiled;
    }

    /// Saves the cache if there is more in it than before. That it cannot be saved is no error.
    pub(crate) fn save(&mut self, compiled: u64) {
        if compiled == self.saved {
            return;
        }
        self.saved = compiled;
        let Some(data) = self.cache.get_data() else { return };
        // What was found and no more.
        if data.len() == self.found {
            return;
        }
        let bytes = [key(&[self.name.as_bytes(), &data]).as_bytes(), &data].concat();
        let _ = std::fs::create_dir_all(&self.folder)
            .and_then(|()| write_whole(&self.folder.join(&self.name), &bytes));
    }
}

/// The data of a file of this name, if they are whole.
fn checked<'a>(name: &str, bytes: &'a [u8]) -> Option<&'a [u8]> {
    let (digest, data) = bytes.split_at_checked(DIGEST)?;
    (key(&[name.as_bytes(), data]).as_bytes() == digest).then_some(data)
}

fn create(device: &wgpu::Device, data: Option<&[u8]>) -> wgpu::PipelineCache {
    let descriptor = wgpu::PipelineCacheDescriptor { label: None, data, fallback: true };
    // SAFETY: the data are what a cache of the same adapter, driver and shaders returned, unchanged by its digest.
    unsafe { device.create_pipeline_cache(&descriptor) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_file_of_this_name_is_taken() {
        let digest = key(&["name", "data"]);
        let file = format!("{digest}data").into_bytes();
        assert_eq!(checked("name", &file), Some(&b"data"[..]));
        assert_eq!(checked("another", &file), None);
        for length in 0..file.len() {
            assert_eq!(checked("name", &file[..length]), None);
        }
        for bit in 0..8 * file.len() {
            let mut damaged = file.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(checked("name", &damaged), None);
        }
    }
}
