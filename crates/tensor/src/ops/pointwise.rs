//! Pointwise ops: each output element is a function of the elements at its place.
//!
//! ```text
//! fill     y[i] = value
//! unary    y[i] = f(x[i]; a, b)
//! binary   y[i] = f(p[i], q[i]; a)        operands stretched by NumPy's broadcasting rule
//! select   y[i] = c[i] ≠ 0 ? p[i] : q[i]  operands stretched likewise
//! ```
//!
//! One invocation owns one output element. Cost: one operation and one pass over each operand.
//! Derivatives are pointwise again, so the family is closed to any order. At a kink the derivative is the left one
//! (relu'(0) = 0, as in PyTorch and Keras); abs'(0) = 0.

use crate::autograd::Backward;
use crate::device::Meta;
use crate::error::{Error, Result};
use crate::kernel::{KernelId, Params};
use crate::op::{self, Launch, Op};
use crate::{DType, Device, Shape, Tensor};

macro_rules! functions {
    ($(#[$doc:meta])* $name:ident { $(#[doc = $formula:literal] $variant:ident = $code:literal $op:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u32)]
        pub enum $name { $(#[doc = $formula] $variant = $code,)* }

        impl $name {
            /// Every function, in code order.
            pub const ALL: &[$name] = &[$($name::$variant,)*];

            /// The op's name.
            pub fn name(self) -> &'static str {
                match self { $($name::$variant => $op,)* }
            }

            /// What it computes.
            pub fn formula(self) -> &'static str {
                match self { $($name::$variant => $formula.trim_ascii(),)* }
            }

            /// The function with this code, as kernels receive it.
            pub fn from_code(code: u32) -> Option<$name> {
                match code { $($code => Some($name::$variant),)* _ => None }
            }
        }
    };
}

functions! {
    /// A function of one number `x`, with up to two constants `a` and `b`.
    UnaryFunction {
        /// −x
        Neg = 0 "neg",
        /// eˣ
        Exp = 1 "exp",
        /// ln x
        Log = 2 "log",
        /// √x
        Sqrt = 3 "sqrt",
        /// |x|
        Abs = 4 "abs",
        /// −1, 0 or 1
        Sign = 5 "sign",
        /// x²
        Square = 6 "square",
        /// 1 / x
        Reciprocal = 7 "reciprocal",
        /// x > 0 ? x : 0
        Relu = 8 "relu",
        /// x > 0 ? x : a x
        LeakyRelu = 9 "leaky_relu",
        /// (eˣ − e⁻ˣ) / (eˣ + e⁻ˣ)
        Tanh = 10 "tanh",
        /// 1 / (1 + e⁻ˣ), by the sign of x so that nothing overflows
        Sigmoid = 11 "sigmoid",
        /// ln(1 + eˣ) = max(x, 0) + ln(1 + e^−|x|)
        Softplus = 12 "softplus",
        /// min(max(x, a), b)
        Clamp = 13 "clamp",
        /// a ≤ x ≤ b ? 1 : 0
        Within = 14 "within",
        /// x + a
        AddScalar = 15 "add_scalar",
        /// a x
        MulScalar = 16 "mul_scalar",
        /// xᵃ
        PowScalar = 17 "pow_scalar",
        /// x > a ? 1 : 0
        GreaterScalar = 18 "greater_scalar",
        /// sin x
        Sin = 19 "sin",
        /// cos x
        Cos = 20 "cos",
    }
}

functions! {
    /// A function of two numbers `p` and `q`, with up to one constant `a`.
    BinaryFunction {
        /// p + q
        Add = 0 "add",
        /// p − q
        Sub = 1 "sub",
        /// p q
        Mul = 2 "mul",
        /// p / q
        Div = 3 "div",
        /// max(p, q)
        Maximum = 4 "maximum",
        /// min(p, q)
        Minimum = 5 "minimum",
        /// p > q ? 1 : 0
        Greater = 6 "greater",
        /// p > 0 ? q : a q: the cotangent q through leaky_relu at p
        LeakyReluGrad = 7 "leaky_relu_grad",
        /// (1 − p²) q: the cotangent q through tanh with result p
        TanhGrad = 8 "tanh_grad",
        /// p (1 − p) q: the cotangent q through sigmoid with result p
        SigmoidGrad = 9 "sigmoid_grad",
    }
}

crate::kernel_params! {
    /// Parameters of `fill`.
    pub struct FillParams { integers { len: u32 } scalars { value } }
}

crate::kernel_params! {
    /// Parameters of `unary`.
    pub struct UnaryParams { integers { len: u32, function: u32 } scalars { a, b } }
}

crate::kernel_params! {
    /// Parameters of `binary` and `select`: the output's extents and each operand's strides, right-aligned in six
    /// axes; a stretched axis has stride 0. `flat` says that no operand is stretched.
    pub struct BroadcastParams {
        integers { function: u32, flat: u32, dims: [u32; 6], strides_0: [u32; 6], strides_1: [u32; 6], strides_2: [u32; 6] }
        scalars { a }
    }
}

/// `y = f(x; a, b)`.
#[derive(Debug, Clone, Copy)]
struct Unary {
    function: UnaryFunction,
    a: f64,
    b: f64,
}

impl Unary {
    /// Of a leaky ReLU: whether its result is positive where x is, and x need not be kept for its derivative.
    fn keeps_signs(&self) -> bool {
        self.a >= 0.0
    }
}

impl Op for Unary {
    fn name(&self) -> &'static str {
        self.function.name()
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Meta> {
        op::same_float(self.name(), inputs)?;
        Ok(inputs[0])
    }

    fn launch(&self, _inputs: &[Meta], output: Meta) -> Launch {
        let len = output.shape.elements() as u32;
        let params = UnaryParams { len, function: self.function as u32, a: self.a, b: self.b };
        Launch::Kernel(KernelId::unary, params.encode())
    }

    fn reads_input(&self, _index: usize, _tracked: &[bool]) -> bool {
        use UnaryFunction as F;
        match self.function {
            F::Log | F::Abs | F::Square | F::Softplus | F::Clamp | F::PowScalar => true,
            F::Sin | F::Cos => true,
            F::LeakyRelu => !self.keeps_signs(),
            F::Neg | F::Exp | F::Sqrt | F::Reciprocal | F::Relu | F::Tanh | F::Sigmoid => false,
            F::AddScalar | F::MulScalar | F::Sign | F::Within | F::GreaterScalar => false,
        }
    }

    fn reads_output(&self, _tracked: &[bool]) -> bool {
        use UnaryFunction as F;
        match self.function {
            F::Exp | F::Sqrt | F::Reciprocal | F::Relu | F::Tanh | F::Sigmoid => true,
            F::LeakyRelu => self.keeps_signs(),
            _ => false,
        }
    }

    fn backward(&self, cx: &Backward<'_>) -> Result<Vec<Option<Tensor>>> {
        use UnaryFunction as F;
        let (x, y, g) = (&cx.inputs[0], cx.output, cx.grad);
        let grad_x = match self.function {
            F::Neg => g.neg()?,
            F::Exp => g.mul(y)?,
            F::Log => g.div(x)?,
            F::Sqrt => g.div(y)?.mul_scalar(0.5)?,
            F::Abs => g.mul(&x.sign()?)?,
            F::Square => g.mul(x)?.mul_scalar(2.0)?,
            F::Reciprocal => g.mul(&y.square()?)?.neg()?,
            F::Relu => binary(BinaryFunction::LeakyReluGrad, y, g, 0.0)?,
            F::LeakyRelu => {
                let signed = if self.keeps_signs() { y } else { x };
                binary(BinaryFunction::LeakyReluGrad, signed, g, self.a)?
            }
            F::Tanh => binary(BinaryFunction::TanhGrad, y, g, 0.0)?,
            F::Sigmoid => binary(BinaryFunction::SigmoidGrad, y, g, 0.0)?,
            F::Softplus => g.mul(&x.sigmoid()?)?,
            F::Clamp => g.mul(&unary(F::Within, x, self.a, self.b)?)?,
            F::AddScalar => g.clone(),
            F::MulScalar => g.mul_scalar(self.a)?,
            F::PowScalar => g.mul(&x.pow_scalar(self.a - 1.0)?)?.mul_scalar(self.a)?,
            F::Sin => g.mul(&x.cos()?)?,
            F::Cos => g.mul(&x.sin()?)?.neg()?,
            F::Sign | F::Within | F::GreaterScalar => return Ok(vec![None]),
        };
        Ok(vec![Some(grad_x)])
    }
}

/// `y = f(p, q; a)` with broadcasting.
#[derive(Debug, Clone, Copy)]
struct Binary {
    function: BinaryFunction,
    a: f64,
}

impl Op for Binary {
    fn name(&self) -> &'static str {
        self.function.name()
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Meta> {
        let dtype = op::same_float(self.name(), inputs)?;
        Ok(Meta { shape: broadcast_all(self.name(), inputs)?, dtype })
    }

    fn launch(&self, inputs: &[Meta], output: Meta) -> Launch {
        let params = broadcast_params(self.function as u32, inputs, output.shape, self.a);
        Launch::Kernel(KernelId::binary, params)
    }

    fn reads_input(&self, index: usize, tracked: &[bool]) -> bool {
        use BinaryFunction as F;
        match self.function {
            F::Add | F::Sub | F::Greater => false,
            F::Mul => tracked[1 - index],
            F::Div => index == 1,
            F::Maximum | F::Minimum => true,
            F::LeakyReluGrad => index == 0,
            F::TanhGrad | F::SigmoidGrad => index == 0 || tracked[0],
        }
    }

    fn reads_output(&self, tracked: &[bool]) -> bool {
        self.function == BinaryFunction::Div && tracked[1]
    }

    fn backward(&self, cx: &Backward<'_>) -> Result<Vec<Option<Tensor>>> {
        use BinaryFunction as F;
        let (p, q, g) = (&cx.inputs[0], &cx.inputs[1], cx.grad);
        let if_needed = |index: usize, rule: &dyn Fn() -> Result<Tensor>| {
            if cx.needs[index] { rule().map(Some) } else { Ok(None) }
        };
        Ok(match self.function {
            F::Add => vec![Some(g.clone()), Some(g.clone())],
            F::Sub => vec![Some(g.clone()), if_needed(1, &|| g.neg())?],
            F::Mul => vec![if_needed(0, &|| g.mul(q))?, if_needed(1, &|| g.mul(p))?],
            F::Div => vec![
                if_needed(0, &|| g.div(q))?,
                if_needed(1, &|| g.mul(cx.output)?.div(q)?.neg())?,
            ],
            // Equal operands share the cotangent's whole to the second, as the left derivative has it.
            F::Maximum => vec![
                if_needed(0, &|| g.mul(&p.greater(q)?))?,
                if_needed(1, &|| g.mul(&p.greater(q)?.one_minus()?))?,
            ],
            F::Minimum => vec![
                if_needed(0, &|| g.mul(&q.greater(p)?))?,
                if_needed(1, &|| g.mul(&q.greater(p)?.one_minus()?))?,
            ],
            F::Greater => vec![None, None],
            // Piecewise constant in p, linear in q.
            F::LeakyReluGrad => vec![None, if_needed(1, &|| binary(self.function, p, g, self.a))?],
            // (1 − p²) q: −2 p q and 1 − p².
            F::TanhGrad => vec![
                if_needed(0, &|| g.mul(q)?.mul(p)?.mul_scalar(-2.0))?,
                if_needed(1, &|| binary(self.function, p, g, 0.0))?,
            ],
            // p (1 − p) q: (1 − 2p) q and p (1 − p).
            F::SigmoidGrad => vec![
                if_needed(0, &|| g.mul(q)?.mul(&p.mul_scalar(-2.0)?.add_scalar(1.0)?))?,
                if_needed(1, &|| binary(self.function, p, g, 0.0))?,
            ],
        })
    }
}

/// `y = c ≠ 0 ? p : q` with broadcasting; `c` is not differentiated.
#[derive(Debug, Clone, Copy)]
struct Select;

impl Op for Select {
    fn name(&self) -> &'static str {
        "select"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Meta> {
        let dtype = op::same_float(self.name(), inputs)?;
        Ok(Meta { shape: broadcast_all(self.name(), inputs)?, dtype })
    }

    fn launch(&self, inputs: &[Meta], output: Meta) -> Launch {
        Launch::Kernel(KernelId::select, broadcast_params(0, inputs, output.shape, 0.0))
    }

    fn reads_input(&self, index: usize, _tracked: &[bool]) -> bool {
        index == 0
    }

    fn backward(&self, cx: &Backward<'_>) -> Result<Vec<Option<Tensor>>> {
        let (condition, g) = (&cx.inputs[0], cx.grad);
        let zero = g.zeros_like()?;
        let kept = if cx.needs[1] { Some(select(condition, g, &zero)?) } else { None };
        let other = if cx.needs[2] { Some(select(condition, &zero, g)?) } else { None };
        Ok(vec![None, kept, other])
    }
}

fn broadcast_all(op: &'static str, inputs: &[Meta]) -> Result<Shape> {
    let mut shape = inputs[0].shape;
    for input in &inputs[1..] {
        shape = shape.broadcast(&input.shape).ok_or_else(|| {
            let shapes: Vec<Shape> = inputs.iter().map(|input| input.shape).collect();
            Error::shape(op, &shapes, "extents must be equal or 1, aligned at the right")
        })?;
    }
    Ok(shape)
}

/// The strides of an operand stretched to `output`, right-aligned in six axes.
pub(crate) fn stretched_strides(operand: Shape, output: Shape) -> [u32; 6] {
    let (dims, wanted) = (operand.padded(), output.padded());
    let mut step = 1;
    let mut strides = [0; 6];
    for axis in (0..6).rev() {
        strides[axis] = if dims[axis] == 1 && wanted[axis] != 1 { 0 } else { step };
        step *= dims[axis] as u32;
    }
    strides
}

fn broadcast_params(function: u32, inputs: &[Meta], output: Shape, a: f64) -> Params {
    let strides = |index: usize| {
        inputs.get(index).map_or([0; 6], |input| stretched_strides(input.shape, output))
    };
    let flat = inputs.iter().all(|input| input.shape.elements() == output.elements());
    BroadcastParams {
        function,
        flat: u32::from(flat),
        dims: output.padded().map(|dim| dim as u32),
        strides_0: strides(0),
        strides_1: strides(1),
        strides_2: strides(2),
        a,
    }
    .encode()
}

/// Applies a function of one number to each element.
#[track_caller]
pub fn unary(function: UnaryFunction, x: &Tensor, a: f64, b: f64) -> Result<Tensor> {
    op::apply(Unary { function, a, b }, &[x])
}

/// Applies a function of two numbers to each pair of elements, stretching operands by NumPy's rule.
#[track_caller]
pub fn binary(function: BinaryFunction, p: &Tensor, q: &Tensor, a: f64) -> Result<Tensor> {
    op::apply(Binary { function, a }, &[p, q])
}

/// Takes `p` where `condition` is not 0 and `q` elsewhere, stretching operands by NumPy's rule.
///
/// `condition` is a tensor of the same floating-point type, as comparisons return it.
#[track_caller]
pub fn select(condition: &Tensor, p: &Tensor, q: &Tensor) -> Result<Tensor> {
    op::apply(Select, &[condition, p, q])
}

/// Tensors of one number, made on the device: nothing travels there but the number, in the launch itself.
impl Tensor {
    /// A tensor of floating-point type filled with one number. Fails for integers.
    ///
    /// ```
    /// # let device = belamy_cpu::oracle();
    /// use belamy_tensor::{DType, Tensor};
    /// let halves = Tensor::full(0.5, [2, 3], DType::F32, &device)?;
    /// assert_eq!(halves.to_vec::<f32>()?, [0.5; 6]);
    /// # Ok::<(), belamy_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn full(
        value: f64,
        shape: impl Into<Shape>,
        dtype: DType,
        device: &Device,
    ) -> Result<Tensor> {
        if !dtype.is_float() {
            return Err(Error::argument("full", "u32 tensors are made by from_slice"));
        }
        let output = Meta::new(shape, dtype);
        let params = FillParams { len: output.shape.elements() as u32, value }.encode();
        let mut results = op::launch_on(device, KernelId::fill, params, &[], &[output])?;
        Ok(results.pop().expect("a kernel launch returns one tensor per output"))
    }

    /// Zeros of this tensor's shape, type and device.
    pub fn zeros_like(&self) -> Result<Tensor> {
        Tensor::full(0.0, self.shape(), self.dtype(), self.device())
    }

    /// Ones of this tensor's shape, type and device.
    pub fn ones_like(&self) -> Result<Tensor> {
        Tensor::full(1.0, self.shape(), self.dtype(), self.device())
    }
}

