#!/usr/bin/env python3
"""Writes ../golden/networks.safetensors: what PyTorch makes of the lectures' networks, narrowed, on given numbers.

    python make_networks.py        # needs torch and numpy; a minute

Each network is written down here once more, in PyTorch's terms (NCHW, its own convolutions, norms and activations;
Keras' `same` padding by explicit zeros). Weights and inputs are not stored: every number is hashed from its place as
`make_parity.py` says, in Belamy's layouts. Parameter p of a network (counted from 1 in Belamy's order, running
statistics included) has salt p, and by its name

    weight             scale sqrt(12 / (elements of one output)), offset 0
    bias, beta         scale 0.2, offset 0         gamma              scale 0.4, offset 1
    running_mean       scale 0.4, offset 0         running_variance   scale 0.5, offset 1
    slope              scale 0.2, offset 0.25

Inputs [2, ..] have salt 1000, scale 2, offset 0; sample i has label (i + 1) mod classes. No dropout.

Tensors: `<case>/<network>/train` and `/evaluate`, every k-th element of the output [2, ..] (k = `stride` in the
metadata), f64: by batch statistics and by the running ones. Metadata: `<case>` = JSON of the sizes.
"""

import json
import math
import pathlib

import numpy as np
import torch
import torch.nn.functional as F

import tensor_file
from make_parity import hashed

GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "golden"
STRIDE = 29


