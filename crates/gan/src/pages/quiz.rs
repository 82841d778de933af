//! "Fake or real?": images one after the other, a guess each, and at the end how many were right.

use super::{Page, escaped};
use crate::error::{Error, Result};
use belamy_tensor::philox::{Draws, permuted};

/// A stream of random numbers of its own: "QUIZ".
const QUIZ_STREAM: u32 = 0x5155_495A;

/// A page that shows PNG images of both kinds in an order that `seed` decides. Fails without images, and without memory for
/// the page.
///
/// ```
/// use belamy_gan::pages::quiz::quiz;
/// let page = quiz("Digits", &[b"real".to_vec()], &[b"fake".to_vec()], 1)?;
/// assert!(page.contains("cmVhbA==") && page.contains("ZmFrZQ==") && !page.contains("http"));
/// # Ok::<(), belamy_gan::Error>(())
/// ```
pub fn quiz(title: &str, real: &[Vec<u8>], fake: &[Vec<u8>], seed: u64) -> Result<String> {
    let count = real.len() + fake.len();
    if count == 0 {
        return Err(Error::data("a quiz needs an image"));
    }
    let draws = Draws { seed, stream: QUIZ_STREAM, step: 0 };
    let mut page = Page::new(&format!("{title}: fake or real?"))?;
    page.add(&format!(
        "<style>{STYLE}</style>
<h1>{title}: fake or real?</h1>
<p class=\"pale\">Some of these {count} images are real, the others were drawn by a generator. Keys: F and R.</p>
<main id=\"game\">
<p id=\"place\" class=\"pale\"></p>
<img id=\"image\" alt=\"fake or real?\">
<p id=\"said\" role=\"status\"></p>
<div><button id=\"fake\">Fake</button><button id=\"real\">Real</button></div>
</main>
<section id=\"end\" hidden><h2 id=\"score\"></h2><p id=\"verdict\"></p><div id=\"all\"></div><button id=\"again\">Again</button></section>
<script>
const cards = [",
        title = escaped(title),
    ))?;
    for place in 0..count as u32 {
        let index = permuted(place, count as u32, &draws) as usize;
        let (image, is_real) = match real.get(index) {
            Some(image) => (image, true),
            None => (&fake[index - real.len()], false),
        };
        page.add(if place == 0 { "[\"" } else { ",\n[\"" })?;
        page.add_address(image)?;
        page.add(&format!("\",{is_real}]"))?;
    }
    page.add(&format!("];\n{SCRIPT}\n</script>"))?;
    page.finished()
}

const STYLE: &str = "
#game, #end { margin-top: 1.5rem; } #game img { width: min(20rem, 100%); border: 1px solid var(--line); display: block; }
#said { min-height: 1.6em; margin: .6rem 0; font-weight: 600; } .right { color: var(--mark); } .wrong { color: var(--bad); }
button { font: inherit; padding: .55rem 1.6rem; margin: 0 .6rem .6rem 0; border: 1px solid var(--ink); border-radius: 4px; background: none; color: inherit; cursor: pointer; }
button:hover, button:focus-visible { background: var(--ink); color: var(--paper); }
#all { display: grid; grid-template-columns: repeat(auto-fill, minmax(5.5rem, 1fr)); gap: .7rem; margin: 1rem 0 1.5rem; }
#all figure img { width: 100%; border: 2px solid var(--mark); } #all figure.wrong img { border-color: var(--bad); } #all figcaption { font-size: .8rem; }
";

const SCRIPT: &str = "
const find = name => document.getElementById(name);
let place = 0, right = 0, guesses = [];
function show() {
  find('place').textContent = `${place + 1} of ${cards.length}`;
  find('image').src = cards[place][0];
}
function guess(real) {
  if (place >= cards.length) return;
  const good = cards[place][1] === real;
  right += good;
  guesses.push(good);
  find('said').textContent = (good ? 'Right' : 'Wrong') + ': it was ' + (cards[place][1] ? 'real' : 'fake');
  find('said').className = good ? 'right' : 'wrong';
  if (++place < cards.length) show(); else end();
}
function end() {
  find('game').hidden = true;
  find('end').hidden = false;
  find('score').textContent = `${right} of ${cards.length} right`;
  const share = right / cards.length;
  find('verdict').textContent = share >= .8 ? 'You are a strong discriminator.'
    : share > .6 ? 'Better than chance.' : 'The generator fools you: this is about chance, or below.';
  find('all').replaceChildren(...cards.map(([image, real], index) => {
    const figure = document.createElement('figure'), picture = document.createElement('img');
    picture.src = image;
    picture.alt = real ? 'a real image' : 'a fake image';
    figure.className = guesses[index] ? '' : 'wrong';
    const words = document.createElement('figcaption');
    words.textContent = (real ? 'real' : 'fake') + (guesses[index] ? '' : ', you erred');
    figure.append(picture, words);
    return figure;
  }));
}
function begin() {
  place = right = 0;
  guesses = [];
  find('game').hidden = false;
  find('end').hidden = true;
  find('said').textContent = '';
  show();
}
find('fake').onclick = () => guess(false);
find('real').onclick = () => guess(true);
find('again').onclick = begin;
document.onkeydown = event => {
  if (event.key === 'f' || event.key === 'F') guess(false);
  if (event.key === 'r' || event.key === 'R') guess(true);
};
begin();
";

#[cfg(test)]
mod tests {
    use super::super::tests::address;
    use super::*;

    #[test]
    fn every_image_is_there_once_and_the_order_is_the_seeds() {
        let images = |kind: u8| (0..6).map(|index| vec![kind, index]).collect::<Vec<_>>();
        let (real, fake) = (images(1), images(2));
        let page = quiz("A <b>", &real, &fake, 3).unwrap();
        assert_eq!(page.matches(",true]").count(), 6);
        assert_eq!(page.matches(",false]").count(), 6);
        for image in real.iter().chain(&fake) {
            assert_eq!(page.matches(&address(image)).count(), 1);
        }
        assert!(page.contains("A &lt;b&gt;") && !page.contains("A <b>"));
        let kinds = |seed| {
            let page = quiz("A", &real, &fake, seed).unwrap();
            let lines = page.lines().filter(|line| line.contains("data:image"));
            lines.map(|line| line.contains("true")).collect::<Vec<_>>()
        };
        assert_eq!(kinds(3), kinds(3));
        assert_ne!(kinds(3), kinds(4));
        assert!(quiz("A", &[], &[], 1).is_err());
    }
}
