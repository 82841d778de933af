#!/usr/bin/env python3
"""PyTorch taking the training steps that Belamy is timed on, one JSON object a line.

    python torch_peer.py dcgan                     # batch 64, eager in channels-last: PyTorch's best without compiling
    python torch_peer.py dcgan --mode compile
    python torch_peer.py dcgan --dtype bf16        # by torch.autocast
    python torch_peer.py mnist-dcgan
    python torch_peer.py mlp --threads 1
    python torch_peer.py matmul                    # f32 GFLOP/s of torch.mm: what its BLAS gets from this machine

`ms` is the median over --steps steps after --warm-up untimed ones; `ms_range` the least and the most. CUDA is used with
--device cuda, each step ended by a synchronisation. `peak_mb` is the most memory that the process held. See README.md for
what a step is.
"""

import argparse
import json
import resource
import statistics
import time

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch._functorch import config as functorch


def dcgan(noise=100, width=64):
    """pytorch/examples' G and D for 64x64 images, D ending in logits; the shape of its noise and of its images."""
    g, d = [], []
    channels = [noise, 8 * width, 4 * width, 2 * width, width]
    for i, (inputs, outputs) in enumerate(zip(channels, channels[1:])):
        g += [nn.ConvTranspose2d(inputs, outputs, 4, 2 if i else 1, 1 if i else 0, bias=False)]
        g += [nn.BatchNorm2d(outputs), nn.ReLU(True)]
    g += [nn.ConvTranspose2d(width, 3, 4, 2, 1, bias=False), nn.Tanh()]
    channels = [3, width, 2 * width, 4 * width, 8 * width]
    for i, (inputs, outputs) in enumerate(zip(channels, channels[1:])):
        d += [nn.Conv2d(inputs, outputs, 4, 2, 1, bias=False)]
        d += ([nn.BatchNorm2d(outputs)] if i else []) + [nn.LeakyReLU(0.2, True)]
    d += [nn.Conv2d(8 * width, 1, 4, 1, 0, bias=False), nn.Flatten(0)]
    for module in [*g, *d]:
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.normal_(module.weight, 0.0, 0.02)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, 0.02)
    return nn.Sequential(*g), nn.Sequential(*d), (noise, 1, 1), (3, 64, 64)


def mlp():
    """The lecture's dense G and D for 28x28 images, with its dropout."""

    def stack(*widths, dropout=0):
        layers = []
        for i, (inputs, outputs) in enumerate(zip(widths, widths[1:])):
            layers += [nn.Linear(inputs, outputs), nn.LeakyReLU(0.2)] + [nn.Dropout(0.3)] * (i < dropout)
        return layers[:-1]

    generator = nn.Sequential(*stack(100, 256, 512, 1024, 784), nn.Tanh())
    discriminator = nn.Sequential(*stack(784, 1024, 512, 256, 1, dropout=2), nn.Flatten(0))
    return generator, discriminator, (100,), (784,)


class Same(nn.Module):
    """A convolution of 5x5 taps that pads an even image as TensorFlow does, or the adjoint of one."""

    def __init__(self, inputs, outputs, stride, transposed):
        super().__init__()
        kind = nn.ConvTranspose2d if transposed else nn.Conv2d
        padding = 2 if stride == 1 else 0
        self.inner = kind(inputs, outputs, 5, stride, padding, bias=not transposed)
        self.cut, self.pad = transposed and stride == 2, not transposed

    def forward(self, x):
        y = self.inner(F.pad(x, (1, 2, 1, 2)) if self.pad else x)
        return y[:, :, 1:-2, 1:-2] if self.cut else y


def mnist_dcgan():
    """The TensorFlow tutorial's G and D for 28x28 images."""
    slope = 0.3
    generator = nn.Sequential(
        nn.Linear(100, 12544, bias=False), nn.BatchNorm1d(12544, 1e-3), nn.LeakyReLU(slope), nn.Unflatten(1, (256, 7, 7)),
        Same(256, 128, 1, True), nn.BatchNorm2d(128, 1e-3), nn.LeakyReLU(slope),
        Same(128, 64, 2, True), nn.BatchNorm2d(64, 1e-3), nn.LeakyReLU(slope),
        Same(64, 1, 2, True), nn.Tanh(),
    )
    discriminator = nn.Sequential(
        Same(1, 64, 2, False), nn.LeakyReLU(slope), nn.Dropout(0.3),
        Same(64, 128, 2, False), nn.LeakyReLU(slope), nn.Dropout(0.3),
        nn.Flatten(), nn.Linear(6272, 1), nn.Flatten(0),
    )
    return generator, discriminator, (100,), (1, 28, 28)


