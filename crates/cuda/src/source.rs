//! The kernels' source texts, by family.
//!
//! A family's text is `common.cu`, what else it shares with others (`tile.cu`, `philox.cu`, `lists.cu`), and its own file, one after the other: what others would include.

/// The kernels of one family, as one translation unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source {
    /// The file's stem, as in `for_each_kernel!`.
    pub family: &'static str,
    /// The texts that make it, each with its file's name.
    pub parts: &'static [(&'static str, &'static str)],
}

macro_rules! text {
    ($file:literal) => {
        ($file, include_str!(concat!("../../../kernels/", $file)))
    };
}

macro_rules! sources {
    ($($family:literal: [$($file:literal),*];)*) => {
        /// Every family.
        pub const SOURCES: &[Source] =
            &[$(Source { family: $family, parts: &[$(text!($file)),*] },)*];
    };
}

sources! {
    "pointwise": ["common.cu", "pointwise.cu"];
    "reduce": ["common.cu", "reduce.cu"];
    "view": ["common.cu", "view.cu"];
    "matmul": ["common.cu", "tile.cu", "tensor_tile.cu", "matmul.cu"];
    "conv2d": ["common.cu", "tile.cu", "tensor_tile.cu", "warpgroup_tile.cu", "conv2d.cu"];
    "pool2d": ["common.cu", "pool2d.cu"];
    "resize": ["common.cu", "resize.cu"];
    "pad": ["common.cu", "pad.cu"];
    "concat": ["common.cu", "concat.cu"];
    "gather": ["common.cu", "gather.cu"];
    "norm": ["common.cu", "norm.cu"];
    "loss": ["common.cu", "loss.cu"];
    "dropout": ["common.cu", "philox.cu", "dropout.cu"];
    "random": ["common.cu", "philox.cu", "random.cu"];
    "finite": ["common.cu", "lists.cu", "finite.cu"];
    "optimizer": ["common.cu", "lists.cu", "optimizer.cu"];
}

/// The family of a kernel that is not of this house.
pub const FOREIGN: &str = "foreign";

impl Source {
    /// A text of somebody else's as a family of its own. It lives as long as the process.
    pub fn foreign(file: &str, text: &str) -> &'static Source {
        let part = (&*file.to_owned().leak(), &*text.to_owned().leak());
        Box::leak(Box::new(Source { family: FOREIGN, parts: vec![part].leak() }))
    }

    /// The family of this name.
    pub fn of(family: &str) -> Option<&'static Source> {
        SOURCES.iter().find(|source| source.family == family)
    }

    /// The whole text. Lines are numbered as in the files, so that a compiler's messages name them.
    pub fn text(&self) -> String {
        let part = |(file, text): &(&str, &str)| format!("#line 1 \"{file}\"\n{text}\n");
        self.parts.iter().map(part).collect()
    }

    /// The names of its entry points, in order.
    pub fn entries(&self) -> Vec<&'static str> {
        let mut entries = Vec::new();
        for (_, text) in self.parts {
            for (at, mark) in text.match_indices("__global__ void") {
                let rest = &text[at + mark.len()..];
                // Between the two may stand the bounds of a block's size.
                let rest = match rest.trim_start().strip_prefix("__launch_bounds__(") {
                    Some(bounded) => bounded.split_once(')').map_or("", |(_, rest)| rest),
                    None => rest,
                };
                let rest = rest.trim_start();
                let end = rest.find(|c: char| c != '_' && !c.is_ascii_alphanumeric());
                entries.push(&rest[..end.unwrap_or(rest.len())]);
            }
        }
        entries
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use belamy_tensor::kernel::KernelId;

    #[test]
    fn every_kernel_has_entry_points_in_its_familys_file() {
        for &kernel in KernelId::ALL {
            let source = Source::of(kernel.family()).expect("each family has a source");
            let own = format!("{}_", kernel.name());
            let found = source
                .entries()
                .iter()
                .any(|entry| *entry == kernel.name() || entry.starts_with(&own));
            assert!(found, "{} is not among {:?}", kernel.name(), source.entries());
        }
    }

    #[test]
    fn every_entry_point_belongs_to_a_kernel() {
        for source in SOURCES {
            for entry in source.entries() {
                let owner = KernelId::ALL.iter().any(|kernel| {
                    entry == kernel.name() || entry.starts_with(&format!("{}_", kernel.name()))
                });
                assert!(owner, "{entry} of {} serves no kernel of the list", source.family);
            }
        }
    }

    #[test]
    fn kernels_include_nothing_and_have_no_atomics() {
        for source in SOURCES {
            for (file, text) in source.parts {
                assert!(!text.contains("#include"), "{file} must not need headers");
                assert!(!text.contains("atomic"), "{file} must be deterministic");
            }
        }
    }
}
