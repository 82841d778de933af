//! Kernels' texts with one small fault each, as a slip of the hand makes them: another operator, a constant off by one,
//! height in the place of width, a barrier or a statement left out.
//!
//! [`drawn`] puts the faults of a text in a seeded order. What a fault's place among those of its sort is depends on its
//! line alone, so that changing one line of a kernel does not draw all of its mutants anew.

pub mod children;
pub mod equivalent;
pub mod table;
mod tokens;

use crate::values::seed_of;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;
use tokens::{Kind, Token, tokens};

/// What a kernel is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Language {
    /// CUDA C++.
    Cuda,
    /// WGSL.
    Wgsl,
}

/// A text with one fault.
#[derive(Clone, Debug)]
pub struct TextMutant {
    /// The line's number, from 1.
    pub line: usize,
    /// The line as it was, without the space around it.
    pub before: String,
    /// The line as it is.
    pub after: String,
    /// What sort of fault it is.
    pub kind: &'static str,
    /// The whole text.
    pub text: String,
}

/// A change of a text.
struct Change {
    kind: &'static str,
    at: Range<usize>,
    by: String,
}

/// Operators, and what stands in their place.
const OPERATORS: &[(&str, &str, &str)] = &[
    ("sign", "+", "-"),
    ("sign", "-", "+"),
    ("product", "*", "+"),
    ("product", "/", "*"),
    ("product", "%", "/"),
    ("bound", "<", "<="),
    ("bound", "<=", "<"),
    ("bound", ">", ">="),
    ("bound", ">=", ">"),
    ("equality", "==", "!="),
    ("equality", "!=", "=="),
    ("logic", "&&", "||"),
    ("logic", "||", "&&"),
    ("accumulation", "+=", "="),
    ("accumulation", "-=", "+="),
    ("accumulation", "*=", "="),
    ("bits", "<<", ">>"),
    ("bits", ">>", "<<"),
    ("bits", "&", "|"),
    ("bits", "|", "&"),
    ("bits", "^", "|"),
];

/// Parts of names that are taken for one another.
const NAMES: &[(&str, &str)] = &[
    ("height", "width"),
    ("stride", "dilation"),
    ("padding", "stride"),
    ("top", "left"),
    ("row", "column"),
    ("rows", "columns"),
    ("down", "across"),
    ("oh", "ow"),
    ("ih", "iw"),
    ("kh", "kw"),
    ("in", "out"),
    ("m", "n"),
    ("first", "second"),
    ("begin", "end"),
    ("mean", "variance"),
    ("gamma", "beta"),
    ("1", "2"),
    ("a", "b"),
    ("x", "y"),
    ("z", "w"),
    ("left", "right"),
    ("batch", "split"),
    ("sum", "square"),
    ("large", "small"),
    ("low", "high"),
];

/// Functions, and what is called in their place; nothing where the argument, or the last one, stands for itself.
const FUNCTIONS: &[(&str, &str)] = &[
    ("min", "max"),
    ("max", "min"),
    ("minimum", ""),
    ("abs", ""),
    ("fabsf", ""),
    ("sqrt", ""),
    ("sqrtf", ""),
    ("floor", ""),
    ("round", ""),
    ("expf", ""),
    ("sinf", "cosf"),
    ("cosf", "sinf"),
    ("transpose", ""),
];

/// Words that a statement begins with which cannot be left out, or whose names are needed further on.
const KEPT: &[&str] = &[
    "for", "while", "do", "return", "case", "default", "const", "unsigned", "float", "double",
    "bool", "int", "let", "var", "else", "typedef", "typename", "static", "switch", "break",
];

impl Language {
    /// What is left of a statement that is left out.
    fn nothing(self) -> &'static str {
        match self {
            Language::Cuda => ";",
            Language::Wgsl => "",
        }
    }
}

/// The faults of a text, in the order in which they are drawn: sorts of faults by turns, each sort in a seeded order.
pub fn drawn(language: Language, file: &str, text: &str) -> Vec<TextMutant> {
    let mut by_kind: BTreeMap<&str, Vec<(u64, TextMutant)>> = BTreeMap::new();
    let mut seen: HashMap<(usize, String), u32> = HashMap::new();
    let hidden = device_only(text);
    for change in changes(language, text) {
        let mutant = apply(text, &change);
        if mutant.text == text || hidden.iter().any(|part| part.contains(&change.at.start)) {
            continue;
        }
        // Lines that are alike are told apart by their number among each other.
        let place = text[..change.at.start].lines().filter(|line| line.trim() == mutant.before);
        let name = format!("{file} {} {} {}", place.count(), mutant.before, mutant.after);
        let twin = seen.entry((mutant.line, mutant.after.clone())).or_default();
        *twin += 1;
        if *twin == 1 {
            by_kind.entry(change.kind).or_default().push((scattered(seed_of(&name)), mutant));
        }
    }
    let mut turns: Vec<(usize, u64, TextMutant)> = Vec::new();
    for mut of_kind in by_kind.into_values() {
        of_kind.sort_by_key(|(rank, _)| *rank);
        let numbered = of_kind.into_iter().enumerate();
        turns.extend(numbered.map(|(turn, (rank, mutant))| (turn, rank, mutant)));
    }
    turns.sort_by_key(|(turn, rank, _)| (*turn, *rank));
    turns.into_iter().map(|(_, _, mutant)| mutant).collect()
}

