#!/usr/bin/env python3
"""Writes ../judges/pytorch.json.gz and ../judges/pytorch.safetensors.gz: the samples that PyTorch tests its own operators
with (OpInfo, torch.testing._internal), and what they give in f64.

    pip install torch numpy expecttest hypothesis scipy
    python make_judges_pytorch.py          # a minute on a CPU

OpInfo draws the samples in f32; everything is computed in f64 from those numbers, which both types hold exactly.

How the files hold tensors: judge_file.py. Of a sample the index has

    arguments   [name, value] in the order of the call; values are numbers, texts, lists, null or tensors
    outputs     the results
    gradients   d sum_k <c_k, out_k> / d x_i for each tensor x_i among the arguments with `differentiable`, in their order;
                null where the result does not depend on it
    seconds     d sum_i <v_i, gradient_i> / d x_i, then / d c_k; null likewise; absent where PyTorch has none

The cotangents c_k and the directions v_i are not stored: `draws` makes them from the sample's name. Of a refusal (OpInfo's
error_inputs) the index has the arguments alone. `left_out` counts, for each reason, what is not written at all.
"""

import collections
import warnings

import numpy as np
import torch
from torch.testing._internal.common_methods_invocations import op_db

import judge_file
import tensor_file
from judge_file import LeftOut

MOST_ELEMENTS, MOST_AXES = 4096, 6

# OpInfo's name of each operator, and the names of its positional parameters; `*` takes all that are left.
OPERATORS = {
    "abs": "input", "exp": "input", "log": "input", "sqrt": "input", "neg": "input", "sign": "input",
    "square": "input", "reciprocal": "input", "sin": "input", "cos": "input", "tanh": "input",
    "sigmoid": "input", "rsqrt": "input", "tan": "input", "sinh": "input", "cosh": "input",
    "log10": "input", "log2": "input",
    "pow": "input exponent", "clamp": "input min max", "clamp_min": "input min", "clamp_max": "input max",
    "add": "input other", "sub": "input other", "mul": "input other", "div.no_rounding_mode": "input other",
    "true_divide": "input other", "rsub": "input other", "maximum": "input other", "minimum": "input other",
    "max.binary": "input other", "min.binary": "input other", "gt": "input other", "lt": "input other",
    "where": "input condition other", "masked_fill": "input mask value",
    "addcmul": "input tensor1 tensor2", "addcdiv": "input tensor1 tensor2", "lerp": "input end weight",
    "nn.functional.silu": "input", "nn.functional.hardtanh": "input min_val max_val",
    "nn.functional.relu6": "input", "nn.functional.relu": "input",
    "nn.functional.leaky_relu": "input negative_slope", "nn.functional.prelu": "input weight",
    "nn.functional.softplus": "input beta threshold", "nn.functional.logsigmoid": "input",
    "nn.functional.softsign": "input", "nn.functional.tanhshrink": "input",
    "nn.functional.threshold": "input threshold value", "nn.functional.elu": "input alpha",
    "nn.functional.hardsigmoid": "input", "nn.functional.hardswish": "input", "nn.functional.glu": "input dim",
    "softmax": "input dim", "log_softmax": "input dim", "nn.functional.softmin": "input dim",
    "logsumexp": "input dim keepdim",
    "sum": "input dim keepdim", "mean": "input dim keepdim", "amax": "input dim keepdim",
    "amin": "input dim keepdim", "max.reduction_with_dim": "input dim keepdim",
    "max.reduction_no_dim": "input", "min.reduction_with_dim": "input dim keepdim",
    "min.reduction_no_dim": "input", "var": "input dim unbiased keepdim", "std": "input dim unbiased keepdim",
    "var.unbiased": "input unbiased", "std.unbiased": "input unbiased",
    "matmul": "input other", "mm": "input other", "bmm": "input other", "mv": "input other",
    "dot": "input other", "inner": "input other", "outer": "input other", "__rmatmul__": "input other",
    "addmm": "input mat1 mat2", "addmm.decomposed": "input mat1 mat2", "addmv": "input mat1 mat2",
    "baddbmm": "input mat1 mat2", "addbmm": "input mat1 mat2", "nn.functional.linear": "input weight bias",
    "nn.functional.conv1d": "input weight bias stride padding dilation groups",
    "nn.functional.conv2d": "input weight bias stride padding dilation groups",
    "nn.functional.conv_transpose1d": "input weight bias stride padding output_padding groups dilation",
    "nn.functional.conv_transpose2d": "input weight bias stride padding output_padding groups dilation",
    "nn.functional.avg_pool1d": "input kernel_size stride padding ceil_mode count_include_pad",
    "nn.functional.avg_pool2d": "input kernel_size stride padding ceil_mode count_include_pad divisor_override",
    "nn.functional.max_pool1d": "input kernel_size stride padding dilation ceil_mode return_indices",
    "nn.functional.max_pool2d": "input kernel_size stride padding dilation ceil_mode return_indices",
    "nn.functional.adaptive_avg_pool1d": "input output_size",
    "nn.functional.adaptive_avg_pool2d": "input output_size",
    "nn.functional.adaptive_max_pool1d": "input output_size return_indices",
    "nn.functional.adaptive_max_pool2d": "input output_size return_indices",
    "nn.functional.interpolate.nearest": "input size scale_factor mode align_corners recompute_scale_factor",
    "nn.functional.interpolate.bilinear": "input size scale_factor mode align_corners recompute_scale_factor",
    "nn.functional.interpolate.linear": "input size scale_factor mode align_corners recompute_scale_factor",
    "nn.functional.upsample_nearest": "input size scale_factor",
    "nn.functional.upsample_bilinear": "input size scale_factor",
    "nn.functional.pad.constant": "input pad mode value", "constant_pad_nd": "input pad value",
    "nn.functional.pad.reflect": "input pad mode value", "nn.functional.pad.replicate": "input pad mode value",
    "nn.functional.pad.circular": "input pad mode value",
    "cat": "tensors dim", "stack": "tensors dim", "hstack": "tensors", "vstack": "tensors", "dstack": "tensors",
    "column_stack": "tensors", "broadcast_tensors": "*tensors",
    "chunk": "input chunks dim", "split": "input split_size dim", "split_with_sizes": "input split_size dim",
    "split.list_args": "input split_size dim", "unbind": "input dim", "narrow": "input dim start length",
    "select": "input dim index", "slice": "input dim start end step",
    "reshape": "input shape", "view": "input shape", "reshape_as": "input other", "view_as": "input other",
    "flatten": "input start_dim end_dim", "unflatten": "input dim sizes", "ravel": "input",
    "squeeze": "input dim", "squeeze.multiple": "input dim", "unsqueeze": "input dim",
    "permute": "input dims", "transpose": "input dim0 dim1", "t": "input", "T": "input", "mT": "input",
    "movedim": "input source destination", "expand": "input size", "expand_as": "input other",
    "broadcast_to": "input size", "repeat": "input repeats", "tile": "input repeats",
    "flip": "input dims", "roll": "input shifts dims",
    "nn.functional.pixel_shuffle": "input upscale_factor",
    "nn.functional.pixel_unshuffle": "input downscale_factor",
    "nn.functional.channel_shuffle": "input groups",
    "index_select": "input dim index", "nn.functional.embedding": "weight input padding_idx max_norm",
    "gather": "input dim index", "take_along_dim": "input index dim", "index_add": "input dim index source",
    "nn.functional.unfold": "input kernel_size dilation padding stride",
    "nn.functional.batch_norm": "input running_mean running_var weight bias training momentum eps",
    "nn.functional.instance_norm": "input running_mean running_var weight bias use_input_stats momentum eps",
    "nn.functional.group_norm": "input num_groups weight bias eps",
    "nn.functional.layer_norm": "input normalized_shape weight bias eps",
    "nn.functional.rms_norm": "input normalized_shape weight eps",
    "nn.functional.normalize": "input p dim eps",
    "nn.functional.binary_cross_entropy_with_logits": "input target",
    "nn.functional.binary_cross_entropy": "input target", "nn.functional.cross_entropy": "input target",
    "nn.functional.nll_loss": "input target", "nn.functional.mse_loss": "input target",
    "nn.functional.l1_loss": "input target", "nn.functional.smooth_l1_loss": "input target",
    "nn.functional.huber_loss": "input target", "nn.functional.hinge_embedding_loss": "input target",
    "nn.functional.soft_margin_loss": "input target", "nn.functional.kl_div": "input target",
}


