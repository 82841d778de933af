#!/usr/bin/env python3
"""Writes ../golden/parity_<system>.safetensors: twenty GAN training steps as PyTorch takes them, for others to follow.

    python make_parity.py                  # both systems; needs torch and numpy; four minutes, mostly searching
    python make_parity.py dcgan64_narrow   # one

Weights, images and noise are not stored: every number is hashed from its place, the same bits in any language.

    mix(h):  h ^= h >> 16;  h *= 0x85ebca6b;  h ^= h >> 13;  h *= 0xc2b2ae35;  h ^= h >> 16     (u32, wrapping)
    hash(i, salt) = mix(mix(i) + salt * 2654435761)                                             (u32, wrapping)
    uniform(i, salt) = (hash(i, salt) >> 8) / 2^24 - 0.5                                        (f64, exact)
    tensor[i] = uniform(i, salt) * scale + offset                                               (f64, two roundings)

`i` is the row-major index in Belamy's layout: images [N, H, W, C]; convolution weights, transposed or not,
[O, KH, KW, I] where O counts the channels that the layer produces; linear weights [O, I]. A `scale` or `offset` is the
f64 nearest to the decimal in the metadata (which gives it in full). f32 runs round `tensor[i]` once.

The inputs are chosen, so that f32 runs can be compared at all. The slope of relu and leaky_relu jumps at 0, and of
the millions of numbers that enter them in twenty steps some are nearer to 0 than f32's rounding error. There the
error alone decides which slope a gradient takes; Adam, which divides gradients by their size, makes that a change of
a weight by up to 1e-2, and two correct f32 programs need not agree. So batches are small, and every salt has a base
added: the first base of 0, 10000, 20000 .. for which

    margin         no input of these layers, in any pass that gradients flow through, is nearer to 0 in f64 than
                   `margin` times the root mean square of that layer's input in that pass;
    in f32 errors  nor nearer than `errors` times f32's error there: the root mean square, over that layer's input in
                   that pass, of the difference between PyTorch's f32 run and its f64 run (a correct program that
                   adds in another order may well have two or three times PyTorch's error); and
    agreement      the f32 run agrees with the f64 run to 2e-5, relatively, in both losses of every step, and, by the
                   norm, in every tensor of weights after the last step.

A choice by the last condition alone would take runs where inputs fell on the right side by luck. No slope within f32's
rounding error of a kink is tested here. `conditioning` in the configuration tells the base and what was reached.

Tensors of a file, f64, all layouts Belamy's:

    hash_check                         uniform(i, salt) for i in 0..8 (columns), salt in 0..4 (rows)
    loss/d_real, d_fake, d, g          each step's losses, [steps]; d_real and d_fake are the means over their own
                                       images, d is what D descends, g what G descends
    logit/d_real, d_fake, g_fake       mean of D's output on each step's real images, fakes, and fakes in G's update
    <stage>/<parameter>/norm           the 2-norm, for <stage> = initial, after_1, after_20
    <stage>/<parameter>/probes         inner products with four tensors hashed with salts probe_salt .. probe_salt + 3,
                                       scale `probe_scale`, offset 0. The mean square of the four differences between
                                       two runs estimates the squared norm of the weights' whole difference.
    <stage>/<parameter>/sample         elements 0, k, 2k .., k = sample_stride in the metadata (not for `initial`)
    final_buffer/<layer>/running_mean and /running_variance    of batch normalisations, whole
    f32/loss/..                        the same steps in PyTorch's f32
    f32/difference/<parameter>         [largest difference, 2-norm of the difference] of f32's last weights from f64's
    moved/loss/.., moved/difference/.. the same for f64 with each initial weight multiplied by 1 + 1e-12 r, where r
                                       has variance 1: how far the system itself carries a rounding error

Metadata: `configuration` = JSON of every setting; `torch`, `numpy`, `python` = versions.
"""

import json
import math
import pathlib
import sys

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

import tensor_file

GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "golden"
STEPS = 20
UNIT = math.sqrt(12.0)  # times a number uniform in [-0.5, 0.5): variance 1
PROBES = 4
SAMPLE_LIMIT = 2000
# Salts, to which all but PROBE_SALT a base is added. A parameter's own is its place in the list of parameters, from 1.
PROBE_SALT, IMAGE_SALT, NOISE_D_SALT, NOISE_G_SALT, MOVE_SALT = 100, 1000, 2000, 3000, 4000
BASES = range(0, 10_000_000, 10_000)
AGREEMENT = 2e-5
RECIPE = __doc__[__doc__.index("    mix(h)"):__doc__.index("`i` is")].rstrip()


