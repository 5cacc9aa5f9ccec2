"""What it costs that every worker leaks 6.7 MB per job for ever. Three services take turns in blocks of jobs: one whose
workers are healed, in a container of 1 GB; one with the same leak left alone, which starts anew before memory is short;
and one that does not leak. Each job is checked to be answered exactly once."""

import json
import os
import statistics
import sys
from pathlib import Path

from confluent_kafka import Consumer, Producer, TopicPartition

from chaos_suite.processes import Cgroup, descendants

from . import command, images, machine, models
from .stage import PARTITIONS, ROOT, Stage, await_true, end
from .subjects import Ziyu

IN_CGROUP = ROOT / "scripts/lib/in-cgroup"


class Answers:
    """The answers of one service, read from both topics as they come."""

    def __init__(self, stage, results, dead_letters):
        self._results = results
        self._reader = Consumer({"bootstrap.servers": stage.brokers, "group.id": "answers",
                                 "enable.auto.commit": False})
        self._reader.assign([TopicPartition(x, i, 0) for x in (results, dead_letters) for i in range(PARTITIONS)])
        self.times, self.sources = [], {}  # seconds of the broker; answers by (partition, offset)
        self.dead_letters = self.highest_private_bytes = 0

    def take(self, limit_s=0.05):
        for record in self._reader.consume(500, limit_s):
            if record.error():
                continue
            self.times.append(record.timestamp()[1] / 1000)
            if record.topic() == self._results:
                result = json.loads(record.value())
                source = (result["source"]["partition"], result["source"]["offset"])
                self.highest_private_bytes = max(self.highest_private_bytes, result["memory"]["private_bytes"])
            else:
                self.dead_letters += 1
                headers = dict(record.headers())
                source = tuple(int(headers[f"__connect.errors.{x}"]) for x in ("partition", "offset"))
            self.sources[source] = self.sources.get(source, 0) + 1

    def close(self):
        self._reader.close()


