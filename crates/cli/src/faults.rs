//! Ranks that fail on purpose, for tests of what the others make of it. In no ordinary build: feature `faults`.
//!
//! `BELAMY_FAULT=KIND:RANK:CALL` makes one rank fail at its CALL-th call to the others, from 1; `nan` and `diverged` spoil
//! its weights before the first step instead.

use crate::failure::{Failure, Result};
use belamy_gan::trainer::Trainer;
use belamy_tensor::Tensor;
use belamy_tensor::communicator::{Communicator, Numbers, Ranks};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How a rank fails.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    /// SIGKILL.
    Kill,
    /// SIGSTOP: it is there, and does nothing.
    Stop,
    Panic,
    /// `exit(3)`.
    Exit,
    Abort,
    /// It goes on living, and does not come to the call.
    Silent,
    /// One of its weights is not a number.
    Nan,
    /// One of its weights is another than the other ranks'.
    Diverged,
}

#[derive(Debug, Clone, Copy)]
struct Fault {
    kind: Kind,
    rank: usize,
    call: u64,
}

fn asked_for() -> Result<Option<Fault>> {
    let Ok(text) = std::env::var("BELAMY_FAULT") else { return Ok(None) };
    let words: Vec<&str> = text.split(':').collect();
    let fault = match words[..] {
        [kind, rank, call] => {
            let kind = match kind {
                "kill" => Some(Kind::Kill),
                "stop" => Some(Kind::Stop),
                "panic" => Some(Kind::Panic),
                "exit" => Some(Kind::Exit),
                "abort" => Some(Kind::Abort),
                "silent" => Some(Kind::Silent),
                "nan" => Some(Kind::Nan),
                "diverged" => Some(Kind::Diverged),
                _ => None,
            };
            match (kind, rank.parse(), call.parse()) {
                (Some(kind), Ok(rank), Ok(call)) => Some(Fault { kind, rank, call }),
                _ => None,
            }
        }
        _ => None,
    };
    match fault {
        Some(fault) => Ok(Some(fault)),
        None => Err(Failure::usage(format!("BELAMY_FAULT={text}: is not KIND:RANK:CALL"))),
    }
}

/// The ranks, of which one fails at one of its calls.
pub(crate) fn among(ranks: Vec<Ranks>) -> Result<Vec<Ranks>> {
    let Some(fault) = asked_for()? else { return Ok(ranks) };
    let faulty = |ranks: Ranks| -> Ranks {
        if ranks.rank() != fault.rank {
            return ranks;
        }
        Arc::new(Faulty { ranks, fault, calls: Arc::default() })
    };
    Ok(ranks.into_iter().map(faulty).collect())
}

/// Spoils a weight of the rank that is to have a wrong one.
pub(crate) fn spoil(trainer: &dyn Trainer, ranks: &Ranks) -> Result<()> {
    let Some(Fault { kind, rank, .. }) = asked_for()? else { return Ok(()) };
    if ranks.rank() != rank || !matches!(kind, Kind::Nan | Kind::Diverged) {
        return Ok(());
    }
    let network = trainer.parts()[0].network;
    let Some((_, param)) = network.params().into_iter().find(|(_, param)| param.is_trainable())
    else {
        return Ok(());
    };
    let mut values = param.value().to_vec::<f32>()?;
    values[0] = if kind == Kind::Nan { f32::NAN } else { values[0] + 0.01 };
    let value = param.value();
    param.set(Tensor::from_slice(&values, value.shape(), value.device())?);
    Ok(())
}

#[derive(Debug)]
struct Faulty {
    ranks: Ranks,
    fault: Fault,
    /// Of both ways to the others.
    calls: Arc<AtomicU64>,
}

impl Faulty {
    fn called(&self) {
        if self.calls.fetch_add(1, Ordering::Relaxed) + 1 != self.fault.call {
            return;
        }
        use signal_hook::consts::{SIGKILL, SIGSTOP};
        let raise = |signal| {
            // There is nothing to do where it cannot be raised.
            let _ = signal_hook::low_level::raise(signal);
        };
        match self.fault.kind {
            Kind::Kill => raise(SIGKILL),
            Kind::Stop => raise(SIGSTOP),
            Kind::Panic => panic!("a fault that was asked for"),
            Kind::Exit => std::process::exit(3),
            Kind::Abort => std::process::abort(),
            Kind::Silent => std::thread::sleep(Duration::from_secs(1_000_000)),
            Kind::Nan | Kind::Diverged => {}
        }
    }
}

impl Communicator for Faulty {
    fn rank(&self) -> usize {
        self.ranks.rank()
    }

    fn size(&self) -> usize {
        self.ranks.size()
    }

    fn all_gather(&self, mine: &[u8]) -> belamy_tensor::Result<Vec<Vec<u8>>> {
        self.called();
        self.ranks.all_gather(mine)
    }

    fn all_reduce_sum(&self, numbers: Numbers<'_>) -> belamy_tensor::Result<()> {
        self.called();
        self.ranks.all_reduce_sum(numbers)
    }

    fn beside(&self) -> Ranks {
        let (ranks, calls) = (self.ranks.beside(), Arc::clone(&self.calls));
        Arc::new(Faulty { ranks, fault: self.fault, calls })
    }

    fn leave(&self, why: &str) {
        self.ranks.leave(why);
    }

    fn deadline(&self) -> Duration {
        self.ranks.deadline()
    }
}
