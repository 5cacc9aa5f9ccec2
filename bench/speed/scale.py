"""How a service scales. Groups of instances, whose workers sleep for 50 ms in each job, read backlogs of small jobs:
jobs a second, the memory of a control process, what the group keeps at the broker, and how long an instance that joins or
leaves stops the others. Then what the broker pays for a gigabyte of images."""

import itertools
import json
import time
import urllib.error
from pathlib import Path

from confluent_kafka import Consumer, TopicPartition

from . import command, images, models
from .offsets_topic import OffsetsTopic, summary
from .stage import PARTITIONS, Stage, await_true, end, usage
from .subjects import Ziyu

SLEEP_MS, SLOTS = 50, 8
# Instances, partitions, backlog.
CELLS = [*((x, 64, 100_000) for x in (1, 2, 4, 8)), (1, 1, 100_000), (8, 1, 100_000), (8, 8, 100_000), (4, 64, 1_000),
         (1, 64, 1_000_000), (8, 64, 1_000_000)]
FULL = list(itertools.product((1, 2, 4, 8), (1, 8, 64), (1_000, 10_000, 100_000, 1_000_000)))


class Group:
    """Instances of one consumer group on a topic."""

    def __init__(self, stage, model, topic, partitions):
        self._stage, self._partitions, self._topic = stage, partitions, topic
        self.name, self.results, self.events = (stage.new_name(x) for x in ("group", "results", "events"))
        stage.create(self.results)
        stage.create(self.events, partitions=1)
        self._subject = lambda: Ziyu(model, **{
            "kafka/group.id": self.name, "topics/events": self.events, "workers/slots": SLOTS,
            "batching/max_jobs": 1, "faults/allowed": True,
            "faults/slots": {str(i): f"slow:{SLEEP_MS}" for i in range(SLOTS)}})
        self.members = []  # (subject, process)

    def start(self, count=1):
        new = [self._subject() for _ in range(count)]
        self.members += [(x, x.start(self._stage, self._topic, self.results)[0]) for x in new]

    def await_settled(self):
        """Until all members are ready, and have all partitions between them, each at least one where that is possible.
        Returns the time."""
        least = 1 if self._partitions >= len(self.members) else 0

        def settled():
            held = [assigned(x) for x, _ in self.members]
            return all(x is not None and x >= least for x in held) and sum(held) == self._partitions
        await_true("an assignment of all partitions", settled, 120, self.processes(), pause_s=0.2)
        return time.time()

    def processes(self):
        return [process for _, process in self.members]

    def end_last(self):
        end(self.members.pop()[1])

    def stop(self):
        for process in self.processes():
            process.terminate()
        for process in self.processes():
            end(process)


def assigned(subject):
    """Partitions that an instance owns; None while it is not ready."""
    try:
        if not subject.get("readyz")["ready"]:
            return None
        return sum(x["assigned"] for x in subject.get("ledger")["partitions"])
    except (urllib.error.URLError, OSError, json.JSONDecodeError, KeyError):
        return None


