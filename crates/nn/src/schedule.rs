//! Learning rates over steps.

use belamy_tensor::ops::optimizer::RateSchedule;
use serde::{Deserialize, Serialize};

/// The learning rate as a function of the step, counted from 0.
///
/// ```
/// use belamy_nn::schedule::Schedule;
/// let halved = Schedule::LinearDecay { start: 100, end: 200 };
/// assert_eq!(halved.rate(2e-4, 150), 1e-4);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Schedule {
    /// The base rate throughout.
    #[default]
    Constant,
    /// The base rate until `start`, then in a straight line to 0 at `end`: pix2pix and CycleGAN.
    LinearDecay {
        /// The last step at the base rate.
        start: u64,
        /// The step at which the rate reaches 0.
        end: u64,
    },
    /// The base rate times `factor` every `every` steps: StackGAN.
    Staircase {
        /// Steps between drops; at least 1.
        every: u64,
        /// What each drop multiplies by.
        factor: f64,
    },
    /// The base rate divided by `divisor` each step, but not below `lowest`: Goodfellow (2014).
    Geometric {
        /// What each step divides by.
        divisor: f64,
        /// The floor.
        lowest: f64,
    },
    /// base / (1 + decay · step): Keras' old `decay` argument.
    InverseTime {
        /// The decay per step.
        decay: f64,
    },
}

impl From<Schedule> for RateSchedule {
    /// Steps beyond 2³² − 1 are as good as never.
    fn from(schedule: Schedule) -> RateSchedule {
        let step = |step: u64| u32::try_from(step).unwrap_or(u32::MAX);
        match schedule {
            Schedule::Constant => RateSchedule::Constant,
            Schedule::LinearDecay { start, end } => {
                RateSchedule::Linear { start: step(start), end: step(end) }
            }
            Schedule::Staircase { every, factor } => {
                RateSchedule::Staircase { every: step(every), factor }
            }
            Schedule::Geometric { divisor, lowest } => RateSchedule::Geometric { divisor, lowest },
            Schedule::InverseTime { decay } => RateSchedule::InverseTime { decay },
        }
    }
}

impl Schedule {
    /// The rate at a step.
    pub fn rate(&self, base: f64, step: u64) -> f64 {
        match *self {
            Schedule::Constant => base,
            Schedule::LinearDecay { start, end } => {
                let span = end.saturating_sub(start).max(1) as f64;
                base * (1.0 - step.saturating_sub(start) as f64 / span).clamp(0.0, 1.0)
            }
            Schedule::Staircase { every, factor } => {
                base * factor.powf((step / every.max(1)) as f64)
            }
            Schedule::Geometric { divisor, lowest } => {
                (base / divisor.powf(step as f64)).max(lowest)
            }
            Schedule::InverseTime { decay } => base / (1.0 + decay * step as f64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use belamy_tensor::DType;
    use belamy_tensor::ops::optimizer::next_control;
    use belamy_tensor::ops::random::counter;

    #[test]
    fn the_device_has_the_same_rates() {
        let device = belamy_cpu::oracle();
        let schedules = [
            Schedule::Constant,
            Schedule::LinearDecay { start: 10, end: 20 },
            Schedule::Staircase { every: 5, factor: 0.5 },
            Schedule::Geometric { divisor: 1.25, lowest: 0.2 },
            Schedule::InverseTime { decay: 0.1 },
        ];
        for schedule in schedules {
            let mut made = counter(0, 0, &device).unwrap();
            for step in 0..30 {
                let control;
                (control, made) = next_control(&made, 0.7, schedule.into(), DType::F64).unwrap();
                let wanted = [step as f64 + 1.0, schedule.rate(0.7, step)];
                assert_eq!(control.to_vec::<f64>().unwrap(), wanted, "{schedule:?}");
            }
        }
    }

    #[test]
    fn each_schedule_passes_through_its_stated_points() {
        let linear = Schedule::LinearDecay { start: 10, end: 20 };
        let rates = [0, 10, 15, 20, 99].map(|step| linear.rate(1.0, step));
        assert_eq!(rates, [1.0, 1.0, 0.5, 0.0, 0.0]);
        let stairs = Schedule::Staircase { every: 5, factor: 0.5 };
        assert_eq!([4, 5, 10].map(|step| stairs.rate(1.0, step)), [1.0, 0.5, 0.25]);
        let geometric = Schedule::Geometric { divisor: 2.0, lowest: 0.2 };
        assert_eq!([0, 1, 2, 3].map(|step| geometric.rate(1.0, step)), [1.0, 0.5, 0.25, 0.2]);
        assert_eq!(Schedule::InverseTime { decay: 1.0 }.rate(1.0, 3), 0.25);
    }
}
