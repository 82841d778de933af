#!/usr/bin/env python3
"""Writes ../judges/onnx.json.gz and ../judges/onnx.safetensors.gz: ONNX's backend tests for the operators that we have.

    pip install onnx numpy ml_dtypes
    python make_judges_onnx.py             # half a minute on a CPU

The node tests are built by the package's own loader (their data are not in the package); the models that PyTorch exported
(`pytorch-converted` and `pytorch-operator`) and `simple` lie in the package with theirs. A case applies where every node of its
graph is one of `OPERATORS`. Of it the index has

    nodes       operator, inputs, outputs and attributes of each, in an order that can be run
    opset       the version of the operators
    tensors     what is given: inputs and initializers by name
    outputs     [name, result]

How the files hold tensors: judge_file.py. Each list of nodes may use host integers (shapes, axes) beside tensors of numbers.
`left_out` names, for each reason, the cases that apply and are not written.
"""

import collections
import pathlib
import warnings

import numpy as np
import onnx
from onnx import AttributeProto, TensorProto, numpy_helper
from onnx.backend.test.case.node import collect_testcases
from onnx.backend.test.loader import load_model_tests

import judge_file
import tensor_file
from judge_file import LeftOut

# What we have, or compose of what we have.
OPERATORS = """
    Abs Adam Add ArgMax ArgMin AveragePool BatchNormalization Celu CenterCropPad Clip Col2Im Concat Conv ConvTranspose Cos Cosh
    DepthToSpace Div Dropout Elu Exp Expand Flatten Gather GatherElements Gelu Gemm GlobalAveragePool GlobalMaxPool Greater
    GreaterOrEqual GroupNormalization HardSigmoid HardSwish Hardmax Identity InstanceNormalization LayerNormalization LeakyRelu
    Less LessOrEqual Log LogSoftmax LpNormalization LpPool MatMul Max MaxPool Mean MeanVarianceNormalization Min Mish
    Momentum Mul Neg NegativeLogLikelihoodLoss PRelu Pad Pow RMSNormalization Reciprocal ReduceL1 ReduceL2 ReduceLogSum
    ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceSum ReduceSumSquare Relu Reshape Resize Selu Shrink Sigmoid Sign
    Sin Sinh Slice Softmax SoftmaxCrossEntropyLoss Softplus Softsign SpaceToDepth Split Sqrt Squeeze Sub Sum Swish Tan Tanh
    ThresholdedRelu Tile Transpose Unsqueeze Upsample Where
""".split()
# What a graph may do beside, on the host: no op of ours is asked.
HOST = "And Cast CastLike Constant ConstantOfShape Equal Not Or Range Shape Size".split()
MOST_ELEMENTS, MOST_AXES = 120_000, 6
FAR = 2**31 - 1


class Tensors(judge_file.Numbers):
    """The numbers of ONNX's tensors."""

    def record(self, array):
        """The record of a tensor."""
        array = np.asarray(array)
        if array.ndim > MOST_AXES:
            raise LeftOut("a tensor of more than six axes")
        if array.dtype == np.float32:
            return self.place("inputs", "float", array)
        if array.dtype == np.float64:
            return self.place("results", "float", array)
        if array.dtype == np.bool_:
            return self.place("integers", "boolean", array)
        if array.dtype in (np.int32, np.int64):
            # Some cases say "to the end" with the largest integer.
            return self.place("integers", "integer", np.clip(array, -FAR, FAR))
        raise LeftOut("numbers of a type that our tensors do not hold: 8 or 16 bits, unsigned, texts")


def attribute(value, tensors):
    """An attribute as the index has it."""
    kinds = AttributeProto
    if value.type == kinds.TENSOR:
        return tensors.record(numpy_helper.to_array(value.t))
    if value.type in (kinds.GRAPH, kinds.GRAPHS):
        raise LeftOut("a graph within the graph")
    plain = onnx.helper.get_attribute_value(value)
    if value.type == kinds.STRING:
        return plain.decode()
    if value.type == kinds.STRINGS:
        return [text.decode() for text in plain]
    return list(plain) if value.type in (kinds.FLOATS, kinds.INTS) else plain


