//! What an op takes: tensors and attributes by name, and what one call was given of them.

use crate::failure::{Failure, Result};
use belamy_gan::recipe::suggestion;
use belamy_tensor::ops::conv2d::Window;
use belamy_tensor::ops::random::{RandomKey, counter};
use belamy_tensor::{DType, Device, Shape, Tensor};
use std::collections::BTreeMap;

/// Sides, strides and paddings beyond this are mistakes; products of two of them fit any integer here.
const MOST: usize = 1 << 20;

/// What an attribute's value looks like.
#[derive(Clone, Copy, Debug)]
pub(super) enum Form {
    Number,
    /// From 0, below 2³².
    Whole,
    /// From 0, below 2⁶⁴.
    Seed,
    Flag,
    /// (height, width); one number stands for both.
    Pair,
    Sizes,
    /// Rows and columns around a plane.
    Border,
    /// A border of zeros, or `same`.
    Padding,
    Word(&'static [&'static str]),
}

impl Form {
    /// What a value must be, as an error says it.
    pub(super) fn wants(self) -> String {
        match self {
            Form::Number => "a number".into(),
            Form::Whole => "a whole number below 2^32".into(),
            Form::Seed => "a whole number below 2^64".into(),
            Form::Flag => "true or false".into(),
            Form::Pair => format!("N or HEIGHT,WIDTH, whole numbers up to {MOST}"),
            Form::Sizes => "whole numbers with commas between".into(),
            Form::Border => format!("N, HEIGHT,WIDTH or TOP,BOTTOM,LEFT,RIGHT, up to {MOST}"),
            Form::Padding => {
                format!("N, HEIGHT,WIDTH, TOP,BOTTOM,LEFT,RIGHT, up to {MOST}, or same")
            }
            Form::Word(words) => words.join(" or "),
        }
    }

    /// What stands for a value in a list of attributes.
    fn placeholder(self) -> String {
        match self {
            Form::Number => "X".into(),
            Form::Whole | Form::Seed => "N".into(),
            Form::Flag => "true|false".into(),
            Form::Pair => "H,W".into(),
            Form::Sizes => "N,N,..".into(),
            Form::Border | Form::Padding => "TOP,BOTTOM,LEFT,RIGHT".into(),
            Form::Word(words) => words.join("|"),
        }
    }

    fn parse(self, word: &str) -> Option<Value> {
        match self {
            Form::Number => word.parse().ok().filter(|x: &f64| !x.is_nan()).map(Value::Number),
            Form::Whole => word.parse::<u32>().ok().map(|whole| Value::Whole(whole.into())),
            Form::Seed => word.parse().ok().map(Value::Whole),
            Form::Flag => word.parse().ok().map(Value::Flag),
            Form::Pair => small_sizes(word, &[1, 2]),
            Form::Sizes => sizes(word).map(Value::Sizes),
            Form::Padding if word == "same" => Some(Value::Same),
            Form::Border | Form::Padding => small_sizes(word, &[1, 2, 4]),
            Form::Word(words) => {
                words.iter().find(|known| **known == word).map(|known| Value::Word(known))
            }
        }
    }
}

/// `2,1`; an empty word is an empty list: the axes of a scalar.
fn sizes(word: &str) -> Option<Vec<usize>> {
    if word.is_empty() {
        return Some(Vec::new());
    }
    word.split(',').map(|size| size.trim().parse::<u32>().ok().map(|size| size as usize)).collect()
}

fn small_sizes(word: &str, lengths: &[usize]) -> Option<Value> {
    let sizes = sizes(word)?;
    let fits = lengths.contains(&sizes.len()) && sizes.iter().all(|&size| size <= MOST);
    fits.then_some(Value::Sizes(sizes))
}

/// An attribute's value.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Number(f64),
    Whole(u64),
    Flag(bool),
    Sizes(Vec<usize>),
    Same,
    Word(&'static str),
}