def mix(h):
    """The last step of MurmurHash3, on an array of u32."""
    h = h ^ (h >> np.uint32(16))
    h = h * np.uint32(0x85EBCA6B)
    h = h ^ (h >> np.uint32(13))
    h = h * np.uint32(0xC2B2AE35)
    return h ^ (h >> np.uint32(16))


def hashed(shape, salt, scale=1.0, offset=0.0):
    """A tensor of f64 hashed from each element's place."""
    place = np.arange(math.prod(shape), dtype=np.uint32)
    h = mix(mix(place) + np.uint32(salt * 2654435761 % 2**32))
    uniform = (h >> np.uint32(8)).astype(np.float64) / 2**24 - 0.5
    return (uniform * scale + offset).reshape(shape)


class Layout:
    """How a PyTorch tensor's axes become Belamy's, by the kind of what it holds."""

    TO_BELAMY = {"conv": (0, 2, 3, 1), "conv_transpose": (1, 2, 3, 0), "image": (0, 2, 3, 1)}

    @staticmethod
    def to_belamy(kind, array):
        axes = Layout.TO_BELAMY.get(kind)
        return np.ascontiguousarray(array.transpose(axes)) if axes else array

    @staticmethod
    def from_belamy(kind, array):
        axes = Layout.TO_BELAMY.get(kind)
        return np.ascontiguousarray(array.transpose(np.argsort(axes))) if axes else array


class MnistMlp:
    """The lecture's dense GAN, without its dropout; real and fake images go through D as one batch."""

    name = "mnist_mlp"
    batch = 4
    margin, errors = 4e-6, 10.0
    image, noise, image_kind = (784,), (100,), "rows"
    widths = {"generator": (100, 256, 512, 1024, 784), "discriminator": (784, 1024, 512, 256, 1)}
    settings = {
        "generator": "linear 100-256-512-1024-784, leaky_relu 0.2 between, tanh last; y = x w^T + b",
        "discriminator": "linear 784-1024-512-256-1, leaky_relu 0.2 between, logits last; dropout rate 0",
        "weights": "uniform +-sqrt(6 / (inputs + outputs)), biases 0",
        "discriminator_step": "noise salt noise_d_salt + t; fakes from G, detached; one pass of D over [real; fake] "
                              "(2 * batch rows); d = mean over all rows = (d_real + d_fake) / 2; Adam",
        "generator_step": "fresh noise, salt noise_g_salt + t; g = mean over batch, through the updated D; Adam",
        "real_label": 0.9, "fake_label": 0.0, "generator_label": 1.0,
        "optimiser": {"discriminator": {"lr": 2e-4, "beta_1": 0.5, "beta_2": 0.999, "epsilon": 1e-8},
                      "generator": {"lr": 1e-3, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7}},
    }
    concatenated, reuses_fakes = True, False

    def networks(self):
        """(G, D)."""
        nets = []
        for widths, last in ((self.widths["generator"], nn.Tanh()), (self.widths["discriminator"], nn.Flatten(0))):
            layers = []
            for inputs, outputs in zip(widths, widths[1:]):
                layers += [nn.Linear(inputs, outputs), nn.LeakyReLU(0.2)]
            nets.append(nn.Sequential(*layers[:-1], last))
        return nets

    def filling(self, module, name):
        """(kind, scale, offset) of a parameter."""
        if name == "bias":
            return "vector", 0.0, 0.0
        return "linear", 2 * math.sqrt(6 / (module.in_features + module.out_features)), 0.0


