"""Finds when a reader with isolation.level=read_committed could see a record. Clients are not told that time: a record
carries the time of its append. The brokers' own logs have the end of each transaction, with its time."""

import struct
from collections import deque
from dataclasses import dataclass

# Record batches, version 2: base offset, length of what follows, leader epoch, version, checksum, attributes, last
# offset's difference, first and last timestamp in ms, producer id, its epoch, first sequence, number of records.
HEADER = struct.Struct(">qiibIhiqqqhii")
LENGTH_BEGINS_AT = 12
APPEND_TIME, TRANSACTIONAL, CONTROL = 0x08, 0x10, 0x20


@dataclass(frozen=True)
class Batch:
    first: int         # offsets
    last: int
    time_s: float      # when the leader appended it, seconds since 1970
    producer: int
    transactional: bool = False
    ends: bool = False  # it ends the producer's transaction, as committed or aborted


def read_log(folder):
    """All complete batches of a partition's log, in the order of their offsets. ValueError: not stamped by the
    broker."""
    for path in sorted(folder.glob("*.log")):
        with open(path, "rb") as file:
            while len(raw := file.read(HEADER.size)) == HEADER.size:
                first, length, _, _, _, attributes, last, _, time_ms, producer, *_ = HEADER.unpack(raw)
                if not attributes & APPEND_TIME:
                    raise ValueError(f"{path}: offset {first} is not stamped with the time of appending")
                yield Batch(first, first + last, time_ms / 1000, producer, bool(attributes & TRANSACTIONAL),
                            bool(attributes & CONTROL))
                file.seek(LENGTH_BEGINS_AT + length - HEADER.size, 1)


def readable_from(batches):
    """{offset: seconds since 1970}: when the last stable offset had passed each record, which is when its own
    transaction and all that began before it had ended. Records of transactions that have not ended have no entry."""
    open_from, waiting, found = {}, deque(), {}
    for batch in batches:
        if batch.ends:
            open_from.pop(batch.producer, None)
        else:
            if batch.transactional:
                open_from.setdefault(batch.producer, batch.first)
            waiting.append(batch)
        stable = min(open_from.values(), default=batch.last + 1)
        while waiting and waiting[0].first < stable:
            done = waiting.popleft()
            found.update((x, max(done.time_s, batch.time_s)) for x in range(done.first, done.last + 1))
    return found
