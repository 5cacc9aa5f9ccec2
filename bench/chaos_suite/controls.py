"""Tests the judge: consumers that are broken on purpose run under the same chaos, and the judge must detect them."""

import copy
import sys

from .load import RESULT
from .run import TOPICS, run_chaos
from .subjects import VARIANTS

# Faults for a consumer that has no workers and answers only digits.
KINDS = ["service_kill", "service_stop", "service_term", "storm", "storm_kill", "broker_kill", "broker_stop", "net_cut",
         "net_cut_one", "net_half_open"]
JOBS = {"digit": (1.0, RESULT, True)}


def run_subject(options, variant):
    """One run of chaos with a subject instead of the service: (report, missed, stage)."""
    options = copy.copy(options)
    options.only = options.only or KINDS

    def command(bootstrap, _):
        return [sys.executable, "-m", "chaos_suite.subjects", variant, bootstrap, "chaos", TOPICS["jobs"],
                TOPICS["results"], options.assignor]
    report, missed, stage = run_chaos(options, command, JOBS)
    return {"subject": variant, **report}, missed, stage


def run_controls(options, tries=4):
    """Runs each broken variant until it loses a job, with up to `tries` seeds, and the correct variant with each of
    these seeds.

    Returns (the JSON object to print, what went wrong, None).
    """
    outcome, wrong, last, first = {}, [], 0, options.seed
    for variant in [x for x in VARIANTS if x != "correct"] + ["correct"]:
        seeds = []
        for number in range(tries if variant != "correct" else last):
            options.seed = first + number
            report, _, stage = run_subject(options, variant)
            stage.forget()
            seeds.append({x: report[x] for x in ("seed", "submitted", "results", "lost", "duplicates")})
            if variant != "correct" and report["lost"]:
                break
        last = max(last, len(seeds))
        lost = sum(x["lost"] for x in seeds)
        outcome[variant] = {"lost": lost, "runs": seeds}
        if (lost > 0) == (variant == "correct"):
            wrong.append(f"{variant} lost {lost} jobs in {len(seeds)} runs")
    return {"controls": outcome, "missed": wrong}, wrong, None
