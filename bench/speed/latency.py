"""How long a job takes from its submission to its result, as a client sees both: lone jobs, one after the other, and jobs
that come at random at a share of what the service can do. Beside it a Python loop with as many threads."""

import os
import random
import time

from confluent_kafka import Consumer, Producer, TopicPartition

from . import command, images, models
from .control_plane import NoOpLoop
from .stage import PARTITIONS, Stage, await_true, end
from .subjects import PythonLoop, Ziyu


class Client:
    """Submits jobs without delay, and sees each result as soon as the broker has it."""

    def __init__(self, stage, jobs, results):
        self._jobs = jobs
        self._producer = Producer({"bootstrap.servers": stage.brokers, "linger.ms": 0})
        self._reader = Consumer({"bootstrap.servers": stage.brokers, "group.id": "client", "fetch.wait.max.ms": 500,
                                 "enable.auto.commit": False})
        self._reader.assign([TopicPartition(results, i, 0) for i in range(PARTITIONS)])
        self.seen = 0

    def submit(self, value, number):
        self._producer.produce(self._jobs, value, partition=number % PARTITIONS)
        self._producer.poll(0)

    def await_result(self, limit_s):
        """True when one more result was seen."""
        record = self._reader.poll(limit_s)
        if record is None or record.error():
            return False
        self.seen += 1
        return True

    def close(self):
        self._producer.flush(10)
        self._reader.close()


def quantile(values, share):
    """Nearest rank."""
    values = sorted(values)
    return round(values[min(len(values) - 1, int(share * len(values)))], 2)


def ready(stage, subject):
    jobs, results = stage.new_name("jobs"), stage.new_name("results")
    stage.create(jobs, results)
    processes = subject.start(stage, jobs, results)
    return processes, Client(stage, jobs, results)


def lone(stage, subject, values, count):
    """Milliseconds of `count` lone jobs, after some to get warm."""
    processes, client = ready(stage, subject)
    took = []
    try:
        for i in range(count + 20):
            began = time.monotonic()
            client.submit(values[i % len(values)], i)
            await_true("a result", lambda: client.await_result(1), 120, processes)
            took.append(1000 * (time.monotonic() - began))
            time.sleep(random.uniform(0, 0.01))
    finally:
        client.close()
        for process in processes:
            end(process)
    return {"p50_ms": quantile(took[20:], 0.5), "p99_ms": quantile(took[20:], 0.99)}


def main():
    options = command.parser("latency", __doc__)
    options.add_argument("--jobs", type=int, default=300, help="of each repetition (default %(default)s)")
    options.add_argument("--model", action="append", choices=["noop", "resnet18", "vit_b_16"],
                         help="default: noop and resnet18")
    options = options.parse_args()
    report, before = command.begin("latency", options)
    report["models"] = {}
    for name in options.model or ["noop", "resnet18"]:
        model, processors = models.folder(name), len(os.sched_getaffinity(0))
        values = [images.small()] if name == "noop" else images.photographs()
        loop = NoOpLoop if name == "noop" else PythonLoop
        measure = {}
        with Stage() as stage:
            for linger_ms in (5, 0):
                ziyu = Ziyu(model, **{"kafka/producer/linger.ms": linger_ms})
                for kind, subject in (("ziyu", ziyu), ("python", loop(model, 1, processors, linger_ms))):
                    measure[f"{kind}_linger_{linger_ms}"] = (
                        lambda subject=subject: lone(stage, subject, values, options.jobs))
            found = command.in_turn(options.repetitions, **measure)
        made = {x: command.summary(y, "p50_ms", "p99_ms") for x, y in found.items()}
        for linger_ms in (5, 0):
            for key in ("p50_ms", "p99_ms"):
                mine, theirs = made[f"ziyu_linger_{linger_ms}"], made[f"python_linger_{linger_ms}"]
                mine[f"{key[:3]}_of_python"] = round(mine[key] / theirs[key], 3)
        report["models"][name] = made
    command.print_report(report, before)


if __name__ == "__main__":
    main()
