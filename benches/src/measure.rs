//! One launch, or one training step, on one device: verified first, timed second.
//!
//! A launch's outputs are full of NaN before it is verified and again before it is timed, and what the timed launches
//! left must be the verified result, bit by bit. What is wrong, or changes, has no time. A step's losses must be the
//! oracle's at a small batch, and at the recipe's own those of the CPU, whose kernels are compared with the oracle's.

use crate::ceilings::{Ceilings, Limit};
use crate::clock::{self, Timing};
use crate::judge::{self, Answer};
use crate::trace::{Launch, TracedStep};
use crate::training::Training;
use belamy_gan::Recipe;
use belamy_tensor::{Buffer, Cost, DType, Device, Result, Tensor};
use serde::Serialize;
use std::time::Instant;

/// What came of a work on a device.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// It is right, and this is what it takes.
    Measured(Figures),
    /// It is wrong: no time.
    Incorrect {
        /// Where it is wrong, and by how much.
        why: String,
    },
    /// The device refused or failed.
    Failed {
        /// What it said.
        why: String,
    },
    /// The device has no place for its operands.
    TooLarge {
        /// What it said.
        why: String,
    },
    /// It was not run, or not timed, because it would have taken too long.
    LeftOut {
        /// How long one run would take or took, in seconds.
        seconds: f64,
    },
}

/// The numbers of a work that is right.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Figures {
    /// What it took, in seconds.
    pub timing: Timing,
    /// The quartiles' distance, as a share of the median.
    pub spread: f64,
    /// 10⁹ floating-point operations a second, by the direct method.
    pub gflop_s: f64,
    /// 10⁹ bytes a second, each operand moved once.
    pub gb_s: f64,
    /// The least time that the device's ceilings allow, over the median.
    pub share: f64,
    /// Which ceiling that is.
    pub limit: Limit,
}

impl Figures {
    /// The figures of a work of this cost that took this.
    pub(crate) fn new(timing: Timing, cost: Cost, ceilings: &Ceilings, cold: bool) -> Figures {
        let (least, limit) = ceilings.least_seconds(cost, cold);
        Figures {
            timing,
            spread: timing.spread(),
            gflop_s: cost.flop as f64 / timing.median / 1e9,
            gb_s: cost.bytes as f64 / timing.median / 1e9,
            share: least / timing.median,
            limit,
        }
    }
}

/// How long a work may take.
#[derive(Clone, Copy, Debug)]
pub struct Allowance {
    /// Timing goes on for about so many seconds.
    pub sampling: f64,
    /// A work of which one run takes longer than this is not timed.
    pub one: f64,
}

/// Goes through the caches between samples, if cold ones were asked for.
#[derive(Debug)]
pub struct Flusher {
    what: Flush,
}

#[derive(Debug)]
enum Flush {
    Nothing,
    Host(Vec<u8>),
    Device(Tensor),
}

/// Larger than any cache.
const FLUSHED: usize = 128 << 20;

impl Flusher {
    /// For a device; with `cold` off it does nothing.
    pub fn new(device: &Device, cold: bool) -> Result<Flusher> {
        let what = match (cold, device.id().name) {
            (false, _) => Flush::Nothing,
            (true, "cpu" | "direct" | "oracle") => Flush::Host(vec![0; FLUSHED]),
            (true, _) => Flush::Device(Tensor::full(0.5, [FLUSHED / 8], DType::F32, device)?),
        };
        Ok(Flusher { what })
    }

    fn is_cold(&self) -> bool {
        !matches!(self.what, Flush::Nothing)
    }

    fn flush(&mut self) -> Result<()> {
        match &mut self.what {
            Flush::Nothing => Ok(()),
            Flush::Host(bytes) => {
                bytes.iter_mut().step_by(64).for_each(|byte| *byte = byte.wrapping_add(1));
                std::hint::black_box(bytes);
                Ok(())
            }
            Flush::Device(x) => {
                x.mul_scalar(0.999)?;
                x.device().synchronize()
            }
        }
    }
}