def draws(text, count):
    """Multiples of 1/1024 in [-1, 1), none of them 0: FNV-1a of the text seeds SplitMix64."""
    seed = 0xCBF29CE484222325
    for byte in text.encode():
        seed = (seed ^ byte) * 0x100000001B3 % 2**64
    with np.errstate(over="ignore"):
        z = np.uint64(seed) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    values = ((z >> np.uint64(53)).astype(np.float64) - 1024) / 1024
    return np.where(values == 0, 1 / 1024, values)


class Tensors(judge_file.Numbers):
    """The numbers of PyTorch's tensors."""

    def input(self, tensor):
        """The record of an argument."""
        if tensor.ndim > MOST_AXES:
            raise LeftOut("a tensor has more than six axes")
        if tensor.layout != torch.strided:
            raise LeftOut("a tensor is sparse")
        array = tensor.resolve_conj().numpy(force=True)
        if array.dtype == np.float32 or array.dtype == np.float64:
            if not np.isfinite(array).all():
                raise LeftOut("an argument is infinite or not a number")
            record = self.place("inputs", "float", array)
            return record | {"differentiable": True} if tensor.requires_grad else record
        if array.dtype == np.bool_:
            return self.place("integers", "boolean", array)
        if array.dtype.kind in "iu":
            return self.place("integers", "integer", array)
        raise LeftOut("a tensor is complex")

    def result(self, tensor):
        """The record of a result."""
        if tensor is None:
            return None
        if tensor.ndim > MOST_AXES:
            raise LeftOut("a tensor has more than six axes")
        array = tensor.numpy(force=True)
        if array.dtype.kind in "iu":
            return self.place("integers", "integer", array)
        if array.dtype == np.bool_:
            return self.place("integers", "boolean", array)
        if not np.isfinite(array).all():
            raise LeftOut("a result is infinite or not a number")
        return self.place("results", "float", array)


