"""What it costs that every worker leaks 6.7 MB per job for ever. Three services take turns in blocks of jobs: one whose
workers are healed, in a container of 1 GB; one with the same leak left alone, which starts anew before memory is short;
and one that does not leak. Each job is checked to be answered exactly once."""

import json
import os
import sys

from chaos_suite.processes import Cgroup

from . import command, images, models
from .contestant import Contestant, ratio
from .stage import ROOT, Stage
from .subjects import Ziyu

IN_CGROUP = ROOT / "scripts/lib/in-cgroup"


class LeftAlone:
    """A service that leaks and is not healed. It is replaced by a new one before it would have leaked too much."""

    def __init__(self, make, bytes_per_job, most_bytes, warm_up):
        self._make, self._most, self._warm_up = make, most_bytes // bytes_per_job, warm_up
        self._now, self._past = make(), []

    def run(self, count):
        if self._now.submitted > 0 and self._now.submitted + count > self._most:
            self._past.append(self._now.account())
            self._now.close()
            self._now = self._make()
            self._now.run(self._warm_up)
        return self._now.run(count)

    def account(self):
        accounts = [*self._past, self._now.account()]
        made = {x: sum(y[x] for y in accounts) for x in accounts[0]}
        made["highest_worker_private_bytes"] = max(x["highest_worker_private_bytes"] for x in accounts)
        return {**made, "services": len(accounts)}

    def close(self):
        self._now.close()


def parse():
    options = command.parser("leak_cost", __doc__, repetitions=None)
    options.add_argument("--fault", default="native_malloc:6700000", help="of every job (default %(default)s)")
    options.add_argument("--model", default="resnet18", choices=["resnet18", "vit_b_16"])
    options.add_argument("--rounds", type=int, default=12, help="blocks of each service (default %(default)s)")
    options.add_argument("--block", type=int, default=200, help="jobs of a block (default %(default)s)")
    options.add_argument("--container-bytes", type=int, default=1_000_000_000,
                         help="memory of the service that is healed (default %(default)s)")
    options.add_argument("--alone-bytes", type=int, default=4_000_000_000,
                         help="memory that a service without healing may leak (default %(default)s)")
    command.add_settings(options)
    return options.parse_args()


def measure(options, stage, cgroup):
    settings = {"memory/worker_budget_bytes": "256MiB", "memory/worker_hard_limit_bytes": "640MiB",
                "faults/allowed": True, **command.settings_of(options)}
    slots = len(os.sched_getaffinity(0))
    leak = {**settings, "faults/slots": {str(i): options.fault for i in range(slots)}}
    model, values = models.folder(options.model), images.photographs()
    inside = [IN_CGROUP, cgroup.folder] if cgroup else []
    make = lambda *before, **x: Contestant(stage, Ziyu(model, before=before, **x), values)
    bytes_per_job = int(options.fault.rsplit(":", 1)[1])
    services = {}
    try:
        services["leak_free"] = make(**settings)
        services["left_alone"] = LeftAlone(
            lambda: make(**{**leak, "healing/enabled": False, "healing/explain": False}), bytes_per_job,
            options.alone_bytes, 40)
        services["healed"] = make(*inside, **leak)
        for each in services.values():
            each.run(40)  # warm-up
        rounds = []
        for i in range(options.rounds):
            names = list(services)
            order = names[i % 3:] + names[:i % 3]  # none is always the first
            rounds.append({name: services[name].run(options.block) for name in order})
            command.say(f"{i + 1}/{options.rounds} " + json.dumps(
                {x: {k: round(v, 1) for k, v in y.items()} for x, y in rounds[-1].items()}))
        accounts = {name: x.account() for name, x in services.items()}
        if cgroup:
            accounts["healed"].update(peak_bytes=cgroup.peak_bytes(), oom_kills=cgroup.oom_kills())
        return rounds, accounts
    finally:
        for each in services.values():
            each.close()


def main():
    options = parse()
    report, before = command.begin("leak_cost", options)
    cgroup = Cgroup.make(f"ziyu-leak-cost-{os.getpid()}", options.container_bytes, IN_CGROUP)
    if not cgroup:
        command.say("No memory cgroup can be made here (that needs root): the healed service has no container.")
    try:
        with Stage() as stage:
            rounds, accounts = measure(options, stage, cgroup)
    finally:
        if cgroup:
            cgroup.remove()
    report.update(model=options.model, fault=options.fault, rounds=options.rounds, block=options.block,
                  container_bytes=options.container_bytes if cgroup else None)
    for name, account in accounts.items():
        report[name] = {**command.summary([x[name] for x in rounds], "jobs_per_second", "cpu_ms_per_job"), **account}
    report["healed_of_left_alone"] = ratio(rounds, "healed", "left_alone")
    report["healed_of_leak_free"] = ratio(rounds, "healed", "leak_free")
    report["left_alone_of_leak_free"] = ratio(rounds, "left_alone", "leak_free")
    report["lost"] = sum(x["lost"] for x in accounts.values())
    report["repeated"] = sum(x["repeated"] for x in accounts.values())
    command.print_report(report, before)
    wrong = report["lost"] or report["repeated"] or any(x["dead_letters"] for x in accounts.values())
    sys.exit(2 if wrong or accounts["healed"].get("oom_kills") else 0)


if __name__ == "__main__":
    main()
