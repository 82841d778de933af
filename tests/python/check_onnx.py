#!/usr/bin/env python3
"""Looks at every ONNX model of a folder with onnx' checker, and runs it by ONNX Runtime on the numbers beside it.

    python check_onnx.py FOLDER        # needs: pip install onnx onnxruntime

Beside NAME.onnx lie NAME.input and NAME.output, numbers in f32, and NAME.labels, integers of 64 bits, where the model
takes some. An output may differ by 2e-6, or of numbers beyond 1 by 2e-6 of the largest.
"""
import pathlib
import sys

import numpy
import onnx
import onnxruntime

BOUND = 2e-6


def main():
    folder = pathlib.Path(sys.argv[1])
    models = sorted(folder.glob("*.onnx"))
    worst = 0.0
    for path in models:
        onnx.checker.check_model(onnx.load(path), full_check=True)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        shapes = {value.name: value.shape for value in session.get_inputs()}
        assert all(isinstance(shape[0], str) for shape in shapes.values()), f"{path.name}: its batch has one size"
        given = {"input": numpy.fromfile(path.with_suffix(".input"), numpy.float32).reshape(-1, *shapes["input"][1:])}
        if "labels" in shapes:
            given["labels"] = numpy.fromfile(path.with_suffix(".labels"), numpy.int64)
        wanted = numpy.fromfile(path.with_suffix(".output"), numpy.float32)
        found = session.run(["output"], given)[0]
        declared = session.get_outputs()[0].shape
        assert list(found.shape[1:]) == declared[1:], f"{path.name}: {found.shape} is not {declared}"
        error = abs(found.ravel().astype(float) - wanted).max() / max(1.0, abs(wanted).max())
        assert error <= BOUND, f"{path.name}: off by {error:.1e}"
        # One sample alone is what it is among others.
        one = session.run(["output"], {name: values[:1] for name, values in given.items()})[0]
        assert abs(one[0] - found[0]).max() <= BOUND * max(1.0, abs(wanted).max()), f"{path.name}: alone it differs"
        worst = max(worst, error)
    print(f"{len(models)} models, at most {worst:.1e} from Belamy")


if __name__ == "__main__":
    main()