def private_bytes(pid):
    """As Ziyu counts them: pages that no other process has."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    return 1024 * sum(int(x.split()[1]) for x in text.splitlines() if x.startswith("Private_"))


def records_of(stage, topic, partitions):
    """All records of a topic that is still written."""
    reader = Consumer({"bootstrap.servers": stage.brokers, "group.id": "records", "enable.auto.commit": False})
    ends = {i: reader.get_watermark_offsets(TopicPartition(topic, i), 10, cached=False)[1] for i in range(partitions)}
    reader.assign([TopicPartition(topic, i, 0) for i in range(partitions)])
    found = []
    while any(ends.values()):
        for x in reader.consume(10_000, 1):
            if not x.error() and x.offset() < ends[x.partition()]:
                found.append(x)
                if x.offset() + 1 == ends[x.partition()]:
                    ends[x.partition()] = 0
    reader.close()
    return found


def longest_gap_ms(times, since_s, until_s):
    """Between two results; None where there are none left."""
    within = [x for x in times if since_s <= x <= until_s]
    if len(within) < 2 or times[-1] < until_s:
        return None
    return round(1000 * max(y - x for x, y in zip(within, within[1:])))


def rebalance_ms(events, since_s, until_s):
    """From the first instance that gave partitions away until the last one that got some, by their events."""
    within = [x for x in events if since_s <= x[0] <= until_s]
    revoked = [at for at, kind in within if kind == "partitions_revoked"]
    got = [at for at, kind in within if kind == "partitions_assigned"]
    return round(1000 * (max(got) - min(revoked))) if revoked and got and max(got) >= min(revoked) else None


def change_of(times, events, began_s, settled_s):
    return {"settled_s": round(settled_s - began_s, 1), "rebalance_ms": rebalance_ms(events, began_s, settled_s + 1),
            "longest_pause_ms": longest_gap_ms(times, began_s, settled_s + 1)}


def measure(stage, offsets, model, topic, cell, seconds):
    instances, partitions, backlog = cell
    group = Group(stage, model, topic, partitions)
    try:
        group.start(instances)
        since = group.await_settled()
        before = usage(stage, group.processes())
        limit = time.monotonic() + seconds
        await_true("the time", lambda: time.monotonic() > limit or stage.count(group.results) >= backlog, 600,
                   group.processes(), pause_s=0.5)
        until, after = time.time(), usage(stage, group.processes())
        memory = [private_bytes(x.pid) for x in group.processes()]
        joins = time.time()
        group.start()
        joined = group.await_settled()
        time.sleep(2)
        leaves = time.time()
        group.end_last()
        left = group.await_settled()
        time.sleep(2)
    finally:
        group.stop()
    times = sorted(x.timestamp()[1] / 1000 for x in records_of(stage, group.results, PARTITIONS))
    events = [(x.timestamp()[1] / 1000, json.loads(x.value())["type"]) for x in records_of(stage, group.events, 1)]
    within = [x for x in times if since <= x <= until]
    pace = (len(within) - 1) / max(within[-1] - within[0], 1e-3) if len(within) > 100 else None
    at_most = min(instances, partitions) * SLOTS * 1000 / SLEEP_MS
    return {
        "instances": instances, "partitions": partitions, "backlog": backlog, "jobs": len(within),
        "jobs_per_second": pace and round(pace, 1), "of_sleeping_slots": pace and round(pace / at_most, 3),
        "own_us_per_job": within and round(1e6 * (after["own"] - before["own"]) / len(within), 1),
        "own_ms_per_second": round(1000 * (after["own"] - before["own"]) / (until - since), 1),
        "broker_ms_per_second": round(1000 * (after["broker"] - before["broker"]) / (until - since), 1),
        "control_private_bytes_max": max(memory), "control_private_bytes_min": min(memory),
        **summary(offsets.records(), group.name, since, until),
        "steady_longest_pause_ms": longest_gap_ms(times, since, until),
        "join": change_of(times, events, joins, joined), "leave": change_of(times, events, leaves, left)}


def broker_cost(stage, megabytes):
    """Processor seconds of the broker for a gigabyte of photographs that comes in, and that goes out once."""
    values = images.photographs(50)
    topic, count = stage.new_name("images"), round(megabytes * 1e6 / (sum(map(len, values)) / len(values)))
    stage.create(topic)
    own = lambda: usage(stage, [])["broker"]
    stage.fill(topic, values, count // 4)  # warms the JVM
    before = own()
    stage.fill(topic, values, count)
    written = own()
    gigabytes = sum(len(values[i % len(values)]) for i in range(count)) / 1e9
    read = sum(len(x.value()) for x in records_of(stage, topic, PARTITIONS)) / 1e9
    return {"bytes_per_image": round(1e9 * gigabytes / count), "gigabytes_in": round(gigabytes, 3),
            "broker_cpu_s_per_gigabyte_in": round((written - before) / gigabytes, 3),
            "gigabytes_out": round(read, 3), "broker_cpu_s_per_gigabyte_out": round((own() - written) / read, 3)}


def to_cell(text):
    cell = tuple(int(float(x)) for x in text.split(":"))
    if len(cell) != 3 or min(cell) < 1:
        raise ValueError(text)
    return cell


def main():
    options = command.parser("scale", __doc__, repetitions=None)
    options.add_argument("--cell", action="append", type=to_cell, metavar="INSTANCES:PARTITIONS:BACKLOG",
                         help="may be repeated; default: ten cells")
    options.add_argument("--full", action="store_true",
                         help="all 48 of 1 to 8 instances, 1 to 64 partitions, 10^3 to 10^6 jobs")
    options.add_argument("--seconds", type=float, default=10,
                         help="how long each runs undisturbed (default %(default)s)")
    options.add_argument("--megabytes", type=float, default=1000,
                         help="of images for the broker; 0: none (default %(default)s)")
    options = options.parse_args()
    report, before = command.begin("scale", options)
    report.update(sleep_ms=SLEEP_MS, slots=SLOTS, seconds=options.seconds, cells=[])
    model = models.folder("noop")
    with Stage() as stage:
        topics, offsets = {}, OffsetsTopic(stage.brokers)
        for cell in options.cell or (FULL if options.full else CELLS):
            if cell[1:] not in topics:
                topics[cell[1:]] = stage.new_name("jobs")
                stage.create(topics[cell[1:]], partitions=cell[1])
                stage.fill(topics[cell[1:]], [images.small()], cell[2], cell[1])
            report["cells"].append(measure(stage, offsets, model, topics[cell[1:]], cell, options.seconds))
            command.say(json.dumps(report["cells"][-1]))
        offsets.close()
        if options.megabytes:
            report["broker"] = broker_cost(stage, options.megabytes)
    command.print_report(report, before)


if __name__ == "__main__":
    main()