class Dcgan64Narrow:
    """pytorch/examples' DCGAN with an eighth of its channels; real and fake images go through D apart."""

    name = "dcgan64_narrow"
    batch = 2
    margin, errors = 3e-6, 6.0
    image, noise, image_kind = (64, 64, 3), (1, 1, 100), "image"
    settings = {
        "generator": "conv_transpose2d 4x4, no bias: 100-64 stride 1 padding 0, then 64-32-16-8-3 stride 2 padding 1; "
                     "batch_norm and relu after each but the last, tanh last",
        "discriminator": "conv2d 4x4, no bias: 3-8-16-32-64 stride 2 padding 1, 64-1 stride 1 padding 0; batch_norm "
                         "after each but the first and last, leaky_relu 0.2 between, logits last",
        "weights": "convolutions: standard deviation 0.02; batch_norm scale 1 + standard deviation 0.02, shift 0",
        "batch_norm": "batch statistics, biased variance, epsilon 1e-5; running = 0.9 running + 0.1 batch, of the "
                      "unbiased variance, from mean 0 and variance 1; D's are updated by its three passes of a step",
        "discriminator_step": "noise salt noise_d_salt + t; fakes from G; D on real, D on the detached fakes (two "
                              "passes); d = d_real + d_fake; Adam",
        "generator_step": "the same fakes through the updated D; g = mean over batch; Adam",
        "real_label": 1.0, "fake_label": 0.0, "generator_label": 1.0,
        "optimiser": {part: {"lr": 2e-4, "beta_1": 0.5, "beta_2": 0.999, "epsilon": 1e-8}
                      for part in ("discriminator", "generator")},
    }
    concatenated, reuses_fakes = False, True

    def networks(self):
        """(G, D)."""
        g, d = [], []
        for inputs, outputs, stride, padding in ((100, 64, 1, 0), (64, 32, 2, 1), (32, 16, 2, 1), (16, 8, 2, 1)):
            g += [nn.ConvTranspose2d(inputs, outputs, 4, stride, padding, bias=False)]
            g += [nn.BatchNorm2d(outputs), nn.ReLU()]
        g += [nn.ConvTranspose2d(8, 3, 4, 2, 1, bias=False), nn.Tanh()]
        d += [nn.Conv2d(3, 8, 4, 2, 1, bias=False), nn.LeakyReLU(0.2)]
        for inputs, outputs in ((8, 16), (16, 32), (32, 64)):
            d += [nn.Conv2d(inputs, outputs, 4, 2, 1, bias=False), nn.BatchNorm2d(outputs), nn.LeakyReLU(0.2)]
        d += [nn.Conv2d(64, 1, 4, 1, 0, bias=False), nn.Flatten(0)]
        return nn.Sequential(*g), nn.Sequential(*d)

    def filling(self, module, name):
        """(kind, scale, offset) of a parameter."""
        if isinstance(module, nn.BatchNorm2d):
            return ("vector", 0.02 * UNIT, 1.0) if name == "weight" else ("vector", 0.0, 0.0)
        return "conv_transpose" if isinstance(module, nn.ConvTranspose2d) else "conv", 0.02 * UNIT, 0.0


def parameters(system, networks, base):
    """Every parameter in order: G's layers, then D's; numbered as layers with parameters are met."""
    found = []
    for part, net in zip(("generator", "discriminator"), networks):
        numbered = [m for m in net if list(m.parameters(recurse=False))]
        for place, module in enumerate(numbered):
            for name, parameter in module.named_parameters():
                kind, scale, offset = system.filling(module, name)
                index = len(found) + 1
                shape = list(Layout.to_belamy(kind, parameter.detach().numpy()).shape)
                stride = max(1, math.ceil(math.prod(shape) / SAMPLE_LIMIT))
                about = {"name": f"{part}.{place}.{name}", "layer": type(module).__name__, "kind": kind,
                         "shape": shape, "salt": base + index, "scale": scale, "offset": offset,
                         "probe_salt": PROBE_SALT + PROBES * index, "sample_stride": stride}
                found.append((about, parameter))
    return found


class Kinks:
    """The inputs of every relu and leaky_relu, pass by pass, as far as gradients flow through them."""

    class TooNear(Exception):
        """An input lies nearer to 0 than the margin."""

    def __init__(self, networks, margin):
        self.margin, self.nearest, self.inputs = margin, math.inf, []
        for module in (module for net in networks for module in net):
            if isinstance(module, (nn.ReLU, nn.LeakyReLU)):
                module.register_forward_pre_hook(self.look)

    def look(self, module, arguments):
        if torch.is_grad_enabled():
            x = arguments[0].detach().double().numpy().ravel()
            self.inputs.append(x)
            self.nearest = min(self.nearest, np.abs(x).min() / math.sqrt((x * x).mean()))
            if self.nearest < self.margin:
                raise Kinks.TooNear

    def in_errors(self, other):
        """How far the nearest input is from 0 in units of `other`'s error; and how many signs `other` has wrong."""
        errors = [math.sqrt(((x - y) ** 2).mean()) for x, y in zip(self.inputs, other.inputs)]
        wrong = sum(int(((x > 0) != (y > 0)).sum()) for x, y in zip(self.inputs, other.inputs))
        return min(np.abs(x).min() / error for x, error in zip(self.inputs, errors)), wrong