/// What an attribute is where it is not given.
#[derive(Clone, Copy, Debug)]
pub(super) enum Otherwise {
    /// It must be given.
    Required,
    /// This value.
    Is(&'static str),
    /// What this says, which depends on the rest of the call.
    Means(&'static str),
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Attribute {
    pub(super) name: &'static str,
    pub(super) form: Form,
    pub(super) otherwise: Otherwise,
}

impl Attribute {
    /// `stride=1` with its default, `kernel=H,W` where it must be given, `[axes=N,N,..: all]` where its absence
    /// means something.
    pub(super) fn shown(&self) -> String {
        match self.otherwise {
            Otherwise::Required => format!("{}={}", self.name, self.form.placeholder()),
            Otherwise::Is(value) => format!("{}={value}", self.name),
            Otherwise::Means(what) => {
                format!("[{}={}: {what}]", self.name, self.form.placeholder())
            }
        }
    }
}

/// How many tensors a name stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Number {
    One,
    /// One or none.
    Optional,
    /// `x0`, `x1`, ...: at least one.
    Several,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Operand {
    pub(super) name: &'static str,
    pub(super) shape: &'static str,
    pub(super) number: Number,
}

impl Operand {
    /// `x`, `gamma?`, `x0 x1 ..`.
    pub(super) fn shown(&self) -> String {
        match self.number {
            Number::One => self.name.into(),
            Number::Optional => format!("{}?", self.name),
            Number::Several => format!("{0}0 {0}1 ..", self.name),
        }
    }
}

/// Named results, `output` first.
pub(super) type Outputs = Vec<(&'static str, Tensor)>;

#[derive(Clone, Copy)]
enum Run {
    One(fn(&Given) -> belamy_tensor::Result<Tensor>),
    Several(fn(&Given) -> belamy_tensor::Result<Outputs>),
}

/// One op: its name, what it takes, and how it is called.
pub(super) struct Entry {
    pub(super) name: &'static str,
    pub(super) what: &'static str,
    pub(super) operands: Vec<Operand>,
    pub(super) attributes: Vec<Attribute>,
    /// Whether it has a derivative at all.
    pub(super) differentiable: bool,
    run: Run,
}

impl Entry {
    /// An op with one result.
    pub(super) fn new(
        name: &'static str,
        what: &'static str,
        run: fn(&Given) -> belamy_tensor::Result<Tensor>,
    ) -> Entry {
        let (operands, attributes) = (Vec::new(), Vec::new());
        Entry { name, what, operands, attributes, differentiable: true, run: Run::One(run) }
    }

    /// An op with further results beside `output`.
    pub(super) fn several(
        name: &'static str,
        what: &'static str,
        run: fn(&Given) -> belamy_tensor::Result<Outputs>,
    ) -> Entry {
        let (operands, attributes) = (Vec::new(), Vec::new());
        Entry { name, what, operands, attributes, differentiable: true, run: Run::Several(run) }
    }

    fn operand(mut self, name: &'static str, shape: &'static str, number: Number) -> Entry {
        self.operands.push(Operand { name, shape, number });
        self
    }

    pub(super) fn tensor(self, name: &'static str, shape: &'static str) -> Entry {
        self.operand(name, shape, Number::One)
    }

    pub(super) fn optional(self, name: &'static str, shape: &'static str) -> Entry {
        self.operand(name, shape, Number::Optional)
    }

    pub(super) fn tensors(self, name: &'static str, shape: &'static str) -> Entry {
        self.operand(name, shape, Number::Several)
    }

    fn attribute(mut self, name: &'static str, form: Form, otherwise: Otherwise) -> Entry {
        self.attributes.push(Attribute { name, form, otherwise });
        self
    }

    /// An attribute that must be given.
    pub(super) fn wants(self, name: &'static str, form: Form) -> Entry {
        self.attribute(name, form, Otherwise::Required)
    }

    /// An attribute with a default.
    pub(super) fn takes(self, name: &'static str, form: Form, default: &'static str) -> Entry {
        self.attribute(name, form, Otherwise::Is(default))
    }

    /// An attribute whose absence means something.
    pub(super) fn may(self, name: &'static str, form: Form, absent: &'static str) -> Entry {
        self.attribute(name, form, Otherwise::Means(absent))
    }

    pub(super) fn without_derivative(mut self) -> Entry {
        self.differentiable = false;
        self
    }

    /// Runs the op on what was given, which [`Entry::values`] and the reader of tensors have made complete.
    pub(super) fn run(&self, given: &Given) -> belamy_tensor::Result<Outputs> {
        match self.run {
            Run::One(run) => Ok(vec![("output", run(given)?)]),
            Run::Several(run) => run(given),
        }
    }

    /// The values of all attributes, from `key=value` words and the defaults.
    pub(super) fn values(&self, words: &[String]) -> Result<Values> {
        let mut values = Values::new();
        for word in words {
            let (key, value) = word.split_once('=').ok_or_else(|| {
                Failure::usage(format!("--attr {word}: must be key=value, such as stride=2"))
            })?;
            let (key, value) = (key.trim(), value.trim());
            let attribute = self.known(key)?;
            let parsed = attribute.form.parse(value).ok_or_else(|| {
                let wants = attribute.form.wants();
                Failure::usage(format!("{} wants {key} to be {wants}, not {value:?}", self.name))
            })?;
            if values.insert(attribute.name, parsed).is_some() {
                return Err(Failure::usage(format!("--attr {key} is given twice")));
            }
        }
        for attribute in &self.attributes {
            match attribute.otherwise {
                _ if values.contains_key(attribute.name) => {}
                Otherwise::Required => {
                    let (op, shown) = (self.name, attribute.shown());
                    return Err(Failure::usage(format!("{op} wants --attr {shown}")));
                }
                Otherwise::Is(value) => {
                    let value = attribute.form.parse(value).expect("defaults have their form");
                    values.insert(attribute.name, value);
                }
                Otherwise::Means(_) => {}
            }
        }
        Ok(values)
    }

    fn known(&self, key: &str) -> Result<&Attribute> {
        let op = self.name;
        self.attributes.iter().find(|attribute| attribute.name == key).ok_or_else(|| {
            let names: Vec<&str> = self.attributes.iter().map(|attribute| attribute.name).collect();
            Failure::usage(match names[..] {
                [] => format!("{op} takes no attributes; {key:?} was given"),
                _ => format!("{op} has no attribute {key:?}; {}", suggestion(key, names)),
            })
        })
    }
}

pub(super) type Values = BTreeMap<&'static str, Value>;

/// What one call was given. Asking for a name or form that the op's entry does not declare is a mistake in the table.
pub(super) struct Given {
    pub(super) tensors: BTreeMap<String, Tensor>,
    pub(super) values: Values,
    pub(super) device: Device,
}

impl Given {
    pub(super) fn tensor(&self, name: &str) -> &Tensor {
        self.optional(name)
            .expect("the entry declares this tensor, and the reader refused its absence")
    }

    pub(super) fn optional(&self, name: &str) -> Option<&Tensor> {
        self.tensors.get(name)
    }

    /// `x0`, `x1`, ...
    pub(super) fn tensors(&self, name: &str) -> Vec<&Tensor> {
        (0..).map_while(|index| self.optional(&format!("{name}{index}"))).collect()
    }

    fn value(&self, name: &str) -> &Value {
        self.values.get(name).expect("the entry declares this attribute as given or with a default")
    }

    pub(super) fn number(&self, name: &str) -> f64 {
        match self.value(name) {
            Value::Number(number) => *number,
            other => unreachable!("{name} is declared a number, but holds {other:?}"),
        }
    }

    pub(super) fn seed(&self, name: &str) -> u64 {
        match self.value(name) {
            Value::Whole(whole) => *whole,
            other => unreachable!("{name} is declared whole, but holds {other:?}"),
        }
    }

    pub(super) fn whole(&self, name: &str) -> u32 {
        u32::try_from(self.seed(name)).expect("whole attributes are below 2^32")
    }

    pub(super) fn size(&self, name: &str) -> usize {
        self.whole(name) as usize
    }

    pub(super) fn flag(&self, name: &str) -> bool {
        match self.value(name) {
            Value::Flag(flag) => *flag,
            other => unreachable!("{name} is declared true or false, but holds {other:?}"),
        }
    }

    pub(super) fn is(&self, name: &str, word: &str) -> bool {
        matches!(self.value(name), Value::Word(found) if *found == word)
    }

    pub(super) fn sizes(&self, name: &str) -> &[usize] {
        match self.value(name) {
            Value::Sizes(sizes) => sizes,
            other => unreachable!("{name} is declared as sizes, but holds {other:?}"),
        }
    }

    /// The axes given, or all of the tensor's.
    pub(super) fn axes(&self, name: &str, of: &Tensor) -> Vec<usize> {
        if self.has(name) { self.sizes(name).to_vec() } else { (0..of.shape().rank()).collect() }
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    pub(super) fn shape(&self, name: &str) -> belamy_tensor::Result<Shape> {
        Shape::new(self.sizes(name))
    }

    pub(super) fn pair(&self, name: &str) -> [usize; 2] {
        match *self.sizes(name) {
            [both] => [both, both],
            [height, width] => [height, width],
            ref other => unreachable!("{name} is declared a pair, but holds {other:?}"),
        }
    }

    /// ((top, bottom), (left, right)).
    pub(super) fn border(&self, name: &str) -> ((usize, usize), (usize, usize)) {
        match *self.sizes(name) {
            [all] => ((all, all), (all, all)),
            [rows, columns] => ((rows, rows), (columns, columns)),
            [top, bottom, left, right] => ((top, bottom), (left, right)),
            ref other => unreachable!("{name} is declared a border, but holds {other:?}"),
        }
    }

    fn pads_to_the_same_size(&self) -> bool {
        matches!(self.values.get("padding"), Some(Value::Same))
    }

    /// The window that stride, padding, dilation and groups make, as far as the op has them, for a kernel of these
    /// taps over an image of these sides. A pooling window's stride is its kernel where none is given.
    pub(super) fn window(&self, image: [usize; 2], kernel: [usize; 2]) -> Window {
        let steps = |name, absent| if self.has(name) { self.pair(name) } else { absent };
        let stride = steps("stride", kernel);
        let dilation = steps("dilation", [1, 1]);
        let groups = if self.has("groups") { self.size("groups") } else { 1 };
        let padding = if self.pads_to_the_same_size() {
            let reach: [usize; 2] =
                std::array::from_fn(|axis| kernel[axis].saturating_sub(1) * dilation[axis] + 1);
            // A stride of 0 is for the op to refuse.
            let along = |axis: usize| Window::same(stride[axis].max(1), image, reach).padding;
            (along(0).0, along(1).1)
        } else {
            self.border("padding")
        };
        Window { stride: stride.into(), padding, dilation: dilation.into(), groups }
    }

    /// The window of a transposed convolution, and its output padding. With `same` the image made is the input times
    /// the stride, as Keras has it.
    pub(super) fn transposed_window(
        &self,
        input: [usize; 2],
        kernel: [usize; 2],
    ) -> (Window, (usize, usize)) {
        let stride = self.pair("stride");
        let made: [usize; 2] = std::array::from_fn(|axis| input[axis] * stride[axis]);
        let window = self.window(made, kernel);
        if !self.pads_to_the_same_size() {
            return (window, self.pair("output_padding").into());
        }
        let open = |axis: usize, padding: (usize, usize), dilation: usize| {
            let reach = kernel[axis].saturating_sub(1) * dilation + 1;
            let full = input[axis].saturating_sub(1) * stride[axis] + reach;
            (made[axis] + padding.0 + padding.1).saturating_sub(full)
        };
        let rows = open(0, window.padding.0, window.dilation.0);
        (window, (rows, open(1, window.padding.1, window.dilation.1)))
    }

    pub(super) fn key(&self) -> RandomKey {
        RandomKey { seed: self.seed("seed"), stream: self.whole("stream") }
    }

    pub(super) fn counter(&self) -> belamy_tensor::Result<Tensor> {
        counter(self.whole("step"), self.whole("first_sample"), &self.device)
    }

    pub(super) fn dtype(&self) -> DType {
        if self.is("dtype", "f64") { DType::F64 } else { DType::F32 }
    }
}

/// The height and width of an image or of a weight; of anything else what its op refuses anyway.
pub(super) fn sides(tensor: &Tensor) -> [usize; 2] {
    let side = |axis| tensor.dims().get(axis).copied().unwrap_or(1);
    [side(1), side(2)]
}
