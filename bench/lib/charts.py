#!/usr/bin/env python3
"""Draws the charts of docs/ from the JSON of a bench.

    charts.py judge|ladder FOLDER < JSON > JSON

The JSON must have the series (`--series`); they are left out of what is written to standard output. Needs
matplotlib; bench/judge and bench/ladder run it. The same JSON makes the same bytes.
"""

import json
import sys
from pathlib import Path

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams.update({
    "svg.fonttype": "none", "svg.hashsalt": "ziyu", "font.family": "sans-serif", "font.size": 10,
    "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": "#8c959f",
    "axes.titlelocation": "left", "grid.color": "#e3e6ea", "legend.frameon": False})

from matplotlib import pyplot  # noqa: E402

INK, FAINT, BLUE, RED, GREY = "#1b1f24", "#57606a", "#0550ae", "#b42318", "#8c959f"


def size(amount):
    for unit, name in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if amount >= unit:
            return f"{amount / unit:.3g} {name}"
    return f"{amount:.0f} B"


def save(figure, folder, name):
    figure.savefig(folder / name, format="svg", metadata={"Date": None, "Creator": None})
    pyplot.close(figure)


def judge_kinds(kinds, folder):
    """One panel for each kind of trace."""
    columns = 4
    rows = -(-len(kinds) // columns)
    figure, panels = pyplot.subplots(rows, columns, figsize=(12, 1.75 * rows), layout="constrained")
    figure.suptitle("What the judge makes of one trace of each kind\n"
                    "bytes above the lowest, by job: live (private where hoarded); dashed: the growth begins; "
                    "red: the verdict", x=0.01, ha="left", fontsize=11)
    for panel, x in zip(panels.flat, kinds):
        low = min(x["bytes"])
        values = [y - low for y in x["bytes"]]
        panel.plot(range(1, len(values) + 1), values, color=BLUE, linewidth=1)
        panel.set_title(f"{x['kind']}   +{size(max(values))}", fontsize=9, color=INK)
        panel.set(xticks=[], yticks=[])
        if 0 < x["onset"] <= len(values):
            panel.axvline(x["onset"], color=GREY, linestyle=(0, (3, 3)), linewidth=1)
        says = f"no verdict in {x['jobs']} jobs"
        if x["verdict_at"] > 0:
            panel.axvline(x["verdict_at"], color=RED, linewidth=1.4)
            after = f", after {x['verdict_at'] - x['onset'] + 1}" if x["onset"] > 0 else ""
            says = f"{x['verdict']} at job {x['verdict_at']}{after}"
        panel.set_xlabel(says, fontsize=9, loc="left", color=RED if x["verdict_at"] > 0 else FAINT)
    for panel in panels.flat[len(kinds):]:
        panel.set_axis_off()
    save(figure, folder, "judge_kinds.svg")


def judge_delay(delays, folder):
    colours = (BLUE, "#9a6700", "#8250df", "#1a7f37", "#bf3989", "#57606a")
    figure, axes = pyplot.subplots(figsize=(9, 4.4), layout="constrained")
    for i, x in enumerate(delays["rules"]):
        medians = [float("nan") if y is None else y for y in x["medians"]]
        if x["medians"].count(None) == len(medians):
            continue
        axes.plot(delays["bytes_per_job"], medians, marker="o", markersize=4, label=x["rule"],
                  color=colours[i % len(colours)], linewidth=2.4 if i == 0 else 1.4)
    jobs = [1, 4, 16, 64, 256, 1024]
    axes.set(xscale="log", yscale="log", xlabel="leaked per job", ylabel="jobs")
    axes.set_title("Jobs from a leak's onset until the worker is to be replaced\n"
                   "median; none where fewer than half are found at or after the onset", fontsize=11)
    axes.set_xticks(delays["bytes_per_job"], [size(x) for x in delays["bytes_per_job"]])
    axes.set_yticks(jobs, jobs)
    axes.minorticks_off()
    axes.grid(axis="y")
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    save(figure, folder, "judge_delay.svg")


def judge(measured, folder):
    series = measured.pop("series")
    judge_kinds(series["kinds"], folder)
    judge_delay(series["delays"], folder)


def ladder(measured, folder):
    colours = ("#c0392b", "#2980b9", "#27ae60", "#8e44ad")
    names = [x["rung"] for x in measured["rungs"]]
    series = [x.pop("series") for x in measured["rungs"]]
    for what, title, file in (("memory", "Private memory of one slot's worker", "ladder.svg"),
                              ("recovered", "Memory given back, in all", "recovered.svg")):
        figure, axes = pyplot.subplots(figsize=(9, 4), layout="constrained")
        for i, (name, x) in enumerate(zip(names, series)):
            if what == "recovered" and i == 0:
                continue  # without healing
            axes.plot(*zip(*x[what]), label=name, color=colours[i], linestyle="--" if i == 0 else "-")
        if what == "memory":
            axes.axhline(measured["budget_bytes"] / 2**20, color=RED, linestyle=":", label="budget")
            marks = [y for x in series for y in x["healed_at"]]
            axes.plot(*zip(*marks), "o", markersize=4, color=INK, markerfacecolor="white",
                      label="trimmed, replaced or killed")
        axes.set(xlabel="jobs", ylabel="MiB", ylim=(0, None))
        axes.set_title(title, fontsize=11)
        axes.grid(axis="y")
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.15), ncols=3)
        save(figure, folder, file)


def main():
    charts = {"judge": judge, "ladder": ladder}
    if len(sys.argv) != 3 or sys.argv[1] not in charts or not Path(sys.argv[2]).is_dir():
        sys.exit("usage: charts.py judge|ladder FOLDER < JSON")
    measured = json.load(sys.stdin)
    charts[sys.argv[1]](measured, Path(sys.argv[2]))
    json.dump(measured, sys.stdout, indent=2, ensure_ascii=False)
    print()


if __name__ == "__main__":
    main()