/// What only a GPU's compiler sees of a text: the processor has other functions in its place.
fn device_only(text: &str) -> Vec<Range<usize>> {
    const BEGIN: &str = "#if defined(__CUDACC_RTC__)";
    let mut parts = Vec::new();
    let mut from = 0;
    while let Some(begin) = text[from..].find(BEGIN).map(|at| from + at) {
        let (mut end, mut depth) = (begin, 0);
        for line in text[begin..].split_inclusive('\n') {
            end += line.len();
            match line.trim_start() {
                line if line.starts_with("#if") => depth += 1,
                line if line.starts_with("#endif") => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
        parts.push(begin..end);
        from = end;
    }
    parts
}

/// FNV's upper bits hardly depend on the last letters, and an order is by the upper bits.
fn scattered(hash: u64) -> u64 {
    let mixed = (hash ^ hash >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb)
}

fn apply(text: &str, change: &Change) -> TextMutant {
    let Change { kind, at, by } = change;
    let changed = format!("{}{by}{}", &text[..at.start], &text[at.end..]);
    let begin = text[..at.start].rfind('\n').map_or(0, |newline| newline + 1);
    let line_of = |text: &str| text[begin..].lines().next().unwrap_or_default().trim().to_string();
    TextMutant {
        line: text[..begin].lines().count() + 1,
        before: line_of(text),
        after: line_of(&changed),
        kind,
        text: changed,
    }
}

fn changes(language: Language, text: &str) -> Vec<Change> {
    let tokens = tokens(text);
    let words: HashSet<&str> = tokens
        .iter()
        .filter(|token| token.kind == Kind::Word)
        .map(|token| &text[token.at.clone()])
        .collect();
    let mut changes = left_out(language, text, &tokens);
    for (index, token) in tokens.iter().enumerate() {
        if !token.in_code || token.in_step {
            continue;
        }
        match token.kind {
            Kind::Symbol => operator(text, &tokens, index, &mut changes),
            Kind::Number => number(text, &tokens, index, &mut changes),
            Kind::Word => word(text, &tokens, index, &words, &mut changes),
        }
    }
    changes
}

fn word_at<'a>(text: &'a str, tokens: &[Token], index: Option<usize>) -> &'a str {
    index.and_then(|index| tokens.get(index)).map_or("", |token| &text[token.at.clone()])
}

/// Binary operators stand between spaces; what does not is a sign, a pointer, or a template's bracket.
fn operator(text: &str, tokens: &[Token], index: usize, changes: &mut Vec<Change>) {
    let at = tokens[index].at.clone();
    let symbol = &text[at.clone()];
    let is_space = |place: Option<&u8>| place.is_some_and(u8::is_ascii_whitespace);
    let bytes = text.as_bytes();
    let spaced = at.start > 0 && is_space(bytes.get(at.start - 1)) && is_space(bytes.get(at.end));
    let before = word_at(text, tokens, index.checked_sub(1));
    // `return -x` and `= -x` have a space before, and none behind; `, -1` neither.
    if spaced && before != "template" {
        let found = OPERATORS.iter().filter(|(_, operator, _)| *operator == symbol);
        changes.extend(found.map(|&(kind, _, by)| Change { kind, at: at.clone(), by: by.into() }));
    } else if symbol == "!" {
        changes.push(Change { kind: "logic", at, by: String::new() });
    }
}

