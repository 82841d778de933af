#!/usr/bin/env python3
"""Writes ../golden/penalties.safetensors: a discriminator's whole gradient in steps with penalties, as PyTorch takes it.

    python make_penalties.py       # needs torch and numpy; seconds

Two critics: `dcgan64`, the discriminator of `make_networks.py` at width 4, and `mixed`, which has every kind of layer
that a penalty must be differentiated through twice:

    conv 3x3 stride 2 to 4 channels -> instance norm with scale and shift -> leaky relu 0.2
    -> transposed conv 4x4 stride 2 to 3 channels -> batch norm -> tanh -> conv 3x3 to 2 channels -> sigmoid
    -> dense to 4 -> relu -> dense to 1

on images [3, 8, 8, 2]. Weights as in `make_networks.py`; real images have salt 1000, fake ones 1001, both scale 2; the
real image's share has salt 1002, scale 1, offset 0.5. D sees real and fake images in two passes, then what the penalty
asks. Losses, all f64:

    wgan_gp   mean D(fake) - mean D(real) + 10 mean (sqrt(|grad D|^2 + 1e-12) - 1)^2   at share * real + (1 - share) * fake
    r1        mean softplus(-D(real)) + mean softplus(D(fake)) + 10 * 1/2 mean |grad D(real)|^2

Tensors: `<critic>/<loss>/loss`, `/penalty`, and `/gradient/<p>` for parameter p in Belamy's order and layout, of which
every `stride`-th element.
"""

import pathlib

import numpy as np
import torch
import torch.nn.functional as F

import make_networks
import tensor_file
from make_parity import hashed

GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "golden"
STRIDE = 5


class Net(make_networks.Net):
    """Parameters that are made once and gather gradients."""

    def __init__(self):
        super().__init__(True)
        self.made, self.names = {}, {}

    def next(self, shape, name):
        value = super().next(shape, name)
        if self.place not in self.made:
            self.made[self.place] = value.clone().requires_grad_(not name.startswith("running"))
            self.names[self.place] = name
        value = self.made[self.place]
        # Running statistics are only written, and a pass must not change the next one's graph.
        return value.clone() if name.startswith("running") else value

    def instance_norm(self, x, epsilon):
        gamma, beta = (self.next((x.shape[1],), name) for name in ("gamma", "beta"))
        return F.instance_norm(x, None, None, gamma, beta, True, 0.1, epsilon)


def mixed(n, x, s):
    x = F.leaky_relu(n.instance_norm(n.conv(x, 4, 3, 2, 1), 1e-5), 0.2)
    x = torch.tanh(n.batch_norm(n.conv_transpose(x, 3, 4, 2, 1), 1e-5))
    x = torch.sigmoid(n.conv(x, 2, 3, 1, 1))
    return n.dense(F.relu(n.dense(make_networks.flat(x), 4)), 1)


CRITICS = {
    "dcgan64": (make_networks.dcgan_d, (3, 64, 64, 3), {"discriminator_width": 4}),
    "mixed": (mixed, (3, 8, 8, 2), {}),
}


def squared(n, function, sizes, x):
    x = x.detach().requires_grad_()
    n.place = 0
    slope, = torch.autograd.grad(function(n, x, sizes).sum(), x, create_graph=True)
    return slope.square().sum((1, 2, 3))


def main():
    torch.set_default_dtype(torch.float64)
    tensors = {}
    for name, (function, shape, sizes) in CRITICS.items():
        real, fake = (torch.from_numpy(hashed(shape, salt, 2.0)).permute(0, 3, 1, 2) for salt in (1000, 1001))
        share = torch.from_numpy(hashed((shape[0], 1, 1, 1), 1002, 1.0, 0.5))
        for loss_name in ("wgan_gp", "r1"):
            n = Net()
            answers = []
            for images in (real, fake):
                n.place = 0
                answers.append(function(n, images, sizes))
            if loss_name == "wgan_gp":
                norm = (squared(n, function, sizes, fake + (real - fake) * share) + 1e-12).sqrt()
                penalty = (norm - 1).square().mean()
                loss = answers[1].mean() - answers[0].mean() + 10 * penalty
            else:
                penalty = 0.5 * squared(n, function, sizes, real).mean()
                loss = F.softplus(-answers[0]).mean() + F.softplus(answers[1]).mean() + 10 * penalty
            wanted = [place for place in sorted(n.made) if n.made[place].requires_grad]
            grads = torch.autograd.grad(loss, [n.made[place] for place in wanted])
            case = f"{name}/{loss_name}"
            tensors[f"{case}/loss"] = np.array([loss.item()])
            tensors[f"{case}/penalty"] = np.array([penalty.item()])
            for place, grad in zip(wanted, grads):
                tensors[f"{case}/gradient/{place:02}"] = grad.numpy().reshape(-1)[::STRIDE].copy()
    metadata = dict(tensor_file.versions(), stride=str(STRIDE))
    tensor_file.write(GOLDEN / "penalties.safetensors", tensors, metadata)


if __name__ == "__main__":
    main()
