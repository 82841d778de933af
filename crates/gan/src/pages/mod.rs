//! Pages to look at in a browser, each one file that needs no network: the end of a run, and a quiz.
//!
//! | page | file |
//! |---|---|
//! | what a run did: curves, samples, health, settings | [`report`] |
//! | fake or real? | [`quiz`] |

pub mod quiz;
pub mod report;

use crate::error::Result;
use crate::memory;

/// A page in the making. It holds its pictures, so that there may be no memory for what is added.
struct Page(String);

impl Page {
    /// A page with a title and nothing else yet. Fails without memory for it, as all that adds to it.
    fn new(title: &str) -> Result<Page> {
        let mut page = Page(String::new());
        page.add(&format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n",
            escaped(title)
        ))?;
        Ok(page)
    }

    /// Adds markup.
    fn add(&mut self, text: &str) -> Result<()> {
        memory::push_text(&mut self.0, text, "a page")
    }

    /// Adds a PNG image as the address of an `img`.
    fn add_address(&mut self, png: &[u8]) -> Result<()> {
        self.add("data:image/png;base64,")?;
        // In parts of whole letters.
        png.chunks(3 << 10).try_for_each(|part| self.add(&base64(part)))
    }

    /// The whole page.
    fn finished(mut self) -> Result<String> {
        self.add("\n</body>\n</html>\n")?;
        Ok(self.0)
    }
}

/// Bytes in base 64 (RFC 4648, section 4).
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let byte = |index: usize| u32::from(*three.get(index).unwrap_or(&0));
        let word = byte(0) << 16 | byte(1) << 8 | byte(2);
        for letter in 0..4 {
            if letter <= three.len() {
                text.push(char::from(LETTERS[(word >> (18 - 6 * letter)) as usize & 63]));
            } else {
                text.push('=');
            }
        }
    }
    text
}

/// Text as HTML shows it.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            _ => safe.push(character),
        }
    }
    safe
}

/// What both pages look like, in light and in dark.
const STYLE: &str = "
:root { color-scheme: light dark; --paper: #fbfaf7; --ink: #1d1d1b; --pale: #6d6a63; --line: #d9d5cb; --mark: #2f6f4f; --bad: #a8442a; }
@media (prefers-color-scheme: dark) { :root { --paper: #171715; --ink: #ebe8e1; --pale: #9b978d; --line: #3a3833; --mark: #7fc49f; --bad: #e88d72; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 60rem; padding: 2.5rem 1.25rem 4rem; background: var(--paper); color: var(--ink); font: 16px/1.55 system-ui, sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .3rem; } h2 { font-size: 1.1rem; margin: 2.5rem 0 .8rem; }
p.pale, figcaption { color: var(--pale); font-size: .9rem; margin: 0; }
img { max-width: 100%; height: auto; image-rendering: pixelated; border-radius: 4px; }
figure { margin: 0; } figcaption { margin-top: .35rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; } td, th { text-align: left; padding: .35rem .8rem .35rem 0; border-bottom: 1px solid var(--line); vertical-align: top; } th { font-weight: 600; white-space: nowrap; }
pre { overflow-x: auto; padding: 1rem; border: 1px solid var(--line); border-radius: 4px; font-size: .85rem; }
";

#[cfg(test)]
mod tests {
    use super::*;

    /// A PNG image as the address of an `img`.
    pub(super) fn address(png: &[u8]) -> String {
        let mut page = Page(String::new());
        page.add_address(png).unwrap();
        page.0
    }

    #[test]
    fn base64_is_that_of_the_standard() {
        let cases =
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")];
        for (text, coded) in cases {
            assert_eq!(base64(text.as_bytes()), coded);
        }
        assert_eq!(base64(&[0xFF, 0xEF, 0xBE]), "/+++");
        // Longer than a part.
        let long: Vec<u8> = (0..10_000).map(|number| (number % 251) as u8).collect();
        assert_eq!(address(&long), format!("data:image/png;base64,{}", base64(&long)));
    }

    #[test]
    fn text_cannot_become_markup() {
        assert_eq!(escaped("<a b=\"c\">&'"), "&lt;a b=&quot;c&quot;&gt;&amp;&#39;");
        let page = Page::new("<x>").and_then(Page::finished).unwrap();
        assert!(page.contains("<title>&lt;x&gt;</title>"));
    }
}
