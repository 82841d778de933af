//! The ops that `belamy op` runs: every public op of the core, its tensors named as the core's functions name them.

mod random;
mod updates;

use super::entry::{Entry, Form, Given, sides};
use belamy_tensor::ops::concat::concat;
use belamy_tensor::ops::conv2d::{conv_transpose2d, conv2d, conv2d_grad_input, conv2d_grad_weight};
use belamy_tensor::ops::dropout::dropout;
use belamy_tensor::ops::gather::{gather_rows, scatter_add_rows};
use belamy_tensor::ops::loss::{bce_with_logits, bce_with_logits_mean, cross_entropy_with_logits};
use belamy_tensor::ops::matmul::matmul;
use belamy_tensor::ops::norm::{
    Statistics, batch_norm_leaky_relu, instance_norm_leaky_relu, normalize, running_statistics,
};
use belamy_tensor::ops::norm_halves::{Normalization, norm_statistics};
use belamy_tensor::ops::pad::reflect_pad_fold;
use belamy_tensor::ops::pixel_shuffle::{pixel_shuffle, pixel_unshuffle};
use belamy_tensor::ops::pointwise::{BinaryFunction, UnaryFunction, binary, select, unary};
use belamy_tensor::ops::pool2d::{
    avg_pool2d, avg_pool2d_spread, max_pool2d_pick, max_pool2d_place, max_pool2d_with_indices,
};
use belamy_tensor::ops::reduce::{pick, place};
use belamy_tensor::ops::resize::{
    resize_bilinear, resize_bilinear_fold, resize_nearest, resize_nearest_fold,
};
use belamy_tensor::{Result, Tensor};
use random::drawn;

/// Every op, by family.
pub(super) fn entries() -> Vec<Entry> {
    let families = [
        pointwise(),
        reductions(),
        views(),
        convolutions(),
        images(),
        rows(),
        networks(),
        random::entries(),
        updates::entries(),
    ];
    families.into_iter().flatten().collect()
}

const IMAGE: &str = "[N, H, W, C]";
const OUTPUT: &str = "[N, OH, OW, C]";
const WEIGHT: &str = "[O, KH, KW, C/groups]";

/// Entries for methods of one tensor and no attributes, then of two.
macro_rules! methods {
    ($($name:ident $what:literal,)*; $($pair:ident $pair_what:literal,)*) => {
        vec![
            $(Entry::new(stringify!($name), $what, |given| given.tensor("x").$name())
                .tensor("x", "[..]"),)*
            $(Entry::new(stringify!($pair), $pair_what, |given| {
                given.tensor("p").$pair(given.tensor("q"))
            })
            .tensor("p", "[..]")
            .tensor("q", "[..]"),)*
        ]
    };
}

fn two(given: &Given, function: BinaryFunction, a: f64) -> Result<Tensor> {
    binary(function, given.tensor("p"), given.tensor("q"), a)
}