def described(value, numbers):
    """A value of a call as the index has it."""
    if isinstance(value, torch.Tensor):
        if value.device.type != "cpu":
            raise LeftOut("a tensor is on another device")
        return numbers.input(value)
    if isinstance(value, (list, tuple)):
        return [described(item, numbers) for item in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise LeftOut(f"an argument is a {type(value).__name__}")


def arguments(operator, sample, numbers):
    """[name, value] of all that a call is given."""
    if "out" in sample.kwargs:
        raise LeftOut("results are written where the caller says")
    names, given = OPERATORS[operator].split(), [sample.input, *sample.args]
    if names[-1].startswith("*"):
        given = given[: len(names) - 1] + [given[len(names) - 1 :]]
        names[-1] = names[-1][1:]
    if len(given) > len(names):
        raise LeftOut("the call has more arguments than are documented")
    pairs = list(zip(names, given)) + list(sample.kwargs.items())
    return [[name, described(value, numbers)] for name, value in pairs]


def doubled(value, leaves):
    """The same call in f64; what is differentiated goes to `leaves`."""
    if isinstance(value, torch.Tensor):
        if not value.dtype.is_floating_point:
            return value
        tensor = value.detach().to(torch.float64)
        if value.requires_grad:
            leaves.append(tensor.requires_grad_(True))
        return tensor
    if isinstance(value, (list, tuple)):
        return type(value)(doubled(item, leaves) for item in value)
    return value


def elements(value):
    if isinstance(value, torch.Tensor):
        return value.numel()
    return sum(elements(item) for item in value) if isinstance(value, (list, tuple)) else 0


def recorded(operator, op, sample, name, numbers):
    """A sample with its results."""
    if elements([sample.input, *sample.args, *sample.kwargs.values()]) > MOST_ELEMENTS:
        raise LeftOut(f"more than {MOST_ELEMENTS} elements: too large to keep")
    record = {"name": name, "arguments": arguments(operator, sample, numbers)}
    leaves = []
    given = [doubled(value, leaves) for value in (sample.input, *sample.args)]
    named = {key: doubled(value, leaves) for key, value in sample.kwargs.items()}
    outputs = op(*given, **named)
    outputs = [outputs] if isinstance(outputs, torch.Tensor) else list(outputs)
    record["outputs"] = [numbers.result(output) for output in outputs]
    slots = [index for index, output in enumerate(outputs) if output.requires_grad]
    if not leaves or not slots:
        return record
    cotangents = []
    for index in slots:
        drawn = draws(f"{name} cotangent {index}", outputs[index].numel()).reshape(tuple(outputs[index].shape))
        cotangents.append(torch.from_numpy(drawn).requires_grad_(True))
    wanted = [outputs[index] for index in slots]
    grads = torch.autograd.grad(wanted, leaves, cotangents, create_graph=True, allow_unused=True)
    record["gradients"] = [numbers.result(grad) for grad in grads]
    slope = 0
    for index, grad in enumerate(grads):
        if grad is not None:
            direction = draws(f"{name} direction {index}", grad.numel()).reshape(tuple(grad.shape))
            slope = slope + (grad * torch.from_numpy(direction)).sum()
    if not op.supports_gradgrad:
        return record
    variables = leaves + cotangents
    seconds = [None] * len(variables)
    if isinstance(slope, torch.Tensor) and slope.requires_grad:
        seconds = torch.autograd.grad(slope, variables, allow_unused=True)
    record["seconds"] = [numbers.result(second) for second in seconds]
    return record


def main():
    warnings.filterwarnings("ignore")
    named = {op.name + ("." + op.variant_test_name if op.variant_test_name else ""): op for op in op_db}
    numbers, index = Tensors(), {"versions": tensor_file.versions(), "operators": {}}
    for operator in OPERATORS:
        op, samples, refusals, left_out = named[operator], [], [], collections.Counter()
        torch.manual_seed(0)
        drawn = list(op.sample_inputs("cpu", torch.float32, requires_grad=op.supports_autograd))
        for place, sample in enumerate(drawn):
            try:
                samples.append(recorded(operator, op, sample, f"{operator}/{place}", numbers))
            except LeftOut as reason:
                left_out[str(reason)] += 1
        errors = op.error_inputs("cpu") if op.error_inputs_func is not None else []
        for place, error in enumerate(errors):
            try:
                sample = error.sample_input
                pairs = arguments(operator, sample, numbers)
                refusals.append({"name": f"{operator}/refusal {place}", "arguments": pairs})
            except LeftOut as reason:
                left_out[f"refusal: {reason}"] += 1
        index["operators"][operator] = {"samples": samples, "refusals": refusals, "left_out": left_out}
    judge_file.write("pytorch", index, numbers)
    count = sum(len(entry["samples"]) for entry in index["operators"].values())
    print(f"{len(OPERATORS)} operators, {count} samples")


if __name__ == "__main__":
    main()