class Net:
    """A network being computed, which takes its parameters in order."""

    def __init__(self, training):
        self.training, self.place = training, 0

    def next(self, shape, name):
        self.place += 1
        scale, offset = {
            "weight": (math.sqrt(12 / max(1, math.prod(shape[1:]))), 0.0),
            "bias": (0.2, 0.0), "beta": (0.2, 0.0), "gamma": (0.4, 1.0), "running_mean": (0.4, 0.0),
            "running_variance": (0.5, 1.0), "slope": (0.2, 0.25),
        }[name]
        return torch.from_numpy(hashed(shape, self.place, scale, offset))

    def dense(self, x, outputs, bias=True):
        weight = self.next((outputs, x.shape[1]), "weight")
        return F.linear(x, weight, self.next((outputs,), "bias") if bias else None)

    def conv(self, x, outputs, k, stride=1, padding="same", bias=True):
        weight = self.next((outputs, k, k, x.shape[1]), "weight").permute(0, 3, 1, 2)
        bias = self.next((outputs,), "bias") if bias else None
        if padding == "same":
            def zeros(side):
                total = max(0, (-(-side // stride) - 1) * stride + k - side)
                return total // 2, total - total // 2
            (top, bottom), (left, right) = zeros(x.shape[2]), zeros(x.shape[3])
            x, padding = F.pad(x, (left, right, top, bottom)), 0
        return F.conv2d(x, weight, bias, stride, padding)

    def conv_transpose(self, x, outputs, k, stride, padding="same", bias=True, output_padding=0):
        # Belamy keeps [outputs, k, k, inputs], PyTorch [inputs, outputs, k, k].
        weight = self.next((outputs, k, k, x.shape[1]), "weight").permute(3, 0, 1, 2)
        bias = self.next((outputs,), "bias") if bias else None
        if padding != "same":
            return F.conv_transpose2d(x, weight, bias, stride, padding, output_padding)
        whole = F.conv_transpose2d(x, weight, bias, stride)
        before = max(0, k - stride) // 2
        return whole[:, :, before:before + x.shape[2] * stride, before:before + x.shape[3] * stride]

    def batch_norm(self, x, epsilon):
        gamma, beta, mean, variance = (self.next((x.shape[1],), name) for name in
                                       ("gamma", "beta", "running_mean", "running_variance"))
        return F.batch_norm(x, mean, variance, gamma, beta, self.training, 0.1, epsilon)

    def prelu(self, x):
        return F.prelu(x, self.next((1,), "slope"))

    def plane(self, x, labels, classes):
        """A label's plane joined to an image."""
        side = x.shape[2]
        row = self.next((classes, 50), "weight")[labels]
        plane = self.dense(row, side * side).reshape(-1, 1, side, side)
        return torch.cat([x, plane], 1)


def leaky(x, slope=0.3):
    return F.leaky_relu(x, slope)


def image(x, side):
    """Rows of features as Belamy's [N, side, side, C], seen as NCHW."""
    return x.reshape(x.shape[0], side, side, -1).permute(0, 3, 1, 2)


def flat(x):
    return x.permute(0, 2, 3, 1).flatten(1)


def up(x):
    return F.interpolate(x, scale_factor=2, mode="nearest")


def keras_stem(n, z, side):
    return image(leaky(n.batch_norm(n.dense(z, 256 * side * side, False), 1e-3)), side)


def sine_g(n, z, s): return n.dense(F.relu(n.dense(z, 15)), 2)
def sine_d(n, x, s): return n.dense(F.relu(n.dense(x, 25)), 1)


def mlp_g(n, z, s):
    for width in (256, 512, 1024):
        z = leaky(n.dense(z, width), 0.2)
    return torch.tanh(n.dense(z, 784))


def mlp_d(n, x, s):
    for width in (1024, 512, 256):
        x = leaky(n.dense(x, width), 0.2)
    return n.dense(x, 1)


def letters_g(n, z, s): return image(mlp_g(n, z, s), 28)


def letters_d(n, x, s):
    for channels in (64, 128):
        x = leaky(n.conv(x, channels, 3, padding=0), 0.2)
    x = flat(x)
    for _ in range(2):
        x = leaky(n.dense(x, 784), 0.2)
    return n.dense(x, 1)


def upsample_g(n, z, s):
    x = keras_stem(n, z, 8)
    for channels in (128, 64):
        x = up(leaky(n.batch_norm(n.conv(x, channels, 3, bias=False), 1e-3)))
    return torch.sigmoid(n.conv(x, 1, 3, bias=False))


def transposed(n, z, side):
    x = keras_stem(n, z, side)
    for channels, stride in ((128, 1), (64, 2)):
        x = leaky(n.batch_norm(n.conv_transpose(x, channels, 5, stride, bias=False), 1e-3))
    return n.conv_transpose(x, 1, 5, 2, bias=False)


def strided_d(n, x, s):
    for channels in (64, 128):
        x = leaky(n.conv(x, channels, 5, 2))
    return n.dense(flat(x), 1)


def cifar_g(n, z, s):
    w = s["generator_width"]
    x = leaky(n.conv(image(leaky(n.dense(z, 128 * 256)), 16), w, 5))
    x = leaky(n.conv_transpose(x, w, 4, 2))
    for _ in range(2):
        x = leaky(n.conv(x, w, 5))
    return torch.tanh(n.conv(x, 3, 7))


def cifar_d(n, x, s):
    for k, stride in ((3, 1), (4, 2), (4, 2), (4, 2)):
        x = leaky(n.conv(x, s["discriminator_width"], k, stride, 0))
    return n.dense(flat(x), 1)


def faces_g(n, z, s):
    w = s["generator_width"]
    x = image(n.dense(z, 64 * w), 8)
    for multiple, stride in ((1, 2), (2, 2), (4, s["side"] // 32)):
        x = leaky(n.conv_transpose(x, multiple * w, 4, stride), 0.2)
    return torch.sigmoid(n.conv(x, 3, 5))


def faces_d(n, x, s):
    for multiple in (1, 2, 2):
        x = leaky(n.conv(x, multiple * s["discriminator_width"], 4, 2), 0.2)
    return n.dense(flat(x), 1)


def dcgan_g(n, z, s):
    x = image(z, 1)
    for multiple, stride, padding in ((8, 1, 0), (4, 2, 1), (2, 2, 1), (1, 2, 1)):
        x = n.conv_transpose(x, multiple * s["generator_width"], 4, stride, padding, False)
        x = F.relu(n.batch_norm(x, 1e-5))
    return torch.tanh(n.conv_transpose(x, 3, 4, 2, 1, False))


def dcgan_d(n, x, s):
    for multiple in (1, 2, 4, 8):
        x = n.conv(x, multiple * s["discriminator_width"], 4, 2, 1, False)
        x = leaky(n.batch_norm(x, 1e-5) if multiple > 1 else x, 0.2)
    return flat(n.conv(x, 1, 4, 1, 0, False))


def grey_g(n, z, s):
    x = n.plane(keras_stem(n, z, s["side"] // 4), s["labels"], s["classes"])
    for channels in (128, 64):
        x = up(leaky(n.batch_norm(n.conv(x, channels, 3, bias=False), 1e-3)))
    return torch.sigmoid(n.conv(x, 1, 3, bias=False))


def grey_d(n, x, s): return strided_d(n, n.plane(x, s["labels"], s["classes"]), s)


def colour_g(n, z, s):
    x = image(leaky(n.batch_norm(n.dense(z, 4096, False), 1e-3)), 8)
    x = n.plane(x, s["labels"], s["classes"])
    for channels in (64, 64, 32):
        x = up(leaky(n.batch_norm(n.conv(x, channels, 3, bias=False), 1e-3)))
    return torch.sigmoid(n.conv(x, 3, 3, bias=False))


def colour_d(n, x, s):
    x = n.plane(x, s["labels"], s["classes"])
    for channels in (64, 128):
        x = leaky(n.conv(x, channels, 8, 2))
    return n.dense(flat(x), 1)


def unet_g(n, x, s):
    levels = s["side"].bit_length() - 1
    widths = [s["generator_width"] * min(8, 2 ** level) for level in range(levels)]
    x = leaky(n.conv(x, widths[0], 4, 2, bias=False))
    kept = []
    for width in widths[1:]:
        kept.append(x)
        x = leaky(n.batch_norm(n.conv(x, width, 4, 2, bias=False), 1e-3))
    for width in reversed(widths[:-1]):
        x = F.relu(n.batch_norm(n.conv_transpose(x, width, 4, 2, bias=False), 1e-3))
        x = torch.cat([x, kept.pop()], 1)
    return torch.tanh(n.conv_transpose(x, s["channels"], 4, 2))


def unet_d(n, x, s):
    w = s["discriminator_width"]
    x = leaky(n.conv(x, w, 4, 2, bias=False))
    for multiple in (2, 4):
        x = leaky(n.batch_norm(n.conv(x, multiple * w, 4, 2, bias=False), 1e-3))
    x = leaky(n.batch_norm(n.conv(F.pad(x, (1, 1, 1, 1)), 8 * w, 4, 1, 0, False), 1e-3))
    return n.conv(F.pad(x, (1, 1, 1, 1)), 1, 4, 1, 0)


def reflected(n, x, outputs, k): return n.conv(F.pad(x, [k // 2] * 4, "reflect"), outputs, k, 1, 0)


def resnet_g(n, x, s):
    w = s["generator_width"]
    x = F.relu(F.instance_norm(reflected(n, x, w, 7)))
    for multiple in (2, 4):
        x = F.relu(F.instance_norm(n.conv(x, multiple * w, 3, 2, 1)))
    for _ in range(s["blocks"]):
        y = F.relu(F.instance_norm(reflected(n, x, 4 * w, 3)))
        x = x + F.instance_norm(reflected(n, y, 4 * w, 3))
    for multiple in (2, 1):
        x = F.relu(F.instance_norm(n.conv_transpose(x, multiple * w, 3, 2, 1, True, 1)))
    return torch.tanh(reflected(n, x, 3, 7))


def resnet_d(n, x, s):
    for multiple, stride in ((1, 2), (2, 2), (4, 2), (8, 1)):
        x = n.conv(x, multiple * s["discriminator_width"], 4, stride, 1)
        x = leaky(F.instance_norm(x) if multiple > 1 else x, 0.2)
    return n.conv(x, 1, 4, 1, 1)


def srresnet(n, x, s):
    w = s["generator_width"]
    def normal(x): return n.batch_norm(n.conv(x, w, 3, 1, 1, False), 1e-5)
    first = x = n.prelu(n.conv(x, w, 9, 1, 4))
    for _ in range(s["blocks"]):
        y = n.prelu(normal(x))
        x = x + normal(y)
    x = first + normal(x)
    for _ in range(2):
        x = n.prelu(F.pixel_shuffle(n.conv(x, 4 * w, 3, 1, 1), 2))
    return n.conv(x, 3, 9, 1, 4)


def srgan_d(n, x, s):
    w = s["discriminator_width"]
    for index, multiple in enumerate((1, 1, 2, 2, 4, 4, 8, 8)):
        x = n.conv(x, multiple * w, 3, 1 + index % 2, 1, index == 0)
        x = leaky(n.batch_norm(x, 1e-5) if index else x, 0.2)
    return n.dense(leaky(n.dense(flat(x), 16 * w), 0.2), 1)


def energy(n, x, s):
    """What stands for an incident energy joined to a row."""
    return torch.cat([x, n.next((s["classes"], 16), "weight")[s["labels"]]], 1)


def showers_g(n, z, s):
    x = energy(n, z, s)
    for multiple in (1, 2, 4):
        x = leaky(n.dense(x, multiple * s["generator_width"]), 0.2)
    return torch.sigmoid(n.dense(x, 360))


def showers_d(n, x, s):
    x = energy(n, flat(x), s)
    for multiple in (4, 2, 1):
        x = leaky(n.dense(x, multiple * s["discriminator_width"]), 0.2)
    return n.dense(x, 1)


# recipe: sizes that are set, then the two networks with the shape of one input.
CASES = {
    "sine": ({"latent": 5}, (sine_g, (5,)), (sine_d, (2,))),
    "mnist-mlp": ({"latent": 5}, (mlp_g, (5,)), (mlp_d, (784,))),
    "letters-failing": ({"latent": 5}, (letters_g, (5,)), (letters_d, (28, 28, 1))),
    "lines-upsample": ({"latent": 5}, (upsample_g, (5,)), (strided_d, (32, 32, 1))),
    "lines-transpose": ({"latent": 5}, (lambda n, z, s: torch.sigmoid(transposed(n, z, 8)), (5,)), None),
    "mnist-dcgan": ({"latent": 5}, (lambda n, z, s: torch.tanh(transposed(n, z, 7)), (5,)),
                    (strided_d, (28, 28, 1))),
    "cifar-dcgan": ({"latent": 5, "generator_width": 4, "discriminator_width": 4},
                    (cifar_g, (5,)), (cifar_d, (32, 32, 3))),
    "faces32": ({"latent": 5, "generator_width": 4, "discriminator_width": 4, "side": 32},
                (faces_g, (5,)), (faces_d, (32, 32, 3))),
    "faces64": ({"latent": 5, "generator_width": 4, "discriminator_width": 4, "side": 64},
                (faces_g, (5,)), (faces_d, (64, 64, 3))),
    "dcgan64": ({"latent": 5, "generator_width": 4, "discriminator_width": 4},
                (dcgan_g, (5,)), (dcgan_d, (64, 64, 3))),
    "signs-conditional": ({"latent": 5, "side": 32, "classes": 4}, (grey_g, (5,)), (grey_d, (32, 32, 1))),
    "mnist-conditional": ({"latent": 5, "side": 28, "classes": 10}, (grey_g, (5,)), (grey_d, (28, 28, 1))),
    "conditional-signs64": ({"latent": 5, "classes": 4}, (colour_g, (5,)), (colour_d, (64, 64, 3))),
    "showers": ({"latent": 5, "generator_width": 8, "discriminator_width": 8, "classes": 15},
                (showers_g, (5,)), (showers_d, (12, 30, 1))),
    "pix2pix": ({"generator_width": 2, "discriminator_width": 2, "side": 64, "channels": 3, "jitter": 0},
                (unet_g, (64, 64, 3)), (unet_d, (64, 64, 6))),
    "colorize": ({"generator_width": 2, "discriminator_width": 2, "side": 32, "channels": 3},
                 (unet_g, (32, 32, 1)), (unet_d, (32, 32, 4))),
    "cyclegan": ({"generator_width": 3, "discriminator_width": 3, "side": 32, "blocks": 2, "jitter": 0},
                 (resnet_g, (32, 32, 3)), (resnet_d, (32, 32, 3))),
    "srgan": ({"generator_width": 3, "discriminator_width": 3, "side": 32, "blocks": 2},
              (srresnet, (8, 8, 3)), (srgan_d, (32, 32, 3))),
}


def main():
    torch.set_default_dtype(torch.float64)
    tensors, metadata = {}, {"stride": str(STRIDE), "torch": torch.__version__, "numpy": np.__version__}
    for case, (sizes, *networks) in CASES.items():
        metadata[case] = json.dumps(sizes)
        classes = sizes.get("classes", 1)
        settings = dict(sizes, labels=torch.tensor([(i + 1) % classes for i in range(2)]))
        for name, network in zip(("generator", "discriminator"), networks):
            if network is None:
                continue
            function, shape = network
            x = torch.from_numpy(hashed((2, *shape), 1000, 2.0, 0.0))
            x = x.permute(0, 3, 1, 2) if len(shape) == 3 else x
            for mode in ("train", "evaluate"):
                with torch.no_grad():
                    y = function(Net(mode == "train"), x, settings)
                y = y.permute(0, 2, 3, 1) if y.dim() == 4 else y
                tensors[f"{case}/{name}/{mode}"] = y.contiguous().numpy().reshape(-1)[::STRIDE].copy()
    tensor_file.write(GOLDEN / "networks.safetensors", tensors, metadata)


if __name__ == "__main__":
    main()