class Contestant:
    """A service that does a block of jobs when it is told to, and waits otherwise."""

    def __init__(self, stage, subject, values):
        self._stage, self.subject, self._values = stage, subject, values
        jobs, results = stage.new_name("jobs"), stage.new_name("results")
        stage.create(jobs, results)
        self._jobs, self.submitted = jobs, 0
        self._producer = Producer({"bootstrap.servers": stage.brokers, "linger.ms": 0, "enable.idempotence": True})
        self._processes = subject.start(stage, jobs, results)
        self._answers = Answers(stage, results, subject.dead_letters)

    def run(self, count):
        """Jobs a second, of the middle four fifths of a block, and processor time of a job."""
        answers, before = self._answers, tree_seconds(self._processes)
        answers.times.clear()
        for _ in range(count):
            i = self.submitted
            self._producer.produce(self._jobs, self._values[i % len(self._values)], partition=i % PARTITIONS)
            self.submitted += 1
        if self._producer.flush(60):
            raise RuntimeError("not all jobs could be written")
        await_true("a block of results", lambda: answers.take() or len(answers.times) >= count, 600, self._processes,
                   pause_s=0)
        times = sorted(answers.times)[count // 10:count - count // 10]
        return {"jobs_per_second": (len(times) - 1) / max(times[-1] - times[0], 1e-3),
                "cpu_ms_per_job": 1000 * (tree_seconds(self._processes) - before) / count}

    def account(self):
        """What became of all jobs so far. Reads once more, for answers that come twice."""
        self._answers.take(1)
        wanted = {(i % PARTITIONS, i // PARTITIONS) for i in range(self.submitted)}
        found = self._answers.sources
        return {"jobs": self.submitted, "lost": len(wanted - found.keys()),
                "repeated": sum(found.values()) - len(found), "dead_letters": self._answers.dead_letters,
                "replacements": self.subject.health()["replacements"],
                "highest_worker_private_bytes": self._answers.highest_private_bytes}

    def close(self):
        self._answers.close()
        for process in self._processes:
            end(process)


class LeftAlone:
    """A service that leaks and is not healed. It is replaced by a new one before it would have leaked too much."""

    def __init__(self, make, bytes_per_job, most_bytes, warm_up):
        self._make, self._most, self._warm_up = make, most_bytes // bytes_per_job, warm_up
        self._now, self._past = make(), []

    def run(self, count):
        if self._now.submitted > 0 and self._now.submitted + count > self._most:
            self.close()
            self._now = self._make()
            self._now.run(self._warm_up)
        return self._now.run(count)

    def account(self):
        accounts = [*self._past, self._now.account()]
        made = {x: sum(y[x] for y in accounts) for x in accounts[0]}
        made["highest_worker_private_bytes"] = max(x["highest_worker_private_bytes"] for x in accounts)
        return {**made, "services": len(accounts)}

    def close(self):
        self._past.append(self._now.account())
        self._now.close()


def tree_seconds(processes):
    """Processor time of processes and all that they have ever started, also of those that have ended."""
    return sum(machine.cpu_seconds(x, also_ended=True) for p in processes for x in [p.pid, *descendants(p.pid)])


def parse():
    options = command.parser("leak_cost", __doc__, repetitions=None)
    options.add_argument("--fault", default="native_malloc:6700000", help="of every job (default %(default)s)")
    options.add_argument("--model", default="resnet18", choices=["resnet18", "vit_b_16"])
    options.add_argument("--rounds", type=int, default=12, help="blocks of each service (default %(default)s)")
    options.add_argument("--block", type=int, default=200, help="jobs of a block (default %(default)s)")
    options.add_argument("--container-bytes", type=int, default=1_000_000_000,
                         help="memory of the service that is healed (default %(default)s)")
    options.add_argument("--alone-bytes", type=int, default=4_000_000_000,
                         help="memory that a service without healing may leak (default %(default)s)")
    command.add_settings(options)
    return options.parse_args()


def measure(options, stage, cgroup):
    settings = {"memory/worker_budget_bytes": "256MiB", "memory/worker_hard_limit_bytes": "640MiB",
                "faults/allowed": True, **command.settings_of(options)}
    slots = len(os.sched_getaffinity(0))
    leak = {**settings, "faults/slots": {str(i): options.fault for i in range(slots)}}
    model, values = models.folder(options.model), images.photographs()
    inside = [IN_CGROUP, cgroup.folder] if cgroup else []
    make = lambda *before, **x: Contestant(stage, Ziyu(model, before=before, **x), values)
    bytes_per_job = int(options.fault.rsplit(":", 1)[1])
    services = {}
    try:
        services["leak_free"] = make(**settings)
        services["left_alone"] = LeftAlone(
            lambda: make(**{**leak, "healing/enabled": False, "healing/explain": False}), bytes_per_job,
            options.alone_bytes, 40)
        services["healed"] = make(*inside, **leak)
        for each in services.values():
            each.run(40)  # warm-up
        rounds = []
        for i in range(options.rounds):
            names = list(services)
            order = names[i % 3:] + names[:i % 3]  # none is always the first
            rounds.append({name: services[name].run(options.block) for name in order})
            command.say(f"{i + 1}/{options.rounds} " + json.dumps(
                {x: {k: round(v, 1) for k, v in y.items()} for x, y in rounds[-1].items()}))
        accounts = {name: x.account() for name, x in services.items()}
        if cgroup:
            accounts["healed"].update(peak_bytes=cgroup.peak_bytes(), oom_kills=cgroup.oom_kills())
        return rounds, accounts
    finally:
        for each in services.values():
            each.close()


def ratio(rounds, of, to):
    """Medians over the rounds. Both are 1 where `of` costs no more than `to`, and smaller where it costs more."""
    median = lambda f: round(statistics.median(map(f, rounds)), 4)
    return {"jobs_per_second": median(lambda x: x[of]["jobs_per_second"] / x[to]["jobs_per_second"]),
            "cpu_per_job": median(lambda x: x[to]["cpu_ms_per_job"] / x[of]["cpu_ms_per_job"])}


def main():
    options = parse()
    report, before = command.begin("leak_cost", options)
    cgroup = Cgroup.make(f"ziyu-leak-cost-{os.getpid()}", options.container_bytes, IN_CGROUP)
    if not cgroup:
        command.say("No memory cgroup can be made here (that needs root): the healed service has no container.")
    try:
        with Stage() as stage:
            rounds, accounts = measure(options, stage, cgroup)
    finally:
        if cgroup:
            cgroup.remove()
    report.update(model=options.model, fault=options.fault, rounds=options.rounds, block=options.block,
                  container_bytes=options.container_bytes if cgroup else None)
    for name, account in accounts.items():
        report[name] = {**command.summary([x[name] for x in rounds], "jobs_per_second", "cpu_ms_per_job"), **account}
    report["healed_of_left_alone"] = ratio(rounds, "healed", "left_alone")
    report["healed_of_leak_free"] = ratio(rounds, "healed", "leak_free")
    report["left_alone_of_leak_free"] = ratio(rounds, "left_alone", "leak_free")
    report["lost"] = sum(x["lost"] for x in accounts.values())
    report["repeated"] = sum(x["repeated"] for x in accounts.values())
    command.print_report(report, before)
    wrong = report["lost"] or report["repeated"] or any(x["dead_letters"] for x in accounts.values())
    sys.exit(2 if wrong or accounts["healed"].get("oom_kills") else 0)


if __name__ == "__main__":
    main()
