//! Belamy's kernel lab: somebody else's kernel in the place of one of Belamy's, checked against the oracle.
//!
//! | file | what it holds |
//! |---|---|
//! | [`interface`] | what each kernel is given and what it must write |
//! | [`language`] | in which languages a kernel may come, and how its file says on what grid it runs |
//! | [`template`] | a file to begin with, for each kernel and language |
//! | [`stranger`] | a device that runs the kernel in the place of its own |
//! | `library`, `guarded` | kernels of a shared library, on memory that ends where a page ends |
//! | [`judge`] | in a process of its own: the case table |
//! | [`verdict`] | what came of it, and asking such a process |
//!
//! A kernel is a stranger: it may be wrong, read and write where it must not, never end, or take its process down. So it
//! is run in a process that is there for nothing else, and whatever becomes of that, [`verdict::ask`] says what.

pub mod interface;
pub mod judge;
pub mod language;
pub mod stranger;
pub mod template;
pub mod verdict;

#[cfg(unix)]
mod guarded;
mod library;
