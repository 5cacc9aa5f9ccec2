"""What the commands share: options, repetitions in turn, medians, one JSON object."""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from . import images, machine, stage


def parser(name, description, repetitions=3):
    """With `--repetitions`, unless there is no default for it."""
    made = argparse.ArgumentParser(prog=f"bench/{name}", description=description)
    if repetitions:
        made.add_argument("--repetitions", type=int, default=repetitions, help="of each, in turn (default %(default)s)")
    return made


def add_settings(options):
    options.add_argument("--set", action="append", default=[], metavar="GROUP/NAME=VALUE", help="a setting of Ziyu")


def settings_of(options):
    """Those of `--set`, as Ziyu of subjects.py takes them: JSON, and everything else is a text."""
    settings = {}
    for each in options.set:
        name, value = each.split("=", 1)
        try:
            settings[name] = json.loads(value)
        except json.JSONDecodeError:
            settings[name] = value
    return settings


def say(text):
    print(text, file=sys.stderr, flush=True)


def bare_loop(model, folder, processes, batch=1, seconds=8, precision="fp32"):
    """One run of bench/model/bare_loop.cpp."""
    program = stage.ROOT / "build/release/bin/bench_bare_loop"
    done = subprocess.run([program, "--model", model, "--images", folder, "--processes", str(processes), "--batch",
                           str(batch), "--precision", precision, "--seconds", str(seconds)],
                          check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def in_turn(repetitions, **measure):
    """Calls each function once in each repetition, so that a change of the machine meets all of them. Returns their
    results by name."""
    found = {name: [] for name in measure}
    for i in range(repetitions):
        for name, function in measure.items():
            found[name].append(function())
            say(f"{i + 1}/{repetitions} {name}: {json.dumps(found[name][-1])}")
    return found


def median(results, key):
    values = [x[key] for x in results]
    return round(statistics.median(values), 3)


def summary(results, *keys):
    """Medians over repetitions, and all values of the first key."""
    made = {key: median(results, key) for key in keys}
    made["all"] = [x[keys[0]] for x in results]
    return made


def cpu_summary(results):
    parts = results[0]["cpu_ms_per_second"]
    return {x: round(statistics.median(y["cpu_ms_per_second"][x] for y in results), 1) for x in parts}


class Photographs(tempfile.TemporaryDirectory):
    """The images of bench/speed/images.py as files, and in memory as `values`."""

    def __init__(self):
        super().__init__(prefix="ziyu-photographs-")
        self.values = images.photographs()
        for i, value in enumerate(self.values):
            Path(self.name, f"{i:03d}.jpg").write_bytes(value)


def print_report(report, before):
    busy, stolen, whole = (y - x for x, y in zip(before, machine.ticks()))
    report["machine"]["busy"] = round(busy / whole, 2)
    report["machine"]["stolen"] = round(stolen / whole, 3)
    json.dump(report, sys.stdout, indent=1)
    print()


def begin(name, options):
    os.environ.pop("ZIYU_CONFIG", None)
    report = {"benchmark": name, "machine": machine.describe()}
    if "repetitions" in options:
        report["repetitions"] = options.repetitions
    return report, machine.ticks()
