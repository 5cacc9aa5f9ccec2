"""Services that run side by side and take turns in short blocks of jobs, so that a change of the machine meets all."""

import json
import statistics

from confluent_kafka import Consumer, Producer, TopicPartition

from chaos_suite.processes import descendants

from . import machine
from .stage import PARTITIONS, await_true, end


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
                "replacements": self.subject.get("health")["replacements"],
                "highest_worker_private_bytes": self._answers.highest_private_bytes}

    def close(self):
        self._answers.close()
        for process in self._processes:
            end(process)


def tree_seconds(processes):
    """Processor time of processes and all that they have ever started, also of those that have ended."""
    return sum(machine.cpu_seconds(x, also_ended=True) for p in processes for x in [p.pid, *descendants(p.pid)])


def ratio(rounds, of, to):
    """Medians over the rounds. Both are 1 where `of` costs no more than `to`, and smaller where it costs more."""
    median = lambda f: round(statistics.median(map(f, rounds)), 4)
    return {"jobs_per_second": median(lambda x: x[of]["jobs_per_second"] / x[to]["jobs_per_second"]),
            "cpu_per_job": median(lambda x: x[to]["cpu_ms_per_job"] / x[of]["cpu_ms_per_job"])}
