//! In which languages a kernel may come, and how its file says on what grid it runs.
//!
//! A kernel for a GPU has a line such as
//!
//! ```text
//! // belamy: blocks = ceil_div(batch * out_height * out_width, 64) * ceil_div(out_channels, 64), threads = 128
//! ```
//!
//! with whole numbers, `elements` for those of the first output, the integer fields of the kernel's parameters
//! (`dims[2]` for one of an array), `+ - * / %`, parentheses, `ceil_div`, `min` and `max`. Without it there are
//! `ceil_div(elements, 256)` blocks of 256 threads. `shared` are bytes of shared memory besides what is declared.

use belamy_tensor::foreign::{Grid, GridOf};
use belamy_tensor::kernel::{KernelId, Params};
use std::path::Path;
use std::sync::Arc;

/// In which language a kernel comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// CUDA C++: a `.cu` file.
    Cuda,
    /// WGSL: a `.wgsl` file.
    Wgsl,
    /// C, as a shared library.
    C,
    /// Rust, as a shared library: a `cdylib`.
    Rust,
}

impl Language {
    /// Every language.
    pub const ALL: [Language; 4] = [Language::Cuda, Language::Wgsl, Language::C, Language::Rust];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Language::Cuda => "cuda",
            Language::Wgsl => "wgsl",
            Language::C => "c",
            Language::Rust => "rust",
        }
    }

    /// The language of a file that can be run, by its name's ending: `.cu`, `.wgsl`, or a shared library's, which stands for C.
    pub fn of(path: &Path) -> Option<Language> {
        match path.extension()?.to_str()? {
            "cu" => Some(Language::Cuda),
            "wgsl" => Some(Language::Wgsl),
            "so" | "dylib" | "dll" => Some(Language::C),
            _ => None,
        }
    }
}

/// What a line that says the grid begins with.
const MARK: &str = "belamy:";
/// Blocks where a file says nothing.
const BLOCKS: &str = "ceil_div(elements, 256)";

/// The grid that a kernel's text asks for. Fails with the line where it cannot be understood.
///
/// ```
/// use belamy_lab::language::grid;
/// use belamy_tensor::kernel::KernelId;
/// use belamy_tensor::ops::pointwise::FillParams;
/// let grid = grid("// belamy: blocks = ceil_div(len, 128), threads = 128", KernelId::fill)?;
/// let params = FillParams { len: 300, value: 1.0 }.encode();
/// assert_eq!(grid(&params, 300)?.blocks, 3);
/// # Ok::<(), String>(())
/// ```
pub fn grid(text: &str, kernel: KernelId) -> Result<Arc<GridOf>, String> {
    let said = text.lines().enumerate().find_map(|(number, line)| {
        let line = line.trim_start().strip_prefix("//")?.trim_start().strip_prefix(MARK)?;
        Some((number + 1, line.to_owned()))
    });
    let [mut blocks, mut threads, mut shared] = [BLOCKS, "256", "0"].map(str::to_owned);
    if let Some((number, line)) = said {
        for part in split(&line) {
            let (name, value) = part
                .split_once('=')
                .ok_or_else(|| format!("line {number}: {part:?} is not name = value"))?;
            let place = match name.trim() {
                "blocks" => &mut blocks,
                "threads" => &mut threads,
                "shared" => &mut shared,
                other => {
                    return Err(format!(
                        "line {number}: {other:?} is not blocks, threads or shared"
                    ));
                }
            };
            *place = value.trim().to_owned();
        }
        // What cannot be understood is said now.
        for value in [&blocks, &threads, &shared] {
            evaluate(value, kernel, &Params::default(), 1)
                .or_else(|error| if error.contains(DIVISION) { Ok(0) } else { Err(error) })
                .map_err(|error| format!("line {number}: {error}"))?;
        }
    }
    Ok(Arc::new(move |params: &Params, elements: usize| {
        let word = |name: &str, value: &str| -> Result<u32, String> {
            let found = evaluate(value, kernel, params, elements)?;
            u32::try_from(found).map_err(|_| format!("{name} = {found} is more than there can be"))
        };
        Ok(Grid {
            blocks: word("blocks", &blocks)?,
            threads: word("threads", &threads)?,
            shared: word("shared", &shared)?,
        })
    }))
}

/// The parts between commas that stand in no parentheses.
fn split(line: &str) -> Vec<String> {
    let (mut parts, mut depth) = (vec![String::new()], 0);
    for character in line.chars() {
        match character {
            '(' | '[' => depth += 1,
            ')' | ']' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        parts.last_mut().expect("there is one").push(character);
    }
    parts.into_iter().map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
}

const DIVISION: &str = "division by 0";

/// An expression's value.
fn evaluate(text: &str, kernel: KernelId, params: &Params, elements: usize) -> Result<u64, String> {
    let mut reader = Reader { text, rest: text, kernel, params, elements };
    let value = reader.sum()?;
    match reader.rest.trim() {
        "" => Ok(value),
        rest => Err(format!("{rest:?} in {text:?} is not understood")),
    }
}

struct Reader<'a> {
    text: &'a str,
    rest: &'a str,
    kernel: KernelId,
    params: &'a Params,
    elements: usize,
}

