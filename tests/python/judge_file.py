"""What the scripts that extract the outside judges share: ../judges/<stem>.json.gz and ../judges/<stem>.safetensors.gz.

The safetensors file has three tensors, `inputs` (F32), `integers` (I32) and `results` (F64): all numbers end to end. The index
says for each tensor its kind (float, integer or boolean), its part, its shape and where it begins (`at`).
"""

import collections
import gzip
import json
import pathlib

import numpy as np

import tensor_file

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "judges"
TYPES = {"inputs": np.float32, "integers": np.int32, "results": np.float64}


class LeftOut(Exception):
    """Why a case is not written."""


class Numbers:
    """All tensors' numbers, end to end; the same numbers are kept once."""

    def __init__(self):
        self.parts = {part: [] for part in TYPES}
        self.lengths = collections.Counter()
        self.places = {}

    def place(self, part, kind, array):
        """Keeps an array, and returns its record for the index."""
        numbers = np.asarray(array, order="C").astype(TYPES[part]).reshape(-1)
        key = part, numbers.tobytes()
        if key not in self.places:
            self.places[key] = self.lengths[part]
            self.parts[part].append(numbers)
            self.lengths[part] += numbers.size
        return {"kind": kind, "part": part, "shape": list(array.shape), "at": self.places[key]}

    def arrays(self):
        """The parts as they are written."""
        return {part: np.concatenate(arrays or [np.zeros(0, TYPES[part])]) for part, arrays in self.parts.items()}


def write(stem, index, numbers):
    """Both files, compressed, with no time in them."""
    FOLDER.mkdir(exist_ok=True)
    packed(f"{stem}.json.gz", json.dumps(index, separators=(",", ":")).encode())
    plain = FOLDER / f"{stem}.safetensors"
    tensor_file.write(plain, numbers.arrays(), {key: str(value) for key, value in index["versions"].items()}, finite=False)
    packed(f"{stem}.safetensors.gz", plain.read_bytes())
    plain.unlink()


def packed(name, content):
    """Writes a compressed file and says how large it is."""
    path = FOLDER / name
    path.write_bytes(gzip.compress(content, 9, mtime=0))
    print(f"{name}: {path.stat().st_size:,} bytes ({len(content):,} unpacked)")