macro_rules! unary_methods {
    ($($(#[$doc:meta])* $method:ident: $function:ident;)*) => {
        /// Functions of one operand. Each fails only for integer tensors.
        impl Tensor {
            $($(#[$doc])*
            #[track_caller]
            pub fn $method(&self) -> Result<Tensor> {
                unary(UnaryFunction::$function, self, 0.0, 0.0)
            })*
        }
    };
}

unary_methods! {
    /// −x
    neg: Neg;
    /// eˣ
    exp: Exp;
    /// The natural logarithm.
    log: Log;
    /// √x
    sqrt: Sqrt;
    /// |x|; the derivative at 0 is 0.
    abs: Abs;
    /// −1, 0 or 1.
    sign: Sign;
    /// x²
    square: Square;
    /// 1 / x
    reciprocal: Reciprocal;
    /// x where positive, else 0; the derivative at 0 is 0.
    relu: Relu;
    /// The hyperbolic tangent.
    tanh: Tanh;
    /// 1 / (1 + e⁻ˣ)
    sigmoid: Sigmoid;
    /// ln(1 + eˣ), without overflow.
    softplus: Softplus;
    /// sin x
    sin: Sin;
    /// cos x
    cos: Cos;
}

/// Functions of one operand and constants.
impl Tensor {
    /// x where positive, else `slope` · x.
    #[track_caller]
    pub fn leaky_relu(&self, slope: f64) -> Result<Tensor> {
        unary(UnaryFunction::LeakyRelu, self, slope, 0.0)
    }

    /// min(max(x, low), high); the derivative is 1 within the closed interval, 0 outside.
    #[track_caller]
    pub fn clamp(&self, low: f64, high: f64) -> Result<Tensor> {
        if low.is_nan() || high.is_nan() || low > high {
            return Err(Error::argument("clamp", format!("low {low} must not exceed high {high}")));
        }
        unary(UnaryFunction::Clamp, self, low, high)
    }

    /// x + constant
    #[track_caller]
    pub fn add_scalar(&self, constant: f64) -> Result<Tensor> {
        unary(UnaryFunction::AddScalar, self, constant, 0.0)
    }

    /// constant · x
    #[track_caller]
    pub fn mul_scalar(&self, constant: f64) -> Result<Tensor> {
        unary(UnaryFunction::MulScalar, self, constant, 0.0)
    }

    /// x raised to a constant power; x must be positive unless the power is whole.
    #[track_caller]
    pub fn pow_scalar(&self, power: f64) -> Result<Tensor> {
        match power {
            0.0 => self.ones_like(),
            1.0 => Ok(self.clone()),
            _ => unary(UnaryFunction::PowScalar, self, power, 0.0),
        }
    }

    /// 1 − x
    #[track_caller]
    pub fn one_minus(&self) -> Result<Tensor> {
        self.neg()?.add_scalar(1.0)
    }

    /// 1 where x > threshold, else 0. Not differentiated.
    #[track_caller]
    pub fn greater_scalar(&self, threshold: f64) -> Result<Tensor> {
        unary(UnaryFunction::GreaterScalar, self, threshold, 0.0)
    }
}

macro_rules! binary_methods {
    ($($(#[$doc:meta])* $method:ident: $function:ident;)*) => {
        /// Functions of two operands, stretched by NumPy's rule. Each fails when the shapes do not stretch to one,
        /// or the types or devices differ.
        impl Tensor {
            $($(#[$doc])*
            #[track_caller]
            pub fn $method(&self, other: &Tensor) -> Result<Tensor> {
                binary(BinaryFunction::$function, self, other, 0.0)
            })*
        }
    };
}

binary_methods! {
    /// p + q
    add: Add;
    /// p − q
    sub: Sub;
    /// p q
    mul: Mul;
    /// p / q
    div: Div;
    /// The larger of the two; where they are equal the second has the derivative.
    maximum: Maximum;
    /// The smaller of the two; where they are equal the second has the derivative.
    minimum: Minimum;
    /// 1 where p > q, else 0. Not differentiated.
    greater: Greater;
}

macro_rules! operators {
    ($($operator:ident $method:ident;)*) => {$(
        impl std::ops::$operator for &Tensor {
            type Output = Tensor;
            /// Panics with the method's error message; the method returns it.
            #[track_caller]
            fn $method(self, other: &Tensor) -> Tensor {
                match Tensor::$method(self, other) {
                    Ok(result) => result,
                    Err(error) => panic!("{error}"),
                }
            }
        }
    )*};
}
operators! { Add add; Sub sub; Mul mul; Div div; }

impl UnaryFunction {
    /// Whether the function takes only positive numbers.
    pub fn wants_positive(self) -> bool {
        matches!(self, UnaryFunction::Log | UnaryFunction::Sqrt | UnaryFunction::PowScalar)
    }
}

/// Converts between floating-point types on the host: for checkpoints and tests, not for inner loops.
impl Tensor {
    /// The same numbers as another floating-point type, outside the graph.
    pub fn to_dtype(&self, dtype: DType) -> Result<Tensor> {
        if dtype == self.dtype() {
            return Ok(self.detach());
        }
        Tensor::from_f64(&self.to_f64()?, self.shape(), dtype, self.device())
    }
}