fn pointwise() -> Vec<Entry> {
    let mut entries = methods! {
        neg "-x",
        exp "e^x",
        log "the natural logarithm",
        sqrt "the square root",
        abs "|x|",
        sign "-1, 0 or 1",
        square "x^2",
        reciprocal "1 / x",
        relu "x where positive, else 0",
        tanh "the hyperbolic tangent",
        sigmoid "1 / (1 + e^-x)",
        softplus "ln(1 + e^x)",
        sin "sine",
        cos "cosine",
        one_minus "1 - x",
        ;
        add "p + q",
        sub "p - q",
        mul "p q",
        div "p / q",
        maximum "the larger of the two",
        minimum "the smaller of the two",
        greater "1 where p > q, else 0",
    };
    let of_x = |name, what, run| Entry::new(name, what, run).tensor("x", "[..]");
    let of_two =
        |name, what, run| Entry::new(name, what, run).tensor("p", "[..]").tensor("q", "[..]");
    entries.extend([
        of_x("leaky_relu", "x where positive, else slope x", |given| {
            given.tensor("x").leaky_relu(given.number("slope"))
        })
        .wants("slope", Form::Number),
        of_x("clamp", "min(max(x, low), high)", |given| {
            given.tensor("x").clamp(given.number("low"), given.number("high"))
        })
        .wants("low", Form::Number)
        .wants("high", Form::Number),
        of_x("within", "1 where low <= x <= high, else 0", |given| {
            let (low, high) = (given.number("low"), given.number("high"));
            unary(UnaryFunction::Within, given.tensor("x"), low, high)
        })
        .wants("low", Form::Number)
        .wants("high", Form::Number),
        of_x("add_scalar", "x + constant", |given| {
            given.tensor("x").add_scalar(given.number("constant"))
        })
        .wants("constant", Form::Number),
        of_x("mul_scalar", "constant x", |given| {
            given.tensor("x").mul_scalar(given.number("constant"))
        })
        .wants("constant", Form::Number),
        of_x("pow_scalar", "x^power", |given| given.tensor("x").pow_scalar(given.number("power")))
            .wants("power", Form::Number),
        of_x("greater_scalar", "1 where x > threshold, else 0", |given| {
            given.tensor("x").greater_scalar(given.number("threshold"))
        })
        .wants("threshold", Form::Number),
        of_two("leaky_relu_grad", "p > 0 ? q : slope q", |given| {
            two(given, BinaryFunction::LeakyReluGrad, given.number("slope"))
        })
        .wants("slope", Form::Number),
        of_two("tanh_grad", "(1 - p^2) q", |given| two(given, BinaryFunction::TanhGrad, 0.0)),
        of_two("sigmoid_grad", "p (1 - p) q", |given| two(given, BinaryFunction::SigmoidGrad, 0.0)),
        Entry::new("select", "p where condition is not 0, else q", |given| {
            select(given.tensor("condition"), given.tensor("p"), given.tensor("q"))
        })
        .tensor("condition", "[..]")
        .tensor("p", "[..]")
        .tensor("q", "[..]"),
    ]);
    entries
}

fn reductions() -> Vec<Entry> {
    let over = |entry: Entry| entry.tensor("x", "[..]").may("axes", Form::Sizes, "all");
    vec![
        over(Entry::new("sum", "the sum over axes, which keep extent 1", |given| {
            let x = given.tensor("x");
            x.sum(&given.axes("axes", x))
        })),
        over(Entry::new("mean", "the mean over axes, which keep extent 1", |given| {
            let x = given.tensor("x");
            x.mean(&given.axes("axes", x))
        })),
        over(Entry::several(
            "max",
            "the maximum over axes, which keep extent 1; also its place as `indices`",
            |given| {
                let x = given.tensor("x");
                let (output, indices) = x.max_with_indices(&given.axes("axes", x))?;
                Ok(vec![("output", output), ("indices", indices)])
            },
        )),
        Entry::new("pick", "x[r, index[r]] of each row r", |given| {
            pick(given.tensor("x"), given.tensor("index"))
        })
        .tensor("x", "[R, C]")
        .tensor("index", "[R] of integers"),
        Entry::new("place", "x[r] at column index[r] of row r, else 0", |given| {
            place(given.tensor("x"), given.tensor("index"), given.size("columns"))
        })
        .tensor("x", "[R]")
        .tensor("index", "[R] of integers")
        .wants("columns", Form::Whole),
    ]
}

