"""Gives a service a backlog of images of 10 kB to 8 MB. The backlog is three times the memory of the service's cgroup
of 1 GiB, and far more than ten times the bytes that the service may hold at once. A third of the images are 10 to 30
times as large when decoded. The run checks that the memory stays bounded and that all jobs are done."""

import os
import struct
import time
from dataclasses import replace
from pathlib import Path

from . import checker, command
from .load import RESULT, Job, Load, bitmap, png, with_comment
from .processes import Cgroup
from .run import TOPICS, Progress, Stage, drain
from .submitter import Submitter

LIMIT_BYTES = 1 << 30
# As many as a worker has room for below its hard limit.
MAX_PIXELS = 24_000_000
# The pool is given what a container of 1 GiB allows it; all else is as by default.
SETTINGS = {
    "workers/slots": 2, "workers/standbys": 1, "workers/job_timeout_ms": 30000,
    "memory/worker_budget_bytes": "160MiB", "memory/worker_hard_limit_bytes": "240MiB",
    "memory/container_limit_bytes": 0,
    "jobs/max_bytes": "16MiB", "jobs/max_pixels": MAX_PIXELS, "jobs/max_in_flight_bytes": "256MiB",
    "faults/allowed": False,
}


class Photos(Load):
    """Sizes are log-uniform between 10 kB and 8 MB. Each job gets a crop of one of a few pictures, or a copy with
    a comment: making a new picture for each job would take longer than answering it."""

    def __init__(self, seed, repository, megabytes):
        super().__init__(seed, repository, 0)
        self.left = megabytes * 1_000_000
        self.bytes = self.decoded_bytes = self.pngs = 0
        self.whole = bitmap(1640, 1640, self.rng)
        self.packed = [self._packed(i / 15) for i in range(16)]

    def _packed(self, at):
        """(a PNG, its bytes when decoded). `at` 0 gives a file of 10 kB, 1 the largest that its pixels allow. Decoded,
        it is 10 to 30 times as large."""
        largest = 3 * MAX_PIXELS
        size = 10_000 * (largest / 10.5 / 10_000) ** at
        ratio = self.rng.uniform(10.5, min(29.0, largest / size))
        side = int((size * ratio / 3) ** 0.5)
        return png(side, side, ratio, self.rng), 3 * side * side

    def next(self):
        self.count += 1
        job_id = f"{self.seed}-{self.count:06d}"
        name = ""
        if self.rng.random() < 1 / 3:
            number = self.rng.randrange(len(self.packed))
            picture, decoded = self.packed[number]
            value, name = with_comment(picture, job_id), f"png {number}"
            self.pngs += 1
        else:
            value, decoded = self._bitmap()
        self.left -= len(value)
        self.bytes += len(value)
        self.decoded_bytes += decoded
        return Job(job_id, "photo", job_id, value, (), RESULT, name)

    def _bitmap(self):
        """(a BMP, its bytes when decoded)"""
        size = int(10_000 * 800 ** self.rng.random())
        side = max(16, int((size / 3) ** 0.5) // 4 * 4)
        # Rows of a bitmap whose width is a multiple of 4 need no padding, so that any bytes are pixels.
        pixels = self.whole[54 + self.count % 97:][:3 * side * side]
        header = b"BM" + struct.pack("<IHHI", 54 + len(pixels), 0, 0, 54) + struct.pack(
            "<IiiHHIIiiII", 40, side, side, 1, 24, 0, len(pixels), 2835, 2835, 0, 0)
        return header + pixels, len(pixels)


def run_oversupply(options):
    cgroup = Cgroup.make(f"ziyu-oversupply-{os.getpid()}", LIMIT_BYTES, Path(options.repository) / "scripts/lib/in-cgroup")
    if cgroup is None:
        raise SystemExit("bench/oversupply: cannot make a memory cgroup with a limit here: run it as root")
    with Stage(options, brokers=1, places=1, changes=SETTINGS, small_disks=False, cgroup=cgroup) as stage:
        place = stage.places[0]
        load = Photos(options.seed, stage.repository, options.megabytes)
        submitter = Submitter(stage.cluster.bootstrap, TOPICS["jobs"], load)
        while load.left > 0:
            submitter.submit_patiently(load.next())
        submitter.finish(120)
        stage.log(f"{load.count} jobs of {load.bytes >> 20} MiB wait")
        # All are there before the service is: no matter how fast the machine, supply never limits it.
        place.start()
        stage.await_ready([place])
        ready_s, idle = time.time(), cgroup.used_bytes()
        progress = Progress(stage, submitter)
        drain(stage, progress, options.drain_s)
        all_s, peak, kills = time.time() - ready_s, cgroup.peak_bytes(), cgroup.oom_kills()
        breaker = place.metric('ziyu_events_total{type="breaker_opened"')
        stage.stop_all()
        submitted = [replace(x, acked_s=max(x.acked_s, ready_s)) for x in submitter.submitted]
        verdict = stage.judge(submitted)
        missed = checker.missed(verdict, options.delivery, options.stall_limit_s) + stage.trouble
        if kills:
            missed.append(f"the kernel killed {kills} processes for memory")
        if peak >= LIMIT_BYTES:
            missed.append(f"the peak of {peak} bytes reached the limit of {LIMIT_BYTES}")
        report = {
            "seed": options.seed, "submitted": verdict.submitted, "submitted_bytes": load.bytes,
            "decoded_bytes": load.decoded_bytes, "pngs": load.pngs,
            "results": verdict.results, "dead_lettered": verdict.dead_lettered, "lost": verdict.lost,
            "duplicates": verdict.duplicates, "limit_bytes": LIMIT_BYTES, "idle_bytes": idle, "peak_bytes": peak,
            "oom_kills": kills, "breaker_opened": int(breaker or 0),
            "backlog_to_limit": round(load.bytes / LIMIT_BYTES, 1), "jobs_per_s": round(load.count / all_s, 1),
            "longest_stall_s": verdict.longest_stall_s, "missed": missed,
        }
        if verdict.examples:
            report["examples"] = verdict.examples
        return report, missed, stage


def main():
    made = command.parser("oversupply", __doc__, drain_s=300)
    made.add_argument("--megabytes", type=int, default=3000, help="to submit (default 3000)")
    options = command.parse(made)
    command.execute(made, options, run_oversupply, options.drain_s + 600)


if __name__ == "__main__":
    main()
