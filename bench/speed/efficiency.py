"""How much of what the machine can do a service does: jobs a second times the processor time that a bare loop of the same
precision takes for a job, divided by the processor time that the broker leaves (docs/benchmarks.md). Beside it, plain
Python services on the same topic: one process with a thread for each processor, and a process for each processor with
one thread."""

import json
import os
import statistics

from . import command, images, models
from .contestant import Contestant, ratio
from .stage import Stage, throughput
from .subjects import PythonLoop, Ziyu

# What can be switched off of the supervision. The judge itself has no switch, and takes microseconds.
UNWATCHED = {"healing/enabled": False, "healing/explain": False, "memory/probe_interval_ms": 3_600_000}


def main():
    options = command.parser("efficiency", __doc__)
    options.add_argument("--model", action="append", choices=["resnet18", "vit_b_16"], help="default: resnet18")
    options.add_argument("--seconds", type=float, default=20, help="about how long one run takes (default %(default)s)")
    options.add_argument("--supervision", action="store_true", help="only what supervision costs")
    options = options.parse_args()
    report, before = command.begin("efficiency", options)
    measured = supervision if options.supervision else measure
    report["models"] = {x: measured(x, options) for x in options.model or ["resnet18"]}
    command.print_report(report, before)


def supervision(name, options):
    """Two services take turns, each second time the other one first."""
    model, values, block = models.folder(name), images.photographs(), 200
    services, rounds = {}, []
    with Stage() as stage:
        try:
            for kind, settings in (("on", {}), ("off", UNWATCHED)):
                services[kind] = Contestant(stage, Ziyu(model, **settings), values)
                services[kind].run(60)  # warm-up
            for i in range(options.repetitions):
                order = ("on", "off") if i % 2 == 0 else ("off", "on")
                rounds.append({x: services[x].run(block) for x in order})
                command.say(f"{i + 1}/{options.repetitions} supervision: {json.dumps(rounds[-1])}")
            accounts = {x: y.account() for x, y in services.items()}
        finally:
            for each in services.values():
                each.close()
    made = {x: {**command.summary([y[x] for y in rounds], "jobs_per_second", "cpu_ms_per_job"), **accounts[x]}
            for x in accounts}
    return {**made, "block": block, "unwatched": UNWATCHED, "on_of_off": ratio(rounds, "on", "off")}


def measure(name, options):
    model, processors = models.folder(name), len(os.sched_getaffinity(0))
    photographs = command.Photographs()
    with Stage() as stage, photographs as folder:
        pace = command.bare_loop(model, folder, processors, seconds=5)["images_per_second"]
        count = max(40, round(pace * options.seconds))
        topic = stage.new_name("jobs")
        stage.create(topic)
        stage.fill(topic, photographs.values, count)
        limit = 20 * options.seconds + 120
        # Also warms the broker's JVM.
        throughput(stage, Ziyu(model), topic, count, limit)
        run = lambda subject: lambda: throughput(stage, subject, topic, count, limit)
        bare = lambda batch, precision: lambda: command.bare_loop(model, folder, processors, batch, precision=precision)
        found = command.in_turn(
            options.repetitions,
            bare_fp32_1=bare(1, "fp32"), bare_fp32_16=bare(16, "fp32"), bare_bf16_16=bare(16, "bf16"),
            ziyu_fp32=run(Ziyu(model)),
            ziyu_bf16=run(Ziyu(model, **{"model/precision": "bf16"})),
            python_one_process=run(PythonLoop(model, 1, processors)),
            python_processes=run(PythonLoop(model, processors, 1)))
    made = {"images": count}
    for subject, results in found.items():
        if subject.startswith("bare_"):
            made[subject] = command.summary(results, "images_per_second", "cpu_ms_per_image")
            made[subject]["most_together"] = results[-1]["most_together"]
        else:
            made[subject] = {**command.summary(results, "jobs_per_second"),
                             "cpu_ms_per_second": command.cpu_summary(results)}
    best = max(made[x]["jobs_per_second"] for x in ("python_one_process", "python_processes"))
    for subject, same in (("ziyu_fp32", "bare_fp32_16"), ("ziyu_bf16", "bare_bf16_16"),
                          ("python_one_process", "bare_fp32_1"), ("python_processes", "bare_fp32_1")):
        its, bare = made[subject], made[same]
        its["bare_loop"] = same
        its["of_bare_loop"] = round(its["jobs_per_second"] / bare["images_per_second"], 3)
        its["efficiency"] = round(statistics.median(
            x["jobs_per_second"] * bare["cpu_ms_per_image"] / (processors * 1000 - x["cpu_ms_per_second"]["broker"])
            for x in found[subject]), 3)
        its["of_best_python"] = round(its["jobs_per_second"] / best, 3)
    return made


if __name__ == "__main__":
    main()