fn views() -> Vec<Entry> {
    let of_x = |name, what, run| Entry::new(name, what, run).tensor("x", "[..]");
    vec![
        of_x("reshape", "the same elements under other extents", |given| {
            given.tensor("x").reshape(given.shape("shape")?)
        })
        .wants("shape", Form::Sizes),
        of_x("permute", "axis k of the result is axis axes[k] of x", |given| {
            given.tensor("x").permute(given.sizes("axes"))
        })
        .wants("axes", Form::Sizes),
        of_x("broadcast", "extents of 1 repeated", |given| {
            given.tensor("x").broadcast_to(given.shape("shape")?)
        })
        .wants("shape", Form::Sizes),
        of_x("pad", "zeros around x, so many along each axis", |given| {
            given.tensor("x").pad(given.sizes("before"), given.sizes("after"))
        })
        .wants("before", Form::Sizes)
        .wants("after", Form::Sizes),
        of_x("crop", "the part of extents size from start", |given| {
            given.tensor("x").crop(given.sizes("start"), given.sizes("size"))
        })
        .wants("start", Form::Sizes)
        .wants("size", Form::Sizes),
        of_x("slice", "len elements from start along one axis", |given| {
            given.tensor("x").slice(given.size("axis"), given.size("start"), given.size("len"))
        })
        .wants("axis", Form::Whole)
        .wants("start", Form::Whole)
        .wants("len", Form::Whole),
        Entry::new("concat", "one after another along an axis", |given| {
            concat(&given.tensors("x"), given.size("axis"))
        })
        .tensors("x", "[..]")
        .wants("axis", Form::Whole),
        Entry::new("matmul", "a b, either read transposed", |given| {
            let (left, right) = (given.flag("transpose_a"), given.flag("transpose_b"));
            matmul(given.tensor("a"), given.tensor("b"), left, right)
        })
        .tensor("a", "[.., M, K]")
        .tensor("b", "[.., K, N]")
        .takes("transpose_a", Form::Flag, "false")
        .takes("transpose_b", Form::Flag, "false"),
    ]
}

fn convolutions() -> Vec<Entry> {
    let window = |entry: Entry| {
        entry
            .takes("stride", Form::Pair, "1")
            .takes("padding", Form::Padding, "0")
            .takes("dilation", Form::Pair, "1")
            .takes("groups", Form::Whole, "1")
    };
    vec![
        window(
            Entry::new("conv2d", "convolution (a cross-correlation)", |given| {
                let (x, w) = (given.tensor("x"), given.tensor("w"));
                conv2d(x, w, given.window(sides(x), sides(w)))
            })
            .tensor("x", IMAGE)
            .tensor("w", WEIGHT),
        ),
        window(
            Entry::new("conv_transpose2d", "transposed convolution", |given| {
                let (x, w) = (given.tensor("x"), given.tensor("w"));
                let (window, output_padding) = given.transposed_window(sides(x), sides(w));
                conv_transpose2d(x, w, window, output_padding)
            })
            .tensor("x", "[N, H, W, I]")
            .tensor("w", "[O, KH, KW, I/groups], O the channels it makes"),
        )
        .takes("output_padding", Form::Pair, "0"),
        window(
            Entry::new(
                "conv2d_grad_input",
                "what reaches conv2d's x from g at its output",
                |given| {
                    let (g, w, image) = (given.tensor("g"), given.tensor("w"), given.pair("image"));
                    conv2d_grad_input(g, w, image, given.window(image, sides(w)))
                },
            )
            .tensor("g", "[N, OH, OW, O]")
            .tensor("w", WEIGHT),
        )
        .wants("image", Form::Pair),
        window(
            Entry::new(
                "conv2d_grad_weight",
                "what reaches conv2d's w from g at its output",
                |given| {
                    let (x, g, kernel) =
                        (given.tensor("x"), given.tensor("g"), given.pair("kernel"));
                    conv2d_grad_weight(x, g, kernel, given.window(sides(x), kernel))
                },
            )
            .tensor("x", IMAGE)
            .tensor("g", "[N, OH, OW, O]"),
        )
        .wants("kernel", Form::Pair),
    ]
}

