#!/usr/bin/env python3
"""One sample a call on one thread: Belamy's C interface beside ONNX Runtime on the same generator, by turns.

    belamy export RUN --out generator.onnx
    python single_sample.py RUN generator.onnx --library libbelamy_c.so    # needs numpy and onnxruntime

Both are called from Python: Belamy through ctypes, ONNX Runtime through its I/O binding with one thread, inputs and outputs
bound once, so that neither copies in Python. `empty_call_us` is what a call of
ours that does nothing costs from Python (a getter). Each round times so many calls of each; the medians of all rounds' medians are
printed in microseconds, with the largest difference between the two's samples, and how long it takes from opening the
run's folder to its first sample.
"""
import argparse
import ctypes
import json
import statistics
import time

import numpy as np
import onnxruntime

FLOATS = ctypes.POINTER(ctypes.c_float)


class Belamy:
    def __init__(self, library, run):
        self.library = ctypes.CDLL(library)
        for name in ["latent", "classes", "elements"]:
            function = getattr(self.library, f"belamy_generator_{name}")
            function.restype, function.argtypes = ctypes.c_size_t, [ctypes.c_void_p]
        self.library.belamy_last_error.restype = ctypes.c_char_p
        self.handle = ctypes.c_void_p()
        self.check(self.library.belamy_generator_open(run.encode(), None, ctypes.byref(self.handle)))
        self.latent, self.classes, self.elements = (
            getattr(self.library, f"belamy_generator_{name}")(self.handle) for name in ["latent", "classes", "elements"])
        self.noise = np.zeros(self.latent, np.float32)
        self.label = np.zeros(1, np.uint32)
        self.out = np.zeros(self.elements, np.float32)
        self.draw = self.library.belamy_generator_sample_from
        label = self.label.ctypes.data_as(ctypes.c_void_p) if self.classes else None
        self.arguments = (self.handle, self.noise.ctypes.data_as(FLOATS), label, ctypes.c_size_t(1),
                          self.out.ctypes.data_as(FLOATS), ctypes.c_size_t(self.elements))

    def check(self, status):
        if status:
            raise SystemExit(self.library.belamy_last_error().decode())

    def call(self):
        if self.draw(*self.arguments):
            raise SystemExit(self.library.belamy_last_error().decode())

    def empty(self):
        self.library.belamy_generator_latent(self.handle)


class OnnxRuntime:
    def __init__(self, model, belamy):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.noise = np.zeros((1, belamy.latent), np.float32)
        self.label = np.zeros(1, np.int64)
        shape = [1 if isinstance(extent, str) else extent for extent in self.session.get_outputs()[0].shape]
        self.out = np.zeros(shape, np.float32)
        self.binding = self.session.io_binding()
        bound = [("input", self.noise)] + ([("labels", self.label)] if belamy.classes else [])
        for name, array in bound:
            self.binding.bind_input(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
        self.binding.bind_output("output", "cpu", 0, np.float32, self.out.shape, self.out.ctypes.data)

    def call(self):
        self.session.run_with_iobinding(self.binding)


def timed(call, calls):
    times = []
    for _ in range(calls):
        start = time.perf_counter_ns()
        call()
        times.append(time.perf_counter_ns() - start)
    return statistics.median(times) / 1000


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("model")
    parser.add_argument("--library", required=True)
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    start = time.perf_counter()
    belamy = Belamy(arguments.library, arguments.run)
    belamy.call()
    cold = time.perf_counter() - start
    ort = OnnxRuntime(arguments.model, belamy)
    difference = 0.0
    random = np.random.default_rng(1)
    for number in range(50):
        belamy.noise[:] = random.standard_normal(belamy.latent)
        ort.noise[0] = belamy.noise
        if belamy.classes:
            belamy.label[0] = ort.label[0] = number % belamy.classes
        belamy.call()
        ort.call()
        difference = max(difference, float(np.abs(belamy.out.ravel() - ort.out.ravel()).max()))
    rounds = {"belamy": [], "onnxruntime": [], "empty": []}
    for number in range(arguments.rounds):
        pair = [("belamy", belamy.call), ("onnxruntime", ort.call)]
        for name, call in pair[::1 - 2 * (number % 2)]:
            rounds[name].append(timed(call, arguments.calls))
        rounds["empty"].append(timed(belamy.empty, arguments.calls))
    middle = {name: statistics.median(times) for name, times in rounds.items()}
    print(json.dumps({
        "belamy_us": round(middle["belamy"], 2), "onnxruntime_us": round(middle["onnxruntime"], 2),
        "empty_call_us": round(middle["empty"], 2), "ratio": round(middle["onnxruntime"] / middle["belamy"], 2),
        "rounds": {name: [round(value, 2) for value in times] for name, times in rounds.items()},
        "largest_difference": difference, "open_to_first_sample_ms": round(1000 * cold, 1),
        "onnxruntime": onnxruntime.__version__,
    }))


if __name__ == "__main__":
    main()
