//! In which of several ways products are computed: one place for the rule.

/// How matrix products and convolutions are computed. All give the same numbers but for rounding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Products {
    /// Tiles of 64 x 64 through workgroup memory, within WebGPU's default limits: for every adapter.
    Portable,
    /// Tiles of 32 x 32 to a subgroup of eight, read through textures and shared by broadcast, without workgroup memory:
    /// for software adapters with vectors of eight.
    Software,
}

impl Products {
    /// Every way, the most particular first.
    pub const ALL: [Products; 2] = [Products::Software, Products::Portable];

    /// What a device must be opened with.
    pub(crate) fn features(self) -> wgpu::Features {
        match self {
            Products::Portable => wgpu::Features::empty(),
            Products::Software => wgpu::Features::SUBGROUP,
        }
    }

    /// The limits that a device must be opened with.
    pub(crate) fn limits(self) -> wgpu::Limits {
        wgpu::Limits::default()
    }

    /// Whether the shaders mean the same on this adapter.
    pub(crate) fn can_run_on(self, adapter: &wgpu::Adapter) -> bool {
        let info = adapter.get_info();
        let of_eight = (info.subgroup_min_size, info.subgroup_max_size) == (8, 8);
        adapter.features().contains(self.features())
            && self.limits().check_limits(&adapter.limits())
            && (self != Products::Software || of_eight)
    }

    /// The way to go on this adapter: `Software` on software adapters that can, else `Portable`.
    pub(crate) fn best_on(adapter: &wgpu::Adapter) -> Products {
        let software = adapter.get_info().device_type == wgpu::DeviceType::Cpu;
        match software && Products::Software.can_run_on(adapter) {
            true => Products::Software,
            false => Products::Portable,
        }
    }
}
