//! A file to begin with, for each kernel and language: the mathematics, the parameters, the operands.

use crate::interface::{self, Elements, Operand};
use crate::language::Language;
use belamy_tensor::kernel::KernelId;
use belamy_tensor::ops::pointwise::{BinaryFunction, UnaryFunction};
use std::fmt::Write;

macro_rules! sources {
    ($($family:ident: [$($kernel:ident($params:ident)),* $(,)?];)*) => {
        /// The file that states a kernel's mathematics.
        fn source(kernel: KernelId) -> &'static str {
            match kernel {
                $($(KernelId::$kernel)|* => {
                    include_str!(concat!("../../tensor/src/ops/", stringify!($family), ".rs"))
                })*
                _ => unreachable!("the match above is made from the list of all kernels"),
            }
        }
    };
}
belamy_tensor::for_each_kernel!(sources);

/// A family's mathematics, line by line.
fn mathematics(kernel: KernelId) -> Vec<&'static str> {
    let lines = source(kernel).lines().map(|line| line.strip_prefix("//!").unwrap_or("```"));
    let lines = lines.skip_while(|line| line.trim() != "```text").skip(1);
    lines.take_while(|line| !line.trim().starts_with("```")).map(str::trim_end).collect()
}

/// A file to begin with. Fails for kernels that take lists of tensors, which only shared libraries can be given.
///
/// ```
/// use belamy_lab::{language::Language, template::template};
/// use belamy_tensor::kernel::KernelId;
/// let text = template(KernelId::conv2d, Language::Cuda)?;
/// assert!(text.contains("belamy_conv2d(Conv2dParams params, const float* x, const float* w, float* y)"));
/// assert!(template(KernelId::adam, Language::Wgsl).is_err());
/// # Ok::<(), String>(())
/// ```
pub fn template(kernel: KernelId, language: Language) -> Result<String, String> {
    let lists = interface::of(kernel).lists;
    if lists && matches!(language, Language::Cuda | Language::Wgsl) {
        return Err(format!(
            "{} takes lists of tensors, which only a shared library can be given: --lang c or rust",
            kernel.name()
        ));
    }
    let mut text = String::new();
    let name = kernel.name();
    let (file, how) = match language {
        Language::Cuda => ("kernel.cu", String::new()),
        Language::Wgsl => ("kernel.wgsl", String::new()),
        Language::C => ("kernel.so", "cc -O3 -shared -fPIC kernel.c -o kernel.so".to_owned()),
        Language::Rust => (
            "kernel.so",
            "rustc -O --edition 2024 --crate-type cdylib kernel.rs -o kernel.so".to_owned(),
        ),
    };
    let _ = writeln!(text, "// {name}: belamy lab {file} --op {name}");
    if !how.is_empty() {
        let _ = writeln!(text, "// {how}");
    }
    text.push_str("//\n");
    for line in mathematics(kernel) {
        let _ = writeln!(text, "{}", format!("// {line}").trim_end());
    }
    for line in functions(kernel) {
        let _ = writeln!(text, "//   {line}");
    }
    text.push_str("//\n");
    match language {
        Language::Cuda => cuda(&mut text, kernel),
        Language::Wgsl => wgsl(&mut text, kernel),
        Language::C => c(&mut text, kernel),
        Language::Rust => rust(&mut text, kernel),
    }
    Ok(text)
}

/// The functions that a kernel is asked for by the parameter `function`, with their numbers.
fn functions(kernel: KernelId) -> Vec<String> {
    let line = |code: u32, formula: &str| format!("function {code:2}   {formula}");
    match kernel {
        KernelId::unary => {
            UnaryFunction::ALL.iter().map(|own| line(*own as u32, own.formula())).collect()
        }
        KernelId::binary => {
            BinaryFunction::ALL.iter().map(|own| line(*own as u32, own.formula())).collect()
        }
        _ => Vec::new(),
    }
}

/// A line of the parameters for each field: its name and how many words it takes.
fn fields(kernel: KernelId, mut line: impl FnMut(&str, usize, bool) -> String) -> String {
    let layout = kernel.layout();
    let integers = layout.integers.iter().map(|&(name, words)| (name, words, true));
    let scalars = layout.scalars.iter().map(|&name| (name, 1, false));
    integers.chain(scalars).map(|(name, words, integer)| line(name, words, integer)).collect()
}

