//! One step of each optimiser, written out by hand, for two parameters of different shapes at once.

use crate::case::Case;
use crate::values::Domain;
use belamy_tensor::ops::concat::concat;
use belamy_tensor::ops::optimizer::{
    AdamOptions, EpsilonForm, RateSchedule, RmspropOptions, SgdOptions, adam, global_norm,
    next_control, rmsprop, sgd,
};
use belamy_tensor::{DType, Result, Tensor};

/// Everything an update returns, in one vector.
fn flat(tensors: &[Tensor]) -> Result<Tensor> {
    let vectors = tensors
        .iter()
        .map(|tensor| tensor.reshape([tensor.shape().elements()]))
        .collect::<Result<Vec<_>>>()?;
    concat(&vectors.iter().collect::<Vec<_>>(), 0)
}

/// A case's operands: control, two parameters, their gradients, and `states` lists of state.
fn operands(
    mut case: Case,
    shapes: [&[usize]; 2],
    states: &[Domain],
    step: f64,
    rate: f64,
) -> Case {
    case = case.constant(&[2], Domain::Fixed(vec![step, rate]));
    for domain in [Domain::Normal, Domain::Normal].iter().chain(states) {
        for shape in shapes {
            case = case.constant(shape, domain.clone());
        }
    }
    case.slack(8.0)
}

/// Calls `element(p, g, state...)` for every element and lays its results out as the op does: list after list.
fn update(
    t: &[Vec<f64>],
    states: usize,
    element: impl Fn(f64, f64, &[f64]) -> Vec<f64>,
) -> Vec<f64> {
    let mut lists: Vec<Vec<f64>> = vec![Vec::new(); 1 + states];
    for parameter in 0..2 {
        for index in 0..t[1 + parameter].len() {
            let at = |list: usize| t[1 + 2 * list + parameter][index];
            let state: Vec<f64> = (2..2 + states).map(at).collect();
            let results = element(at(0), at(1), &state);
            results.into_iter().zip(&mut lists).for_each(|(result, list)| list.push(result));
        }
    }
    lists.concat()
}

fn refs<const N: usize>(t: &[Tensor], from: usize) -> [&Tensor; N] {
    std::array::from_fn(|index| &t[from + index])
}

fn adam_case(variant: &str, shapes: [&[usize]; 2], options: AdamOptions, step: f64) -> Case {
    let rate = 0.125;
    let case = Case::new("adam", variant, move |t| {
        let (p, g, m, v): ([_; 2], [_; 2], [_; 2], [_; 2]) =
            (refs(t, 1), refs(t, 3), refs(t, 5), refs(t, 7));
        let new = adam(&t[0], &p, &g, &m, &v, options)?;
        flat(&[new.params, new.first_moments, new.second_moments].concat())
    });
    operands(case, shapes, &[Domain::Normal, Domain::Positive], step, rate).host_reference(
        move |t| {
            update(t, 2, |p, g, state| {
                let g = g + options.weight_decay * p;
                let m = options.beta_1 * state[0] + (1.0 - options.beta_1) * g;
                let v = options.beta_2 * state[1] + (1.0 - options.beta_2) * g * g;
                let (a, b) = (1.0 - options.beta_1.powf(step), 1.0 - options.beta_2.powf(step));
                let change = match options.epsilon_form {
                    EpsilonForm::Pytorch => (m / a) / ((v / b).sqrt() + options.epsilon),
                    EpsilonForm::Keras => b.sqrt() / a * m / (v.sqrt() + options.epsilon),
                };
                vec![p - rate * change, m, v]
            })
        },
    )
}

