"""How long a job takes from its submission to its result, as a client sees both: lone jobs, one after the other, and
jobs that come at random at a share of what the service can do. Beside it a Python loop."""

import os

from . import command, images, models, open_loop
from .client import quantile, ready
from .control_plane import NoOpLoop
from .stage import Stage, end
from .subjects import PythonLoop, Ziyu


def lone(stage, subject, values, count):
    """Milliseconds of `count` lone jobs, after some to get warm."""
    processes, client = ready(stage, subject)
    try:
        took = client.lone(values, count + 20, processes)[20:]
    finally:
        client.close()
        for process in processes:
            end(process)
    return {"p50_ms": quantile(took, 0.5), "p99_ms": quantile(took, 0.99)}


def lone_jobs(name, options):
    model, processors = models.folder(name), len(os.sched_getaffinity(0))
    values = [images.small()] if name == "noop" else images.photographs()
    loop = NoOpLoop if name == "noop" else PythonLoop
    measure = {}
    with Stage() as stage:
        for linger_ms in (5, 0):
            ziyu = Ziyu(model, **{**command.settings_of(options), "kafka/producer/linger.ms": linger_ms})
            for kind, subject in (("ziyu", ziyu), ("python", loop(model, 1, processors, linger_ms))):
                measure[f"{kind}_linger_{linger_ms}"] = (
                    lambda subject=subject: lone(stage, subject, values, options.jobs))
        found = command.in_turn(options.repetitions, **measure)
    made = {x: command.summary(y, "p50_ms", "p99_ms") for x, y in found.items()}
    for linger_ms in (5, 0):
        for key in ("p50_ms", "p99_ms"):
            mine, theirs = made[f"ziyu_linger_{linger_ms}"], made[f"python_linger_{linger_ms}"]
            mine[f"{key[:3]}_of_python"] = round(mine[key] / theirs[key], 3)
    return made


def main():
    options = command.parser("latency", __doc__)
    options.add_argument("--jobs", type=int, default=300,
                         help="lone ones of each repetition; 0: none (default %(default)s)")
    options.add_argument("--load-seconds", type=float, default=30,
                         help="how long jobs come in each repetition; 0: not at all (default %(default)s)")
    options.add_argument("--share", type=float, default=0.8, help="of a service's best pace (default %(default)s)")
    options.add_argument("--seed", type=int, default=1, help="of the times at which jobs come (default %(default)s)")
    options.add_argument("--model", action="append", choices=["noop", "resnet18", "vit_b_16"],
                         help="default: noop (lone jobs only) and resnet18")
    command.add_settings(options)
    options = options.parse_args()
    report, before = command.begin("latency", options)
    report["models"] = {}
    for name in options.model or ["noop", "resnet18"]:
        report["models"][name] = lone_jobs(name, options) if options.jobs else {}
        if options.load_seconds and name != "noop":
            report["models"][name]["load"] = open_loop.measure(models.folder(name), command.Photographs(), options)
    command.print_report(report, before)


if __name__ == "__main__":
    main()
