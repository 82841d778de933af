#!/usr/bin/env python3
"""What Belamy and PyTorch take for the same work on this processor, by turns, as a Markdown table.

    python processor_table.py --rounds 5 > table.md            # about twenty minutes on two cores
    python processor_table.py --rounds 3 --row dcgan64-f32     # one row

Each round runs every program of a row once, PyTorch in each mode, in an order that turns from round to round. A
program's figure is the median of its rounds' medians; PyTorch's best mode is the one that is compared. `spread` is the
distance between the least and the most of the rounds, as a share of the median, the larger of both programs': where it
is above a tenth, the row says that it is noisy. Memory is the most that a process held.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
MODES = ["channels-last", "compile"]

# Row: Belamy's words, PyTorch's words.
ROWS = {
    "dcgan64-f32": ("dcgan64 --device cpu --batch 64", "dcgan --batch 64"),
    "dcgan64-direct": ("dcgan64 --device direct --batch 64", "dcgan --batch 64"),
    "dcgan64-bf16": ("dcgan64 --device bf16 --batch 64", "dcgan --batch 64 --dtype bf16"),
    "mnist-mlp": ("mnist-mlp --batch 128 --steps 60", "mlp --batch 128 --steps 60"),
    "mnist-dcgan": ("mnist-dcgan --batch 256", "mnist-dcgan --batch 256"),
}


def lines(words, folder, **environment):
    """The JSON objects that a program prints, one a line."""
    done = subprocess.run(words, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                          env=os.environ | environment)
    if done.returncode:
        raise SystemExit(f"processor_table.py: {' '.join(map(str, words))} failed with {done.returncode}")
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def belamy(words, **environment):
    bench = ["cargo", "bench", "--quiet", "-p", "belamy-benches", "--bench", "step", "--"]
    return lines([*bench, *words.split()], ROOT, **environment)[0]


def torch(words, mode):
    return lines([sys.executable, "torch_peer.py", *words.split(), "--mode", mode], HERE)[0]


def by_turns(programs, rounds):
    """The results of each program in each round."""
    found = {name: [] for name in programs}
    names = list(programs)
    for turn in range(rounds):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            line = programs[name]()
            print(json.dumps({"program": name, **line}), file=sys.stderr, flush=True)
            found[name].append(line)
    return found


def middle(results, key="ms"):
    return statistics.median(line[key] for line in results)


def spread(results):
    times = [line["ms"] for line in results]
    return (max(times) - min(times)) / statistics.median(times)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--row", action="append", choices=[*ROWS, "matmul", "threads"], help="only this; may be given several times")
    arguments = parser.parse_args()
    chosen = arguments.row or [*ROWS, "matmul", "threads"]
    subprocess.run(["cargo", "bench", "--quiet", "-p", "belamy-benches", "--bench", "step", "--no-run"], cwd=ROOT, check=True)
    print("| work | Belamy, ms | PyTorch, ms, by mode | times as fast | spread | Belamy, MB | PyTorch, MB |\n|---|---|---|---|---|---|---|")
    for row in (row for row in ROWS if row in chosen):
        ours, theirs = ROWS[row]
        programs = {"belamy": lambda: belamy(ours)} | {mode: lambda mode=mode: torch(theirs, mode) for mode in MODES}
        found = by_turns(programs, arguments.rounds)
        best = min(MODES, key=lambda mode: middle(found[mode]))
        modes = ", ".join(f"{mode} {middle(found[mode]):.1f}" for mode in MODES)
        both = max(spread(found["belamy"]), spread(found[best]))
        noisy = ", noisy" if both > 0.1 else ""
        print(f"| {row} | {middle(found['belamy']):.1f} | {modes} | {middle(found[best]) / middle(found['belamy']):.2f} | "
              f"{both:.0%}{noisy} | {middle(found['belamy'], 'peak_mb'):.0f} | {middle(found[best], 'peak_mb'):.0f} |", flush=True)
    if "matmul" in chosen:
        print("\n| 2048³ matmul | GFLOP/s | measured peak | share |\n|---|---|---|---|")
        sets = {"best": {}, "avx2": {"BELAMY_ISA": "avx2"}}
        found = by_turns({name: lambda more=more: belamy("matmul --steps 15", **more) for name, more in sets.items()}, arguments.rounds)
        for name, results in found.items():
            rate, peak = middle(results, "gflop_s"), middle(results, "peak_gflop_s")
            print(f"| {name} | {rate:.1f} | {peak:.1f} | {middle(results, 'share'):.1%} |", flush=True)
    if "threads" in chosen:
        counts = [1, os.cpu_count()]
        found = by_turns({str(count): lambda count=count: belamy("dcgan64 --batch 64 --steps 5", RAYON_NUM_THREADS=str(count))
                          for count in counts}, arguments.rounds)
        one, all_of_them = (middle(found[str(count)]) for count in counts)
        print(f"\nA DCGAN-64 step on 1 thread takes {one:.1f} ms, on {counts[1]} {all_of_them:.1f} ms: {one / all_of_them:.2f} times as fast.")


if __name__ == "__main__":
    main()
