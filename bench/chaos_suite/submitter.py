"""Produces the jobs and remembers where each was acknowledged."""

import time

from confluent_kafka import Producer

from .checker import Submitted


class Submitter:
    def __init__(self, bootstrap, topic, load):
        self.load, self.topic = load, topic
        self.submitted, self.failed = [], []
        self.pending = 0
        self.waiting = None  # a job that found the queue full
        self.started = time.monotonic()
        self.producer = Producer({
            "bootstrap.servers": bootstrap, "log_level": 2, "enable.idempotence": True, "acks": "all", "linger.ms": 2,
            "message.max.bytes": 16 << 20, "message.timeout.ms": 300_000, "queue.buffering.max.kbytes": 65536,
            "socket.timeout.ms": 5000, "reconnect.backoff.max.ms": 500, "topic.metadata.refresh.interval.ms": 2000,
        })

    def pump(self, limit=50):
        """Submits the jobs that are due, as far as the queue has room, and handles acknowledgements."""
        due = self.load.pace(time.monotonic() - self.started) - self.load.count
        for _ in range(min(max(due, 1 if self.waiting else 0), limit)):
            self.waiting = self.waiting or self.load.next()
            if not self.submit(self.waiting):
                break
            self.waiting = None
        self.producer.poll(0)

    def submit(self, job):
        """Submits one job. False if the queue is full."""
        def reported(error, message):
            self.pending -= 1
            if error:
                self.failed.append(f"{job.job_id}: {error}")
            else:
                self.submitted.append(Submitted(job.job_id, job.kind, job.key, message.partition(), message.offset(),
                                                time.time(), job.expected, job.image, job.digest, job.prompt))
        try:
            self.producer.produce(self.topic, job.value, job.key, headers=list(job.headers), on_delivery=reported)
        except BufferError:
            return False
        self.pending += 1
        return True

    def submit_patiently(self, job):
        """Submits one job and waits for room in the queue if necessary."""
        while not self.submit(job):
            self.producer.poll(0.05)
        self.producer.poll(0)

    def finish(self, limit_s=60):
        """Waits for all acknowledgements. Returns how many are missing."""
        return self.producer.flush(limit_s)