/// A launch on a device: its operands there, and where its results go.
#[derive(Debug)]
pub struct Ready<'a> {
    launch: &'a Launch,
    device: &'a Device,
    inputs: Vec<Buffer>,
    outputs: Vec<Buffer>,
}

impl<'a> Ready<'a> {
    /// Brings the operands from the CPU, where they were noted.
    pub fn new(launch: &'a Launch, device: &'a Device) -> Result<Ready<'a>> {
        let host = belamy_cpu::cpu();
        let inputs = launch
            .inputs
            .iter()
            .map(|input| {
                let bytes = judge::download(&host, input)?;
                judge::upload(device, input.dtype, input.elements, &bytes)
            })
            .collect::<Result<Vec<_>>>()?;
        let outputs = launch
            .outputs
            .iter()
            .map(|output| device.backend().alloc(output.dtype, output.elements))
            .collect::<Result<Vec<_>>>()?;
        Ok(Ready { launch, device, inputs, outputs })
    }

    /// Fills the outputs with NaN (integers: with the largest).
    fn poison(&mut self) -> Result<()> {
        for output in &mut self.outputs {
            let bytes = vec![0xFF; output.elements * output.dtype.bytes()];
            self.device.backend().write(output, &bytes)?;
        }
        Ok(())
    }

    /// Launches once into outputs full of NaN and compares what comes of it: the results, or what is wrong with them.
    pub fn verify(&mut self, answer: &Answer) -> Result<std::result::Result<Results, String>> {
        self.poison()?;
        self.run(1)?;
        let results = self.results()?;
        Ok(answer.judge(self.launch, &results).map(|()| results))
    }

    /// Launches so many times and waits.
    pub fn run(&mut self, times: usize) -> Result<()> {
        self.queue(times)?;
        self.device.synchronize()
    }

    fn queue(&mut self, times: usize) -> Result<()> {
        let inputs: Vec<&Buffer> = self.inputs.iter().collect();
        for _ in 0..times {
            let Launch { kernel, params, .. } = *self.launch;
            judge::run(self.device, kernel, params, &inputs, &mut self.outputs)?;
        }
        Ok(())
    }

    /// As [`Ready::run`], and how many seconds it took: by the device's clock where it has one.
    fn seconds(&mut self, times: usize) -> Result<f64> {
        let device = self.device;
        if let Some(seconds) = device.backend().device_seconds(&mut || self.queue(times))? {
            return Ok(seconds);
        }
        let start = Instant::now();
        self.run(times)?;
        Ok(start.elapsed().as_secs_f64())
    }

    fn results(&self) -> Result<Results> {
        self.outputs.iter().map(|output| judge::download(self.device, output)).collect()
    }
}

/// The bytes of each output.
pub type Results = Vec<Vec<u8>>;

/// Verifies a launch, whose operands are on the CPU, on a device, and times it if it is right.
pub fn launch(
    launch: &Launch,
    answer: &Answer,
    device: &Device,
    ceilings: &Ceilings,
    flusher: &mut Flusher,
    allowance: Allowance,
) -> Outcome {
    let mut attempt = || -> Result<Outcome> {
        let mut ready = match Ready::new(launch, device) {
            Ok(ready) => ready,
            // One that has still place for a number is sound, and has none for these.
            Err(error) => {
                Tensor::full(1.0, [1], DType::F32, device)?.item()?;
                return Ok(Outcome::TooLarge { why: error.to_string() });
            }
        };
        let results = match ready.verify(answer)? {
            Ok(results) => results,
            Err(why) => return Ok(Outcome::Incorrect { why }),
        };
        ready.poison()?;
        // The first launch may have compiled something: this one tells how long a launch is.
        let start = Instant::now();
        ready.run(1)?;
        let one = start.elapsed().as_secs_f64();
        if one > allowance.one {
            return Ok(Outcome::LeftOut { seconds: one });
        }
        let cold = flusher.is_cold();
        let between = || flusher.flush();
        let timing =
            clock::time(allowance.sampling, one, cold, |times| ready.seconds(times), between)?;
        if ready.results()? != results {
            let why = "the timed launches left another result than the verified one".to_owned();
            return Ok(Outcome::Incorrect { why });
        }
        Ok(Outcome::Measured(Figures::new(timing, launch.cost(), ceilings, cold)))
    };
    attempt().unwrap_or_else(|error| Outcome::Failed { why: error.to_string() })
}

