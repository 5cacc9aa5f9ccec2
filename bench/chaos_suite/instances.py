"""The services under test: each place runs `ziyu serve` (or another subject) with its child processes."""

import http.client
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from .load import MAX_BYTES
from .processes import Cgroup, Child, descendants, read_process, send

SESSION_MS = 6000
MEMORY_LIMIT = 640 << 20  # of a place's cgroup
BREAKER_OPENS_AT = 0.85  # share of it


def configuration(place, bootstrap, topics, model, limit_bytes, delivery="at_least_once", ordering="unordered",
                  assignor="range", changes=None):
    """ziyu.json of a service. Whatever may hang has a short limit."""
    all_ = {
        "kafka": {
            "bootstrap.servers": bootstrap, "group.id": "chaos", "client.id": f"place{place}",
            "consumer": {"session.timeout.ms": SESSION_MS, "heartbeat.interval.ms": 1000,
                         "max.poll.interval.ms": 20000, "partition.assignment.strategy": assignor},
            "producer": {},
        },
        "topics": topics,
        "model": {"path": str(model), "top_k": 3},
        "workers": {"slots": 2, "standbys": 1, "job_timeout_ms": 2000, "grace_ms": 500},
        "memory": {"worker_budget_bytes": "48MiB", "worker_hard_limit_bytes": "96MiB"},
        # The suite kills these processes: that must not stop a service for long.
        "restart": {"intensity": 1000, "period_ms": 10000, "backoff_max_ms": 1000},
        "jobs": {"max_bytes": MAX_BYTES, "max_pixels": 4_000_000, "max_in_flight": 64, "max_in_flight_bytes": "64MiB"},
        # Below the memory at which the kernel begins to kill.
        "breaker": {"tighten_at": 0.75, "open_at": BREAKER_OPENS_AT, "close_below": 0.75},
        "http": {"host": "127.0.0.1", "port": 0},
        "faults": {"allowed": True},
        "log": {"level": "info"},
        "shutdown": {"drain_ms": 8000},
    }
    if limit_bytes:
        all_["memory"]["container_limit_bytes"] = limit_bytes
    all_["delivery"] = {"guarantee": delivery, "ordering": ordering}
    if delivery == "exactly_once":
        # The next instance waits for the transaction that a killed one has left open.
        all_["delivery"]["transactional_id"] = f"chaos-place{place}"
        all_["shutdown"] = {"drain_ms": 4000, "flush_ms": 1000, "commit_ms": 1000}
        all_["kafka"]["producer"]["transaction.timeout.ms"] = SESSION_MS
    for name, value in (changes or {}).items():
        at = all_
        *path, last = name.split("/")
        for part in path:
            at = at.setdefault(part, {})
        at[last] = value
    return all_


