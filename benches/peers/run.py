#!/usr/bin/env python3
"""Times Belamy and its peers by turns, and prints each peer's time over Belamy's by medians.

    python run.py --device webgpu --batch 16 --rounds 3 --peer burn    # burn's wgpu on the same adapter
    python run.py --device cpu --peer torch --peer candle              # on the processor

Each round runs every program once, in an order that turns from round to round, each for --steps steps. All steps of
all rounds make one median. A ratio whose rounds lie more than 10 % apart is called noisy: another run may give another. `ms` is by the clock; `processor_ms`, the processor time of all the process's threads, can be
compared on a machine that does other things too, where device is the processor or a software adapter.

Programs are built first, outside the clock: `cargo build --release` in burn/ and candle/ (folders of their own, with
their own Cargo.lock), `cargo bench --no-run` for Belamy.
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
# Rounds whose ratios lie further apart than this agree on nothing closer.
NOISY = 1.1


def run(words, folder):
    """The JSON objects that a program prints, one a line."""
    done = subprocess.run([str(word) for word in words], cwd=folder, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(f"run.py: {' '.join(map(str, words))} failed with {done.returncode}")
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def features(arguments):
    """burn's kernels as SPIR-V, its own way on Vulkan, or as WGSL."""
    return ["--no-default-features", "--features", "fusion,autotune"] if arguments.wgsl else []


def commands(arguments):
    """The programs: name, words, folder."""
    steps = ["--steps", arguments.steps, "--warm", arguments.warm]
    batch = ["--batch", arguments.batch]
    warm_up = ["--steps", arguments.steps, "--warm-up", arguments.warm]
    cargo = ["cargo", "bench", "--quiet", "-p", "belamy-benches", "--bench", "step", "--"]
    yield "belamy", [*cargo, "dcgan64", "--device", arguments.device, *batch, *steps], ROOT
    for peer in arguments.peer:
        if peer == "burn":
            adapter = ["--adapter", arguments.adapter]
            burn = ["cargo", "run", "--quiet", "--release", *features(arguments), "--"]
            yield peer, [*burn, "dcgan64", *batch, *steps, *adapter], HERE / "burn"
        elif peer == "candle":
            yield peer, ["cargo", "run", "--quiet", "--release", "--", "dcgan64", *batch, *steps], HERE / "candle"
        else:
            device = "cuda" if arguments.device == "cuda" else "cpu"
            yield peer, [sys.executable, HERE / "torch_peer.py", "dcgan", *batch, *warm_up, "--device", device], HERE


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=["cpu", "webgpu", "cuda"], help="Belamy's device")
    parser.add_argument("--peer", action="append", choices=["burn", "candle", "torch"], help="may be given several times")
    parser.add_argument("--adapter", default="default", choices=["cpu", "gpu", "default"], help="burn's adapter; cpu is the software one")
    parser.add_argument("--wgsl", action="store_true", help="burn's kernels as WGSL: its SPIR-V crashes some software drivers")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--warm", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    arguments.peer = arguments.peer or ["burn"]
    programs = list(commands(arguments))
    subprocess.run(["cargo", "bench", "--quiet", "-p", "belamy-benches", "--bench", "step", "--no-run"], cwd=ROOT, check=True)
    for peer in {"burn", "candle"} & set(arguments.peer):
        chosen = features(arguments) if peer == "burn" else []
        subprocess.run(["cargo", "build", "--quiet", "--release", *chosen], cwd=HERE / peer, check=True)
    rounds = []
    for number in range(arguments.rounds):
        turn = number % len(programs)
        rounds.append({})
        for name, words, folder in programs[turn:] + programs[:turn]:
            rounds[-1][name] = run(words, folder)
            for line in rounds[-1][name]:
                print(json.dumps({"program": name, "round": number, **line}), flush=True)
    for key in ["ms", "processor_ms"]:
        for name in arguments.peer:
            ours, theirs = (middle(rounds, program, key) for program in ["belamy", name])
            if ours and theirs:
                each = [middle([one], name, key) / middle([one], "belamy", key) for one in rounds]
                noisy = f", noisy: {min(each):.2f} to {max(each):.2f}" if max(each) > NOISY * min(each) else ""
                print(f"{key}: belamy {ours:.1f}, {name} {theirs:.1f}: {theirs / ours:.2f} times as long{noisy}")


def middle(rounds, name, key):
    """The median of a program's steps in some rounds; none where it does not say."""
    values = [line[key] for one in rounds for line in one[name] if line.get(key) is not None]
    return statistics.median(values) if values else None


if __name__ == "__main__":
    main()
