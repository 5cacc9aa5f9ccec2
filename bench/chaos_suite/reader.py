"""Reads whole topics for the judge, with a client that is not Ziyu's."""

import hashlib
import json
import time

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from .checker import Answer


def patiently(function, limit_s=60):
    """Repeats the call until it returns without a KafkaException."""
    deadline = time.monotonic() + limit_s
    while True:
        try:
            return function()
        except KafkaException:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


class Tail:
    """Follows topics from their beginning."""

    def __init__(self, bootstrap, topics, isolation="read_uncommitted"):
        self.consumer = Consumer({
            "bootstrap.servers": bootstrap, "log_level": 2, "group.id": "chaos-judge", "enable.auto.commit": False,
            "auto.offset.reset": "earliest", "isolation.level": isolation, "enable.partition.eof": True,
            "fetch.message.max.bytes": 8 << 20, "topic.metadata.refresh.interval.ms": 2000,
            "socket.timeout.ms": 5000, "reconnect.backoff.max.ms": 500,
        })
        self.topics = topics
        self.partitions = []
        for topic in topics:
            self.partitions += patiently(lambda topic=topic: self._partitions_of(topic))
        # Where each partition's end was last met. Not the position, which control records of transactions do not move.
        self.end_met = {}
        self.consumer.assign(self.partitions)

    def _partitions_of(self, topic):
        """A broker that was told of a new topic later than others knows no partition of it: that is an error here."""
        about = self.consumer.list_topics(topic, timeout=5).topics[topic]
        if about.error or not about.partitions:
            raise KafkaException(about.error or KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART))
        return [TopicPartition(topic, x, 0) for x in about.partitions]

    def poll(self, limit_s=0.0):
        """Messages that have come, at most 500."""
        messages = []
        for x in self.consumer.consume(500, limit_s):
            if not x.error():
                messages.append(x)
            elif x.error().code() == KafkaError._PARTITION_EOF:
                self.end_met[(x.topic(), x.partition())] = x.offset()
        return messages

    def rest(self, limit_s=60):
        """All records up to the present end of the topics. Raises TimeoutError if that takes too long."""
        ends = {}
        for x in self.partitions:
            ends[(x.topic, x.partition)] = patiently(
                lambda x=x: self.consumer.get_watermark_offsets(x, timeout=5, cached=False))[1]
        deadline, messages = time.monotonic() + limit_s, []
        while left := {k: v for k, v in ends.items() if self.end_met.get(k, 0) < v}:
            if time.monotonic() > deadline:
                raise TimeoutError(f"could not read to {left} (was at {self.end_met})")
            messages += self.poll(0.2)
        return messages

    def close(self):
        self.consumer.close()


def to_answer(message, dead_topic, time_s=None):
    """What a record of the result topic or the dead-letter topic answers; None if it cannot be parsed. `time_s`: when a
    reader could read it, if that is later than its append."""
    at, time_s = (message.partition(), message.offset()), time_s or message.timestamp()[1] / 1000
    if message.topic() == dead_topic:
        headers = {name: (value or b"").decode(errors="replace") for name, value in message.headers() or []}
        try:
            source = (int(headers["__connect.errors.partition"]), int(headers["__connect.errors.offset"]))
        except (KeyError, ValueError):
            return None
        digest = "" if "ziyu-payload-omitted" in headers else hashlib.sha1(message.value() or b"").hexdigest()
        return Answer(True, "", source, at, time_s, "", digest, headers.get("__connect.errors.exception.class.name", ""))
    try:
        result = json.loads(message.value())
        source = (result["source"]["partition"], result["source"]["offset"])
        return Answer(False, result["job_id"], source, at, time_s, result.get("label", ""))
    except (ValueError, KeyError, TypeError):
        return None