fn pools() -> Vec<Entry> {
    let window = |entry: Entry| {
        entry
            .wants("kernel", Form::Pair)
            .may("stride", Form::Pair, "kernel")
            .takes("padding", Form::Padding, "0")
            .takes("dilation", Form::Pair, "1")
    };
    vec![
        window(
            Entry::new("avg_pool2d", "the mean of each window", |given| {
                let (x, kernel) = (given.tensor("x"), given.pair("kernel"));
                let window = given.window(sides(x), kernel);
                avg_pool2d(x, kernel, window, given.flag("count_include_pad"))
            })
            .tensor("x", IMAGE),
        )
        .takes("count_include_pad", Form::Flag, "true"),
        window(
            Entry::new("avg_pool2d_spread", "the adjoint of avg_pool2d", |given| {
                let (g, image) = (given.tensor("g"), given.pair("image"));
                let kernel = given.pair("kernel");
                let window = given.window(image, kernel);
                avg_pool2d_spread(g, image, kernel, window, given.flag("count_include_pad"))
            })
            .tensor("g", OUTPUT),
        )
        .wants("image", Form::Pair)
        .takes("count_include_pad", Form::Flag, "true"),
        window(
            Entry::several(
                "max_pool2d",
                "the maximum of each window; also its place h W + w as `indices`",
                |given| {
                    let (x, kernel) = (given.tensor("x"), given.pair("kernel"));
                    let window = given.window(sides(x), kernel);
                    let (output, indices) = max_pool2d_with_indices(x, kernel, window)?;
                    Ok(vec![("output", output), ("indices", indices)])
                },
            )
            .tensor("x", IMAGE),
        ),
        window(
            Entry::new("max_pool2d_place", "each of g where index says", |given| {
                let (g, index) = (given.tensor("g"), given.tensor("index"));
                let (image, kernel) = (given.pair("image"), given.pair("kernel"));
                max_pool2d_place(g, index, image, kernel, given.window(image, kernel))
            })
            .tensor("g", OUTPUT)
            .tensor("index", "[N, OH, OW, C] of integers"),
        )
        .wants("image", Form::Pair),
        window(
            Entry::new("max_pool2d_pick", "the element that index names in each window", |given| {
                let (x, kernel) = (given.tensor("x"), given.pair("kernel"));
                let window = given.window(sides(x), kernel);
                max_pool2d_pick(x, given.tensor("index"), kernel, window)
            })
            .tensor("x", IMAGE)
            .tensor("index", "[N, OH, OW, C] of integers"),
        ),
    ]
}

fn images() -> Vec<Entry> {
    let of_image = |name, what, run| Entry::new(name, what, run).tensor("x", IMAGE);
    let adjoint = |name, what, run| Entry::new(name, what, run).tensor("g", OUTPUT);
    let mut entries = pools();
    entries.extend([
        of_image("resize_nearest", "the nearest pixel above and to the left", |given| {
            resize_nearest(given.tensor("x"), given.pair("size"))
        })
        .wants("size", Form::Pair),
        adjoint("resize_nearest_fold", "the adjoint of resize_nearest", |given| {
            resize_nearest_fold(given.tensor("g"), given.pair("image"))
        })
        .wants("image", Form::Pair),
        of_image("resize_bilinear", "between the four pixels around", |given| {
            resize_bilinear(given.tensor("x"), given.pair("size"), given.flag("align_corners"))
        })
        .wants("size", Form::Pair)
        .takes("align_corners", Form::Flag, "false"),
        adjoint("resize_bilinear_fold", "the adjoint of resize_bilinear", |given| {
            resize_bilinear_fold(
                given.tensor("g"),
                given.pair("image"),
                given.flag("align_corners"),
            )
        })
        .wants("image", Form::Pair)
        .takes("align_corners", Form::Flag, "false"),
        of_image("reflect_pad2d", "a mirror image around the plane, without its edge", |given| {
            given.tensor("x").reflect_pad2d(given.border("border"))
        })
        .wants("border", Form::Border),
        adjoint("reflect_pad_fold", "the adjoint of reflect_pad2d", |given| {
            reflect_pad_fold(given.tensor("g"), given.border("border"))
        })
        .wants("border", Form::Border),
        Entry::new("pixel_shuffle", "channels into pixels, in PyTorch's order", |given| {
            pixel_shuffle(given.tensor("x"), given.size("factor"))
        })
        .tensor("x", "[N, H, W, C factor^2]")
        .wants("factor", Form::Whole),
        Entry::new("pixel_unshuffle", "pixels into channels", |given| {
            pixel_unshuffle(given.tensor("x"), given.size("factor"))
        })
        .tensor("x", "[N, H factor, W factor, C]")
        .wants("factor", Form::Whole),
    ]);
    entries
}

