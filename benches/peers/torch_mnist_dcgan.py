#!/usr/bin/env python3
"""PyTorch training Belamy's recipe mnist-dcgan, so that one judge compares what both draw after as many steps.

    python torch_mnist_dcgan.py --data mnist/ --steps 300 --seed 1 --out torch-1/
    belamy evaluate torch-1/ --data mnist/ --classifier judge.safetensors --n 10000

The defaults are those of `--set preset=fixed`; the published settings are --batch 256 --rate 1e-4 --beta 0.9 --average 0.
Writes --samples digits as PNG files into a new folder, and the last losses to stdout. Everything that Keras does by
default and PyTorch does not is written out: padding, initial weights, batch norm's constants and its running variance.
"""

import argparse
import gzip
import json
import pathlib
import struct
import time
import zlib

import torch
import torch.nn as nn
import torch.nn.functional as F


class KerasBatchNorm(nn.Module):
    """Momentum 0.99, epsilon 1e-3, and a running variance without n / (n - 1)."""

    def __init__(self, channels):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("variance", torch.ones(channels))

    def forward(self, x):
        if self.training:
            with torch.no_grad():
                axes = [axis for axis in range(x.dim()) if axis != 1]
                variance, mean = torch.var_mean(x, axes, correction=0)
                self.mean.lerp_(mean, 0.01)
                self.variance.lerp_(variance, 0.01)
            return F.batch_norm(x, None, None, self.weight, self.bias, True, 0.0, 1e-3)
        return F.batch_norm(x, self.mean, self.variance, self.weight, self.bias, False, 0.0, 1e-3)


class SameConv(nn.Conv2d):
    """A 5x5 convolution of stride 2 that pads an even extent as TensorFlow's "same": 1 before, 2 after."""

    def __init__(self, inputs, outputs):
        super().__init__(inputs, outputs, 5, 2)

    def forward(self, x):
        return super().forward(F.pad(x, (1, 2, 1, 2)))


class SameTranspose(nn.ConvTranspose2d):
    """The adjoint of the same convolution: what it makes beyond 1 before and 2 after is cut off."""

    def __init__(self, inputs, outputs, stride):
        super().__init__(inputs, outputs, 5, stride, padding=0 if stride == 2 else 2, bias=False)

    def forward(self, x):
        y = super().forward(x)
        return y[:, :, 1:-2, 1:-2] if self.stride[0] == 2 else y


def networks():
    """The TensorFlow tutorial's generator and discriminator."""
    generator = nn.Sequential(
        nn.Linear(100, 12544, bias=False), KerasBatchNorm(12544), nn.LeakyReLU(0.3),
        nn.Unflatten(1, (256, 7, 7)),
        SameTranspose(256, 128, 1), KerasBatchNorm(128), nn.LeakyReLU(0.3),
        SameTranspose(128, 64, 2), KerasBatchNorm(64), nn.LeakyReLU(0.3),
        SameTranspose(64, 1, 2), nn.Tanh(),
    )
    discriminator = nn.Sequential(
        SameConv(1, 64), nn.LeakyReLU(0.3), nn.Dropout(0.3),
        SameConv(64, 128), nn.LeakyReLU(0.3), nn.Dropout(0.3),
        nn.Flatten(), nn.Linear(6272, 1), nn.Flatten(0),
    )
    for module in [*generator, *discriminator]:
        if isinstance(module, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return generator, discriminator


def digits(folder):
    """MNIST's 60,000 training digits, [N, 1, 28, 28] in [-1, 1]."""
    path = pathlib.Path(folder) / "train-images-idx3-ubyte"
    compressed = path.with_name(path.name + ".gz")
    data = gzip.open(compressed).read() if compressed.exists() else path.read_bytes()
    count, height, width = struct.unpack(">III", data[4:16])
    pixels = torch.frombuffer(bytearray(data[16:]), dtype=torch.uint8)
    return (pixels.reshape(count, 1, height, width).float() - 127.5) / 127.5


def png(pixels):
    """The bytes of a grey PNG file of rows of bytes."""

    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    height, width = len(pixels), len(pixels[0])
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = b"".join(b"\0" + bytes(row) for row in pixels)
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="the folder with MNIST's idx files")
    parser.add_argument("--out", required=True, help="a new folder for the samples")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rate", type=float, default=2e-4)
    parser.add_argument("--beta", type=float, default=0.5)
    parser.add_argument("--average", type=float, default=0.995, help="the decay of averaged weights; 0 for none")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--samples", type=int, default=10_000)
    arguments = parser.parse_args()
    out = pathlib.Path(arguments.out)
    out.mkdir(parents=True)

    torch.manual_seed(arguments.seed)
    data = digits(arguments.data)
    generator, discriminator = networks()
    averaged = {name: value.detach().clone() for name, value in generator.state_dict().items()}
    weights = {name for name, _ in generator.named_parameters()}
    settings = dict(lr=arguments.rate, betas=(arguments.beta, 0.999), eps=1e-7)
    move_g = torch.optim.Adam(generator.parameters(), **settings)
    move_d = torch.optim.Adam(discriminator.parameters(), **settings)
    order, place, start = torch.randperm(len(data)), 0, time.time()
    for step in range(arguments.steps):
        if place + arguments.batch > len(data):
            order, place = torch.randperm(len(data)), 0
        real = data[order[place : place + arguments.batch]]
        place += arguments.batch
        fake = generator(torch.randn(arguments.batch, 100))
        on_real, on_fake = discriminator(real), discriminator(fake)
        loss_d = F.softplus(-on_real).mean() + F.softplus(on_fake).mean()
        loss_g = F.softplus(-on_fake).mean()
        # Both gradients belong to the weights before the step.
        grads_d = torch.autograd.grad(loss_d, list(discriminator.parameters()), retain_graph=True)
        grads_g = torch.autograd.grad(loss_g, list(generator.parameters()))
        for optimizer, network, grads in [(move_d, discriminator, grads_d), (move_g, generator, grads_g)]:
            for parameter, grad in zip(network.parameters(), grads):
                parameter.grad = grad
            optimizer.step()
        for name, value in generator.state_dict().items():
            decay = arguments.average if name in weights else 0.0
            averaged[name].mul_(decay).add_(value.detach(), alpha=1.0 - decay)
    last = {"seed": arguments.seed, "steps": arguments.steps, "batch": arguments.batch}
    last |= {"loss_d": loss_d.item(), "loss_g": loss_g.item(), "seconds": time.time() - start}
    print(json.dumps(last | {"torch": torch.__version__}))

    generator.load_state_dict(averaged)
    generator.eval()
    with torch.no_grad():
        for first in range(0, arguments.samples, 250):
            count = min(250, arguments.samples - first)
            images = generator(torch.randn(count, 100))[:, 0] * 127.5 + 127.5
            images = images.round().clamp(0, 255).to(torch.uint8).tolist()
            for index, image in enumerate(images):
                (out / f"{first + index:06}.png").write_bytes(png(image))


if __name__ == "__main__":
    main()
