#!/usr/bin/env python3
"""Trainings that a real SLURM pre-empts, again and again, until each has come to its end.

The batch scripts are those of `belamy slurm`. Jobs of a low partition train; a job that wants the whole node in a
higher partition takes it from all of them at once. After each pre-emption every job must have saved the step at which
it stopped, said so, been queued again and gone on; its last checkpoint must be, byte for byte, that of a run of the same
plan that nobody stopped. Checkpoints are made at stops and at the end alone, so that what a stop loses is lost for good.

    cluster.sh start FOLDER && . FOLDER/env.sh
    preempt.py --belamy target/release/belamy --folder scratch
"""

import argparse
import datetime
import itertools
import json
import os
import pathlib
import random
import re
import resource
import shlex
import signal
import subprocess
import sys
import time
import traceback

RECIPES = ("sine", "mnist-mlp")
LAUNCHERS = ("srun", "mpirun")


def run(*words, check=True, **more):
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, **more)
    if check and done.returncode:
        raise RuntimeError(f"{shlex.join(map(str, words))}: {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout


def say(text):
    print(f"{datetime.datetime.now():%H:%M:%S} {text}", flush=True)


def wait_for(happened, seconds, every=0.2):
    """Whether it happened within so many seconds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if happened():
            return True
        time.sleep(every)
    return bool(happened())


def seconds_of_children():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


class Cluster:
    """What SLURM knows and notes."""

    def __init__(self):
        settings = run("scontrol", "show", "config")
        self.log = pathlib.Path(re.search(r"^SlurmctldLogFile\s*=\s*(\S+)", settings, re.M)[1])
        self.notice = "preempt_send_user_signal" in settings
        self.version = run("sinfo", "--version").strip()

    def jobs(self):
        """What `scontrol` says of every job, by its number."""
        # A controller that is busy answers nothing at times.
        for _ in range(20):
            answer = subprocess.run(["scontrol", "show", "job", "--oneliner"], capture_output=True, text=True)
            if answer.returncode == 0:
                break
            time.sleep(1)
        lines = [dict(re.findall(r"(?:^|\s)(\w+)=(\S*)", line)) for line in answer.stdout.splitlines()]
        return {fields["JobId"]: fields for fields in lines if "JobId" in fields}

    def signals(self, job, since):
        """When the controller told a job to stop."""
        found = []
        for line in self.log.read_text(errors="replace").splitlines():
            match = re.match(rf"\[(\S+)\] job_signal: (\d+) of running JobId={job} successful", line)
            if match:
                when = datetime.datetime.fromisoformat(match[1]).timestamp()
                if when >= since - 1 and int(match[2]) in (signal.SIGUSR2, signal.SIGTERM):
                    found.append(when)
        return found


class Training:
    """A job, and the run it makes."""

    def __init__(self, test, recipe, launcher, tasks, steps, minutes=60, sbatch=()):
        self.number = next(test.numbers)
        # What 1, 2 and 4 processes make is the same.
        self.shards = 3 if tasks == 3 else 4
        self.recipe, self.launcher, self.tasks, self.steps = recipe, launcher, tasks, steps
        self.name = f"{self.number:03}-{recipe}-{launcher}-{tasks}"
        self.out = test.folder / self.name
        self.log = pathlib.Path(f"{self.out}.log")
        script = pathlib.Path(f"{self.out}.sbatch")
        words = [test.belamy, "slurm", recipe, "--tasks", tasks, "--launcher", launcher, "--out", self.out]
        words += ["--time", f"00:{minutes:02}:00", "--sbatch", "partition=low", "--"]
        script.write_text(run(*words, *plan(recipe, self.shards, steps)))
        self.job = run("sbatch", "--parsable", *sbatch, script, env=test.environment).strip()
        # Pre-emptions and other stops after which it went on.
        self.stops = 0

    def text(self):
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def stopped(self):
        """The steps at which it has said that it stopped."""
        return [int(step) for step in re.findall(r"stopped after step (\d+); go on", self.text())]

    def finished(self):
        return f"finished step {self.steps}:" in self.text()

    def latest(self):
        """The newest checkpoint's step, and when it was there."""
        path = self.out / "checkpoints/latest"
        try:
            return int(path.read_text().strip().removeprefix("step-")), path.stat().st_mtime
        except FileNotFoundError:
            return 0, 0.0

    def earlier(self, step):
        """A checkpoint that is not the newest any more, and when it was complete; 0 if it is not there."""
        path = self.out / f"checkpoints/step-{step:08}/complete"
        return (step, path.stat().st_mtime) if path.exists() else (0, 0.0)

    def lines(self):
        path = self.out / "metrics.jsonl"
        return path.read_bytes().count(b"\n") if path.exists() else 0


def plan(recipe, shards, steps):
    words = f"--steps {steps} --batch 24 --shards {shards} --seed 7 --log-every 1 --sample-every 0"
    return [*words.split(), "--checkpoint-every", "0"]


def files(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def journal(folder):
    """The lines of metrics, but for what depends on the clock."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    clock = ("second", "per_s", "time")
    return [{key: value for key, value in line.items() if not any(word in key for word in clock)} for line in lines]


class Test:
    def __init__(self, arguments):
        self.belamy = pathlib.Path(arguments.belamy).absolute()
        self.folder = pathlib.Path(arguments.folder).absolute() / datetime.datetime.now().strftime("%m%d-%H%M%S")
        self.folder.mkdir(parents=True)
        self.cluster = Cluster()
        self.numbers = itertools.count(1)
        self.random = random.Random(arguments.seed)
        self.failures = []
        self.saves = {launcher: [] for launcher in LAUNCHERS}
        # By launcher: pre-empted while training, before it began, and at its very end; queued again by the script or by SLURM.
        self.counts = {launcher: dict.fromkeys(ROWS, 0) for launcher in LAUNCHERS}
        self.environment = dict(os.environ)
        if os.getuid() == 0:
            self.environment |= {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
        self.references = {}
        self.tasks = arguments.tasks

    def fail(self, training, what):
        tail = "\n      ".join(training.text().splitlines()[-15:])
        self.failures.append(f"{training.name} (job {training.job}): {what}\n      {tail}")
        say(f"FAILURE {training.name} (job {training.job}): {what}")

    def reference(self, recipe, shards, steps):
        """The folder of a run of the plan that nobody stops, and how long a processor worked on it."""
        if (recipe, shards, steps) not in self.references:
            out = self.folder / f"unbroken-{recipe}-{shards}-{steps}"
            begun = seconds_of_children()
            run(self.belamy, "train", recipe, "--out", out, "--threads", 1, *plan(recipe, shards, steps))
            self.references[recipe, shards, steps] = out, seconds_of_children() - begun
        return self.references[recipe, shards, steps]

    def steps(self, recipe, seconds):
        """How many steps keep a processor of this machine busy for so long."""
        few, many = 5, 35
        begin = self.reference(recipe, 4, few)[1]
        # A difference that a start-up's own ups and downs do not hide.
        while (busy := self.reference(recipe, 4, many)[1] - begin) < 0.5:
            many = few + 8 * (many - few)
        return max(int((many - few) * seconds / busy), 30)

    def compare(self, training, count=True):
        """Whether a training that has come to its end is what nobody stopped would be."""
        unbroken, _ = self.reference(training.recipe, training.shards, training.steps)
        step = f"checkpoints/step-{training.steps:08}"
        if not (training.out / step).is_dir():
            return self.fail(training, f"it has ended without {step}")
        if files(training.out / step) != files(unbroken / step):
            return self.fail(training, "its last checkpoint differs from the unbroken run's")
        if journal(training.out) != journal(unbroken):
            return self.fail(training, "its metrics differ from the unbroken run's")
        if count:
            self.counts[training.launcher]["runs that ended, equal to the unbroken run"] += 1
        return None

    def stop_is_right(self, training, before, since, cause=""):
        """Looks at a job that was told to stop: it has saved where it stopped, and goes on. Notes how long that took."""
        counts = self.counts[training.launcher]
        restarts, said = before
        job = training.job
        def is_over():
            about = self.cluster.jobs()[job]
            return int(about["Restarts"]) > restarts or about["JobState"] in ENDED

        if not wait_for(is_over, 150, 0.5):
            return self.fail(training, f"{cause}not queued again within 150 s: {self.cluster.jobs()[job]['JobState']}")
        about = self.cluster.jobs()[job]
        if int(about["Restarts"]) == restarts:
            if training.finished() and about["JobState"] == "COMPLETED":
                counts["ended before they were told"] += 1
                return None
            return self.fail(training, f"{cause}lost: {about['JobState']}, exit code {about['ExitCode']}, never queued again")
        training.stops += 1
        stopped = training.stopped()
        step, saved = training.latest()
        if stopped and step > stopped[-1]:
            # It is at its end by now, or stops once more: what it left before is still there.
            step, saved = training.earlier(stopped[-1])
        # An mpirun that is sent SIGTERM passes nothing on of what its processes say after that.
        unsaid = training.launcher == "mpirun" and not self.cluster.notice and saved > since
        if len(stopped) == said and not unsaid:
            # What is not training yet has nothing to save; its earlier checkpoints stay.
            if training.finished():
                counts["told at their end"] += 1
            elif training.unbegun:
                counts["told before they trained"] += 1
            else:
                self.fail(training, f"{cause}queued again, but it does not say that it stopped: work is lost")
            return None
        if (not unsaid and step != stopped[-1]) or not (training.out / f"checkpoints/step-{step:08}").is_dir():
            return self.fail(training, f"{cause}it stopped after step {stopped[-1]}, but the newest checkpoint is {step}")
        told = [when for when in self.cluster.signals(job, since) if when <= saved]
        if told:
            self.saves[training.launcher].append((saved - told[-1], training.name))
        counts[f"{cause}saved and queued again" if cause else "pre-empted: saved and queued again"] += 1
        return None

    def look(self, trainings):
        """What there is to compare with later: how often jobs have restarted and stopped."""
        jobs = self.cluster.jobs()
        return {t: (int(jobs[t.job]["Restarts"]), len(t.stopped())) for t in trainings if jobs[t.job]["JobState"] == "RUNNING"}

    def is_training(self, training, lines):
        return training.lines() > lines[training] or training.finished()

    def high(self):
        """A job that takes the node from all others, and soon gives it back."""
        script = "#!/bin/bash\nsleep 1\n"
        words = ["sbatch", "--parsable", "--partition=high", "--exclusive", "--time=5", f"--output={self.folder}/high.log"]
        return run(*words, input=script).strip()

    def waves(self, preemptions, jobs, seconds):
        """Pre-empts jobs together until there were so many pre-emptions, and lets all of them come to their end."""
        kinds = itertools.cycle([(r, l, t) for t in self.tasks for r in RECIPES for l in LAUNCHERS])
        steps = {recipe: self.steps(recipe, seconds) for recipe in RECIPES}
        say(f"steps: {steps}")
        active, done, wave = [], 0, 0
        while active or done < preemptions:
            while done < preemptions and len(active) < jobs:
                recipe, launcher, tasks = next(kinds)
                active.append(Training(self, recipe, launcher, tasks, steps[recipe]))
            states = self.cluster.jobs()
            for training in [t for t in active if states[t.job]["JobState"] in ENDED]:
                active.remove(training)
                if states[training.job]["JobState"] != "COMPLETED":
                    about = states[training.job]
                    self.fail(training, f"it ended as {about['JobState']}, exit code {about['ExitCode']}")
                else:
                    self.compare(training)
            if done >= preemptions:
                time.sleep(1)
                continue
            wave += 1
            early = wave % 4 == 0
            lines = {t: t.lines() for t in active}
            running = lambda: all(self.state(t) in ("RUNNING", *ENDED) for t in active)
            if not wait_for(running, 240):
                say("not all jobs run: " + run("squeue"))
            if not early and not wait_for(lambda: all(self.is_training(t, lines) for t in active), 120):
                say("not all jobs train")
            time.sleep(self.random.uniform(0.0, 1.5 if early else 4.0))
            before = self.look(active)
            for training in before:
                training.unbegun = not self.is_training(training, lines)
            since = time.time()
            high = self.high()
            wait_for(lambda: self.cluster.jobs()[high]["JobState"] in ENDED, 200, 0.5)
            took = time.time() - since
            for training, known in before.items():
                earlier = training.stops
                self.stop_is_right(training, known, since)
                done += training.stops - earlier
            say(f"wave {wave}{' (early)' if early else ''}: {len(before)} jobs, {done} pre-emptions; the node was free after {took:.0f} s")

    def state(self, training):
        return self.cluster.jobs()[training.job]["JobState"]

    def limits_and_cancels(self, seconds):
        """Jobs whose time ends, with and without SLURM's notice of it, and jobs that are cancelled."""
        few, many = self.tasks[0], self.tasks[-1]
        kinds = [*zip(RECIPES, ("srun", "srun"), (few, many)), *zip(RECIPES, ("mpirun", "mpirun"), (many, few))]
        cancelled = [Training(self, *kind, self.steps(kind[0], seconds)) for kind in kinds]
        self.cancel(cancelled)

        def limited(kind, until, *sbatch):
            """A job of two minutes, with more to do than it gets done until then with a processor for each process."""
            recipe, _, tasks = kind
            steps = self.steps(recipe, 1.2 * until * min(tasks, os.cpu_count()))
            training = Training(self, *kind, steps, minutes=2, sbatch=sbatch)
            training.unbegun = False
            return training

        # SLURM gives notice within 30 s of the beginning. A signal that nobody minds in its place leaves the clock, 60 s.
        noticed = [limited(kind, 30) for kind in kinds]
        quiet = [limited(kind, 60, f"--signal=B:{int(signal.SIGWINCH)}@1") for kind in kinds[1:3]]
        begun = time.time()
        # Jobs of two minutes: each has to stop once at least, and comes to its end after some turns.
        active = noticed + quiet
        known = {t: (0, 0) for t in active}
        finished = []
        while active and time.time() < begun + 1500:
            for training in list(active):
                about = self.cluster.jobs()[training.job]
                over = about["JobState"] in ENDED
                if int(about["Restarts"]) > known[training][0] or (over and not training.finished()):
                    cause = "time limit, clock alone: " if training in quiet else "time limit: "
                    self.stop_is_right(training, known[training], begun, cause)
                    known[training] = (int(about["Restarts"]), len(training.stopped()))
                if over:
                    active.remove(training)
                    if about["JobState"] == "COMPLETED" and training.finished():
                        if not training.stops:
                            self.fail(training, "it came to its end before its time limit")
                        finished.append(training)
                    elif training.stops == 0 or about["JobState"] != "COMPLETED":
                        self.fail(training, f"it ended as {about['JobState']}")
            time.sleep(0.5)
        for training in active:
            self.fail(training, "it did not come to its end")
            run("scancel", training.job, check=False)
        # Only now: an unbroken run takes its time, in which nobody would look at the jobs.
        for training in finished:
            self.compare(training)
        for training in cancelled:
            run(self.belamy, "train", "--resume", training.out, "--threads", 1, "--steps", training.steps)
            self.compare(training, count=False)

    def cancel(self, trainings):
        """Cancels each job as soon as it trains, whatever the others do, and looks at what it leaves."""
        lines = dict.fromkeys(trainings, 0)
        since, took = {}, {}

        def all_are_over():
            for training in trainings:
                if training not in since and self.is_training(training, lines):
                    since[training] = time.time()
                    run("scancel", training.job)
                elif training in since and training not in took and self.state(training) in ENDED:
                    took[training] = time.time() - since[training]
            return len(took) == len(trainings)

        wait_for(all_are_over, 240)
        for training in trainings:
            if training in took:
                self.cancel_is_right(training, since[training], took[training])
            else:
                self.fail(training, "cancelled: it has not ended" if training in since else "it never trained")
        if took:
            say(f"{len(since)} jobs were cancelled, the slowest ended {max(took.values()):.0f} s after")

    def cancel_is_right(self, training, since, took):
        """A cancelled job has saved, and is not queued again; it can be gone on with by hand."""
        about, stopped = self.cluster.jobs()[training.job], training.stopped()
        step, saved = training.latest()
        if about["JobState"] != "CANCELLED" or about["Restarts"] != "0":
            return self.fail(training, f"cancelled: its state is {about['JobState']} after {took:.0f} s")
        if step == 0 or (stopped and step != stopped[-1]):
            return self.fail(training, f"cancelled: it says {stopped}, and the newest checkpoint is {step}: work is lost")
        self.saves[training.launcher].append((saved - since, f"{training.name}, cancelled"))
        self.counts[training.launcher]["cancelled: saved, not queued again"] += 1
        return None

    def table(self):
        lines = [f"{self.cluster.version}, " + ("" if self.cluster.notice else "without ") + "preempt_send_user_signal", ""]
        lines += ["| | srun | mpirun |", "|---|---|---|"]
        for row in ROWS:
            lines.append(f"| {row} | " + " | ".join(str(self.counts[launcher][row]) for launcher in LAUNCHERS) + " |")
        for what, of in (("median", lambda times: sorted(times)[len(times) // 2]), ("slowest", max)):
            cells = []
            for launcher in LAUNCHERS:
                times = [seconds for seconds, _ in self.saves[launcher]]
                cells.append(f"{of(times):.2f}" if times else "–")
            lines.append(f"| seconds from the signal to the saved checkpoint, {what} | " + " | ".join(cells) + " |")
        for launcher in LAUNCHERS:
            slowest = sorted(self.saves[launcher], reverse=True)[:3]
            lines.append(f"\nslowest by {launcher}: " + ", ".join(f"{seconds:.2f} s ({name})" for seconds, name in slowest))
        return "\n".join(lines)


ENDED = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "PREEMPTED", "NODE_FAIL")
ROWS = (
    "pre-empted: saved and queued again",
    "told before they trained",
    "told at their end",
    "ended before they were told",
    "time limit: saved and queued again",
    "time limit, clock alone: saved and queued again",
    "cancelled: saved, not queued again",
    "runs that ended, equal to the unbroken run",
)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--belamy", required=True, help="the program, built with --features mpi")
    parser.add_argument("--folder", required=True, help="where runs and logs go")
    parser.add_argument("--preemptions", type=int, default=100)
    parser.add_argument("--tasks", type=int, nargs="+", default=[1, 2, 3, 4], help="processes of a job, by turns")
    parser.add_argument("--jobs", type=int, default=12, help="how many train at once")
    parser.add_argument("--seconds", type=float, default=6, help="how long a run keeps a processor busy")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--skip", choices=("waves", "limits"), help="leave out a part")
    arguments = parser.parse_args()
    test = Test(arguments)
    begun = time.monotonic()
    try:
        if arguments.skip != "limits":
            test.limits_and_cancels(4 * arguments.seconds)
        if arguments.skip != "waves":
            test.waves(arguments.preemptions, arguments.jobs, arguments.seconds)
    except KeyboardInterrupt:
        say("interrupted")
    except Exception:  # What was found until then is worth a table.
        test.failures.append(traceback.format_exc())
    print(f"\n{test.table()}\n\n{time.monotonic() - begun:.0f} s in all; {len(test.failures)} failures")
    for failure in test.failures:
        print(f"\n{failure}")
    return 1 if test.failures else 0


if __name__ == "__main__":
    sys.exit(main())