def written(model, given, wanted, tensors):
    """A case's record but for its name."""
    graph = model.graph
    for value in list(graph.input) + list(graph.output):
        if not value.type.HasField("tensor_type"):
            raise LeftOut("sequences or optional values")
    arrays = {initializer.name: numpy_helper.to_array(initializer) for initializer in graph.initializer}
    free = [value.name for value in graph.input if value.name not in arrays]
    if len(free) != len(given):
        free = [value.name for value in graph.input]
    arrays |= dict(zip(free, given))
    for array in [*arrays.values(), *wanted]:
        if not isinstance(array, (np.ndarray, np.generic)):
            raise LeftOut("sequences or optional values")
    arrays = {name: np.asarray(array) for name, array in arrays.items()}
    wanted = [np.asarray(array) for array in wanted]
    if sum(array.size for array in [*arrays.values(), *wanted]) > MOST_ELEMENTS:
        raise LeftOut(f"more than {MOST_ELEMENTS:,} numbers: too large to keep")
    if not any(array.dtype.kind == "f" for array in arrays.values()):
        raise LeftOut("integers or booleans alone, where our ops take floating point")
    opsets = {entry.domain: entry.version for entry in model.opset_import}
    return {
        "nodes": [
            {
                "operator": node.op_type,
                "inputs": list(node.input),
                "outputs": list(node.output),
                "attributes": {value.name: attribute(value, tensors) for value in node.attribute},
            }
            for node in graph.node
        ],
        "opset": opsets.get("", 0),
        "tensors": {name: tensors.record(array) for name, array in arrays.items()},
        "outputs": [[value.name, tensors.record(array)] for value, array in zip(graph.output, wanted)],
    }


def cases():
    """(set, name, model, inputs, outputs) of every case."""
    for case in collect_testcases(None):
        if case.model is not None and case.data_sets:
            given, wanted = case.data_sets[0]
            group = "node, expanded" if "_expanded" in case.name else "node"
            yield group, case.name, case.model, given, wanted
    for kind in ("pytorch-converted", "pytorch-operator", "simple"):
        for case in load_model_tests(kind=kind):
            folder = pathlib.Path(case.model_dir)
            data = folder / "test_data_set_0"

            def arrays(prefix):
                files = sorted(data.glob(f"{prefix}_*.pb"), key=lambda path: int(path.stem.split("_")[1]))
                return [loaded(path) for path in files]

            yield kind, case.name, onnx.load(folder / "model.onnx"), arrays("input"), arrays("output")


def loaded(path):
    """The tensor in a file, or nothing where it holds something else."""
    tensor = TensorProto()
    try:
        tensor.ParseFromString(path.read_bytes())
        return numpy_helper.to_array(tensor)
    except Exception:  # a sequence
        return None


def main():
    warnings.filterwarnings("ignore")
    tensors, index = Tensors(), {"versions": {"onnx": onnx.__version__} | tensor_file.numpy_versions(), "cases": []}
    left_out, other = collections.defaultdict(list), collections.Counter()
    for group, name, model, given, wanted in cases():
        operators = {node.op_type for node in model.graph.node}
        if not operators <= {*OPERATORS, *HOST} or not operators & {*OPERATORS}:
            other[group] += 1
            continue
        try:
            index["cases"].append({"name": name, "group": group} | written(model, given, wanted, tensors))
        except LeftOut as reason:
            left_out[str(reason)].append([group, "+".join(sorted(operators)), name])
    index["left_out"], index["other"] = left_out, other
    judge_file.write("onnx", index, tensors)
    counts = collections.Counter(case["group"] for case in index["cases"])
    print(f"{len(index['cases'])} cases: {dict(counts)}; left out: { {key: len(names) for key, names in left_out.items()} }")
    print(f"of other operators: {dict(other)}")


if __name__ == "__main__":
    main()
