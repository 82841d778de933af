"""Losses of training with Winograd's filtering and without, beside what another seed changes.

    python benches/winograd_curves.py [--belamy target/release/belamy] [--seeds 5] [--steps 300] [--window 25]
        [--folder FOLDER] RECIPE [FLAG ...]

Trains RECIPE from seeds 1, 2, .. twice each, by `--set conv=winograd` and by `--set conv=direct`, with whatever flags
follow, and averages each loss over windows of steps. Rounding alone parts two runs of one seed after some steps, so
curves are compared as sets: in each window, how far Winograd's mean over seeds is from the direct kernels' mean, in
standard deviations of the direct kernels' seeds, and how many of Winograd's seeds lie outside the direct kernels'
range. By chance a seed more lies outside the range of n others in 2 of n + 1 cases.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import tempfile


def train(options, conv, seed, folder):
    out = folder / f"{conv}-{seed}"
    words = [options.belamy, "train", options.recipe, *options.flags]
    words += ["--steps", str(options.steps), "--seed", str(seed), "--set", f"conv={conv}"]
    words += ["--log-every", "1", "--sample-every", "0", "--checkpoint-every", "0", "--out", str(out)]
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return {loss: [line[loss] for line in lines] for loss in ("loss_d", "loss_g")}


def windows(values, length):
    return [statistics.fmean(values[at : at + length]) for at in range(0, len(values) - length + 1, length)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--belamy", default="target/release/belamy")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--window", type=int, default=25)
    parser.add_argument("--folder", help="where the runs go; somewhere that is removed, if not given")
    parser.add_argument("recipe")
    options, options.flags = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(options.folder or scratch)
        runs = {
            conv: [train(options, conv, seed, folder) for seed in range(1, options.seeds + 1)]
            for conv in ("winograd", "direct")
        }
    print("| loss | steps | direct: mean, range | Winograd: mean, range | apart, in deviations of direct seeds | outside |")
    print("|---|---|---|---|---|---|")
    for loss in ("loss_d", "loss_g"):
        curves = {conv: [windows(run[loss], options.window) for run in own] for conv, own in runs.items()}
        apart, outside = [], 0
        for index in range(len(curves["direct"][0])):
            direct, ours = ([curve[index] for curve in curves[conv]] for conv in ("direct", "winograd"))
            distance = (statistics.fmean(ours) - statistics.fmean(direct)) / statistics.stdev(direct)
            beyond = sum(not min(direct) <= value <= max(direct) for value in ours)
            apart.append(distance)
            outside += beyond
            cells = [f"{statistics.fmean(of):.4f}, {min(of):.4f} to {max(of):.4f}" for of in (direct, ours)]
            steps = f"{index * options.window + 1} to {(index + 1) * options.window}"
            print(f"| {loss} | {steps} | {cells[0]} | {cells[1]} | {distance:+.2f} | {beyond} of {len(ours)} |")
        worst, count = max(map(abs, apart)), len(apart) * options.seeds
        print(f"| {loss} | all | | | {statistics.fmean(apart):+.2f} on average, {worst:.2f} at most | {outside} of {count} |")
    first = [
        max(abs(a - b) for a, b in zip(ours[loss][:10], direct[loss][:10]))
        for ours, direct in zip(runs["winograd"], runs["direct"])
        for loss in ("loss_d", "loss_g")
    ]
    print(f"\nOf one seed, in the first ten steps, losses are at most {max(first):.1e} apart.")


main()