fn sgd_case(variant: &str, shapes: [&[usize]; 2], options: SgdOptions) -> Case {
    let rate = 0.25;
    let velocities = options.momentum > 0.0;
    let case = Case::new("sgd", variant, move |t| {
        let (p, g): ([_; 2], [_; 2]) = (refs(t, 1), refs(t, 3));
        let u: Vec<&Tensor> = if velocities { refs::<2>(t, 5).to_vec() } else { Vec::new() };
        let new = sgd(&t[0], &p, &g, &u, options)?;
        flat(&[new.params, new.velocities].concat())
    });
    let states: &[Domain] = if velocities { &[Domain::Normal] } else { &[] };
    operands(case, shapes, states, 3.0, rate).host_reference(move |t| {
        update(t, usize::from(velocities), |p, g, state| {
            let g = g + options.weight_decay * p;
            let u = state.first().map_or(g, |u| options.momentum * u + g);
            let change = if options.nesterov { g + options.momentum * u } else { u };
            vec![p - rate * change, u]
        })
    })
}

fn rmsprop_case(variant: &str, shapes: [&[usize]; 2], options: RmspropOptions) -> Case {
    let rate = 0.125;
    let velocities = options.momentum > 0.0;
    let case = Case::new("rmsprop", variant, move |t| {
        let (p, g, s): ([_; 2], [_; 2], [_; 2]) = (refs(t, 1), refs(t, 3), refs(t, 5));
        let u: Vec<&Tensor> = if velocities { refs::<2>(t, 7).to_vec() } else { Vec::new() };
        let new = rmsprop(&t[0], &p, &g, &s, &u, options)?;
        flat(&[new.params, new.mean_squares, new.velocities].concat())
    });
    let states = [Domain::Positive, Domain::Normal];
    let states = &states[..1 + usize::from(velocities)];
    operands(case, shapes, states, 3.0, rate).host_reference(move |t| {
        update(t, 1 + usize::from(velocities), |p, g, state| {
            let g = g + options.weight_decay * p;
            let s = options.rho * state[0] + (1.0 - options.rho) * g * g;
            let keras = options.epsilon_form == EpsilonForm::Keras;
            let d = match keras {
                false => g / (s.sqrt() + options.epsilon),
                true => rate * g / (s + options.epsilon).sqrt(),
            };
            let u = state.get(1).map_or(d, |u| options.momentum * u + d);
            vec![p - if keras { u } else { rate * u }, s, u]
        })
    })
}

/// The rate at each of four updates, and their numbers.
fn control_case(
    variant: &str,
    schedule: RateSchedule,
    rate: impl Fn(f64) -> f64 + Send + Sync + 'static,
) -> Case {
    control_case_at([0, 3, 10, 24], variant, schedule, rate)
}

fn control_case_at(
    starts: [u32; 4],
    variant: &str,
    schedule: RateSchedule,
    rate: impl Fn(f64) -> f64 + Send + Sync + 'static,
) -> Case {
    let mut case = Case::new("next_control", variant, move |t| {
        let made = t[1..].iter();
        let controls = made
            .map(|made| Ok(next_control(made, 0.25, schedule, t[0].dtype())?.0))
            .collect::<Result<Vec<_>>>()?;
        concat(&controls.iter().collect::<Vec<_>>(), 0)
    })
    .constant(&[1], Domain::Normal);
    for start in starts {
        case = case.constant(&[2], Domain::Integers(vec![start, 5]));
    }
    case.slack(16.0).host_reference(move |t| {
        t[1..].iter().flat_map(|made| [made[0] + 1.0, 0.25 * rate(made[0])]).collect()
    })
}

