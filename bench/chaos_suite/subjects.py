"""Consumers with typical faults, and a correct one. They test the judge.

usage: python -m chaos_suite.subjects VARIANT BROKERS GROUP JOBS_TOPIC RESULTS_TOPIC ASSIGNOR

`correct`             stores an offset when all results up to it are acknowledged
`commit_on_fetch`     stores an offset when its record is fetched, as clients do by default
`no_delivery_report`  stores an offset when its result is given to the producer, whether or not it arrives
`no_epoch_check`      like `correct`, but counts a result that was dropped because its partition was revoked as done for
                      the new owner of the partition, which after a quick rebalance is the same consumer
"""

import json
import random
import signal
import sys
import threading
import time
from collections import deque
from queue import Empty, Queue

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

VARIANTS = ("correct", "commit_on_fetch", "no_delivery_report", "no_epoch_check")
THREADS = 12


class Assignment:
    """The records of a partition that were fetched since its assignment, and which of them are done."""

    def __init__(self, epoch):
        self.epoch = epoch
        self.open = deque()  # offsets, in order
        self.done = set()

    def finish(self, offset):
        """Marks a record as done. Returns the new offset to commit, or None if it has not moved."""
        self.done.add(offset)
        moved = None
        while self.open and self.open[0] in self.done:
            moved = self.open.popleft() + 1
            self.done.discard(moved - 1)
        return moved


class Subject:
    def __init__(self, variant, brokers, group, jobs, results, assignor):
        self.variant, self.jobs, self.results = variant, jobs, results
        common = {"bootstrap.servers": brokers, "log_level": 2, "socket.timeout.ms": 10000}
        self.consumer = Consumer({
            **common, "group.id": group, "auto.offset.reset": "earliest", "session.timeout.ms": 6000,
            "heartbeat.interval.ms": 1000, "max.poll.interval.ms": 20000, "partition.assignment.strategy": assignor,
            "enable.auto.commit": True, "auto.commit.interval.ms": 500,
            "enable.auto.offset.store": variant == "commit_on_fetch",
        })
        self.producer = Producer({
            **common, "enable.idempotence": True, "linger.ms": 5,
            # A client that ignores reports does not notice records that a timeout drops.
            "message.timeout.ms": 3000 if variant == "no_delivery_report" else 300000,
        })
        self.work, self.finished = Queue(200), Queue()
        self.assignments, self.epoch = {}, 0
        self.stopping = False
        for _ in range(THREADS):
            threading.Thread(target=self._work, daemon=True).start()

    def _work(self):
        rng = random.Random()
        while True:
            message, epoch = self.work.get()
            mine = self.assignments.get(message.partition())
            revoked = mine is None or mine.epoch != epoch
            if not revoked:
                time.sleep(rng.uniform(0.05, 0.5))
            # Revoked records are dropped: the partition's new owner does them.
            self.finished.put((message, epoch, revoked))

    def _finish(self, message, epoch, revoked):
        partition, offset = message.partition(), message.offset()
        key = message.key().decode()
        result = {"job_id": key, "label": "", "source": {"topic": self.jobs, "partition": partition, "offset": offset}}

        def reported(error, _):
            if error:
                self._produce(key, result, reported)
            else:
                self._done(partition, epoch, offset)
        if revoked:
            self._done(partition, epoch, offset)
        elif self.variant == "no_delivery_report":
            self._produce(key, result, None)
            self._done(partition, epoch, offset)
        else:
            self._produce(key, result, reported)

    def _produce(self, key, result, reported):
        while True:
            try:
                self.producer.produce(self.results, json.dumps(result), key, on_delivery=reported)
                return
            except BufferError:
                self.producer.poll(0.1)

    def _done(self, partition, epoch, offset):
        mine = self.assignments.get(partition)
        if mine is None or (mine.epoch != epoch and self.variant != "no_epoch_check"):
            return
        upto = mine.finish(offset)
        if upto is not None and self.variant != "commit_on_fetch":
            try:
                self.consumer.store_offsets(offsets=[TopicPartition(self.jobs, partition, upto)])
            except KafkaException:
                pass  # revoked meanwhile

    def _assigned(self, _, partitions):
        for x in partitions:
            self.epoch += 1
            before = self.assignments.get(x.partition)
            mine = self.assignments[x.partition] = Assignment(self.epoch)
            if before:
                mine.done = before.done  # of another epoch, which nobody checks

    def _revoked(self, _, partitions):
        for x in partitions:
            if self.variant == "no_epoch_check":
                self.assignments[x.partition].epoch = 0
            else:
                self.assignments.pop(x.partition, None)

    def run(self):
        self.consumer.subscribe([self.jobs], on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._revoked)
        while not self.stopping:
            if self.work.qsize() < 150:
                message = self.consumer.poll(0.02)
                if message is not None and not message.error():
                    mine = self.assignments[message.partition()]
                    mine.open.append(message.offset())
                    self.work.put((message, mine.epoch))
            else:
                time.sleep(0.01)
            self._serve()
        # Stops fetching, gives running jobs a moment, and leaves.
        deadline = time.monotonic() + 1
        while time.monotonic() < deadline:
            self._serve()
            time.sleep(0.01)
        self.producer.flush(5)
        self.consumer.close()

    def _serve(self):
        while True:
            try:
                self._finish(*self.finished.get_nowait())
            except Empty:
                break
        self.producer.poll(0)


def main():
    subject = Subject(*sys.argv[1:])

    def stop(*_):
        subject.stopping = True
    signal.signal(signal.SIGTERM, stop)
    subject.run()


if __name__ == "__main__":
    main()