fn number(text: &str, tokens: &[Token], index: usize, changes: &mut Vec<Change>) {
    let at = tokens[index].at.clone();
    let (before, behind) =
        (word_at(text, tokens, index.checked_sub(1)), word_at(text, tokens, Some(index + 1)));
    // Labels, arguments of templates, extents of arrays; of a shuffle's mask nothing depends here.
    let line = &text[text[..at.start].rfind('\n').map_or(0, |newline| newline + 1)..at.start];
    let declares = KEPT.iter().any(|kept| line.trim_start().starts_with(kept))
        || line.trim_start().starts_with("__shared__");
    let extent = before == "[" && behind == "]" && declares && !line.contains('=');
    let template = text[..at.start].ends_with('<') || text[at.end..].starts_with('>');
    let written = &text[at.clone()];
    if before == "case" || extent || template || written == "0xffffffffu" {
        return;
    }
    let digits = written.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let mut push =
        |kind, by: String| changes.push(Change { kind, at: at.clone(), by: by.to_string() });
    if written.starts_with("0x") {
        let Some(place) = written.rfind(|c: char| c.is_ascii_digit()) else { return };
        let digit = if &written[place..=place] == "9" { "0" } else { "9" };
        push("constant", format!("{}{digit}{}", &written[..place], &written[place + 1..]));
    } else if let Ok(value) = digits.parse::<u64>() {
        let suffix = &written[digits.len()..];
        push("constant", format!("{}{suffix}", value + 1));
        if value > 0 {
            push("constant", format!("{}{suffix}", value - 1));
        }
    } else {
        // The first digit that counts.
        let exponent = written.find(['e', 'E']).unwrap_or(written.len());
        let counts = |c: char| c.is_ascii_digit() && c != '0';
        let place = written[..exponent].find(counts).unwrap_or(0);
        let digit = written[place..=place].parse::<u32>().unwrap_or(0);
        let digit = if digit == 9 { 1 } else { digit + 1 };
        push("float", format!("{}{digit}{}", &written[..place], &written[place + 1..]));
    }
}

fn word(
    text: &str,
    tokens: &[Token],
    index: usize,
    words: &HashSet<&str>,
    changes: &mut Vec<Change>,
) {
    let at = tokens[index].at.clone();
    let written = &text[at.clone()];
    let before = index.checked_sub(1);
    let behind = word_at(text, tokens, Some(index + 1));
    for (function, by) in FUNCTIONS {
        if written == *function && behind == "(" {
            changes.push(Change { kind: "function", at: at.clone(), by: by.to_string() });
        }
    }
    if written == "select"
        && let Some(by) = exchanged(text, at.end)
    {
        let end = at.end + by.len();
        changes.push(Change { kind: "choice", at: at.end..end, by });
    }
    // Behind a type or `let` a name is being declared.
    let declared = before.is_some_and(|before| tokens[before].kind == Kind::Word)
        && word_at(text, tokens, before) != "return";
    if declared {
        return;
    }
    let parts: Vec<&str> = written.split('_').collect();
    for (one, other) in NAMES.iter().flat_map(|&(one, other)| [(one, other), (other, one)]) {
        if parts.contains(&one) {
            let exchanged = parts.iter().map(|part| if *part == one { other } else { part });
            let by = exchanged.collect::<Vec<_>>().join("_");
            if words.contains(by.as_str()) {
                changes.push(Change { kind: "name", at: at.clone(), by });
            }
        }
    }
}

/// The arguments `(a, b, c)` from a place on, as `(b, a, c)`. Not those with a comparison, whose `<` is taken for a
/// bracket: there the comparison is what is changed.
fn exchanged(text: &str, from: usize) -> Option<String> {
    let (mut depth, mut commas) = (0, Vec::new());
    for (place, c) in text[from..].char_indices() {
        match c {
            '(' | '[' | '<' => depth += 1,
            ')' | ']' | '>' => depth -= 1,
            ',' if depth == 1 => commas.push(from + place),
            '\n' | ';' => return None,
            _ => {}
        }
        if depth == 0 {
            let [first, second] = commas.try_into().ok()?;
            let (a, b) = (&text[from + 1..first], &text[first + 2..second]);
            return Some(format!("({b}, {a}{}", &text[second..=from + place]));
        }
    }
    None
}