/// The family's cases.
pub fn cases() -> Vec<Case> {
    let small: [&[usize]; 2] = [&[3, 4], &[5]];
    let large: [&[usize]; 2] = [&[201, 103], &[7]];
    let keras = EpsilonForm::Keras;
    let mut cases = vec![
        control_case("constant", RateSchedule::Constant, |_| 1.0),
        control_case("linear", RateSchedule::Linear { start: 3, end: 11 }, |n| {
            (1.0 - (n - 3.0).max(0.0) / 8.0).max(0.0)
        }),
        control_case("staircase", RateSchedule::Staircase { every: 4, factor: 0.5 }, |n| {
            0.5f64.powf((n / 4.0).floor())
        }),
        control_case(
            "staircase to nothing",
            RateSchedule::Staircase { every: 4, factor: 0.0 },
            |n| {
                if n < 4.0 { 1.0 } else { 0.0 }
            },
        ),
        control_case(
            "geometric",
            RateSchedule::Geometric { divisor: 1.125, lowest: 0.0625 },
            |n| 1.125f64.powf(-n).max(0.25),
        ),
        // Where a careless exponential underflows into something huge.
        control_case_at(
            [400, 2000, 2547, 3000],
            "geometric, at last",
            RateSchedule::Geometric { divisor: 1.125, lowest: 0.0625 },
            |_| 0.25,
        ),
        control_case("inverse time", RateSchedule::InverseTime { decay: 0.125 }, |n| {
            1.0 / (1.0 + 0.125 * n)
        }),
        Case::new("next_control", "counter", |t| {
            Ok(next_control(&t[0], 0.25, RateSchedule::Constant, DType::F32)?.1)
        })
        .constant(&[2], Domain::Integers(vec![6, 5]))
        .rounded()
        .host_reference(|t| vec![t[0][0] + 1.0, t[0][1]]),
    ];
    for (variant, options, step) in [
        ("first step", AdamOptions::default(), 1.0),
        ("later step", AdamOptions { beta_1: 0.5, ..AdamOptions::default() }, 7.0),
        ("decay", AdamOptions { weight_decay: 0.25, ..AdamOptions::default() }, 3.0),
        (
            "keras",
            AdamOptions { epsilon: 1e-2, epsilon_form: keras, ..AdamOptions::default() },
            2.0,
        ),
        ("large epsilon", AdamOptions { epsilon: 0.1, ..AdamOptions::default() }, 2.0),
    ] {
        cases.push(adam_case(variant, small, options, step));
    }
    cases.push(adam_case("large", large, AdamOptions::default(), 4.0).large());
    for (variant, momentum, nesterov, weight_decay) in [
        ("plain", 0.0, false, 0.0),
        ("decay", 0.0, false, 0.25),
        ("momentum", 0.75, false, 0.0),
        ("nesterov", 0.75, true, 0.125),
    ] {
        cases.push(sgd_case(variant, small, SgdOptions { momentum, nesterov, weight_decay }));
    }
    let options = SgdOptions { momentum: 0.75, nesterov: false, weight_decay: 0.0 };
    cases.push(sgd_case("large", large, options).large());
    for (variant, momentum, weight_decay, epsilon, epsilon_form) in [
        ("plain", 0.0, 0.0, 1e-8, EpsilonForm::Pytorch),
        ("momentum and decay", 0.75, 0.25, 1e-2, EpsilonForm::Pytorch),
        ("keras", 0.0, 0.0, 1e-2, keras),
        ("keras with momentum", 0.75, 0.125, 1e-2, keras),
    ] {
        let options = RmspropOptions { rho: 0.9, epsilon, momentum, weight_decay, epsilon_form };
        cases.push(rmsprop_case(variant, small, options));
    }
    let options = RmspropOptions { momentum: 0.75, ..RmspropOptions::default() };
    cases.push(rmsprop_case("large", large, options).large());
    for (variant, shapes) in [("small", small), ("large", large)] {
        let terms = shapes.iter().map(|shape| shape.iter().product::<usize>()).sum();
        let mut case = Case::new("global_norm", variant, |t| global_norm(&[&t[0], &t[1]]))
            .reduction(terms)
            .host_reference(|t| vec![t.iter().flatten().map(|g| g * g).sum::<f64>().sqrt()]);
        for shape in shapes {
            case = case.constant(shape, Domain::Normal);
        }
        cases.push(if variant == "large" { case.large() } else { case });
    }
    cases
}