def make_step(work, arguments):
    """A function that takes one training step, and its batch size."""
    device, mode = arguments.device, arguments.mode
    g, d, noise_shape, image_shape = {"dcgan": dcgan, "mlp": mlp, "mnist-dcgan": mnist_dcgan}[work]()
    layout = torch.contiguous_format if mode == "eager" or work == "mlp" else torch.channels_last
    g, d = g.to(device, memory_format=layout), d.to(device, memory_format=layout)
    if mode == "compile":
        # mnist-dcgan's two gradients go through one graph of D.
        functorch.donated_buffer = work != "mnist-dcgan"
        g, d = torch.compile(g), torch.compile(d)
    batch = arguments.batch or {"dcgan": 64, "mlp": 128, "mnist-dcgan": 256}[work]
    real = (torch.rand(batch, *image_shape, device=device) * 2 - 1).to(memory_format=layout)
    real_label = 0.9 if work == "mlp" else 1.0
    adam_g, adam_d = (torch.optim.Adam(net.parameters(), 2e-4, (0.5, 0.999)) for net in (g, d))

    half = torch.autocast(device, torch.bfloat16, enabled=arguments.dtype == "bf16")

    def bce(logits, label):
        logits = logits.float()
        return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, label))

    def both_at_once():
        """The tutorial's step: both gradients belong to the weights before it, and D sees the fakes once."""
        with half:
            fake = g(torch.randn(batch, *noise_shape, device=device))
            on_real, on_fake = d(real), d(fake)
        loss_d, loss_g = bce(on_real, real_label) + bce(on_fake, 0.0), bce(on_fake, 1.0)
        for net, loss, adam in ((d, loss_d, adam_d), (g, loss_g, adam_g)):
            parameters = list(net.parameters())
            for parameter, grad in zip(parameters, torch.autograd.grad(loss, parameters, retain_graph=net is d)):
                parameter.grad = grad
        adam_d.step()
        adam_g.step()

    def step():
        adam_d.zero_grad()
        with half:
            fake = g(torch.randn(batch, *noise_shape, device=device))
            on_real, on_fake = d(real), d(fake.detach())
        (bce(on_real, real_label) + bce(on_fake, 0.0)).backward()
        adam_d.step()
        # D's weights want no gradient here: PyTorch at its leanest.
        d.requires_grad_(False)
        adam_g.zero_grad()
        with half:
            on_fake = d(fake)
        bce(on_fake, 1.0).backward()
        adam_g.step()
        d.requires_grad_(True)

    return both_at_once if work == "mnist-dcgan" else step, batch


def timed(function, arguments):
    """Milliseconds of each timed call, sorted."""
    times = []
    for i in range(arguments.warm_up + arguments.steps):
        start = time.perf_counter()
        function()
        if arguments.device == "cuda":
            torch.cuda.synchronize()
        if i >= arguments.warm_up:
            times.append(1e3 * (time.perf_counter() - start))
    return sorted(times)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", choices=["dcgan", "mlp", "mnist-dcgan", "matmul"])
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--mode", default="channels-last", choices=["eager", "channels-last", "compile"])
    parser.add_argument("--dtype", default="f32", choices=["f32", "bf16"])
    parser.add_argument("--batch", type=int)
    parser.add_argument("--steps", type=int, default=9)
    parser.add_argument("--warm-up", type=int, default=3)
    parser.add_argument("--threads", type=int)
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    about = {"work": arguments.work, "device": arguments.device, "torch": torch.__version__,
             "threads": torch.get_num_threads(), "cpu_capability": torch.backends.cpu.get_cpu_capability(),
             "mkl": torch.backends.mkl.is_available(), "onednn": torch.backends.mkldnn.is_available()}

    def row(times, rate, amount, **more):
        middle = statistics.median(times)
        ranged = {"ms": round(middle, 3), "ms_range": [round(times[0], 3), round(times[-1], 3)]}
        held = {"peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)}
        print(json.dumps(about | ranged | more | {rate: round(amount / middle, 1)} | held))

    if arguments.work != "matmul":
        step, batch = make_step(arguments.work, arguments)
        row(timed(step, arguments), "images_per_second", 1e3 * batch, mode=arguments.mode, dtype=arguments.dtype, batch=batch)
        return
    for m, k, n in ((1024, 1024, 1024), (2048, 2048, 2048), (4096, 256, 2048)):
        a, b = torch.randn(m, k, device=arguments.device), torch.randn(k, n, device=arguments.device)
        out = torch.empty(m, n, device=arguments.device)
        times = timed(lambda: torch.mm(a, b, out=out), arguments)
        row(times, "gflop_per_second", 2e-6 * m * n * k, m=m, k=k, n=n)


if __name__ == "__main__":
    main()
