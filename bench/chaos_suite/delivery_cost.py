"""Measures what exactly_once and ordering cost. Services with each combination of delivery.guarantee and
delivery.ordering do the same jobs on the same Kafka, one after the other, round after round. A backlog of digits gives
the throughput, then single jobs give the latency, as a reader with isolation.level=read_committed sees them."""

import json
import math
import statistics
import time
from itertools import product

from . import command
from .instances import Place, configuration
from .load import RESULT, Load
from .reader import Tail, to_answer
from .run import Stage
from .submitter import Submitter

MODES = list(product(command.GUARANTEES, command.ORDERINGS))
BASE = MODES[0]
PARTITIONS = 6
# As by default, where the suite's services differ from it.
SETTINGS = {
    "memory/worker_budget_bytes": "256MiB", "memory/worker_hard_limit_bytes": "512MiB",
    "jobs/max_in_flight": 256, "jobs/max_in_flight_bytes": "256MiB",
    # Whatever else this machine does must not open the breaker.
    "memory/container_limit_bytes": 1 << 42, "faults/allowed": False,
}
PERIOD_S = 0.02  # between single jobs: far apart for a service that does hundreds a second
DIGITS = {"digit_json": (1.0, RESULT, True)}


def run_one(stage, options, number, guarantee, ordering):
    """Returns (jobs per second, latencies in ms)."""
    name = f"{number}-{guarantee}-{ordering}"
    topics = {kind: f"{name}.{kind}" for kind in ("jobs", "results", "dead_letters", "events")}
    stage.cluster.create_topics({
        topics["jobs"]: (PARTITIONS, {}), topics["results"]: (PARTITIONS, {"message.timestamp.type": "LogAppendTime"}),
        topics["dead_letters"]: (1, {}), topics["events"]: (1, {})})
    file = stage.folder / f"{name}.json"
    file.write_text(json.dumps(configuration(
        number, stage.cluster.bootstrap, topics, stage.repository / "models/digits/1", 0, guarantee, ordering,
        options.assignor, {**SETTINGS, "kafka/group.id": name}), indent=1))
    load = Load(options.seed, stage.repository, 0, "key", options.keys, kinds=DIGITS)
    submitter = Submitter(stage.cluster.bootstrap, topics["jobs"], load)
    for _ in range(options.jobs):
        submitter.submit_patiently(load.next())
    if submitter.finish(120) or submitter.failed:
        raise RuntimeError(f"{name}: not all jobs could be submitted: {submitter.failed[:3]}")
    place = Place(number, stage.folder, lambda _: [options.ziyu, "serve", "--config", file])
    stage.places = [place]
    place.start()
    stage.await_ready([place])
    begun_s = await_total(stage, place, lambda x: x["fetched"] > 0, options.drain_s)
    await_total(stage, place, lambda x: x["published"] == options.jobs, options.drain_s)
    tail = Tail(stage.cluster.bootstrap, [topics["results"]], "read_committed")
    try:
        written = [to_answer(x, "") for x in tail.rest(60)]
        sources = {x.source for x in written if x}
        if len(sources) != options.jobs or len(written) != options.jobs:
            raise RuntimeError(f"{name}: {len(written)} results of {len(sources)} jobs instead of {options.jobs}")
        seconds = max(x.time_s for x in written) - begun_s
        latencies = single_jobs(submitter, tail, options.singles)
    finally:
        tail.close()
    stage.stop_all()
    return options.jobs / seconds, latencies


def await_total(stage, place, holds, limit_s):
    """Waits until the sums of the ledger have the given values. Returns the time."""
    deadline = time.monotonic() + limit_s
    while not ((answer := place.get("/ledger")) and holds(answer["total"])):
        stage.look()
        if time.monotonic() > deadline:
            raise TimeoutError(f"the jobs were not done within {limit_s} s: see {stage.folder}")
        time.sleep(0.02)
    return time.time()


def single_jobs(submitter, tail, count):
    """Milliseconds from handing each job to a producer until its result is read."""
    sent, seen = {}, {}
    next_s, deadline = time.monotonic(), time.monotonic() + 60 + count * PERIOD_S
    while len(seen) < count:
        now = time.monotonic()
        if now > deadline:
            raise TimeoutError(f"{count - len(seen)} of {count} single jobs were not answered")
        if len(sent) < count and now >= next_s:
            job = submitter.load.next()
            if not submitter.submit(job):
                raise RuntimeError("the producer's queue is full of single jobs")
            sent[job.job_id], next_s = now, next_s + PERIOD_S
        submitter.producer.poll(0)
        for message in tail.poll(0.001):
            answer = to_answer(message, "")
            if answer and answer.job_id in sent:
                seen.setdefault(answer.job_id, time.monotonic())
    return [1000 * (seen[x] - sent[x]) for x in sent]


def percentile(values, share):
    return sorted(values)[max(1, math.ceil(share * len(values))) - 1]  # nearest rank


def run_all(options):
    found = {mode: [] for mode in MODES}
    with Stage(options, brokers=1, places=0, small_disks=False) as stage:
        for number in range(options.rounds * len(MODES)):
            lap, i = divmod(number, len(MODES))
            mode = MODES[(i + lap) % len(MODES)]  # none is always the first
            stage.log(f"round {lap + 1}: {', '.join(mode)}")
            found[mode].append(run_one(stage, options, number, *mode))
    rows = []
    for mode, runs in found.items():
        latencies = [x for _, singles in runs for x in singles]
        rows.append({
            "guarantee": mode[0], "ordering": mode[1],
            "throughput_ratio": round(statistics.median(x / base for (x, _), (base, _) in zip(runs, found[BASE])), 3),
            "jobs_per_s_p50": round(statistics.median(x for x, _ in runs), 1),
            "latency_p50_ms": round(percentile(latencies, 0.5), 1),
            "latency_p99_ms": round(percentile(latencies, 0.99), 1),
        })
    return {"rows": rows, "jobs": options.jobs, "singles": options.singles, "rounds": options.rounds,
            "keys": options.keys, "partitions": PARTITIONS, "seed": options.seed, "missed": stage.trouble}, \
        stage.trouble, stage


def main():
    made = command.parser("delivery", __doc__, drain_s=120, one_load=False)
    made.add_argument("--jobs", type=int, default=4000, help="of the backlog (default 4000)")
    made.add_argument("--singles", type=int, default=100, help="jobs whose latency is taken (default 100)")
    made.add_argument("--rounds", type=int, default=3, help="of all combinations (default 3)")
    made.add_argument("--keys", type=int, default=100, help="different keys of the jobs (default 100)")
    options = command.parse(made)
    command.execute(made, options, run_all, options.rounds * len(MODES) * (options.drain_s + 60))


if __name__ == "__main__":
    main()
