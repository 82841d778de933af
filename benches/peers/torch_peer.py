#!/usr/bin/env python3
"""PyTorch taking the training steps that Belamy is timed on, one JSON object a line.

    python torch_peer.py dcgan                     # batch 64, eager in channels-last: PyTorch's best without compiling
    python torch_peer.py dcgan --mode compile
    python torch_peer.py mlp --threads 1
    python torch_peer.py matmul                    # f32 GFLOP/s of torch.mm: what its BLAS gets from this machine

`ms` is the median over --steps steps after --warm-up untimed ones; `ms_range` the least and the most. CUDA is used with
--device cuda, each step ended by a synchronisation. See README.md for what a step is.
"""

import argparse
import json
import statistics
import time

import torch
import torch.nn as nn
import torch.nn.functional as F


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


def make_step(work, arguments):
    """A function that takes one training step, and its batch size."""
    device, mode = arguments.device, arguments.mode
    g, d, noise_shape, image_shape = {"dcgan": dcgan, "mlp": mlp}[work]()
    layout = torch.contiguous_format if mode == "eager" or work == "mlp" else torch.channels_last
    g, d = g.to(device, memory_format=layout), d.to(device, memory_format=layout)
    if mode == "compile":
        g, d = torch.compile(g), torch.compile(d)
    batch = arguments.batch or (64 if work == "dcgan" else 128)
    real = (torch.rand(batch, *image_shape, device=device) * 2 - 1).to(memory_format=layout)
    real_label = 1.0 if work == "dcgan" else 0.9
    adam_g, adam_d = (torch.optim.Adam(net.parameters(), 2e-4, (0.5, 0.999)) for net in (g, d))

    def bce(logits, label):
        return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, label))

    def step():
        adam_d.zero_grad()
        fake = g(torch.randn(batch, *noise_shape, device=device))
        (bce(d(real), real_label) + bce(d(fake.detach()), 0.0)).backward()
        adam_d.step()
        # D's weights want no gradient here: PyTorch at its leanest.
        d.requires_grad_(False)
        adam_g.zero_grad()
        bce(d(fake), 1.0).backward()
        adam_g.step()
        d.requires_grad_(True)

    return step, batch


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
    parser.add_argument("work", choices=["dcgan", "mlp", "matmul"])
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--mode", default="channels-last", choices=["eager", "channels-last", "compile"])
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
        print(json.dumps(about | ranged | more | {rate: round(amount / middle, 1)}))

    if arguments.work != "matmul":
        step, batch = make_step(arguments.work, arguments)
        row(timed(step, arguments), "images_per_second", 1e3 * batch, mode=arguments.mode, batch=batch)
        return
    for m, k, n in ((1024, 1024, 1024), (4096, 256, 2048)):
        a, b = torch.randn(m, k, device=arguments.device), torch.randn(k, n, device=arguments.device)
        out = torch.empty(m, n, device=arguments.device)
        times = timed(lambda: torch.mm(a, b, out=out), arguments)
        row(times, "gflop_per_second", 2e-6 * m * n * k, m=m, k=k, n=n)


if __name__ == "__main__":
    main()