def train(system, dtype, base, moved=0.0, margin=0.0):
    """Takes the steps, from initial weights each `moved` by about that share of itself.

    Returns losses, snapshots {stage: [weights in Belamy's layout]}, buffers, descriptions and kinks."""
    torch.set_default_dtype(dtype)
    G, D = networks = system.networks()
    kinks = Kinks(networks, margin)
    listed = parameters(system, networks, base)
    for about, parameter in listed:
        values = hashed(about["shape"], about["salt"], about["scale"], about["offset"])
        values = values * (1 + hashed(values.shape, MOVE_SALT + about["salt"], UNIT * moved))
        parameter.data = torch.from_numpy(Layout.from_belamy(about["kind"], values)).to(dtype)

    def adam(part, net):
        o = system.settings["optimiser"][part]
        return torch.optim.Adam(net.parameters(), o["lr"], (o["beta_1"], o["beta_2"]), o["epsilon"])

    def batch(shape, salt, scale):
        values = hashed((system.batch, *shape), salt, scale)
        return torch.from_numpy(Layout.from_belamy(system.image_kind, values)).to(dtype)

    def bce(logits, label):
        return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, label))

    def snapshot():
        return [Layout.to_belamy(about["kind"], p.detach().double().numpy().copy()) for about, p in listed]

    adam_d, adam_g = adam("discriminator", D), adam("generator", G)
    labels = [system.settings[f"{who}_label"] for who in ("real", "fake", "generator")]
    curves = {name: [] for name in ("loss/d_real", "loss/d_fake", "loss/d", "loss/g",
                                    "logit/d_real", "logit/d_fake", "logit/g_fake")}
    stages = {"initial": snapshot()}
    for t in range(STEPS):
        real = batch(system.image, base + IMAGE_SALT + t, 2.0)
        with torch.set_grad_enabled(system.reuses_fakes):
            fake = G(batch(system.noise, base + NOISE_D_SALT + t, UNIT))
        if system.concatenated:
            on_real, on_fake = D(torch.cat([real, fake.detach()])).split(system.batch)
        else:
            on_real, on_fake = D(real), D(fake.detach())
        d_real, d_fake = bce(on_real, labels[0]), bce(on_fake, labels[1])
        d = (d_real + d_fake) / 2 if system.concatenated else d_real + d_fake
        adam_d.zero_grad()
        d.backward()
        adam_d.step()
        if not system.reuses_fakes:
            fake = G(batch(system.noise, base + NOISE_G_SALT + t, UNIT))
        on_new = D(fake)
        g = bce(on_new, labels[2])
        adam_g.zero_grad()
        g.backward()
        adam_g.step()
        numbers = (d_real, d_fake, d, g, on_real.mean(), on_fake.mean(), on_new.mean())
        for curve, number in zip(curves.values(), numbers):
            curve.append(number.item())
        if t + 1 in (1, STEPS):
            stages[f"after_{t + 1}"] = snapshot()

    buffers = {}
    for part, net in zip(("generator", "discriminator"), networks):
        for place, module in enumerate(m for m in net if list(m.parameters(recurse=False))):
            if isinstance(module, nn.BatchNorm2d):
                buffers[f"{part}.{place}/running_mean"] = module.running_mean.double().numpy()
                buffers[f"{part}.{place}/running_variance"] = module.running_var.double().numpy()
    curves = {name: np.array(curve) for name, curve in curves.items()}
    return curves, stages, buffers, [about for about, _ in listed], kinks


def differences(run, wanted):
    """Of a run from another: [largest of the losses, relatively], [[largest, 2-norm, 2-norm relatively] by tensor]."""
    losses = [(np.abs(run[0][name] - wanted[0][name]) / np.abs(wanted[0][name])).max() for name in ("loss/d", "loss/g")]
    last, weights = f"after_{STEPS}", []
    for array, right in zip(run[1][last], wanted[1][last]):
        difference, norm = np.abs(array - right), math.sqrt((right**2).sum())
        distance = math.sqrt((difference**2).sum())
        weights.append([difference.max(), distance, distance / norm])
    return max(losses), weights


