//! Belamy's case table: every op once, checked in every way that applies to it.
//!
//! | file | what it holds |
//! |---|---|
//! | [`case`] | what a case is: inputs, the op, and what is known of it |
//! | [`values`] | seeded inputs, away from where derivatives break |
//! | [`compare`] | the comparator: a bound per element, written so that NaN fails |
//! | [`answers`] | what the oracle says of a case, computed once for all checks |
//! | [`evaluate`] | a case's output and gradients as numbers |
//! | [`gradcheck`] | gradients, and gradients of gradients, against central differences |
//! | [`adjoint`] | ⟨A x, y⟩ = ⟨x, Aᵀ y⟩ for every slot in which an op is linear |
//! | [`parity`] | a device against the oracle; twice; on other threads; an input used twice; the definition |
//! | [`golden`] | numbers that another implementation computed |
//! | [`plan`] | which checks a case asks for, and running them |
//! | [`report`] | how many checks were made of each op, and what failed |
//! | [`margins`] | how far from their bounds the others are: the table in `gradients.md` |
//! | [`require`] | what `BELAMY_REQUIRE` names must be there |
//! | [`trace`] | which kernels a case launches |
//! | [`mutants`] | kernels made wrong on purpose, which the table must reject |
//! | [`watched`] | a process that may do what it likes: how it ended is heard |
//! | [`ops`] | the cases, a file a family |
//!
//! `belamy check` runs the same table on the devices of a user's machine.
#![forbid(unsafe_code)]
#![allow(
    clippy::neg_cmp_op_on_partial_ord,
    reason = "`!(error <= bound)` fails NaN, which `error > bound` lets pass"
)]

pub mod adjoint;
pub mod answers;
pub mod case;
pub mod compare;
pub mod evaluate;
pub mod golden;
pub mod gradcheck;
pub mod margins;
pub mod mutants;
pub mod ops;
pub mod parity;
pub mod plan;
pub mod report;
pub mod require;
pub mod rounding;
pub mod trace;
pub mod values;
pub mod watched;

pub use case::{Case, Input};
pub use report::{Mode, Report};
pub use values::Domain;
