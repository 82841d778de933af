#!/usr/bin/env python3
"""Compares ../golden/*.safetensors with direct loops in numpy, and their derivatives with finite differences of those.

    python check_golden.py                 # needs numpy and safetensors, not torch; a second

Every case of the families with a layout or a border to get wrong is computed again by another route. With
L(x) = <c, f(x)>, the stored gradients must give L's slope along the stored directions v, and the stored second
derivatives must give the slope, along a fresh direction u, of that slope.
"""

import itertools
import json
import pathlib
import sys
import zlib

import numpy as np
import safetensors

GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "golden"
# Of values with the loops, and of first and second central differences: truncation and rounding at STEP.
BOUNDS = {"value": 1e-12, "first": 1e-7, "second": 1e-5}
STEP = 2e-4


def conv2d(inputs, a):
    x, w = inputs
    (n, h, width, _), (o, kh, kw, c) = x.shape, w.shape
    (sh, sw), (dh, dw) = a["stride"], a["dilation"]
    (top, bottom), (left, right) = a["padding"]
    oh = (h + top + bottom - dh * (kh - 1) - 1) // sh + 1
    ow = (width + left + right - dw * (kw - 1) - 1) // sw + 1
    y = np.zeros((n, oh, ow, o))
    for i, j, channel, p, q in itertools.product(range(oh), range(ow), range(o), range(kh), range(kw)):
        row, column = i * sh - top + p * dh, j * sw - left + q * dw
        if 0 <= row < h and 0 <= column < width:
            first = channel // (o // a["groups"]) * c
            y[:, i, j, channel] += x[:, row, column, first:first + c] @ w[channel, p, q]
    return y


def conv_transpose2d(inputs, a):
    x, w = inputs
    (n, h, width, _), (o, kh, kw, c) = x.shape, w.shape
    (sh, sw), (dh, dw), (eh, ew) = a["stride"], a["dilation"], a["output_padding"]
    (top, bottom), (left, right) = a["padding"]
    oh = (h - 1) * sh + dh * (kh - 1) + 1 + eh - top - bottom
    ow = (width - 1) * sw + dw * (kw - 1) + 1 + ew - left - right
    y = np.zeros((n, oh, ow, o))
    for i, j, channel, p, q in itertools.product(range(h), range(width), range(o), range(kh), range(kw)):
        row, column = i * sh - top + p * dh, j * sw - left + q * dw
        if 0 <= row < oh and 0 <= column < ow:
            first = channel // (o // a["groups"]) * c
            y[:, row, column, channel] += x[:, i, j, first:first + c] @ w[channel, p, q]
    return y


def pool2d(inputs, a, average):
    (x,) = inputs
    n, h, width, c = x.shape
    (kh, kw), (sh, sw) = a["kernel"], a["stride"]
    (top, bottom), (left, right) = a["padding"]
    oh, ow = (h + top + bottom - kh) // sh + 1, (width + left + right - kw) // sw + 1
    y = np.zeros((n, oh, ow, c))
    for i, j in itertools.product(range(oh), range(ow)):
        rows = slice(max(i * sh - top, 0), min(i * sh - top + kh, h))
        columns = slice(max(j * sw - left, 0), min(j * sw - left + kw, width))
        window = x[:, rows, columns]
        if not average:
            y[:, i, j] = window.max((1, 2))
        else:
            count = kh * kw if a["count_include_pad"] else window.shape[1] * window.shape[2]
            y[:, i, j] = window.sum((1, 2)) / count
    return y