/// The parameters as a struct of C.
fn c_struct(kernel: KernelId, integer: &str) -> String {
    let fields = fields(kernel, |name, words, is_integer| match (is_integer, words) {
        (true, 1) => format!("    {integer} {name};\n"),
        (true, words) => format!("    {integer} {name}[{words}];\n"),
        (false, _) => format!("    float {name};\n"),
    });
    format!("struct {} {{\n{fields}}};\n", kernel.layout().name)
}

fn c_type(elements: Elements, integer: &str) -> &str {
    if elements == Elements::F32 { "float" } else { integer }
}

/// The operands' names, with "and" before the last.
fn listed(operands: &[Operand]) -> String {
    let names: Vec<&str> = operands.iter().map(|(name, _)| *name).collect();
    match names.as_slice() {
        [one] => (*one).to_owned(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
        [] => String::new(),
    }
}

fn cuda(text: &mut String, kernel: KernelId) {
    let interface = interface::of(kernel);
    let inputs = interface
        .inputs
        .iter()
        .map(|(name, elements)| format!(", const {}* {name}", c_type(*elements, "unsigned")));
    let outputs = interface
        .outputs
        .iter()
        .map(|(name, elements)| format!(", {}* {name}", c_type(*elements, "unsigned")));
    let operands: String = inputs.chain(outputs).collect();
    let _ = write!(
        text,
        "\
// One launch, on the grid that the next line asks for: `elements` are those of the first output, other names the parameters'.
// belamy: blocks = ceil_div(elements, 256), threads = 256, shared = 0

{}
extern \"C\" __global__ void belamy_{}({} params{operands})
{{
    // Every element of {} must be written.
}}
",
        c_struct(kernel, "unsigned"),
        kernel.name(),
        kernel.layout().name,
        listed(interface.outputs),
    );
}

fn wgsl(text: &mut String, kernel: KernelId) {
    let interface = interface::of(kernel);
    let name = kernel.layout().name;
    let fields = fields(kernel, |name, words, is_integer| match (is_integer, words) {
        (true, 1) => format!("    {name}: u32,\n"),
        (true, 2) => format!("    {name}: vec2<u32>,\n"),
        (true, words) => {
            format!("    {name}: array<vec4<u32>, {}>, // {words} numbers\n", words.div_ceil(4))
        }
        (false, _) => format!("    {name}: f32,\n"),
    });
    let kind = |elements: Elements| if elements == Elements::F32 { "f32" } else { "u32" };
    let inputs = interface.inputs.iter().enumerate().map(|(at, (name, elements))| {
        let kind = kind(*elements);
        format!("@group(0) @binding({at}) var<storage, read> {name}: array<{kind}>;\n")
    });
    let outputs = interface.outputs.iter().zip(8..).map(|((name, elements), at)| {
        let kind = kind(*elements);
        format!("@group(0) @binding({at}) var<storage, read_write> {name}: array<{kind}>;\n")
    });
    let operands: String = inputs.chain(outputs).collect();
    let _ = write!(
        text,
        "\
// One launch, of as many groups as the next line asks for: `elements` are those of the first output, other names the parameters'.
// belamy: blocks = ceil_div(elements, 256)

struct {name} {{
{fields}}}
struct Run {{
    elements: u32, // of the first output
    unused_0: u32,
    unused_1: u32,
    unused_2: u32,
    params: {name},
}}
@group(0) @binding(16) var<uniform> run: Run;
{operands}
@compute @workgroup_size(256)
fn belamy_{}(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {{
    // Groups that are too many for one axis lie on two; those beyond the last must do nothing.
    let i = (group.y * groups.x + group.x) * 256u + local;
    if (i >= run.elements) {{
        return;
    }}
    // Every element of {} must be written.
}}
",
        kernel.name(),
        listed(interface.outputs),
    );
}

/// What a list of tensors consists of.
const LISTS: &str = "\
// params->tensors tensors: their operands lie one kind after the other, all of the first kind first.
";

fn c(text: &mut String, kernel: KernelId) {
    let interface = interface::of(kernel);
    if interface.lists {
        text.push_str(LISTS);
        let _ = writeln!(
            text,
            "// Inputs: {}. Outputs: {}.",
            listed(interface.inputs),
            listed(interface.outputs)
        );
    }
    let bind = |operands: &[Operand], from: &str, qualifier: &str| -> String {
        let line = |(at, (name, elements)): (usize, &Operand)| {
            let kind = c_type(*elements, "uint32_t");
            format!("    {qualifier}{kind} *{name} = {from}[{at}].data;\n")
        };
        if interface.lists {
            String::new()
        } else {
            operands.iter().enumerate().map(line).collect()
        }
    };
    let name = kernel.layout().name;
    let _ = write!(
        text,
        "\
// Operands are not aligned to more than 4 bytes, and inputs may not be written. The call may be made from any thread.

#include <stdint.h>

{}
struct belamy_tensor {{
    void *data;
    uint64_t elements;
}};

void belamy_{}(const struct {name} *params, const struct belamy_tensor *inputs, const struct belamy_tensor *outputs)
{{
{}{}    // Every element of {} must be written.
}}
",
        c_struct(kernel, "uint32_t"),
        kernel.name(),
        bind(interface.inputs, "inputs", "const "),
        bind(interface.outputs, "outputs", ""),
        listed(interface.outputs),
    );
}

fn rust(text: &mut String, kernel: KernelId) {
    let interface = interface::of(kernel);
    if interface.lists {
        text.push_str(&LISTS.replace("->", "."));
        let _ = writeln!(
            text,
            "// Inputs: {}. Outputs: {}.",
            listed(interface.inputs),
            listed(interface.outputs)
        );
    }
    let kind = |elements: Elements| if elements == Elements::F32 { "f32" } else { "u32" };
    let bind = |operands: &[Operand], from: &str, method: &str| -> String {
        let line = |(at, (name, elements)): (usize, &Operand)| {
            let kind = kind(*elements);
            format!("    let {name} = unsafe {{ (*{from}.add({at})).{method}::<{kind}>() }};\n")
        };
        if interface.lists {
            String::new()
        } else {
            operands.iter().enumerate().map(line).collect()
        }
    };
    let fields = fields(kernel, |name, words, is_integer| match (is_integer, words) {
        (true, 1) => format!("    pub {name}: u32,\n"),
        (true, words) => format!("    pub {name}: [u32; {words}],\n"),
        (false, _) => format!("    pub {name}: f32,\n"),
    });
    let name = kernel.layout().name;
    let _ = write!(
        text,
        "\
// Operands are not aligned to more than 4 bytes, and inputs may not be written. The call may be made from any thread.
#![allow(unused_variables, dead_code)]

#[repr(C)]
pub struct {name} {{
{fields}}}

#[repr(C)]
pub struct Tensor {{
    data: *mut std::ffi::c_void,
    elements: u64,
}}

impl Tensor {{
    unsafe fn read<T>(&self) -> &'static [T] {{
        unsafe {{ std::slice::from_raw_parts(self.data.cast(), self.elements as usize) }}
    }}
    unsafe fn write<T>(&self) -> &'static mut [T] {{
        unsafe {{ std::slice::from_raw_parts_mut(self.data.cast(), self.elements as usize) }}
    }}
}}

#[unsafe(no_mangle)]
pub unsafe extern \"C\" fn belamy_{}(params: *const {name}, inputs: *const Tensor, outputs: *const Tensor) {{
    let params = unsafe {{ &*params }};
{}{}    // Every element of {} must be written.
}}
",
        kernel.name(),
        bind(interface.inputs, "inputs", "read"),
        bind(interface.outputs, "outputs", "write"),
        listed(interface.outputs),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_states_the_mathematics_of_its_kernel() {
        for &kernel in KernelId::ALL {
            let text = template(kernel, Language::C).unwrap();
            let head = text.split("#include").next().unwrap();
            let stated = head.lines().skip(2).filter(|line| line.contains(kernel.name()));
            let same = |other: &&KernelId| other.family() == kernel.family();
            let is_alone = KernelId::ALL.iter().filter(same).count() == 1;
            assert!(is_alone && head.contains(" = ") || stated.count() > 0, "{head}");
        }
        let unary = template(KernelId::unary, Language::Cuda).unwrap();
        assert!(unary.contains("//   function  9   x > 0 ? x : a x"), "{unary}");
    }
}