class Place:
    """A place in which instances of the service run one after the other."""

    def __init__(self, number, folder, command, cgroup=None, is_plain=False):
        """`command(number)`: the command line to start. `is_plain`: the subject serves no HTTP."""
        self.is_plain = is_plain
        self.number, self.folder, self.command, self.cgroup = number, Path(folder), command, cgroup
        self.child = None
        self.starts = 0
        self.meant_to_run = False
        self.ballast = None
        self.stopping_since = None

    def start(self):
        if self.child is not None and self.child.running():
            return
        self.starts += 1
        self.meant_to_run, self.stopping_since = True, None
        out = open(self.folder / f"place{self.number}.{self.starts}.out", "wb")
        self.child = Child(self.command(self.number), self.folder / f"place{self.number}.{self.starts}.log", self.cgroup,
                           out=out)
        out.close()

    def running(self):
        return self.child is not None and self.child.running()

    def address(self):
        """host:port of the service's HTTP server, or None while there is none."""
        try:
            line = (self.folder / f"place{self.number}.{self.starts}.out").read_text()
            return json.loads(line)["http"] if line.endswith("\n") else None
        except (OSError, ValueError, KeyError):
            return None

    def text(self, path, limit_s=2.0):
        """The body of an HTTP answer, or None."""
        try:
            with urllib.request.urlopen(f"http://{self.address()}{path}", timeout=limit_s) as answer:
                return answer.read().decode()
        except (OSError, ValueError, http.client.HTTPException):
            return None

    def get(self, path, limit_s=1.0):
        """The JSON of an HTTP answer (also of a 503), or None."""
        address = self.address()
        if not address or not self.running():
            return None
        try:
            with urllib.request.urlopen(f"http://{address}{path}", timeout=limit_s) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as e:
            try:
                return json.load(e)
            except ValueError:
                return None
        except (OSError, ValueError, http.client.HTTPException):
            return None

    def metric(self, name):
        """The sum of a metric over its labels; `name` may end with some of the labels, as in
        `name{label="value"`. None if the service does not answer."""
        text = self.text("/metrics")
        if text is None:
            return None
        return sum(float(x.split()[-1]) for x in text.splitlines() if x.startswith(name))

    def ready(self):
        answer = self.get("/readyz")
        return bool(answer and answer.get("ready"))

    def goes_on(self):
        """Whether this service can do the work of another one that is about to be harmed. A subject without HTTP only
        has to run."""
        return self.running() and self.stopping_since is None and (self.ready() if self.address() else self.is_plain)

    def workers(self):
        """Pids of the service's workers and standbys, and of its fork server (None if unknown). The service is not
        asked, since it may be stopped. Process titles are no proof. The fork server is the child that has children, or
        the only child."""
        if not self.running():
            return [], None
        below = {pid: info for pid, info in descendants(self.child.pid).items() if "ziyu-worker" in info[2]}
        parents = {info[1] for info in below.values()}
        servers = [pid for pid in below if pid in parents]
        server = servers[0] if servers else (next(iter(below)) if len(below) == 1 else None)
        return sorted(x for x in below if x != server), server

    def kill(self):
        """Sends SIGKILL to the service itself. The processes that it leaves behind must end by themselves: see
        `left_behind`."""
        self.meant_to_run, self.stopping_since = False, None
        if not self.running():
            return []
        below = list(descendants(self.child.pid))
        self.child.kill()
        return below

    def terminate(self):
        """Sends SIGTERM once. A second one would force the stop."""
        self.meant_to_run = False
        if self.running() and self.stopping_since is None:
            self.stopping_since = time.monotonic()
            self.child.signal(signal.SIGTERM)

    def signal(self, number):
        if self.child is not None:
            self.child.signal(number)

    def squeeze(self, share):
        """Fills the cgroup up to `share` of its limit with another process's memory."""
        if not self.cgroup or not self.running():
            return 0
        size = int(MEMORY_LIMIT * share) - self.cgroup.used_bytes()
        if size <= 0:
            return 0
        program = "import sys,time; x=bytearray(b'x')*int(sys.argv[1]); time.sleep(600)"
        self.ballast = Child([sys.executable, "-S", "-c", program, size], self.folder / "ballast.log", self.cgroup)
        return size

    def release(self):
        if self.ballast:
            self.ballast.kill()
            self.ballast = None


def make_cgroup(number, repository):
    return Cgroup.make(f"ziyu-chaos-{os.getpid()}-{number}", MEMORY_LIMIT, Path(repository) / "scripts/lib/in-cgroup")


class LeftBehind:
    """Processes that killed services have left behind. They must end by themselves soon."""

    LIMIT_S = 6.0

    def __init__(self):
        self.watched = {}
        self.overdue = []

    def watch(self, pids, place):
        for pid in pids:
            info = read_process(pid)
            if info:
                self.watched[pid] = (time.monotonic() + self.LIMIT_S, info[2], place)
                # One that the suite has stopped could not end.
                send(pid, signal.SIGCONT)

    def look(self):
        for pid, (deadline, command, place) in list(self.watched.items()):
            info = read_process(pid)
            if info is None or info[0] == "Z" or info[2] != command:
                del self.watched[pid]
            elif time.monotonic() > deadline:
                self.overdue.append(f"process {pid} of place {place} outlives its service: {command[:120]}")
                del self.watched[pid]


def version(ziyu):
    return subprocess.run([ziyu, "--version"], capture_output=True, text=True, check=True).stdout.strip()