/// Statements of one line, left out.
fn left_out(language: Language, text: &str, tokens: &[Token]) -> Vec<Change> {
    let mut lines: BTreeMap<usize, Vec<&Token>> = BTreeMap::new();
    for token in tokens {
        let begin = text[..token.at.start].rfind('\n').map_or(0, |newline| newline + 1);
        lines.entry(begin).or_default().push(token);
    }
    let lines: Vec<Vec<&Token>> = lines.into_values().collect();
    let word = |token: &Token| text[token.at.clone()].to_string();
    let mut changes = Vec::new();
    for (number, line) in lines.iter().enumerate() {
        let (first, last) = (line[0], line[line.len() - 1]);
        let previous = number.checked_sub(1).map(|previous| &lines[previous]);
        let begins = previous.is_some_and(|previous| {
            let ends = word(previous[previous.len() - 1]);
            matches!(ends.as_str(), ";" | "{" | "}" | ":")
                || matches!(word(previous[0]).as_str(), "for" | "if" | "else")
        });
        let continues = lines.get(number + 1).is_some_and(|next| word(next[0]) == "else");
        let balanced = ["()", "[]", "{}"].iter().all(|pair| {
            let count = |bracket: &str| line.iter().filter(|t| word(t) == bracket).count();
            count(&pair[..1]) == count(&pair[1..])
        });
        let declares = first.kind != Kind::Word
            || KEPT.contains(&word(first).as_str())
            || line.get(1).is_some_and(|second| second.kind == Kind::Word && word(first) != "if");
        let whole = match word(first).as_str() {
            "if" => matches!(word(last).as_str(), ";" | "}"),
            _ => word(last) == ";",
        };
        if !first.in_code || !begins || continues || !balanced || declares || !whole {
            continue;
        }
        let at = first.at.start..last.at.end;
        let kind = match &text[at.clone()] {
            barrier if barrier.contains("Barrier") || barrier.contains("__sync") => "barrier",
            guard if guard.starts_with("if") => "guard",
            _ => "statement",
        };
        changes.push(Change { kind, at, by: language.nothing().into() });
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_a_gpu_compiles_is_left_alone() {
        let text =
            format!("{KERNEL}#if defined(__CUDACC_RTC__)\n#if X\n#endif\n{KERNEL}#endif\n{KERNEL}");
        let length = KERNEL.lines().count();
        let hidden = length + 1..2 * length + 5;
        let lines = drawn(Language::Cuda, "some.cu", &text).into_iter().map(|mutant| mutant.line);
        let lines: Vec<usize> = lines.collect();
        assert!(lines.iter().any(|&line| line < hidden.start), "{lines:?}");
        assert!(lines.iter().any(|&line| line >= hidden.end), "{lines:?}");
        assert!(!lines.iter().any(|line| hidden.contains(line)), "{lines:?}");
    }

    const KERNEL: &str = "struct P { unsigned height, width; };\n\
        __global__ void f(P p, float* y)\n{\n    if (p.height < 2) return;\n    __syncthreads();\n    \
        float x[4] = {}, sum = 0.0f;\n    sum += x[p.width - 1] * 0.5f;\n    y[0] = sum;\n}\n";

    fn lines(kind: &str) -> Vec<String> {
        let mutants = drawn(Language::Cuda, "f.cu", KERNEL).into_iter();
        let mut lines: Vec<String> =
            mutants.filter(|mutant| mutant.kind == kind).map(|mutant| mutant.after).collect();
        lines.sort_unstable();
        lines
    }

    #[test]
    fn faults_are_those_of_a_slip() {
        assert_eq!(lines("bound"), ["if (p.height <= 2) return;"]);
        assert_eq!(lines("barrier"), [";"]);
        assert_eq!(lines("guard"), [";"]);
        assert_eq!(lines("statement"), [";", ";"]);
        let names = lines("name");
        assert!(names.contains(&"if (p.width < 2) return;".to_string()), "{names:?}");
        assert!(names.contains(&"sum += y[p.width - 1] * 0.5f;".to_string()), "{names:?}");
        assert_eq!(
            lines("float"),
            ["float x[4] = {}, sum = 1.0f;", "sum += x[p.width - 1] * 0.6f;"]
        );
        assert_eq!(lines("accumulation"), ["sum = x[p.width - 1] * 0.5f;"]);
        assert_eq!(lines("sign"), ["sum += x[p.width + 1] * 0.5f;"]);
    }

    #[test]
    fn a_choice_is_made_the_other_way() {
        let text = "fn f(x: f32) -> f32 {\n    return select(g(x, 1.0), 2.0, is_nan(x));\n}\n";
        let mutants = drawn(Language::Wgsl, "f.wgsl", text);
        let found = mutants.iter().find(|mutant| mutant.kind == "choice").unwrap();
        assert_eq!(found.after, "return select(2.0, g(x, 1.0), is_nan(x));");
        assert_eq!(found.line, 2);
    }

    #[test]
    fn another_line_draws_no_other_order() {
        let names = |text: &str| -> Vec<String> {
            let mut mutants = drawn(Language::Cuda, "f.cu", text);
            // Of each sort in the order in which they are drawn.
            mutants.sort_by_key(|mutant| mutant.kind);
            let name = |mutant: TextMutant| format!("{} {}", mutant.before, mutant.after);
            mutants.into_iter().map(name).collect()
        };
        let (before, after) = (names(KERNEL), names(&KERNEL.replace("y[0] = sum", "y[0] = -sum")));
        let kept = |names: &[String]| -> Vec<String> {
            names.iter().filter(|name| !name.starts_with("y[0]")).cloned().collect()
        };
        assert_eq!(kept(&before), kept(&after));
    }
}
