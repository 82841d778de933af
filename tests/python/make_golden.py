#!/usr/bin/env python3
"""Writes ../golden/<family>.safetensors: ops' values, gradients and second derivatives from PyTorch in f64.

    python make_golden.py                  # needs torch and numpy; a few seconds on a CPU
    python check_golden.py                 # compares the files with direct loops and finite differences

A case named `<case>` has these tensors:

    <case>/in0 ..        the inputs; f64, indices u32
    <case>/out           out = op(in0, ..; attributes)
    <case>/cotangent     c, random, shaped like out
    <case>/grad<i>       d<c, out> / d in_i
    <case>/v<i>          a random direction, shaped like in_i
    <case>/gradgrad<i>   d(sum over j of <v_j, grad_j>) / d in_i; zeros where it does not depend on in_i

An input without `grad<i>` (an index, a condition, a target) is not differentiated; a case without any is forward only.
Metadata: `torch`, `numpy`, `python` = versions; `<case>` = {"op": name, "attributes": {..}} as JSON.

Inputs, cotangents and directions are multiples of 1/1024, so that f32 and f64 hold them exactly.
At kinks PyTorch's choice is ours too (relu'(0) = 0, abs'(0) = 0), but for clamp: PyTorch 2.15 has 0 at its bounds, Belamy 1.

Layouts are Belamy's: images [N, H, W, C], convolution weights [O, KH, KW, I/groups] where O counts the channels that
the op produces, transposed or not. `padding` is [[top, bottom], [left, right]]; pairs are [height, width].
pixel_shuffle reads channel (c * f + i) * f + j for row i and column j of output channel c, as PyTorch does.
"""

import json
import pathlib
import zlib

import numpy as np
import torch
import torch.nn.functional as F

import tensor_file

GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "golden"
F64 = torch.float64


class Family:
    """The cases of one file."""

    def __init__(self, name):
        self.name, self.tensors, self.metadata = name, {}, tensor_file.versions()

    def case(self, case, op, function, inputs, attributes=None, constants=(), forward_only=False):
        """Records `out = function(*inputs)`.

        `inputs` are shapes (filled at random) or arrays; `constants` are the indices of those not differentiated.
        """
        if case in self.metadata:
            raise ValueError(f"{self.name}: two cases are named {case}")
        # The seed depends on the name alone: a new case changes no other.
        random = np.random.default_rng(zlib.crc32(f"{self.name}/{case}".encode()))
        arrays = [normal(random, item) if isinstance(item, tuple) else np.asarray(item) for item in inputs]
        tensors = [as_torch(array) for array in arrays]
        free = [] if forward_only else [i for i in range(len(arrays)) if i not in constants]
        for i in free:
            tensors[i].requires_grad_(True)
        out = function(*tensors)
        record = {f"in{i}": array for i, array in enumerate(arrays)} | {"out": out.detach().numpy()}
        if free:
            cotangent = normal(random, tuple(out.shape))
            directions = [normal(random, arrays[i].shape) for i in free]
            wanted = [tensors[i] for i in free]
            loss = (out * as_torch(cotangent)).sum()
            grads = torch.autograd.grad(loss, wanted, create_graph=True)
            slope = sum((grad * as_torch(v)).sum() for grad, v in zip(grads, directions))
            gradgrads = [None] * len(free)
            if slope.requires_grad:
                gradgrads = torch.autograd.grad(slope, wanted, allow_unused=True)
            record["cotangent"] = cotangent
            for i, grad, v, gradgrad in zip(free, grads, directions, gradgrads):
                record[f"grad{i}"] = grad.numpy(force=True)
                record[f"v{i}"] = v
                record[f"gradgrad{i}"] = np.zeros(v.shape) if gradgrad is None else gradgrad.numpy(force=True)
        for name, array in record.items():
            array = array if array.dtype == np.uint32 else array.astype(np.float64)
            self.tensors[f"{case}/{name}"] = np.ascontiguousarray(array).reshape(array.shape)
        self.metadata[case] = json.dumps({"op": op, "attributes": attributes or {}}, sort_keys=True)

    def write(self):
        """Writes the file and says so."""
        size = tensor_file.write(GOLDEN / f"{self.name}.safetensors", self.tensors, self.metadata)
        cases = [key for key in self.metadata if key not in tensor_file.versions()]
        print(f"{self.name}.safetensors: {size:,} bytes, {len(cases)} cases: {' '.join(cases)}")
        return size


