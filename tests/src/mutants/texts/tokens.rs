//! A kernel's text as tokens: enough of C++ and WGSL to tell code from declarations, and words from operators.

use std::ops::Range;

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A name or a keyword.
    Word,
    /// A number.
    Number,
    /// An operator, a bracket, a comma, ...
    Symbol,
}

/// A token of a text.
#[derive(Clone, Debug)]
pub(super) struct Token {
    /// What it is.
    pub(super) kind: Kind,
    /// Where it stands.
    pub(super) at: Range<usize>,
    /// Whether it is in the body of a function.
    pub(super) in_code: bool,
    /// Whether it is in the third part of a loop's head: a loop that goes on in another way may never end.
    pub(super) in_step: bool,
}

/// Operators of more than one character, longer ones first.
const LONG: [&str; 21] = [
    "<<=", ">>=", "&&", "||", "<=", ">=", "==", "!=", "+=", "-=", "*=", "/=", "%=", "&=", "|=",
    "^=", "<<", ">>", "++", "--", "->",
];

/// The tokens of a text without comments, the preprocessor's lines and strings.
pub(super) fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = pieces(text);
    mark_code(text, &mut tokens);
    mark_steps(text, &mut tokens);
    tokens
}

fn pieces(text: &str) -> Vec<Token> {
    let bytes = text.as_bytes();
    let is_word = |byte: u8| byte == b'_' || byte.is_ascii_alphanumeric();
    let end_of_line = |at: usize| text[at..].find('\n').map_or(text.len(), |length| at + length);
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let first = bytes[at];
        let begins_line = text[..at].chars().next_back().is_none_or(|before| before == '\n');
        let mut push = |kind, end| {
            tokens.push(Token { kind, at: at..end, in_code: false, in_step: false });
            end
        };
        at = if text[at..].starts_with("//") || (first == b'#' && begins_line) {
            end_of_line(at)
        } else if first == b'"' {
            text[at + 1..].find('"').map_or(text.len(), |length| at + length + 2)
        } else if first.is_ascii_digit() {
            // Of `1e-3` the sign belongs to the number; of `0x1f - 3` it does not.
            let hexadecimal = text[at..].starts_with("0x");
            let exponent = |end: usize| {
                !hexadecimal
                    && matches!(bytes[end], b'+' | b'-')
                    && matches!(bytes[end - 1], b'e' | b'E')
            };
            let mut end = at;
            while end < text.len() && (is_word(bytes[end]) || bytes[end] == b'.' || exponent(end)) {
                end += 1;
            }
            push(Kind::Number, end)
        } else if is_word(first) {
            let length = text[at..].bytes().position(|byte| !is_word(byte));
            push(Kind::Word, length.map_or(text.len(), |length| at + length))
        } else if first.is_ascii_punctuation() {
            let long = LONG.iter().find(|long| text[at..].starts_with(**long));
            push(Kind::Symbol, at + long.map_or(1, |long| long.len()))
        } else {
            // White space, and what stands in comments only.
            at + text[at..].chars().next().map_or(1, char::len_utf8)
        };
    }
    tokens
}

/// A brace opens code, unless it opens a struct that is not itself inside of code.
fn mark_code(text: &str, tokens: &mut [Token]) {
    let mut scopes: Vec<bool> = Vec::new();
    let mut of_struct = false;
    for token in tokens {
        let code = scopes.last().copied().unwrap_or(false);
        token.in_code = code;
        match &text[token.at.clone()] {
            "struct" => of_struct = true,
            "{" => scopes.push(code || !std::mem::take(&mut of_struct)),
            "}" => {
                scopes.pop();
            }
            ";" => of_struct = false,
            _ => {}
        }
    }
}

fn mark_steps(text: &str, tokens: &mut [Token]) {
    for start in 0..tokens.len() {
        if &text[tokens[start].at.clone()] != "for" {
            continue;
        }
        let (mut depth, mut parts) = (0, 0);
        for token in &mut tokens[start + 1..] {
            match &text[token.at.clone()] {
                "(" => depth += 1,
                ")" => depth -= 1,
                ";" if depth == 1 => parts += 1,
                _ => {}
            }
            if depth == 0 {
                break;
            }
            token.in_step = parts == 2;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_is_told_from_declarations_and_comments() {
        let text = "#define A 1\nstruct P { float a; };\n// x + 1\nfloat f(P p)\n{\n    \
            for (int i = 0; i < 3; i++) p.a += 1e-3;\n    return p.a;\n}\n";
        let tokens = tokens(text);
        let of = |wanted: fn(&Token) -> bool| -> Vec<&str> {
            tokens.iter().filter(|token| wanted(token)).map(|t| &text[t.at.clone()]).collect()
        };
        assert_eq!(of(|token| token.in_step), [";", "i", "++"]);
        assert_eq!(of(|token| token.kind == Kind::Number), ["0", "3", "1e-3"]);
        assert!(of(|token| token.in_code).join(" ").starts_with("for ( int i = 0 ; i < 3"));
        assert!(of(|token| !token.in_code).join(" ").ends_with("float f ( P p ) {"));
    }
}