impl<'a> Reader<'a> {
    /// Whether the next character is this one; if so it is passed.
    fn takes(&mut self, character: char) -> bool {
        match self.rest.trim_start().strip_prefix(character) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn wants(&mut self, character: char) -> Result<(), String> {
        if self.takes(character) {
            return Ok(());
        }
        Err(format!("{:?} wants {character:?} before {:?}", self.text, self.rest.trim()))
    }

    fn sum(&mut self) -> Result<u64, String> {
        let mut value = self.product()?;
        loop {
            if self.takes('+') {
                value = kept(value.checked_add(self.product()?))?;
            } else if self.takes('-') {
                value = kept(value.checked_sub(self.product()?))?;
            } else {
                return Ok(value);
            }
        }
    }

    fn product(&mut self) -> Result<u64, String> {
        let mut value = self.factor()?;
        loop {
            if self.takes('*') {
                value = kept(value.checked_mul(self.factor()?))?;
            } else if self.takes('/') {
                value = value.checked_div(self.factor()?).ok_or(DIVISION)?;
            } else if self.takes('%') {
                value = value.checked_rem(self.factor()?).ok_or(DIVISION)?;
            } else {
                return Ok(value);
            }
        }
    }

    fn factor(&mut self) -> Result<u64, String> {
        if self.takes('(') {
            let value = self.sum()?;
            self.wants(')')?;
            return Ok(value);
        }
        let word = self.word();
        if word.starts_with(|character: char| character.is_ascii_digit()) {
            return word.parse().map_err(|_| format!("{word:?} is not a number"));
        }
        if self.takes('(') {
            let first = self.sum()?;
            self.wants(',')?;
            let second = self.sum()?;
            self.wants(')')?;
            return match word {
                "ceil_div" if second == 0 => Err(DIVISION.into()),
                "ceil_div" => Ok(first.div_ceil(second)),
                "min" => Ok(first.min(second)),
                "max" => Ok(first.max(second)),
                _ => Err(format!("there is no function {word:?}: ceil_div, min and max are")),
            };
        }
        let index = if self.takes('[') {
            let index = self.sum()?;
            self.wants(']')?;
            Some(index)
        } else {
            None
        };
        self.field(word, index)
    }

    fn word(&mut self) -> &'a str {
        let rest = self.rest.trim_start();
        let is_part = |character: char| character.is_ascii_alphanumeric() || character == '_';
        let end = rest.find(|character| !is_part(character)).unwrap_or(rest.len());
        let (word, rest) = rest.split_at(end);
        self.rest = rest;
        word
    }

    fn field(&self, name: &str, index: Option<u64>) -> Result<u64, String> {
        if (name, index) == ("elements", None) {
            return Ok(self.elements as u64);
        }
        let layout = self.kernel.layout();
        let mut at = 0;
        for &(field, words) in layout.integers {
            if field == name {
                return match (index, words) {
                    (None, 1) => Ok(u64::from(self.params.integers[at])),
                    (Some(index), 2..) if index < words as u64 => {
                        Ok(u64::from(self.params.integers[at + index as usize]))
                    }
                    (_, 1) => Err(format!("{name} is one number")),
                    _ => Err(format!("{name} has {words} numbers: {name}[0], ...")),
                };
            }
            at += words;
        }
        let names: Vec<&str> = layout.integers.iter().map(|(field, _)| *field).collect();
        Err(format!("{:?}: there is no {name:?}: elements, {} are", self.text, names.join(", ")))
    }
}

fn kept(value: Option<u64>) -> Result<u64, String> {
    value.ok_or_else(|| "a number below 0 or above 2⁶⁴".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use belamy_tensor::ops::matmul::MatmulParams;
    use belamy_tensor::ops::view::StridedParams;

    #[test]
    fn grids_are_read_and_mistakes_are_explained() {
        let params = StridedParams { dims: [1, 1, 2, 3, 5, 7], strides: [0; 6] }.encode();
        let value = |text: &str| evaluate(text, KernelId::permute, &params, 210);
        assert_eq!(value("ceil_div(elements, 4) + 2 * (dims[5] - 1) % 5").unwrap(), 53 + 2);
        assert_eq!(value("max(dims[2], min(9, dims[3] * 2)) / 4").unwrap(), 1);
        let mistakes = [
            ("dims", "6 numbers"),
            ("dims[6]", "6 numbers"),
            ("rows", "elements, dims, strides"),
            ("elements / 0", "division"),
            ("1 - 2", "below 0"),
            ("(1", "')'"),
            ("1 2", "not understood"),
            ("floor(1, 2)", "ceil_div"),
            ("", "no \"\""),
        ];
        for (text, hint) in mistakes {
            let error = value(text).unwrap_err();
            assert!(error.contains(hint), "{text}: {error}");
        }
    }

    #[test]
    fn a_file_says_its_grid_or_has_the_usual_one() {
        let fields = MatmulParams::LAYOUT.integers.iter().map(|(name, _)| *name);
        assert!(fields.clone().any(|name| name == "m"), "{:?}", fields.collect::<Vec<_>>());
        let text = "int x;\n  // belamy: blocks = ceil_div(m, 16) * ceil_div(n, 16), threads = 64, shared = 1024\n";
        let said = grid(text, KernelId::matmul).unwrap();
        let mut params = Params::default();
        for (at, (name, _)) in MatmulParams::LAYOUT.integers.iter().enumerate() {
            params.integers[at] = match *name {
                "m" => 33,
                "n" => 16,
                _ => 1,
            };
        }
        let wanted = Grid { blocks: 3, threads: 64, shared: 1024 };
        assert_eq!(said(&params, 33 * 16).unwrap(), wanted);
        let usual = grid("", KernelId::matmul).unwrap()(&params, 257).unwrap();
        assert_eq!(usual, Grid { blocks: 2, threads: 256, shared: 0 });
        for (line, hint) in
            [("block = 1", "not blocks"), ("blocks", "name = value"), ("blocks = q", "no \"q\"")]
        {
            let error = grid(&format!("\n// belamy: {line}"), KernelId::matmul).err().unwrap();
            assert!(error.starts_with("line 2") && error.contains(hint), "{line}: {error}");
        }
    }
}