def resize(inputs, a):
    (x,) = inputs
    for axis, size in zip((1, 2), a["size"]):
        side = x.shape[axis]
        weights = np.zeros((size, side))
        for o in range(size):
            if a["mode"] == "nearest":
                weights[o, o * side // size] = 1
                continue
            if a["align_corners"]:
                place = o * (side - 1) / (size - 1) if size > 1 else 0.0
            else:
                place = max((o + 0.5) * side / size - 0.5, 0.0)
            low = min(int(place), side - 1)
            weights[o, low] += 1 - (place - low)
            weights[o, min(low + 1, side - 1)] += place - low
        x = np.moveaxis(np.tensordot(weights, x, (1, axis)), 0, axis)
    return x


def pad(inputs, a):
    (x,) = inputs
    n, h, width, c = x.shape
    (top, bottom), (left, right) = a["padding"]
    y = np.zeros((n, h + top + bottom, width + left + right, c))
    mirror = lambda i, side: abs((side - 1) - abs((side - 1) - i))
    for i, j in itertools.product(range(y.shape[1]), range(y.shape[2])):
        row, column = i - top, j - left
        if a["mode"] == "reflect":
            y[:, i, j] = x[:, mirror(row, h), mirror(column, width)]
        else:
            inside = 0 <= row < h and 0 <= column < width
            y[:, i, j] = x[:, row, column] if inside else a["value"]
    return y


def pixel_shuffle(inputs, a):
    (x,) = inputs
    f = a["factor"]
    n, h, w, c = x.shape
    y = np.zeros((n, h * f, w * f, c // f**2))
    for i, j, channel in np.ndindex(*y.shape[1:]):
        y[:, i, j, channel] = x[:, i // f, j // f, (channel * f + i % f) * f + j % f]
    return y


def pixel_unshuffle(inputs, a):
    (x,) = inputs
    f = a["factor"]
    n, h, w, c = x.shape
    y = np.zeros((n, h // f, w // f, c * f**2))
    for i, j, channel in np.ndindex(*x.shape[1:]):
        y[:, i // f, j // f, (channel * f + i % f) * f + j % f] = x[:, i, j, channel]
    return y


def normalise(inputs, a, axes):
    x = inputs[0]
    centred = x - x.mean(axes, keepdims=True)
    y = centred / np.sqrt((centred**2).mean(axes, keepdims=True) + a["epsilon"])
    return y * inputs[1] + inputs[2] if len(inputs) == 3 else y


def matmul(inputs, a):
    first, second = inputs
    first = np.swapaxes(first, -1, -2) if a["transpose_a"] else first
    second = np.swapaxes(second, -1, -2) if a["transpose_b"] else second
    return np.einsum("...mk,...kn->...mn", first, second)


def bce(inputs, a):
    x, t = inputs
    return t * np.logaddexp(0, -x) + (1 - t) * np.logaddexp(0, x)


REFERENCES = {
    "conv2d": conv2d,
    "conv_transpose2d": conv_transpose2d,
    "avg_pool2d": lambda inputs, a: pool2d(inputs, a, True),
    "max_pool2d": lambda inputs, a: pool2d(inputs, a, False),
    "resize": resize,
    "pad": pad,
    "pixel_shuffle": pixel_shuffle,
    "pixel_unshuffle": pixel_unshuffle,
    "concat": lambda inputs, a: np.concatenate(inputs, a["axis"]),
    "gather": lambda inputs, a: inputs[0][inputs[1]],
    "batch_norm": lambda inputs, a: normalise(inputs, a, tuple(range(inputs[0].ndim - 1))),
    "instance_norm": lambda inputs, a: normalise(inputs, a, (1, 2)),
    "matmul": matmul,
    "binary_cross_entropy_with_logits": bce,
    "sum": lambda inputs, a: inputs[0].sum(tuple(a["axes"]), keepdims=True),
    "mean": lambda inputs, a: inputs[0].mean(tuple(a["axes"]), keepdims=True),
    "max": lambda inputs, a: inputs[0].max(tuple(a["axes"]), keepdims=True),
    "pick": lambda inputs, a: inputs[0][np.arange(len(inputs[1])), inputs[1]],
    # Pointwise: those that numpy does not spell alike, then all that it does.
    "relu": lambda inputs, a: np.maximum(inputs[0], 0),
    "leaky_relu": lambda inputs, a: np.maximum(inputs[0], a["slope"] * inputs[0]),
    "sigmoid": lambda inputs, a: 0.5 + 0.5 * np.tanh(0.5 * inputs[0]),
    "softplus": lambda inputs, a: np.logaddexp(0, inputs[0]),
    "clamp": lambda inputs, a: np.clip(inputs[0], a["low"], a["high"]),
    "add_scalar": lambda inputs, a: inputs[0] + a["constant"],
    "mul_scalar": lambda inputs, a: inputs[0] * a["constant"],
    "pow_scalar": lambda inputs, a: inputs[0] ** a["power"],
    "greater_scalar": lambda inputs, a: inputs[0] > a["threshold"],
    "select": lambda inputs, a: np.where(inputs[0] != 0, *inputs[1:]),
}
NUMPY_NAMES = {"neg": "negative", "sub": "subtract", "mul": "multiply", "div": "divide"}


def reference(op):
    """Another implementation of `op`."""
    if op in REFERENCES:
        return REFERENCES[op]
    ufunc = getattr(np, NUMPY_NAMES.get(op, op))
    return lambda inputs, a: ufunc(*inputs)


def error(found, wanted):
    """The largest difference, in units of the larger of 1 and the largest number wanted."""
    found, wanted = np.asarray(found, dtype=np.float64), np.asarray(wanted, dtype=np.float64)
    if found.shape != wanted.shape:
        return np.inf
    return np.abs(found - wanted).max() / max(1.0, np.abs(wanted).max())


def check(case, tensors, op, attributes):
    """The errors of one case: {"value": .., "first": .., "second": ..}."""
    function = reference(op)
    inputs = [tensors[f"in{i}"] for i in range(sum(name.startswith("in") for name in tensors))]
    errors = {"value": error(tensors["out"], function(inputs, attributes))}
    # At a kink no difference has a limit; far out it has no digits.
    if "cotangent" not in tensors or case.endswith(("_kink", "_far")):
        return errors
    free = [i for i in range(len(inputs)) if f"grad{i}" in tensors]
    random = np.random.default_rng(zlib.crc32(case.encode()))
    other = {i: random.standard_normal(inputs[i].shape) for i in free}

    def loss(s, t):
        moved = list(inputs)
        for i in free:
            moved[i] = inputs[i] + s * tensors[f"v{i}"] + t * other[i]
        return (tensors["cotangent"] * function(moved, attributes)).sum()

    h = STEP
    slope = (8 * (loss(h, 0) - loss(-h, 0)) - (loss(2 * h, 0) - loss(-2 * h, 0))) / (12 * h)
    errors["first"] = error(slope, sum((tensors[f"grad{i}"] * tensors[f"v{i}"]).sum() for i in free))
    h = 2 * STEP
    mixed = lambda h: (loss(h, h) - loss(h, -h) - loss(-h, h) + loss(-h, -h)) / (4 * h * h)
    curve = (4 * mixed(h) - mixed(2 * h)) / 3
    errors["second"] = error(curve, sum((tensors[f"gradgrad{i}"] * other[i]).sum() for i in free))
    return errors


def main():
    failures, checks = 0, 0
    for path in sorted(GOLDEN.glob("*.safetensors")):
        if path.stem.startswith("parity_"):
            continue
        worst = dict.fromkeys(BOUNDS, 0.0)
        with safetensors.safe_open(path, "numpy") as file:
            cases = {name: json.loads(text) for name, text in file.metadata().items() if text.startswith("{")}
            for case, about in cases.items():
                names = [name for name in file.keys() if name.rpartition("/")[0] == case]
                tensors = {name.rpartition("/")[2]: file.get_tensor(name) for name in names}
                for kind, found in check(case, tensors, about["op"], about["attributes"]).items():
                    checks += 1
                    worst[kind] = max(worst[kind], found)
                    if not found <= BOUNDS[kind]:
                        failures += 1
                        print(f"{path.stem}/{case}: {kind} is wrong by {found:.2e}")
        shown = ", ".join(f"{kind} {found:.1e}" for kind, found in worst.items())
        print(f"{path.stem}: {len(cases)} cases; largest errors: {shown}")
    print(f"{checks} checks, {failures} failures")
    return failures > 0


if __name__ == "__main__":
    sys.exit(main())