def conditioned(system):
    """The runs in f64 and f32 from the first base of salts that keeps the kinks away, and how far."""
    for base in BASES:
        try:
            wanted = train(system, torch.float64, base, margin=system.margin)
        except Kinks.TooNear:
            continue
        single = train(system, torch.float32, base)
        loss, weights = differences(single, wanted)
        weight = max(relative for _, _, relative in weights)
        in_errors, wrong = wanted[4].in_errors(single[4])
        print(f"  base {base}: margin {wanted[4].nearest:.2e}, {in_errors:.2f} errors of f32, {wrong} wrong signs; "
              f"f32 from f64: losses {loss:.1e}, a tensor by its norm {weight:.1e}", flush=True)
        if in_errors >= system.errors and wrong == 0 and max(loss, weight) <= AGREEMENT:
            count = sum(x.size for x in wanted[4].inputs)
            return base, wanted, single, {
                "salt_base": base, "inputs_of_kinks": count,
                "margin_required": system.margin, "margin": wanted[4].nearest,
                "margin_in_f32_errors_required": system.errors, "margin_in_f32_errors": in_errors,
                "agreement_required": AGREEMENT, "f32_loss_difference": loss, "f32_weight_difference": weight}
    sys.exit(f"{system.name}: no base of salts in {BASES} keeps the kinks away")


def make(system):
    """Trains `system` until its inputs are well conditioned, and writes its file."""
    base, wanted, single, conditioning = conditioned(system)
    curves, stages, buffers, listed, _ = wanted
    tensors = dict(curves) | {f"final_buffer/{name}": array for name, array in buffers.items()}
    tensors["hash_check"] = np.stack([hashed((8,), salt) for salt in range(4)])
    for stage, weights in stages.items():
        for about, array in zip(listed, weights):
            place, flat = f"{stage}/{about['name']}", array.ravel()
            probes = [hashed(flat.shape, about["probe_salt"] + j, UNIT) for j in range(PROBES)]
            tensors[f"{place}/norm"] = np.array(math.sqrt(math.fsum(flat * flat)))
            tensors[f"{place}/probes"] = np.array([math.fsum(flat * probe) for probe in probes])
            if stage != "initial":
                tensors[f"{place}/sample"] = flat[::about["sample_stride"]]
    for name, other in (("f32", single), ("moved", train(system, torch.float64, base, 1e-12))):
        tensors |= {f"{name}/{curve}": array for curve, array in other[0].items() if curve.startswith("loss/")}
        loss, weights = differences(other, wanted)
        for about, (largest, distance, _) in zip(listed, weights):
            tensors[f"{name}/difference/{about['name']}"] = np.array([largest, distance])
        print(f"  {name}: from f64, losses {loss:.1e}, a tensor by its norm {max(w[2] for w in weights):.1e}")

    configuration = system.settings | {
        "system": system.name, "description": " ".join(type(system).__doc__.split()), "steps": STEPS,
        "batch": system.batch, "image": list(system.image), "noise": list(system.noise),
        "image_salt": base + IMAGE_SALT, "noise_d_salt": base + NOISE_D_SALT, "noise_g_salt": base + NOISE_G_SALT,
        "image_filling": {"salt": "image_salt + t, t = 0 ..", "scale": 2.0, "offset": 0.0},
        "noise_filling": {"d_salt": "noise_d_salt + t", "g_salt": "noise_g_salt + t, where noise is fresh",
                          "scale": UNIT, "offset": 0.0},
        "conditioning": conditioning,
        "adam": "PyTorch's: m, v from 0; m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2; "
                "w -= lr / (1 - b1^t) * m / (sqrt(v) / sqrt(1 - b2^t) + epsilon), t from 1",
        "loss": "binary cross entropy of logits, mean", "hash": RECIPE, "probe_scale": UNIT,
        "layouts": "images NHWC, convolution weights [O, KH, KW, I], transposed too, linear weights [O, I]; PyTorch's "
                   "[N, C, H, W], [O, I, KH, KW], [I, O, KH, KW], [O, I] by permuting axes alone",
        "parameters": listed,
    }
    metadata = tensor_file.versions() | {"configuration": json.dumps(configuration)}
    size = tensor_file.write(GOLDEN / f"parity_{system.name}.safetensors", tensors, metadata)
    print(f"parity_{system.name}.safetensors: {size:,} bytes, {len(tensors)} tensors")
    for name, curve in curves.items():
        print(f"  {name}: first {curve[0]:.12f}, last {curve[-1]:.12f}")


def main():
    GOLDEN.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    print(tensor_file.versions())
    systems = {system.name: system for system in (MnistMlp(), Dcgan64Narrow())}
    names = sys.argv[1:] or list(systems)
    if not set(names) <= set(systems):
        sys.exit(f"unknown system among {names}; known: {', '.join(systems)}")
    for name in names:
        make(systems[name])


if __name__ == "__main__":
    main()
