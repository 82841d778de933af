//! Every shader as text, without a device: that it is valid WGSL within WebGPU's default limits, and that it means by
//! bindings, parameters and shared functions what Rust and the other shaders mean.

use belamy_shaders::{SOURCES, SPECIALISED, VARIANTS};
use belamy_tensor::kernel::{KernelId, Layout};
use naga::valid::{Capabilities, FunctionInfo, ModuleInfo, ValidationFlags, Validator};
use naga::{
    AddressSpace, ArraySize, EntryPoint, GlobalVariable, Handle, ImageClass, Module, Scalar,
    ScalarKind, StorageAccess, StructMember, TypeInner, VectorSize,
};
use std::collections::{BTreeMap, BTreeSet};

/// Workgroup memory, invocations and storage buffers of a kernel at most.
const MOST_WORKGROUP_BYTES: u32 = 16 << 10;
const MOST_INVOCATIONS: u32 = 256;
const MOST_STORAGE_BUFFERS: usize = 8;
/// Storage buffers of a wide entry point at most.
const MOST_WIDE_STORAGE_BUFFERS: usize = 28;

/// Whether an entry point is one that only runs where an adapter grants more than the default limit of storage buffers.
fn is_wide(entry: &str) -> bool {
    entry.ends_with("_wide")
}

struct Shader {
    family: &'static str,
    source: &'static str,
    module: Module,
    info: ModuleInfo,
}

impl Shader {
    fn parse(family: &'static str, source: &'static str) -> Result<Shader, String> {
        let module = naga::front::wgsl::parse_str(source)
            .map_err(|error| format!("{family}.wgsl:\n{}", error.emit_to_string(source)))?;
        // No capability but a variant's: WebGPU's default features alone.
        let (family, capabilities) = match family.split_once('.') {
            Some((family, "software")) => (family, Capabilities::SUBGROUP),
            Some((family, "large")) => (family, Capabilities::empty()),
            Some((family, "f16" | "large.f16")) => (family, Capabilities::SHADER_FLOAT16),
            Some((family, "cooperative")) => (
                family,
                Capabilities::COOPERATIVE_MATRIX
                    | Capabilities::SUBGROUP
                    | Capabilities::SHADER_FLOAT16,
            ),
            _ => (family, Capabilities::empty()),
        };
        let info = Validator::new(ValidationFlags::all(), capabilities)
            .subgroup_stages(naga::valid::ShaderStages::COMPUTE)
            .subgroup_operations(naga::valid::SubgroupOperationSet::all())
            .validate(&module)
            .map_err(|error| format!("{family}.wgsl:\n{}", error.emit_to_string(source)))?;
        Ok(Shader { family, source, module, info })
    }

    /// Each entry point, with what it and the functions that it calls use.
    fn entries(&self) -> impl Iterator<Item = (&EntryPoint, &FunctionInfo)> {
        let points = self.module.entry_points.iter().enumerate();
        points.map(|(index, point)| (point, self.info.get_entry_point(index)))
    }

    /// The variables that an entry point uses.
    fn used<'a>(&'a self, info: &'a FunctionInfo) -> impl Iterator<Item = &'a GlobalVariable> {
        let variables = self.module.global_variables.iter();
        variables.filter(|(handle, _)| !info[*handle].is_empty()).map(|(_, variable)| variable)
    }

    fn inner(&self, handle: Handle<naga::Type>) -> &TypeInner {
        &self.module.types[handle].inner
    }
}

/// Every family's text, and every variant's; also of those that are made from a family's.
fn texts() -> impl Iterator<Item = (&'static str, &'static str)> {
    let names = SOURCES.iter().chain(VARIANTS).map(|(name, _)| *name);
    names.chain(SPECIALISED.iter().map(|special| special.name)).map(|name| {
        let text = belamy_shaders::source(name).expect("it is listed");
        (name, &*text.into_owned().leak())
    })
}

/// Every shader that is valid WGSL; that all are is a test of its own.
fn shaders() -> Vec<Shader> {
    texts().filter_map(|(family, source)| Shader::parse(family, source).ok()).collect()
}