def grid(values):
    """The nearest multiples of 1/1024."""
    return np.round(np.asarray(values, dtype=np.float64) * 1024) / 1024


def normal(random, shape):
    """Normal numbers on the grid, none of them 0 (where most kinks are)."""
    values = grid(random.standard_normal(shape))
    return np.where(values == 0, 1 / 1024, values)


def positive(seed, shape):
    """Numbers in [0.25, 3.25] on the grid."""
    return grid(np.random.default_rng(seed).random(shape) * 3 + 0.25)


def distinct(seed, shape):
    """Numbers in a random order, no two nearer than 1/64: a maximum among them is never in doubt."""
    count = int(np.prod(shape))
    return (np.random.default_rng(seed).permutation(count).reshape(shape) - count // 2) / 64


def as_torch(array):
    """A tensor of f64, or of PyTorch's index type."""
    if array.dtype == np.uint32:
        return torch.from_numpy(array.astype(np.int64))
    return torch.from_numpy(np.array(array, dtype=np.float64))


def nchw(x):
    """[N, H, W, C] to PyTorch's [N, C, H, W]; also [O, KH, KW, I] to [O, I, KH, KW]."""
    return x.permute(0, 3, 1, 2)


def nhwc(x):
    """The inverse of `nchw`."""
    return x.permute(0, 2, 3, 1)


def on_images(function):
    """`function` of an NCHW image, as one of an NHWC image."""
    return lambda x: nhwc(function(nchw(x)))


def pair(value):
    """`value` for height and width."""
    return list(value) if isinstance(value, (list, tuple)) else [value, value]


def sides(padding):
    """p, or (top, bottom, left, right), as [[top, bottom], [left, right]]."""
    top, bottom, left, right = (padding,) * 4 if isinstance(padding, int) else padding
    return [[top, bottom], [left, right]]


def pad_images(x, padding, **how):
    """Pads an NCHW image by [[top, bottom], [left, right]]."""
    (top, bottom), (left, right) = padding
    return F.pad(x, (left, right, top, bottom), **how)


def pointwise():
    """Functions of one, two and three operands."""
    family = Family("pointwise")
    shape = (2, 3, 5)
    unary = {
        "neg": torch.neg, "exp": torch.exp, "abs": torch.abs, "square": torch.square, "relu": torch.relu,
        "tanh": torch.tanh, "sigmoid": torch.sigmoid, "sin": torch.sin, "cos": torch.cos,
        # PyTorch's softplus is linear above a threshold; this is the same function without one.
        "softplus": lambda x: -F.logsigmoid(-x),
    }
    for name, function in unary.items():
        family.case(name, name, function, [shape])
    for seed, (name, function) in enumerate({"log": torch.log, "sqrt": torch.sqrt}.items()):
        family.case(name, name, function, [positive(seed, shape)])
    signs = np.where(np.arange(5) % 2, 1, -1)
    family.case("reciprocal", "reciprocal", torch.reciprocal, [positive(2, shape) * signs])
    family.case("leaky_relu", "leaky_relu", lambda x: F.leaky_relu(x, 0.2), [shape], {"slope": 0.2})
    family.case("clamp", "clamp", lambda x: x.clamp(-0.5, 0.75), [shape], {"low": -0.5, "high": 0.75})
    family.case("add_scalar", "add_scalar", lambda x: x + 1.25, [shape], {"constant": 1.25})
    family.case("mul_scalar", "mul_scalar", lambda x: x * -1.5, [shape], {"constant": -1.5})
    for name, power in (("pow_fraction", 2.5), ("pow_negative", -0.5)):
        family.case(name, "pow_scalar", lambda x, p=power: x.pow(p), [positive(3, shape)], {"power": power})
    family.case("pow_cube", "pow_scalar", lambda x: x.pow(3), [shape], {"power": 3.0})
    kinks = np.array([-2.0, -0.5, 0.0, 0.5, 2.0])
    family.case("relu_kink", "relu", torch.relu, [kinks])
    family.case("abs_kink", "abs", torch.abs, [kinks])
    family.case("clamp_kink", "clamp", lambda x: x.clamp(-0.5, 0.5), [kinks], {"low": -0.5, "high": 0.5})
    far = np.array([-700.0, -40.0, -20.5, -1e-3, 1e-3, 20.5, 40.0, 700.0])
    for name in ("sigmoid", "tanh", "softplus"):
        family.case(f"{name}_far", name, unary[name], [far])
    family.case("sign", "sign", torch.sign, [kinks], forward_only=True)
    above = lambda x: (x > 0.25).to(F64)
    family.case("greater_scalar", "greater_scalar", above, [shape], {"threshold": 0.25}, forward_only=True)
    family.case("greater", "greater", lambda p, q: (p > q).to(F64), [shape, (3, 1)], forward_only=True)

    binary = {"add": torch.add, "sub": torch.sub, "mul": torch.mul, "maximum": torch.maximum, "minimum": torch.minimum}
    stretched = {"add": ((2, 3, 5), (3, 1)), "sub": ((1, 5), (2, 3, 1)), "mul": ((4, 1, 3), (2, 1)),
                 "maximum": ((3, 1), (1, 4)), "minimum": ((2, 1, 5), (2, 3, 5))}
    for name, function in binary.items():
        family.case(name, name, function, [shape, shape])
        family.case(f"{name}_stretched", name, function, list(stretched[name]))
    family.case("div", "div", torch.div, [shape, positive(4, shape)])
    family.case("div_stretched", "div", torch.div, [(3, 1), -positive(5, (2, 1, 4))])
    family.case("mul_scalar_operand", "mul", torch.mul, [(2, 3), ()])
    condition = (np.arange(12).reshape(3, 4) % 3 == 0).astype(np.float64)
    choose = lambda c, p, q: torch.where(c != 0, p, q)
    family.case("select", "select", choose, [condition, (3, 4), (3, 4)], constants=[0])
    family.case("select_stretched", "select", choose, [condition, (2, 1, 4), (1,)], constants=[0])
    return family


def reduce():
    """Sums, means and maxima over axes, which keep extent 1; one element of each row."""
    family = Family("reduce")
    shape = (2, 3, 4, 5)
    for axes in ([0], [3], [1, 2], [0, 2], [0, 1, 2, 3]):
        name = "".join(map(str, axes))
        family.case(f"sum_{name}", "sum", lambda x, a=axes: x.sum(a, keepdim=True), [shape], {"axes": axes})
    for axes in ([2], [0, 3], [0, 1, 2]):
        name = "".join(map(str, axes))
        family.case(f"mean_{name}", "mean", lambda x, a=axes: x.mean(a, keepdim=True), [shape], {"axes": axes})
    for axes in ([0], [3], [1, 3]):
        name, image = "".join(map(str, axes)), distinct(len(axes), shape)
        family.case(f"max_{name}", "max", lambda x, a=axes: x.amax(a, keepdim=True), [image], {"axes": axes})
    index = np.array([3, 0, 3, 1, 2], dtype=np.uint32)
    family.case("pick", "pick", lambda x, i: x.gather(1, i[:, None])[:, 0], [(5, 4), index], constants=[1])
    return family


def matmul():
    """Products of either operand transposed, and over batches."""
    family = Family("matmul")

    def case(name, a, b, transpose_a=False, transpose_b=False):
        turn = lambda x, yes: x.transpose(-1, -2) if yes else x
        family.case(name, "matmul", lambda a, b: torch.matmul(turn(a, transpose_a), turn(b, transpose_b)), [a, b],
                    {"transpose_a": transpose_a, "transpose_b": transpose_b})

    case("nn", (3, 7), (7, 5))
    case("nt", (3, 7), (5, 7), transpose_b=True)
    case("tn", (7, 3), (7, 5), transpose_a=True)
    case("tt", (7, 3), (5, 7), True, True)
    case("row_by_column", (1, 9), (9, 1))
    case("column_by_row", (4, 1), (1, 6))
    case("batched_nn", (3, 2, 5), (3, 5, 4))
    case("batched_nt", (3, 2, 5), (3, 4, 5), transpose_b=True)
    case("batched_tt", (2, 5, 3), (2, 4, 5), True, True)
    case("shared_right", (3, 2, 5), (5, 4))
    case("shared_left", (2, 5), (3, 5, 4))
    return family


def conv2d():
    """Cross-correlations."""
    family = Family("conv2d")

    def case(name, image, kernel, out_channels, stride=1, padding=0, dilation=1, groups=1):
        stride, dilation, padding = pair(stride), pair(dilation), sides(padding)
        weight = (out_channels, *pair(kernel), image[3] // groups)

        def function(x, w):
            return nhwc(F.conv2d(pad_images(nchw(x), padding), nchw(w), None, stride, 0, dilation, groups))

        attributes = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        family.case(name, "conv2d", function, [image, weight], attributes)

    case("k3", (2, 5, 6, 3), 3, 4)
    case("k3_p1", (1, 5, 4, 2), 3, 3, padding=1)
    case("k4_s2_p1_even", (2, 6, 8, 3), 4, 2, stride=2, padding=1)
    case("k4_s2_p1_odd", (1, 7, 5, 2), 4, 3, stride=2, padding=1)
    case("k5_s2_keras_same", (1, 6, 8, 2), 5, 2, stride=2, padding=(1, 2, 1, 2))
    case("k3_s2_asymmetric", (2, 7, 6, 1), 3, 3, stride=2, padding=(0, 1, 2, 0))
    case("k3_s3_p2", (1, 8, 7, 2), 3, 2, stride=3, padding=2)
    case("k1_s2", (2, 5, 6, 3), 1, 4, stride=2)
    case("k2_s3_gaps", (1, 8, 9, 2), 2, 3, stride=3)
    case("k3_dilated", (1, 7, 8, 2), 3, 2, padding=2, dilation=(2, 3))
    case("k3_grouped", (2, 5, 4, 4), 3, 6, padding=1, groups=2)
    case("k3_s2_depthwise", (1, 6, 7, 3), 3, 6, stride=2, padding=1, groups=3)
    case("k2x3_s1x2", (1, 4, 7, 2), (2, 3), 3, stride=(1, 2), padding=(1, 0, 0, 2))
    case("k4_whole_image", (3, 4, 4, 2), 4, 1)
    return family


def conv_transpose2d():
    """Transposed convolutions."""
    family = Family("conv_transpose2d")

    def case(name, image, kernel, out_channels, stride=1, padding=0, dilation=1, groups=1, output_padding=0):
        stride, dilation, extra = pair(stride), pair(dilation), pair(output_padding)
        (top, bottom), (left, right) = padding = sides(padding)
        in_group, out_group = image[3] // groups, out_channels // groups
        weight = (out_channels, *pair(kernel), in_group)

        def function(x, w):
            # PyTorch holds [I, O/groups, KH, KW]: the channel axes change places within each group.
            w = w.reshape(groups, out_group, *w.shape[1:3], in_group).permute(0, 4, 1, 2, 3)
            w = w.reshape(groups * in_group, out_group, *w.shape[3:])
            full = F.conv_transpose2d(nchw(x), w, None, stride, 0, extra, groups, dilation)
            height, width = full.shape[2:]
            return nhwc(full[:, :, top:height - bottom, left:width - right])

        attributes = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups,
                      "output_padding": extra}
        family.case(name, "conv_transpose2d", function, [image, weight], attributes)

    case("k4_from_1x1", (3, 1, 1, 5), 4, 2)
    case("k4_s2_p1", (2, 3, 4, 3), 4, 2, stride=2, padding=1)
    case("k3_s1_p1", (1, 4, 3, 2), 3, 3, padding=1)
    case("k5_s2_p2_extra1", (1, 3, 4, 2), 5, 2, stride=2, padding=2, output_padding=1)
    case("k3_s2_asymmetric", (2, 3, 2, 2), 3, 3, stride=2, padding=(0, 1, 1, 0))
    case("k3_s3_p1_extra2x1", (1, 3, 2, 2), 3, 2, stride=3, padding=1, output_padding=(2, 1))
    case("k2_s3_gaps", (1, 3, 4, 2), 2, 3, stride=3)
    case("k1_s2", (2, 3, 2, 3), 1, 2, stride=2)
    case("k3_dilated", (1, 4, 3, 2), 3, 2, stride=2, padding=1, dilation=2, output_padding=1)
    case("k4_s2_grouped", (1, 3, 3, 4), 4, 6, stride=2, padding=1, groups=2)
    case("k3_depthwise", (2, 3, 4, 3), 3, 3, stride=2, padding=1, groups=3, output_padding=1)
    case("k2x3_s1x2", (1, 3, 4, 2), (2, 3), 3, stride=(1, 2), padding=(0, 0, 1, 1))
    return family


def pool2d():
    """Means and maxima of windows; a maximum never comes from the padding."""
    family = Family("pool2d")

    def average(name, image, kernel, stride, padding=0, count_include_pad=True):
        kernel, stride, border = pair(kernel), pair(stride), pair(padding)
        attributes = {"kernel": kernel, "stride": stride, "padding": [[p, p] for p in border],
                      "count_include_pad": count_include_pad}
        pool = lambda x: F.avg_pool2d(x, kernel, stride, border, count_include_pad=count_include_pad)
        family.case(name, "avg_pool2d", on_images(pool), [image], attributes)

    def maximum(name, image, kernel, stride, padding=0):
        kernel, stride, border = pair(kernel), pair(stride), pair(padding)
        attributes = {"kernel": kernel, "stride": stride, "padding": [[p, p] for p in border]}
        pool = lambda x: F.max_pool2d(x, kernel, stride, border)
        family.case(name, "max_pool2d", on_images(pool), [distinct(zlib.crc32(name.encode()), image)], attributes)

    average("avg_k2_s2", (2, 4, 6, 3), 2, 2)
    average("avg_k2_s2_odd", (1, 5, 7, 2), 2, 2)
    average("avg_k3_s2_p1_counted", (2, 5, 6, 2), 3, 2, 1)
    average("avg_k3_s2_p1_uncounted", (2, 5, 6, 2), 3, 2, 1, count_include_pad=False)
    average("avg_k3_s1_p1_uncounted", (1, 4, 3, 2), 3, 1, 1, count_include_pad=False)
    average("avg_k2x3_s1x2", (1, 4, 7, 2), (2, 3), (1, 2), (0, 1))
    average("avg_whole_image", (2, 3, 4, 3), (3, 4), 1)
    maximum("max_k2_s2", (2, 4, 6, 3), 2, 2)
    maximum("max_k2_s2_odd", (1, 5, 7, 2), 2, 2)
    maximum("max_k3_s2_p1", (2, 5, 6, 2), 3, 2, 1)
    maximum("max_k3_s1_overlapping", (1, 5, 4, 2), 3, 1)
    maximum("max_k2x3_s1x2_p0x1", (1, 4, 7, 2), (2, 3), (1, 2), (0, 1))
    return family


def resize():
    """Resampling to a size: nearest takes floor(o * in / out); bilinear with and without the corners aligned."""
    family = Family("resize")

    def case(name, image, size, mode, align_corners=None):
        attributes = {"mode": mode, "size": list(size)}
        if align_corners is not None:
            attributes["align_corners"] = align_corners
        scale = lambda x: F.interpolate(x, size=size, mode=mode, align_corners=align_corners)
        family.case(name, "resize", on_images(scale), [image], attributes)

    case("nearest_twice", (2, 3, 4, 3), (6, 8), "nearest")
    case("nearest_thrice_by_twice", (1, 2, 3, 2), (6, 6), "nearest")
    case("nearest_uneven_up", (1, 5, 3, 2), (8, 7), "nearest")
    case("nearest_uneven_down", (1, 7, 8, 2), (4, 3), "nearest")
    for align in (False, True):
        name = "bilinear_aligned" if align else "bilinear"
        case(f"{name}_twice", (2, 3, 4, 2), (6, 8), "bilinear", align)
        case(f"{name}_uneven_up", (1, 5, 3, 2), (8, 7), "bilinear", align)
        case(f"{name}_uneven_down", (1, 7, 8, 2), (4, 3), "bilinear", align)
        case(f"{name}_to_one", (1, 3, 4, 2), (1, 2), "bilinear", align)
    return family


def pad():
    """Frames of a constant, or of the image mirrored without its border."""
    family = Family("pad")

    def case(name, image, padding, mode, value=None):
        padding = sides(padding)
        attributes = {"mode": mode, "padding": padding} | ({} if value is None else {"value": value})
        how = {"mode": mode} | ({} if value is None else {"value": value})
        family.case(name, "pad", on_images(lambda x: pad_images(x, padding, **how)), [image], attributes)

    case("constant_1", (2, 3, 4, 3), 1, "constant", 0.0)
    case("constant_asymmetric", (1, 2, 5, 2), (0, 3, 2, 1), "constant", 0.0)
    case("constant_value", (1, 3, 2, 2), (1, 0, 0, 2), "constant", -1.5)
    case("reflect_1", (2, 3, 4, 3), 1, "reflect")
    case("reflect_3", (1, 4, 5, 2), 3, "reflect")
    case("reflect_asymmetric", (1, 4, 3, 2), (0, 3, 2, 1), "reflect")
    return family


def arrange():
    """Concatenation, pixel shuffles and rows of a table."""
    family = Family("arrange")

    def joined(name, shapes, axis):
        family.case(name, "concat", lambda *xs: torch.cat(xs, axis), shapes, {"axis": axis})

    joined("concat_channels", [(2, 3, 2, 3), (2, 3, 2, 1)], 3)
    joined("concat_batch", [(1, 2, 3), (3, 2, 3), (2, 2, 3)], 0)
    joined("concat_middle", [(2, 1, 4), (2, 3, 4)], 1)
    for name, image, factor in (("pixel_shuffle_2", (2, 3, 2, 8), 2), ("pixel_shuffle_3", (1, 2, 3, 18), 3)):
        family.case(name, "pixel_shuffle", on_images(lambda x, f=factor: F.pixel_shuffle(x, f)), [image],
                    {"factor": factor})
    for name, image, factor in (("pixel_unshuffle_2", (2, 4, 6, 3), 2), ("pixel_unshuffle_3", (1, 6, 3, 1), 3)):
        family.case(name, "pixel_unshuffle", on_images(lambda x, f=factor: F.pixel_unshuffle(x, f)), [image],
                    {"factor": factor})
    rows = lambda table, index: F.embedding(index, table)
    repeated = np.array([4, 0, 4, 4, 2, 0, 4], dtype=np.uint32)
    family.case("gather", "gather", rows, [(6, 3), repeated], constants=[1])
    family.case("gather_one_column", "gather", rows, [(4, 1), np.array([3, 3, 1], dtype=np.uint32)], constants=[1])
    family.case("gather_one_index", "gather", rows, [(3, 5), np.array([2], dtype=np.uint32)], constants=[1])
    return family


def norm():
    """Normalisation by the batch's or each image's statistics (biased variance), then in1 * x + in2 where given."""
    family = Family("norm")

    def batch(name, shape, epsilon=1e-5):
        channels = shape[-1]
        move = lambda x: x.movedim(-1, 1)
        function = lambda x, scale, shift: F.batch_norm(
            move(x), None, None, scale, shift, training=True, eps=epsilon).movedim(1, -1)
        family.case(name, "batch_norm", function, [shape, (channels,), (channels,)], {"epsilon": epsilon})

    def instance(name, shape, affine, epsilon=1e-5):
        def function(x, *affine):
            return nhwc(F.instance_norm(nchw(x), None, None, *affine, eps=epsilon))

        channels = [(shape[-1],)] * 2 if affine else []
        family.case(name, "instance_norm", function, [shape, *channels], {"epsilon": epsilon})

    batch("batch_image", (3, 2, 4, 5))
    batch("batch_image_one_channel", (2, 3, 3, 1))
    batch("batch_rows", (7, 4))
    batch("batch_two_rows", (2, 3))
    batch("batch_keras_epsilon", (4, 3, 2, 3), 1e-3)
    instance("instance", (2, 3, 4, 3), False)
    instance("instance_affine", (3, 4, 2, 2), True)
    instance("instance_two_pixels", (2, 1, 2, 3), False)
    return family


def loss():
    """Losses of logits, one number for each element; targets are constants."""
    family = Family("loss")
    bce = lambda x, t: F.binary_cross_entropy_with_logits(x, t, reduction="none")
    name = "binary_cross_entropy_with_logits"
    far = np.array([-700.0, -40.0, -3.0, -1e-3, 1e-3, 3.0, 40.0, 700.0])
    targets = {"real": 1.0, "smoothed": 0.9, "fake": 0.0}
    for label, target in targets.items():
        family.case(label, name, bce, [(3, 5), np.full((3, 5), target)], constants=[1])
        family.case(f"{label}_far", name, bce, [far, np.full(8, target)], constants=[1])
    family.case("soft_targets", name, bce, [(2, 4, 3), grid(np.random.default_rng(9).random((2, 4, 3)))], constants=[1])
    return family


def main():
    GOLDEN.mkdir(parents=True, exist_ok=True)
    print(tensor_file.versions())
    families = [pointwise, reduce, matmul, conv2d, conv_transpose2d, pool2d, resize, pad, arrange, norm, loss]
    total = sum(family().write() for family in families)
    print(f"{total:,} bytes in all")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
