//! A recorded step as a list, and how one replay hands its results to the next.
//!
//! What a step replaces (weights, moments, statistics, counters) stands in one place before it and, as new tensors, in
//! another after it. A replay would have to copy each to the old place. Where the kernel that makes the new tensor reads
//! the old one element by element, and nobody reads the old one after it, it may write in the old place at once: then
//! there is nothing to copy.

use crate::driver::{Argument, Reduce};
use crate::source::Source;

/// One thing that was queued while a step was recorded.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// A kernel: see [`Launch`](crate::driver::Launch).
    Launch {
        /// The text that holds it.
        source: &'static Source,
        /// Its entry point.
        entry: String,
        /// How many blocks.
        blocks: u32,
        /// How many threads a block has.
        threads: u32,
        /// Bytes of shared memory besides what it declares.
        shared: u32,
        /// What it is given, in order.
        arguments: Vec<Argument>,
    },
    /// A copy on the device.
    Copy {
        /// Where the bytes lie.
        from: u64,
        /// Where they go.
        to: u64,
        /// How many.
        bytes: usize,
    },
    /// A word, repeated.
    Fill {
        /// Where the first goes.
        address: u64,
        /// The word.
        word: u32,
        /// How often.
        count: usize,
    },
    /// A reduction over ranks.
    Reduce(Reduce),
    /// What follows comes after all reductions that went beside.
    Join,
}

/// Entry points whose threads read of each operand that they replace only the elements that they then write.
const ELEMENTWISE: [&str; 6] =
    ["adam", "sgd", "rmsprop", "running_statistics", "advance_counter", "next_control"];

/// Families whose structs hold lists of addresses, at multiples of eight bytes; those of others hold numbers.
const LISTS: [&str; 2] = ["optimizer", "finite"];

impl Argument {
    /// Whether an address is among the pointers of this argument: itself, or those in a struct of lists.
    fn mentions(&self, address: u64, lists: bool) -> bool {
        match self {
            Argument::Pointer(pointer) => *pointer == address,
            Argument::Struct(bytes) if lists => words(bytes).any(|word| word == address),
            _ => false,
        }
    }

    fn redirect(&mut self, from: u64, to: u64, lists: bool) {
        match self {
            Argument::Pointer(pointer) if *pointer == from => *pointer = to,
            Argument::Struct(bytes) if lists => {
                for word in bytes.chunks_exact_mut(8).filter(|word| *word == from.to_ne_bytes()) {
                    word.copy_from_slice(&to.to_ne_bytes());
                }
            }
            _ => {}
        }
    }
}

/// A struct of lists as the words that may be addresses.
fn words(bytes: &[u8]) -> impl Iterator<Item = u64> {
    bytes.chunks_exact(8).map(|word| u64::from_ne_bytes(word.try_into().expect("eight bytes")))
}

impl Step {
    fn mentions(&self, address: u64) -> bool {
        match self {
            Step::Launch { source, arguments, .. } => {
                let lists = LISTS.contains(&source.family);
                arguments.iter().any(|argument| argument.mentions(address, lists))
            }
            Step::Copy { from, to, .. } => *from == address || *to == address,
            Step::Fill { address: filled, .. } => *filled == address,
            Step::Reduce(Reduce { from, to, .. }) => *from == address || *to == address,
            Step::Join => false,
        }
    }

    fn redirect(&mut self, old: u64, new: u64) {
        let place = |address: &mut u64| {
            if *address == old {
                *address = new;
            }
        };
        match self {
            Step::Launch { source, arguments, .. } => {
                let lists = LISTS.contains(&source.family);
                arguments.iter_mut().for_each(|argument| argument.redirect(old, new, lists));
            }
            Step::Copy { from, to, .. } => [from, to].into_iter().for_each(place),
            Step::Fill { address, .. } => place(address),
            Step::Reduce(Reduce { from, to, .. }) => [from, to].into_iter().for_each(place),
            Step::Join => {}
        }
    }

    fn is_elementwise(&self) -> bool {
        matches!(self, Step::Launch { entry, .. } if ELEMENTWISE.contains(&entry.as_str()))
    }
}

/// A result of a recorded step and the place that the next replay looks for it in.
#[derive(Clone, Copy, Debug)]
pub struct Carried {
    /// Where the step leaves it.
    pub from: u64,
    /// Where the next one reads it.
    pub to: u64,
    /// Its length.
    pub bytes: usize,
}

/// Makes the steps leave each result where the next replay looks for it: in place where that is safe, else by a copy at
/// the end. Copies stand together after all other steps, so that each reads what the step made.
pub fn carry(steps: &mut Vec<Step>, carried: &[Carried]) {
    let mut copies = Vec::new();
    for &Carried { from, to, bytes } in carried {
        let makes = |step: &Step| step.is_elementwise() && step.mentions(from) && step.mentions(to);
        match steps.iter().rposition(makes) {
            Some(made) if !steps[made + 1..].iter().any(|step| step.mentions(to)) => {
                // Before, the address may have been another tensor's, whose memory it was.
                steps[made..].iter_mut().for_each(|step| step.redirect(from, to));
            }
            _ => copies.push(Step::Copy { from, to, bytes }),
        }
    }
    steps.extend(copies);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn launch(entry: &str, pointers: &[u64]) -> Step {
        let arguments = pointers.iter().map(|&pointer| Argument::Pointer(pointer)).collect();
        let entry = entry.to_owned();
        Step::Launch {
            source: Source::of("pointwise").unwrap(),
            entry,
            blocks: 1,
            threads: 1,
            shared: 0,
            arguments,
        }
    }

    const CARRIED: Carried = Carried { from: 200, to: 100, bytes: 8 };

    #[test]
    fn what_is_replaced_element_by_element_is_written_in_place() {
        let mut steps = vec![
            launch("other", &[200]), // another tensor's, before
            launch("other", &[100]),
            launch("running_statistics", &[100, 200]),
            launch("other", &[200, 7]),
        ];
        carry(&mut steps, &[CARRIED]);
        let wanted = [
            launch("other", &[200]),
            launch("other", &[100]),
            launch("running_statistics", &[100, 100]),
            launch("other", &[100, 7]),
        ];
        assert_eq!(steps, wanted);
    }

    #[test]
    fn lists_in_a_struct_are_redirected() {
        let bytes = |words: [u64; 3]| words.map(u64::to_ne_bytes).concat();
        let adam = |words| Step::Launch {
            source: Source::of("optimizer").unwrap(),
            entry: "adam".into(),
            blocks: 1,
            threads: 1,
            shared: 0,
            arguments: vec![Argument::Struct(bytes(words))],
        };
        let mut steps = vec![adam([100, 3, 200])];
        carry(&mut steps, &[CARRIED]);
        assert_eq!(steps, [adam([100, 3, 100])]);
    }

    #[test]
    fn what_is_read_later_or_made_otherwise_is_copied() {
        let copy = Step::Copy { from: 200, to: 100, bytes: 8 };
        for tail in [
            vec![launch("running_statistics", &[100, 200]), launch("other", &[100])],
            vec![launch("matmul", &[100, 200])],
            vec![launch("running_statistics", &[300, 200])],
        ] {
            let mut steps = tail.clone();
            carry(&mut steps, &[CARRIED]);
            assert_eq!(steps, [tail, vec![copy.clone()]].concat());
        }
    }
}