/// Collects what is wrong, so that one run shows all of it.
fn report(complaints: Vec<String>) {
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

/// The entry point of a kernel: its name, or with `_` behind it where WGSL has a function of that name.
fn is_entry_of(entry: &str, kernel: KernelId) -> bool {
    entry.strip_suffix('_').unwrap_or(entry) == kernel.name()
}

/// The kernel that an entry point belongs to: that of its name, or, for a pass, the longest name that it begins with.
fn kernel_of(family: &str, entry: &str) -> Option<KernelId> {
    let mut kernels: Vec<KernelId> = KernelId::ALL.to_vec();
    kernels.retain(|kernel| kernel.family() == family);
    let named = kernels.iter().copied().find(|&kernel| is_entry_of(entry, kernel));
    named.or_else(|| {
        kernels.retain(|kernel| {
            entry.strip_prefix(kernel.name()).is_some_and(|rest| rest.starts_with('_'))
        });
        kernels.into_iter().max_by_key(|kernel| kernel.name().len())
    })
}

#[test]
fn every_shader_is_valid() {
    let parsed = texts().map(|(family, source)| Shader::parse(family, source));
    report(parsed.filter_map(Result::err).collect());
}

#[test]
fn every_kernel_has_its_entry_point() {
    let shaders = shaders();
    let mut complaints = Vec::new();
    for &kernel in KernelId::ALL {
        let (family, name) = (kernel.family(), kernel.name());
        let found = shaders.iter().filter(|shader| shader.family == family).any(|shader| {
            shader.module.entry_points.iter().any(|entry| is_entry_of(&entry.name, kernel))
        });
        if !found {
            complaints.push(format!("{family}.wgsl has no entry point {name}"));
        }
    }
    for shader in &shaders {
        for entry in &shader.module.entry_points {
            if kernel_of(shader.family, &entry.name).is_none() {
                let Shader { family, .. } = shader;
                complaints.push(format!("{family}.wgsl: {} is the pass of no kernel", entry.name));
            }
        }
    }
    report(complaints);
}

/// What an entry point asks for beyond the limits.
fn beyond_limits(shader: &Shader) -> Vec<String> {
    let mut complaints = Vec::new();
    for (entry, info) in shader.entries() {
        let place = format!("{}.wgsl: {}", shader.family, entry.name);
        let invocations: u32 = entry.workgroup_size.iter().product();
        if !(1..=MOST_INVOCATIONS).contains(&invocations) {
            complaints.push(format!("{place} has {invocations} invocations in a group"));
        }
        let (mut bytes, mut buffers) = (0, 0);
        for variable in shader.used(info) {
            match variable.space {
                AddressSpace::WorkGroup => {
                    let size = shader.inner(variable.ty).size(shader.module.to_ctx());
                    // As WebGPU counts: each variable begins at a multiple of 16.
                    bytes += size.next_multiple_of(16);
                }
                AddressSpace::Storage { .. } => buffers += 1,
                _ => {}
            }
        }
        if bytes > MOST_WORKGROUP_BYTES {
            complaints.push(format!("{place} uses {bytes} bytes of workgroup memory"));
        }
        let most = match is_wide(&entry.name) {
            true => MOST_WIDE_STORAGE_BUFFERS,
            false => MOST_STORAGE_BUFFERS,
        };
        if buffers > most {
            complaints.push(format!("{place} uses {buffers} storage buffers"));
        }
    }
    complaints
}

#[test]
fn no_kernel_exceeds_the_default_limits() {
    report(shaders().iter().flat_map(beyond_limits).collect());
}

/// Entry points that only some adapters can run, without one beside them that does the same for one tensor.
fn without_twin(shader: &Shader) -> Vec<String> {
    let names: Vec<&str> =
        shader.module.entry_points.iter().map(|entry| entry.name.as_str()).collect();
    let has_twin = |entry: &str| {
        let one = entry.trim_end_matches("_wide");
        names.iter().any(|name| *name == one || name.strip_prefix(one) == Some("_part"))
    };
    let wide = names.iter().filter(|entry| is_wide(entry) && !has_twin(entry));
    wide.map(|entry| format!("{}.wgsl: {entry} has no portable twin", shader.family)).collect()
}

#[test]
fn whatever_is_wide_has_a_portable_twin() {
    report(shaders().iter().flat_map(without_twin).collect());
}

/// Variables bound where the backend does not bind such a thing, or used by nothing. (That no entry point uses two at
/// one binding is part of being valid.)
fn wrong_bindings(shader: &Shader) -> Vec<String> {
    let family = shader.family;
    let mut complaints = Vec::new();
    let mut used = BTreeSet::new();
    for (entry, info) in shader.entries() {
        let [outputs, parameters] = if is_wide(&entry.name) { [32, 48] } else { [8, 16] };
        for variable in shader.used(info) {
            let Some(binding) = &variable.binding else { continue };
            let name = variable.name.as_deref().unwrap_or_default();
            used.insert(name);
            let number = binding.binding;
            let right = match variable.space {
                AddressSpace::Storage { access } if access == StorageAccess::LOAD => {
                    number < outputs
                }
                AddressSpace::Storage { access } => {
                    access == StorageAccess::LOAD | StorageAccess::STORE
                        && (outputs..parameters).contains(&number)
                }
                AddressSpace::Uniform => number == parameters,
                // A variant may read an input through a texture.
                AddressSpace::Handle => {
                    let class = ImageClass::Sampled { kind: ScalarKind::Float, multi: false };
                    let inner = shader.inner(variable.ty);
                    number < outputs
                        && matches!(inner, TypeInner::Image { class: found, .. } if *found == class)
                }
                _ => false,
            };
            if binding.group != 0 || !right {
                let (entry, group, space) = (&entry.name, binding.group, variable.space);
                complaints.push(format!(
                    "{family}.wgsl: {entry} has {name} at {group}, {number} as {space:?}"
                ));
            }
        }
    }
    for (_, variable) in shader.module.global_variables.iter() {
        let name = variable.name.as_deref().unwrap_or_default();
        if variable.binding.is_some() && !used.contains(name) {
            complaints.push(format!("{family}.wgsl: nothing uses {name}"));
        }
    }
    complaints
}

#[test]
fn bindings_are_where_the_backend_puts_them() {
    report(shaders().iter().flat_map(wrong_bindings).collect());
}

/// A member as it must be: its name, where it begins in bytes, and its type.
type Wanted = (String, u32, &'static str);

/// A parameter struct's members where `uniforms.rs` puts them, counted from the struct's beginning, which is a multiple
/// of 16 bytes in the block.
fn wanted_members(layout: &Layout) -> Vec<Wanted> {
    let mut at = 0;
    let mut members = Vec::new();
    for &(name, words) in layout.integers {
        let (alignment, size, kind) = match words {
            1 => (4, 4, "u32"),
            2 => (8, 8, "vec2<u32>"),
            6 => (16, 32, "array<vec4<u32>, 2>"),
            _ => unreachable!("{name}: {words} words are the backend's to lay out first"),
        };
        at = u32::next_multiple_of(at, alignment);
        members.push((name.to_string(), at, kind));
        at += size;
    }
    for &name in layout.scalars {
        members.push((name.to_string(), at, "f32"));
        at += 4;
    }
    members
}

/// The types that uniform blocks are made of, as WGSL writes them.
fn type_name(shader: &Shader, inner: &TypeInner) -> &'static str {
    const U32: Scalar = Scalar { kind: ScalarKind::Uint, width: 4 };
    const F32: Scalar = Scalar { kind: ScalarKind::Float, width: 4 };
    match *inner {
        TypeInner::Scalar(U32) => "u32",
        TypeInner::Scalar(F32) => "f32",
        TypeInner::Vector { size: VectorSize::Bi, scalar: U32 } => "vec2<u32>",
        TypeInner::Array { base, size: ArraySize::Constant(length), stride: 16 } => {
            let four = TypeInner::Vector { size: VectorSize::Quad, scalar: U32 };
            match *shader.inner(base) == four && length.get() == 2 {
                true => "array<vec4<u32>, 2>",
                false => "another array",
            }
        }
        _ => "another type",
    }
}

fn members(shader: &Shader, members: &[StructMember]) -> Vec<Wanted> {
    let member = |member: &StructMember| {
        let name = member.name.clone().unwrap_or_default();
        (name, member.offset, type_name(shader, shader.inner(member.ty)))
    };
    members.iter().map(member).collect()
}

/// What is wrong with the block that an entry point of `kernel` reads its parameters from.
fn wrong_block(
    shader: &Shader,
    block: &GlobalVariable,
    kernel: KernelId,
    wide: bool,
) -> Option<String> {
    let layout = kernel.layout();
    let TypeInner::Struct { members: fields, .. } = shader.inner(block.ty) else {
        return Some("is no struct".to_string());
    };
    let mut fields = fields.as_slice();
    if wide {
        let Some((sizes, rest)) = fields.split_last() else { return Some("is empty".to_string()) };
        fields = rest;
        let size = wanted_members(layout).last().map_or(0, |(_, at, _)| at + 4);
        let at = 16 + size.next_multiple_of(16);
        let words = shader.inner(sizes.ty).size(shader.module.to_ctx());
        if sizes.name.as_deref() != Some("sizes") || sizes.offset != at || words + at > 256 {
            return Some(format!(
                "ends with {:?} at {}, not sizes at {at}",
                sizes.name, sizes.offset
            ));
        }
    }
    let Some((params, head)) = fields.split_last() else { return Some("is empty".to_string()) };
    let words = ["elements", "pass_0", "pass_1", "pass_2"];
    let wanted: Vec<Wanted> =
        words.iter().zip(0..).map(|(name, place)| (name.to_string(), 4 * place, "u32")).collect();
    let found = members(shader, head);
    if found != wanted {
        return Some(format!("begins with {found:?} instead of {wanted:?}"));
    }
    if params.name.as_deref() != Some("params") || params.offset != 16 {
        return Some(format!("ends with {:?} at {}, not params at 16", params.name, params.offset));
    }
    let params = &shader.module.types[params.ty];
    if params.name.as_deref() != Some(layout.name) {
        return Some(format!("has params of {:?} instead of {}", params.name, layout.name));
    }
    let TypeInner::Struct { members: fields, .. } = &params.inner else {
        return Some("has params that are no struct".to_string());
    };
    let (found, wanted) = (members(shader, fields), wanted_members(layout));
    (found != wanted).then(|| format!("has {} = {found:?} instead of {wanted:?}", layout.name))
}

/// Entry points whose parameters are not the ones that Rust packs.
fn wrong_parameters(shader: &Shader) -> Vec<String> {
    let mut complaints = Vec::new();
    for (entry, info) in shader.entries() {
        let Some(kernel) = kernel_of(shader.family, &entry.name) else { continue };
        for block in shader.used(info).filter(|variable| variable.space == AddressSpace::Uniform) {
            if let Some(wrong) = wrong_block(shader, block, kernel, is_wide(&entry.name)) {
                complaints.push(format!("{}.wgsl: {}'s block {wrong}", shader.family, entry.name));
            }
        }
    }
    complaints
}

#[test]
fn parameters_are_the_structs_of_rust() {
    report(shaders().iter().flat_map(wrong_parameters).collect());
}

#[test]
fn faults_are_found() {
    const SOUND: &str = "
        struct RowsParams { rows: u32, columns: u32 }
        struct Run { elements: u32, pass_0: u32, pass_1: u32, pass_2: u32, params: RowsParams }
        var<workgroup> shared_memory: array<vec4<f32>, 1024>;
        @group(0) @binding(0) var<storage, read> x: array<f32>;
        @group(0) @binding(1) var<storage, read> index: array<u32>;
        @group(0) @binding(8) var<storage, read_write> y: array<f32>;
        @group(0) @binding(16) var<uniform> run: Run;
        fn place_of() -> u32 { return run.params.rows; }
        @compute @workgroup_size(256)
        fn pick() { y[place_of()] = x[index[0]] + shared_memory[0].x; }
    ";
    let found = |old: &str, new: &str| {
        let source = SOUND.replacen(old, new, 1);
        let shader = Shader::parse("reduce", source.leak()).unwrap();
        let checks = [beyond_limits, wrong_bindings, wrong_parameters];
        checks.map(|check| !check(&shader).is_empty())
    };
    let (limits, bindings, parameters) =
        ([true, false, false], [false, true, false], [false, false, true]);
    assert_eq!(found("", ""), [false; 3]);
    assert_eq!(found("size(256)", "size(16, 17)"), limits);
    assert_eq!(found("1024>", "1025>"), limits);
    assert_eq!(found("binding(1)", "binding(9)"), bindings);
    assert_eq!(found("binding(8)", "binding(7)"), bindings);
    assert_eq!(found("group(0) @binding(8)", "group(1) @binding(8)"), bindings);
    assert_eq!(found("rows: u32, columns: u32", "columns: u32, rows: u32"), parameters);
    assert_eq!(found("rows: u32, columns: u32", "rows: u32"), parameters);
    assert_eq!(found("columns: u32", "columns: f32"), parameters);
    assert_eq!(found("columns: u32", "@align(16) columns: u32"), parameters);
    assert_eq!(found("pass_0", "pass_9"), parameters);
    assert_eq!(found("struct RowsParams", "alias RowsParams = Other; struct Other"), parameters);
    // A wide entry point binds elsewhere, and has a twin.
    let shader = |source: &'static str| Shader::parse("reduce", source).unwrap();
    let wide = SOUND.replacen("fn pick()", "fn pick_wide()", 1);
    assert!(!wrong_bindings(&shader(wide.clone().leak())).is_empty());
    let places = wide.replacen("binding(8)", "binding(32)", 1).replacen("(16) var", "(48) var", 1);
    assert!(wrong_bindings(&shader(places.clone().leak())).is_empty());
    assert!(!wrong_parameters(&shader(places.clone().leak())).is_empty());
    assert!(!without_twin(&shader(places.clone().leak())).is_empty());
    let sizes =
        places.replacen("params: RowsParams }", "params: RowsParams, sizes: vec4<u32> }", 1);
    assert!(wrong_parameters(&shader(sizes.clone().leak())).is_empty());
    let late = sizes.replacen("sizes:", "@align(32) sizes:", 1);
    assert!(wrong_parameters(&shader(late.leak())).is_empty(), "16 + 8 rounds up to 32 anyway");
    let late = sizes.replacen("sizes:", "@align(64) sizes:", 1);
    assert!(!wrong_parameters(&shader(late.leak())).is_empty());
    // What is no WGSL, what needs a feature, and what binds two variables at one place.
    for (old, new) in [("fn pick", "fun pick"), ("u32", "u64"), ("binding(1)", "binding(0)")] {
        assert!(Shader::parse("reduce", SOUND.replacen(old, new, 1).leak()).is_err(), "{new}");
    }
}

/// The functions of a text, by name: from `fn` to the brace in the first column.
fn functions(source: &str) -> Vec<(&str, &str)> {
    let mut functions = Vec::new();
    let mut at = 0;
    for line in source.split_inclusive('\n') {
        if let Some((name, _)) = line.strip_prefix("fn ").and_then(|rest| rest.split_once('(')) {
            let rest = &source[at..];
            // A function on one line ends there.
            let end = match line.trim_end().ends_with('}') {
                true => line.len(),
                false => rest.find("\n}").map_or(rest.len(), |end| end + 2),
            };
            functions.push((name, rest[..end].trim_end()));
        }
        at += line.len();
    }
    functions
}

#[test]
fn functions_are_found_to_their_end() {
    let source = "fn one() -> u32 { return 1u; }\n\n/// Two.\nfn two(a: u32) {\n    if a { b(); }\n}\nfn f(\n) {\n}\n";
    let wanted = [
        ("one", "fn one() -> u32 { return 1u; }"),
        ("two", "fn two(a: u32) {\n    if a { b(); }\n}"),
        ("f", "fn f(\n) {\n}"),
    ];
    assert_eq!(functions(source), wanted);
}

#[test]
fn functions_of_one_name_have_one_text() {
    let mut first: BTreeMap<&str, (&str, &str)> = BTreeMap::new();
    let mut complaints = Vec::new();
    let mut found = 0;
    for shader in shaders() {
        let Shader { family, source, .. } = shader;
        let texts = functions(source);
        found += texts.len();
        let declared = shader.module.functions.len() + shader.module.entry_points.len();
        assert_eq!(texts.len(), declared, "{family}.wgsl: functions begin in the first column");
        for (name, text) in texts {
            match first.get(name) {
                None => _ = first.insert(name, (family, text)),
                Some((other, same)) if text != *same => {
                    complaints.push(format!("{name} differs in {other}.wgsl and {family}.wgsl"));
                }
                Some(_) => {}
            }
        }
    }
    assert!(found > KernelId::ALL.len());
    report(complaints);
}