fn rows() -> Vec<Entry> {
    vec![
        Entry::new("gather_rows", "the rows that indices name", |given| {
            gather_rows(given.tensor("table"), given.tensor("indices"))
        })
        .tensor("table", "[V, D..]")
        .tensor("indices", "[K..] of integers"),
        Entry::new("scatter_add_rows", "values added into rows of zeros", |given| {
            scatter_add_rows(given.tensor("values"), given.tensor("indices"), given.size("rows"))
        })
        .tensor("values", "[K.., D..]")
        .tensor("indices", "[K..] of integers")
        .wants("rows", Form::Whole),
    ]
}

/// What batch norm's halves are given.
fn normalization(given: &Given) -> Normalization<'_> {
    Normalization {
        x: given.tensor("x"),
        gamma: given.tensor("gamma"),
        beta: given.tensor("beta"),
        mean: given.tensor("mean"),
        variance: given.tensor("variance"),
        epsilon: given.number("epsilon"),
        slope: given.number("slope"),
    }
}

impl Entry {
    /// The operands and attributes of [`normalization`].
    fn normalization(self) -> Entry {
        self.tensor("x", "[.., C]")
            .tensor("gamma", "[C]")
            .tensor("beta", "[C]")
            .tensor("mean", "[parts, C]")
            .tensor("variance", "[parts, C]")
            .takes("epsilon", Form::Number, "1e-5")
            .takes("slope", Form::Number, "1")
            .without_derivative()
    }
}

