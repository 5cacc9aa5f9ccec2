"""A client whose view latency is measured from."""

import json
import random
import time

from confluent_kafka import Consumer, Producer, TopicPartition

from .stage import PARTITIONS, await_true


class Client:
    """Submits jobs without delay, and sees each result as soon as the broker has it."""

    def __init__(self, stage, jobs, results):
        self._jobs = jobs
        self._producer = Producer({"bootstrap.servers": stage.brokers, "linger.ms": 0, "enable.idempotence": True})
        self._reader = Consumer({"bootstrap.servers": stage.brokers, "group.id": "client", "fetch.wait.max.ms": 500,
                                 "enable.auto.commit": False})
        self._reader.assign([TopicPartition(results, i, 0) for i in range(PARTITIONS)])
        self._first = [0] * PARTITIONS  # offset from which `submit` counts
        self._sent = [0] * PARTITIONS

    def submit(self, value, number):
        """To the partition that the number gives."""
        self._sent[number % PARTITIONS] += 1
        self._producer.produce(self._jobs, value, partition=number % PARTITIONS)
        self._producer.poll(0)

    def answered(self, limit_s):
        """(partition, how many `submit` sent there since `lone` before it) of the jobs whose results are there, as soon
        as there are any."""
        first = self._reader.poll(limit_s)
        for record in [first, *self._reader.consume(500, 0)] if first else []:
            if not record.error():
                source = json.loads(record.value())["source"]
                yield source["partition"], source["offset"] - self._first[source["partition"]]

    def lone(self, values, count, alive):
        """Milliseconds of each of `count` lone jobs."""
        took = []
        for i in range(count):
            began = time.monotonic()
            self.submit(values[i % len(values)], i)
            await_true("a result", lambda: any(True for _ in self.answered(1)), 120, alive, pause_s=0)
            took.append(1000 * (time.monotonic() - began))
            time.sleep(random.uniform(0, 0.01))
        self._first = list(self._sent)
        return took

    def close(self):
        self._producer.flush(10)
        self._reader.close()


def quantile(values, share):
    """Nearest rank."""
    values = sorted(values)
    return round(values[min(len(values) - 1, int(share * len(values)))], 2)


def ready(stage, subject):
    """(processes, client) of a subject that all of its processes serve."""
    jobs, results = stage.new_name("jobs"), stage.new_name("results")
    stage.create(jobs, results)
    processes = subject.start(stage, jobs, results)
    stage.await_members(subject.group, subject.processes, processes)
    return processes, Client(stage, jobs, results)
