"""What is measured: a Ziyu service, and plain Python services."""

import json
import os
import sys
import urllib.request

from chaos_suite.processes import free_port

from . import stage as stages

PEERS = stages.ROOT / "bench/peers"


class Ziyu:
    """A service of default configuration but for `settings` ("group/name": value). `before`: what its command line
    begins with."""

    processes = 1

    def __init__(self, model, before=(), **settings):
        self.model, self.before, self.settings = model, before, settings

    def start(self, stage, topic, results):
        name, self.port = stage.new_name("ziyu"), free_port()
        others = [stage.new_name("dead"), stage.new_name("events")]
        stage.create(*others)
        self.group, self.dead_letters = self.settings.get("kafka/group.id", name), others[0]
        x = {"kafka": {"bootstrap.servers": stage.brokers, "group.id": name,
                       "consumer": {"auto.offset.reset": "earliest"}, "producer": {}},
             "topics": {"jobs": topic, "results": results, "dead_letters": others[0], "events": others[1]},
             "model": {"path": str(self.model)},
             # A large model takes its time on a busy machine.
             "workers": {"slots": len(os.sched_getaffinity(0)), "standbys": 1, "start_timeout_ms": 300_000},
             "memory": {"worker_budget_bytes": "1GiB", "worker_hard_limit_bytes": "2GiB"},
             "http": {"port": self.port}}
        for key, value in self.settings.items():
            *path, last = key.split("/")
            at = x
            for part in path:
                at = at.setdefault(part, {})
            at[last] = value
        file = stage.folder / f"{name}.json"
        file.write_text(json.dumps(x), encoding="utf-8")
        return [stage.start([*self.before, stages.ZIYU, "serve", "--config", file])]

    def get(self, page):
        """The JSON of `health`, `ledger` and the like."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/{page}", timeout=10) as answer:
            return json.load(answer)


class PythonLoop:
    """bench/peers/loop.py: `processes` consumers of one group, each with `threads` of libtorch."""

    flags = ()

    def __init__(self, model, processes, threads, linger_ms=5):
        self.model, self.processes, self.threads, self.linger_ms = model, processes, threads, linger_ms

    def start(self, stage, topic, results):
        self.group = stage.new_name("loop")
        return [stage.start([sys.executable, PEERS / "loop.py", "--brokers", stage.brokers, "--group", self.group,
                             "--jobs", topic, "--results", results, "--model", self.model, "--linger-ms",
                             self.linger_ms, *self.flags],
                            OMP_NUM_THREADS=str(self.threads), MKL_NUM_THREADS=str(self.threads))
                for _ in range(self.processes)]