/// What a recipe's first step comes to on the oracle, at a batch that it can afford.
#[derive(Clone, Debug)]
pub struct StepAnswer {
    recipe: Recipe,
    losses: [f64; 2],
}

/// The batch of the step that is compared with the oracle's: batch norm needs two samples to differ.
const SMALL_BATCH: usize = 2;
/// How far losses may be from each other, relative to 1 + |loss|: an optimiser's first steps turn gradients near zero
/// into whole steps by their sign, so rounding shows, but less than any mistake does.
const LOSSES_MAY_DIFFER: f64 = 2e-3;

/// Says which loss of a step is not what it should be.
fn judge_losses(got: [f64; 2], want: [f64; 2], whose: &str) -> std::result::Result<(), String> {
    for (name, got, want) in [("loss_d", got[0], want[0]), ("loss_g", got[1], want[1])] {
        let close = (got - want).abs() <= LOSSES_MAY_DIFFER * (1.0 + want.abs());
        if !close {
            return Err(format!("{name} is {got:.6}, {whose} {want:.6}"));
        }
    }
    Ok(())
}

impl StepAnswer {
    /// What share of a recipe's step [`StepAnswer::to`] makes the oracle do.
    pub fn share(recipe: &Recipe) -> f64 {
        recipe.batch.min(SMALL_BATCH) as f64 / recipe.batch as f64
    }

    /// Makes one step on the oracle. The generator's loss shows the discriminator's update.
    pub fn to(recipe: &Recipe, oracle: &Device) -> belamy_gan::Result<StepAnswer> {
        let mut recipe = recipe.clone();
        recipe.batch = recipe.batch.min(SMALL_BATCH);
        let losses = Training::new(&recipe, oracle)?.step()?;
        Ok(StepAnswer { recipe, losses })
    }

    /// Says where a device's losses are not the oracle's.
    pub fn judge(&self, device: &Device) -> belamy_gan::Result<std::result::Result<(), String>> {
        let got = Training::new(&self.recipe, device)?.step()?;
        let whose = format!("at batch {} the oracle's", self.recipe.batch);
        Ok(judge_losses(got, self.losses, &whose))
    }
}

/// Times a recipe's training step on a device, if its first ones have the losses that the CPU's had.
pub fn step(
    recipe: &Recipe,
    traced: &TracedStep,
    device: &Device,
    ceilings: &Ceilings,
    flusher: &mut Flusher,
    allowance: Allowance,
) -> Outcome {
    let mut attempt = || -> belamy_gan::Result<Outcome> {
        let mut training = Training::new(recipe, device)?;
        let mut one = 0.0;
        for (step, &want) in traced.losses.iter().enumerate() {
            let start = Instant::now();
            let got = training.step()?;
            // The first step may have compiled something.
            one = start.elapsed().as_secs_f64();
            if let Err(why) = judge_losses(got, want, "the CPU's") {
                return Ok(Outcome::Incorrect { why: format!("at step {}: {why}", step + 1) });
            }
        }
        if one > allowance.one {
            return Ok(Outcome::LeftOut { seconds: one });
        }
        let cold = flusher.is_cold();
        // Steps are queued as a run queues them between two lines of its log.
        let run = |steps: usize| {
            let start = Instant::now();
            (0..steps).try_for_each(|_| training.queue())?;
            training.losses()?;
            Ok::<f64, belamy_gan::Error>(start.elapsed().as_secs_f64())
        };
        let between = || Ok(flusher.flush()?);
        let timing = clock::time(allowance.sampling, one, true, run, between)?;
        Ok(Outcome::Measured(Figures::new(timing, traced.cost, ceilings, cold)))
    };
    attempt().unwrap_or_else(|error| Outcome::Failed { why: error.to_string() })
}