fn networks() -> Vec<Entry> {
    vec![
        Entry::several(
            "batch_norm",
            "each channel normalised over the batch, or over each of its parts, then a leaky ReLU (slope 1: none); \
             also its `mean` and biased `variance`",
            |given| {
                let (gamma, beta) = (given.optional("gamma"), given.optional("beta"));
                let (epsilon, slope) = (given.number("epsilon"), given.number("slope"));
                let (x, parts) = (given.tensor("x"), given.size("parts"));
                let (output, statistics) =
                    batch_norm_leaky_relu(x, gamma, beta, epsilon, slope, parts)?;
                let (mean, variance) = (statistics.mean, statistics.variance);
                Ok(vec![("output", output), ("mean", mean), ("variance", variance)])
            },
        )
        .tensor("x", "[.., C]")
        .optional("gamma", "[C]")
        .optional("beta", "[C]")
        .takes("epsilon", Form::Number, "1e-5")
        .takes("slope", Form::Number, "1")
        .takes("parts", Form::Whole, "1"),
        Entry::new(
            "instance_norm",
            "each channel of each sample normalised, then a leaky ReLU (slope 1: none)",
            |given| {
                let (gamma, beta) = (given.optional("gamma"), given.optional("beta"));
                let (epsilon, slope) = (given.number("epsilon"), given.number("slope"));
                instance_norm_leaky_relu(given.tensor("x"), gamma, beta, epsilon, slope)
            },
        )
        .tensor("x", "[N, .., C]")
        .optional("gamma", "[C]")
        .optional("beta", "[C]")
        .takes("epsilon", Form::Number, "1e-5")
        .takes("slope", Form::Number, "1"),
        Entry::several(
            "running_statistics",
            "running mean and variance moved by a batch's of `count` numbers a channel; also the `variance`",
            |given| {
                let (mean, variance) = (given.tensor("mean"), given.tensor("variance"));
                let count = given.size("count");
                let batch = Statistics { mean: mean.clone(), variance: variance.clone(), count };
                let (running_mean, running_variance) =
                    (given.tensor("running_mean"), given.tensor("running_variance"));
                let (decay, unbiased) = (given.number("decay"), given.flag("unbiased"));
                let (mean, variance) =
                    running_statistics(running_mean, running_variance, &batch, decay, unbiased)?;
                Ok(vec![("output", mean), ("variance", variance)])
            },
        )
        .tensor("running_mean", "[C]")
        .tensor("running_variance", "[C]")
        .tensor("mean", "[C] or [parts, C]")
        .tensor("variance", "[C] or [parts, C]")
        .wants("decay", Form::Number)
        .wants("count", Form::Whole)
        .takes("unbiased", Form::Flag, "false")
        .without_derivative(),
        Entry::several(
            "norm_statistics",
            "mean and biased variance of each channel over the batch, or over each of its parts; also the `variance`",
            |given| {
                let statistics = norm_statistics(given.tensor("x"), given.size("parts"))?;
                Ok(vec![("output", statistics.mean), ("variance", statistics.variance)])
            },
        )
        .tensor("x", "[.., C]")
        .takes("parts", Form::Whole, "1")
        .without_derivative(),
        Entry::new("norm_apply", "each part normalised by its statistics, then a leaky ReLU", |given| {
            normalization(given).apply()
        })
        .normalization(),
        Entry::several(
            "norm_grad_sums",
            "sums over rows of the cotangent behind a leaky ReLU, alone and times x - mean; also `grad_gamma` and `grad_beta`",
            |given| {
                let found = normalization(given).grad_sums(given.tensor("h"))?;
                let (gamma, beta) = (found.grad_gamma, found.grad_beta);
                Ok(vec![("output", found.sums), ("grad_gamma", gamma), ("grad_beta", beta)])
            },
        )
        .normalization()
        .tensor("h", "as x"),
        Entry::new("norm_grad_apply", "batch norm's gradient of x from such sums", |given| {
            normalization(given).grad_apply(given.tensor("h"), given.tensor("sums"))
        })
        .normalization()
        .tensor("h", "as x")
        .tensor("sums", "[2, parts, C]"),
        Entry::new("normalize", "normalised by given statistics", |given| {
            let (mean, variance) = (given.tensor("mean"), given.tensor("variance"));
            let (gamma, beta) = (given.optional("gamma"), given.optional("beta"));
            let epsilon = given.number("epsilon");
            normalize(given.tensor("x"), mean, variance, gamma, beta, epsilon)
        })
        .tensor("x", "[.., C]")
        .tensor("mean", "[C]")
        .tensor("variance", "[C]")
        .optional("gamma", "[C]")
        .optional("beta", "[C]")
        .takes("epsilon", Form::Number, "1e-5"),
        Entry::new("bce_with_logits", "binary cross-entropy of each logit, in nats", |given| {
            bce_with_logits(given.tensor("logits"), given.tensor("targets"))
        })
        .tensor("logits", "[..]")
        .tensor("targets", "[..]"),
        Entry::new(
            "bce_with_logits_mean",
            "the mean binary cross-entropy of all logits times scale, in nats",
            |given| {
                let (logits, targets) = (given.tensor("logits"), given.tensor("targets"));
                bce_with_logits_mean(logits, targets, given.number("scale"))
            },
        )
        .tensor("logits", "[..]")
        .tensor("targets", "[..]")
        .takes("scale", Form::Number, "1"),
        Entry::new("cross_entropy_with_logits", "cross-entropy of each row, in nats", |given| {
            cross_entropy_with_logits(given.tensor("logits"), given.tensor("labels"))
        })
        .tensor("logits", "[N, C]")
        .tensor("labels", "[N] of integers"),
        drawn(Entry::new("dropout", "0 with probability rate, else x / (1 - rate)", |given| {
            dropout(given.tensor("x"), given.number("rate"), given.key(), &given.counter()?)
        }))
        .tensor("x", "[N, ..]")
        .wants("rate", Form::Number),
    ]
}

#[cfg(test)]
mod tests;
