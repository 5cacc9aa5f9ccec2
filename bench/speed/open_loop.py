"""Latency at a share of what a service can do. Jobs come at random (Poisson), whether or not earlier ones are answered,
and each job's time counts from the moment when it should have been sent, so that no delay of the sender or of the
service hides another."""

import itertools
import os
import random
import statistics
import time

from . import command
from .client import Client, quantile, ready
from .stage import PARTITIONS, Stage, end, throughput
from .subjects import PythonLoop, Ziyu


def schedule(rate, count, seed):
    """Seconds from the begin at which `count` jobs come, `rate` a second on average."""
    chance = random.Random(seed)
    return list(itertools.accumulate(chance.expovariate(rate) for _ in range(count)))


def run(client: Client, values, times, limit_s, alive=()):
    """Submits a job at each of the times. Returns (milliseconds of each job from its time on, milliseconds that each
    was submitted late)."""
    begin = time.monotonic() + 0.2
    late, took = [], {}
    while len(took) < len(times):
        now = time.monotonic() - begin
        while len(late) < len(times) and times[len(late)] <= now:
            number = len(late)
            client.submit(values[number % len(values)], number)
            late.append(1000 * (time.monotonic() - begin - times[number]))
        wait_s = min(max(times[len(late)] - now, 0), 0.1) if len(late) < len(times) else 0.1
        for partition, offset in client.answered(wait_s):
            number = offset * PARTITIONS + partition
            if offset >= 0:  # else an answer that comes twice, of a job before
                took.setdefault(number, 1000 * (time.monotonic() - begin - times[number]))
        if now > limit_s or any(x.poll() is not None for x in alive):
            raise RuntimeError(f"{len(times) - len(took)} of {len(times)} jobs were not answered within {limit_s} s")
    return [took[i] for i in range(len(times))], late


def under_load(stage, subject, values, rate, seconds, seed):
    """Without the first fifth, in which workers are young."""
    times = schedule(rate, max(50, round(rate * seconds * 1.25)), seed)
    processes, client = ready(stage, subject)
    try:
        client.lone(values, 40, processes)
        took, late = run(client, values, times, 3 * times[-1] + 60, processes)
    finally:
        client.close()
        for process in processes:
            end(process)
    return {"ms": took[len(took) // 5:], "late_ms": late, "jobs_per_second": rate}


def measure(model, photographs, options):
    """For `ziyu` and `python` at the share of their own pace, and for `ziyu_at_pythons_pace`."""
    processors = len(os.sched_getaffinity(0))
    settings = command.settings_of(options)
    ziyu, python = Ziyu(model, **settings), PythonLoop(model, processors, 1, linger_ms=0)
    precision = settings.get("model/precision", "fp32")
    rounds = []
    with Stage() as stage, photographs as folder:
        pace = command.bare_loop(model, folder, processors, seconds=5)["images_per_second"]
        count, topic = max(60, round(pace * 12)), stage.new_name("jobs")
        stage.create(topic)
        stage.fill(topic, photographs.values, count)
        throughput(stage, ziyu, topic, count, 600)  # also warms the broker's JVM
        for i in range(options.repetitions):
            of_eight = command.bare_loop(model, folder, processors, 8, precision=precision)
            best = {name: throughput(stage, x, topic, count, 600)["jobs_per_second"]
                    for name, x in (("ziyu", ziyu), ("python", python))}
            load = lambda subject, rate: under_load(stage, subject, photographs.values, rate * options.share,
                                                    options.load_seconds, options.seed + i)
            rounds.append({"s8_ms": 8000 * processors / of_eight["images_per_second"], "best": best,
                           "ziyu": load(ziyu, best["ziyu"]), "python": load(python, best["python"]),
                           "ziyu_at_pythons_pace": load(ziyu, best["python"])})
            command.say(f"{i + 1}/{options.repetitions} load: {shown(rounds[-1:])}")
    return {"share": options.share, "seed": options.seed, **shown(rounds)}


def shown(rounds):
    s8 = statistics.median(x["s8_ms"] for x in rounds)
    made = {"s8_ms": round(s8, 1)}
    for name in ("ziyu", "python", "ziyu_at_pythons_pace"):
        all_ms = [y for x in rounds for y in x[name]["ms"]]
        made[name] = {
            "jobs_per_second": round(statistics.median(x[name]["jobs_per_second"] for x in rounds), 2),
            "p50_ms": quantile(all_ms, 0.5), "p99_ms": quantile(all_ms, 0.99), "samples": len(all_ms),
            "p99_ms_all": [quantile(x[name]["ms"], 0.99) for x in rounds],
            "p99_of_s8": round(statistics.median(quantile(x[name]["ms"], 0.99) / x["s8_ms"] for x in rounds), 3),
            "sent_late_p99_ms": quantile([y for x in rounds for y in x[name]["late_ms"]], 0.99)}
    made["pythons_load_at_ziyus_pace"] = round(statistics.median(
        x["ziyu"]["jobs_per_second"] / x["best"]["python"] for x in rounds), 3)
    for key in ("p50", "p99"):
        made[f"{key}_of_python_at_its_pace"] = round(
            made["ziyu_at_pythons_pace"][f"{key}_ms"] / made["python"][f"{key}_ms"], 3)
    return made
