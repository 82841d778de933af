//! What a case is: seeded inputs, the op applied to them, and what is known of the result.

use crate::values::{Domain, Numbers};
use belamy_tensor::{DType, Device, Result, Shape, Tensor};
use std::fmt;
use std::sync::Arc;

/// A function of tensors: the op under test, or its definition.
pub type Build = Arc<dyn Fn(&[Tensor]) -> Result<Tensor> + Send + Sync>;

/// One operand of a case.
#[derive(Clone, Debug)]
pub struct Input {
    /// Its extents.
    pub shape: Shape,
    /// Where its numbers lie.
    pub domain: Domain,
    /// Whether gradients are asked of it.
    pub differentiable: bool,
}

/// What an element's rounding error is measured by: the size of the terms that make it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scale {
    /// The element's own magnitude: functions that are rounded correctly.
    Output,
    /// The largest magnitude of the tensor.
    Peak,
    /// The same op on absolute values: sums of products, whose terms may cancel.
    Absolute,
}

/// One op on one set of shapes and attributes.
#[derive(Clone)]
pub struct Case {
    /// The op, a row of the report.
    pub op: &'static str,
    /// What distinguishes this case from the op's others.
    pub variant: String,
    /// The operands.
    pub inputs: Vec<Input>,
    /// The op under test.
    pub build: Build,
    /// The op's definition, if it can be said in another way: in primitives, or by loops on the host.
    pub reference: Option<Build>,
    /// The operands in which the op is linear, the others held.
    pub linear: Vec<usize>,
    /// What rounding errors are measured by.
    pub scale: Scale,
    /// How many terms an output element sums.
    pub reduction: usize,
    /// Whether the case is large enough to be split over threads; gradients are then checked along a few random
    /// directions only.
    pub large: bool,
    /// Whether so many elements lie near a kink that every step of a difference carries some across: gradients are
    /// then compared with the oracle's alone.
    pub kinked: bool,
    /// How far f32 arithmetic inside the op may widen the bound, beyond reduction and scale.
    pub slack: f64,
}

impl Case {
    /// A case of `op` without operands, measured by its peak, summing one term.
    pub fn new(
        op: &'static str,
        variant: impl Into<String>,
        build: impl Fn(&[Tensor]) -> Result<Tensor> + Send + Sync + 'static,
    ) -> Case {
        Case {
            op,
            variant: variant.into(),
            inputs: Vec::new(),
            build: Arc::new(build),
            reference: None,
            linear: Vec::new(),
            scale: Scale::Peak,
            reduction: 1,
            large: false,
            kinked: false,
            slack: 1.0,
        }
    }

    /// Adds an operand that is differentiated.
    #[must_use]
    pub fn input(mut self, shape: &[usize], domain: Domain) -> Case {
        let shape = Shape::new(shape).expect("a case's shapes are valid");
        self.inputs.push(Input { shape, domain, differentiable: true });
        self
    }

    /// Adds an operand that is not differentiated.
    #[must_use]
    pub fn constant(mut self, shape: &[usize], domain: Domain) -> Case {
        self = self.input(shape, domain);
        self.inputs.last_mut().expect("just pushed").differentiable = false;
        self
    }

    /// States the operands in which the op is linear.
    #[must_use]
    pub fn linear(mut self, operands: &[usize]) -> Case {
        self.linear = operands.to_vec();
        self
    }

    /// States the op's definition.
    #[must_use]
    pub fn reference(
        mut self,
        definition: impl Fn(&[Tensor]) -> Result<Tensor> + Send + Sync + 'static,
    ) -> Case {
        self.reference = Some(Arc::new(definition));
        self
    }

    /// States the op's definition by loops over host numbers; the result has the op's shape.
    #[must_use]
    pub fn host_reference(
        self,
        definition: impl Fn(&[Vec<f64>]) -> Vec<f64> + Send + Sync + 'static,
    ) -> Case {
        let build = Arc::clone(&self.build);
        self.reference(move |inputs| {
            let numbers = inputs.iter().map(Tensor::to_f64).collect::<Result<Vec<_>>>()?;
            let output = build(inputs)?;
            let values = definition(&numbers);
            if output.dtype() == DType::U32 {
                let integers: Vec<u32> = values.iter().map(|&value| value as u32).collect();
                return Tensor::from_slice(&integers, output.shape(), output.device());
            }
            Tensor::from_f64(&values, output.shape(), output.dtype(), output.device())
        })
    }

    /// Measures rounding by the same op on absolute values, over sums of `reduction` terms.
    #[must_use]
    pub fn absolute(mut self, reduction: usize) -> Case {
        self.scale = Scale::Absolute;
        self.reduction = reduction;
        self
    }

    /// Measures rounding by each element's own magnitude.
    #[must_use]
    pub fn rounded(mut self) -> Case {
        self.scale = Scale::Output;
        self
    }

    /// Says how many terms an output element sums.
    #[must_use]
    pub fn reduction(mut self, terms: usize) -> Case {
        self.reduction = terms;
        self
    }

    /// Marks the case as large enough to be split over threads.
    #[must_use]
    pub fn large(mut self) -> Case {
        self.large = true;
        self
    }

    /// Says that differences would carry elements across kinks; smaller cases of the op have those checks.
    #[must_use]
    pub fn kinked(mut self) -> Case {
        self.kinked = true;
        self
    }

    /// Widens the bound for f32 arithmetic inside the op; the caller says why in a comment.
    #[must_use]
    pub fn slack(mut self, factor: f64) -> Case {
        self.slack = factor;
        self
    }

    /// `op/variant`, which also seeds the case's numbers.
    pub fn name(&self) -> String {
        format!("{}/{}", self.op, self.variant)
    }

    /// Whether any gradient is asked.
    pub fn is_differentiable(&self) -> bool {
        self.inputs.iter().any(|input| input.differentiable)
    }

    /// Roughly how much work it is beside others: the operands' elements, each in so many terms.
    pub fn weight(&self) -> usize {
        let elements = self.inputs.iter().map(|input| input.shape.elements());
        elements.sum::<usize>() * self.reduction.max(1)
    }

    /// The operands' numbers, which depend on the case's name only.
    pub fn values(&self) -> Vec<Vec<f64>> {
        let mut numbers = Numbers::new(&self.name(), "inputs");
        self.inputs
            .iter()
            .map(|input| numbers.draw(&input.domain, input.shape.elements()))
            .collect()
    }

    /// Places numbers on a device; operands that are differentiated start a graph if `tracked`.
    pub fn tensors(
        &self,
        values: &[Vec<f64>],
        dtype: DType,
        device: &Device,
        tracked: bool,
    ) -> Result<Vec<Tensor>> {
        self.inputs
            .iter()
            .zip(values)
            .map(|(input, values)| {
                let tensor = if input.domain.is_integer() {
                    let indices: Vec<u32> = values.iter().map(|&value| value as u32).collect();
                    Tensor::from_slice(&indices, input.shape, device)?
                } else {
                    Tensor::from_f64(values, input.shape, dtype, device)?
                };
                Ok(if tracked && input.differentiable { tensor.tracked() } else { tensor })
            })
            .collect()
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Case").field("name", &self.name()).field("inputs", &self.inputs).finish()
    }
}
