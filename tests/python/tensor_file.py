"""Writes safetensors files whose bytes depend on nothing but their content.

The reference writer keeps metadata in a hash map, so that two runs give two files. Here everything has one order.
The format (https://github.com/huggingface/safetensors): 8 bytes of header length, a JSON header, the tensors' bytes.
"""

import json
import platform

import numpy as np

DTYPE_NAMES = {"float64": "F64", "float32": "F32", "int32": "I32", "uint32": "U32"}


def write(path, tensors, metadata, finite=True):
    """Writes `tensors` (name to numpy array) and `metadata` (name to string) to `path`; returns the size in bytes.

    Numbers that are infinite or not numbers are refused, unless `finite` is false.
    """
    header = {"__metadata__": dict(sorted(metadata.items()))}
    blocks, offset = [], 0
    # Eight-byte numbers first, so that each tensor starts at a multiple of its element size.
    for name in sorted(tensors, key=lambda name: (-tensors[name].dtype.itemsize, name)):
        array = np.asarray(tensors[name], order="C")
        if finite and not np.isfinite(array).all():
            raise ValueError(f"{path}: {name} is not finite")
        block = array.tobytes()
        span = [offset, offset + len(block)]
        header[name] = {"dtype": DTYPE_NAMES[array.dtype.name], "shape": list(array.shape), "data_offsets": span}
        blocks.append(block)
        offset += len(block)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text + b"".join(blocks))
    return 8 + len(text) + offset


def numpy_versions():
    """The versions of NumPy and Python, for a file's metadata."""
    return {"numpy": np.__version__, "python": platform.python_version()}


def versions():
    """The versions that a file was made with by PyTorch, for its metadata."""
    import torch

    return {"torch": torch.__version__} | numpy_versions()
