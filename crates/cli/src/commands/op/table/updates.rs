//! Optimisers' updates of one parameter, and what watches training.

use crate::commands::op::entry::{Entry, Form, Given, Outputs};
use belamy_tensor::ops::finite::count_non_finite;
use belamy_tensor::ops::optimizer::{
    AdamOptions, EpsilonForm, RateSchedule, RmspropOptions, SgdOptions, adam, global_norm,
    next_control, rmsprop, sgd,
};
use belamy_tensor::ops::random::counter;
use belamy_tensor::{DType, Result, Tensor};

/// A state's tensor, or the zeros that it starts from.
fn state(given: &Given, name: &str) -> Result<Tensor> {
    let param = given.tensor("param");
    match given.optional(name) {
        Some(tensor) => Ok(tensor.clone()),
        // Integer parameters are for the update to refuse.
        None if !param.dtype().is_float() => Ok(param.clone()),
        None => param.zeros_like(),
    }
}

/// The velocity, where there is momentum or one is given (which an update without momentum refuses).
fn velocities(given: &Given) -> Result<Option<Tensor>> {
    let wanted = given.number("momentum") > 0.0 || given.optional("velocity").is_some();
    wanted.then(|| state(given, "velocity")).transpose()
}

/// The step and the learning rate in the parameter's type.
fn control(given: &Given) -> Result<Tensor> {
    let dtype = given.tensor("param").dtype();
    let dtype = if dtype.is_float() { dtype } else { DType::F32 };
    let step = if given.has("step") { f64::from(given.whole("step")) } else { 1.0 };
    Tensor::from_f64(&[step, given.number("learning_rate")], [2], dtype, &given.device)
}

fn epsilon_form(given: &Given) -> EpsilonForm {
    if given.is("epsilon_form", "keras") { EpsilonForm::Keras } else { EpsilonForm::Pytorch }
}

/// The lists that an update of one parameter returns, under their names.
fn named<const N: usize>(lists: [(&'static str, Vec<Tensor>); N]) -> Outputs {
    let one = |(name, list): (_, Vec<Tensor>)| list.into_iter().next().map(|tensor| (name, tensor));
    lists.into_iter().filter_map(one).collect()
}

/// The updates and the watchers, none of which has a derivative.
pub(super) fn entries() -> Vec<Entry> {
    let of_param = |entry: Entry| {
        entry
            .tensor("param", "[..]")
            .tensor("grad", "[..]")
            .wants("learning_rate", Form::Number)
            .takes("weight_decay", Form::Number, "0")
            .without_derivative()
    };
    let forms = Form::Word(&["pytorch", "keras"]);
    vec![
        of_param(Entry::several("adam", "one step of Adam; also both moments", |given| {
            let options = AdamOptions {
                beta_1: given.number("beta_1"),
                beta_2: given.number("beta_2"),
                epsilon: given.number("epsilon"),
                weight_decay: given.number("weight_decay"),
                epsilon_form: epsilon_form(given),
            };
            let (param, grad) = (given.tensor("param"), given.tensor("grad"));
            let (first, second) = (state(given, "first_moment")?, state(given, "second_moment")?);
            let new = adam(&control(given)?, &[param], &[grad], &[&first], &[&second], options)?;
            Ok(named([
                ("output", new.params),
                ("first_moment", new.first_moments),
                ("second_moment", new.second_moments),
            ]))
        }))
        .optional("first_moment", "[..], zeros at first")
        .optional("second_moment", "[..], zeros at first")
        .takes("step", Form::Whole, "1")
        .takes("beta_1", Form::Number, "0.9")
        .takes("beta_2", Form::Number, "0.999")
        .takes("epsilon", Form::Number, "1e-8")
        .takes("epsilon_form", forms, "pytorch"),
        of_param(Entry::several("sgd", "one step of descent; also the velocity", |given| {
            let options = SgdOptions {
                momentum: given.number("momentum"),
                nesterov: given.flag("nesterov"),
                weight_decay: given.number("weight_decay"),
            };
            let (param, grad) = (given.tensor("param"), given.tensor("grad"));
            let velocities = velocities(given)?;
            let velocities: Vec<&Tensor> = velocities.iter().collect();
            let new = sgd(&control(given)?, &[param], &[grad], &velocities, options)?;
            Ok(named([("output", new.params), ("velocity", new.velocities)]))
        }))
        .optional("velocity", "[..], with momentum; zeros at first")
        .takes("momentum", Form::Number, "0")
        .takes("nesterov", Form::Flag, "false"),
        of_param(Entry::several(
            "rmsprop",
            "one step of RMSprop; also the mean square and the velocity",
            |given| {
                let options = RmspropOptions {
                    rho: given.number("rho"),
                    epsilon: given.number("epsilon"),
                    momentum: given.number("momentum"),
                    weight_decay: given.number("weight_decay"),
                    epsilon_form: epsilon_form(given),
                };
                let (param, grad) = (given.tensor("param"), given.tensor("grad"));
                let square = state(given, "mean_square")?;
                let velocities = velocities(given)?;
                let velocities: Vec<&Tensor> = velocities.iter().collect();
                let control = control(given)?;
                let new = rmsprop(&control, &[param], &[grad], &[&square], &velocities, options)?;
                Ok(named([
                    ("output", new.params),
                    ("mean_square", new.mean_squares),
                    ("velocity", new.velocities),
                ]))
            },
        ))
        .optional("mean_square", "[..], zeros at first")
        .optional("velocity", "[..], with momentum; zeros at first")
        .takes("momentum", Form::Number, "0")
        .takes("rho", Form::Number, "0.99")
        .takes("epsilon", Form::Number, "1e-8")
        .takes("epsilon_form", forms, "pytorch"),
        Entry::new("global_norm", "the Euclidean norm of all elements together", |given| {
            global_norm(&given.tensors("x"))
        })
        .tensors("x", "[..]")
        .without_derivative(),
        Entry::several(
            "next_control",
            "the next update's number and learning rate, after `updates` made; also the `counter`",
            |given| {
                let made = counter(given.whole("updates"), 0, &given.device)?;
                let (start, end) = (given.whole("start"), given.whole("end"));
                let (factor, lowest) = (given.number("factor"), given.number("lowest"));
                let schedule = [
                    ("linear", RateSchedule::Linear { start, end }),
                    ("staircase", RateSchedule::Staircase { every: end, factor }),
                    ("geometric", RateSchedule::Geometric { divisor: factor, lowest }),
                    ("inverse_time", RateSchedule::InverseTime { decay: factor }),
                ]
                .into_iter()
                .find(|(word, _)| given.is("schedule", word))
                .map_or(RateSchedule::Constant, |(_, schedule)| schedule);
                let rate = given.number("learning_rate");
                let (control, counter) = next_control(&made, rate, schedule, DType::F32)?;
                Ok(vec![("output", control), ("counter", counter)])
            },
        )
        .wants("learning_rate", Form::Number)
        .takes("updates", Form::Whole, "0")
        .takes(
            "schedule",
            Form::Word(&["constant", "linear", "staircase", "geometric", "inverse_time"]),
            "constant",
        )
        .takes("start", Form::Whole, "0")
        .takes("end", Form::Whole, "1")
        .takes("factor", Form::Number, "1")
        .takes("lowest", Form::Number, "0")
        .without_derivative(),
        Entry::new("count_non_finite", "how many elements are infinite or NaN", |given| {
            count_non_finite(&given.tensors("x"))
        })
        .tensors("x", "[..]")
        .without_derivative(),
    ]
}
