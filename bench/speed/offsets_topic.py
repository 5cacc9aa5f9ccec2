"""What a group keeps at its broker: the records of the topic __consumer_offsets (one partition on bench's broker)."""

import struct

from confluent_kafka import Consumer, TopicPartition

TOPIC = "__consumer_offsets"


class OffsetsTopic:
    """Reads on from where it stopped."""

    def __init__(self, brokers):
        self._reader = Consumer({"bootstrap.servers": brokers, "group.id": "offsets-topic",
                                 "enable.auto.commit": False})
        self._reader.assign([TopicPartition(TOPIC, 0, 0)])

    def close(self):
        self._reader.close()

    def records(self):
        """(append time in s, key, value) of all records since the last call. A value is None for what was deleted."""
        end = self._reader.get_watermark_offsets(TopicPartition(TOPIC, 0), 10, cached=False)[1]
        found = []
        while True:
            records = [x for x in self._reader.consume(10_000, 0.5) if not x.error()]
            found += [(x.timestamp()[1] / 1000, x.key(), x.value()) for x in records]
            if not records or records[-1].offset() >= end - 1:
                return found


def text_at(data, at):
    """(text, position behind it): 16 bits of length, then UTF-8."""
    length = struct.unpack_from(">h", data, at)[0]
    return data[at + 2:at + 2 + length].decode(), at + 2 + length


def metadata_bytes(value):
    """Length of a commit's metadata: behind a version, an offset and a leader's epoch. From version 4 on the length is
    a varint and one too many."""
    at, version = 2 + 8 + 4, struct.unpack_from(">h", value)[0]
    if version < 4:
        return struct.unpack_from(">h", value, at)[0]
    length, shift = 0, 0
    while True:
        length |= (value[at] & 0x7f) << shift
        if value[at] < 0x80:
            return length - 1
        at, shift = at + 1, shift + 7


def summary(records, group, since_s, until_s):
    """Of one group: its commits of a time (seconds of the broker), and its record of members at the end of it.

    Keys begin with a version: 0 and 1 are commits (group, topic, partition), 2 are members (group). Ziyu keeps its map
    in the metadata of a commit."""
    commits, group_bytes, metadata = [], 0, [0]
    for at_s, key, value in records:
        version = struct.unpack_from(">h", key)[0]
        if value is None or version > 2 or text_at(key, 2)[0] != group:
            continue
        if version == 2 and at_s <= until_s:
            group_bytes = len(key) + len(value)
        elif version < 2 and since_s <= at_s <= until_s:
            commits.append(len(key) + len(value))
            metadata.append(metadata_bytes(value))
    seconds = max(until_s - since_s, 1e-3)
    return {"commit_records_per_second": round(len(commits) / seconds, 1),
            "commit_bytes_per_second": round(sum(commits) / seconds),
            "commit_metadata_bytes_max": max(metadata), "group_record_bytes": group_bytes}
