"""Holds a circuit breaker open for more than two max.poll.interval.ms, and over rebalances. Checks that its service
stays in the group all the time, and that all partitions go on soon after the breaker has closed."""

import time

from . import checker, command
from .load import Load
from .run import TOPICS, Progress, Stage, drain
from .stops import KINDS
from .submitter import Submitter

MAX_POLL_INTERVAL_MS = 6000
SETTINGS = {"kafka/consumer/max.poll.interval.ms": MAX_POLL_INTERVAL_MS}
GOES_ON_WITHIN_S = 10


def run_breaker_held(options):
    """Memory pressure opens the breaker of the first of two services and keeps it open; meanwhile a third joins and
    leaves. Returns (the JSON object to print, the promises that were broken, the stage)."""
    held_s = options.held_s
    with Stage(options, brokers=1, places=3, changes=SETTINGS) as stage:
        held, other, visitor = stage.places
        if held.cgroup is None:
            raise SystemExit("bench/breaker_held: cannot make a memory cgroup here: run it as root")
        for place in (held, other):
            place.start()
        stage.await_ready([held, other])
        submitter = Submitter(stage.cluster.bootstrap, TOPICS["jobs"],
                              Load(options.seed, stage.repository, options.rate, kinds=KINDS))
        progress = Progress(stage, submitter)
        missed, members = [], []

        def serve(seconds, until=lambda: False):
            """Serves the suite until `until()` is true. Returns False if that takes longer than the given number of
            seconds."""
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                submitter.pump()
                progress.look()
                stage.look()
                if until():
                    return True
                time.sleep(0.005)
            return False

        def breaker():
            answer = held.get("/health")
            return answer["breaker"] if answer else "unknown"

        def changes():
            """How often the breaker has changed its state until now; None if the service does not answer."""
            found = None

            def told():
                nonlocal found
                found = held.metric("ziyu_breaker_transitions_total")
                return found is not None
            serve(5, told)
            return found

        def member():
            """The member id that the held service has in the group. If it changes, the service has left the group and
            come back."""
            found = stage.cluster.members("chaos", f"place{held.number}")
            if found:
                members.extend(found)
        serve(5)
        member()
        held.squeeze(0.88)
        if not serve(10, lambda: breaker() == "open"):
            missed.append("memory pressure did not open the breaker")
        opened, states, before = time.monotonic(), set(), changes()
        stage.log("the breaker is open")
        visitor.start()
        for _ in range(int(held_s)):
            serve(1)
            states.add(breaker())
            member()
            if time.monotonic() - opened > held_s / 2 and visitor.meant_to_run:
                visitor.terminate()
        after = changes()
        held.release()
        open_s = time.monotonic() - opened
        stage.log(f"pressure is gone after {open_s:.1f} s; states seen: {sorted(states)}")
        # Looks alone would miss one that half-opens between them, counts alone one that was never open.
        if states - {"unknown"} != {"open"} or before is None or after != before:
            missed.append(f"the breaker was not open throughout: states seen {sorted(states)}, changes {before} to {after}")
        if not serve(10, lambda: breaker() == "closed"):
            missed.append(f"the breaker is still {breaker()} 10 s after the pressure has gone")
        waiting = {x.partition for x in progress.open_jobs()}
        closed = time.monotonic()
        seen = set(progress.sources)
        went_on = serve(GOES_ON_WITHIN_S, lambda: waiting <= {p for p, _ in progress.sources - seen})
        goes_on_s = time.monotonic() - closed
        stage.log(f"partitions {sorted(waiting)} waited; {len(progress.sources - seen)} answers in {goes_on_s:.1f} s")
        if not went_on:
            missed.append(f"not all of the partitions {sorted(waiting)} went on within {GOES_ON_WITHIN_S} s")
        member()
        submitter.finish(60)
        drain(stage, progress, options.drain_s)
        stage.stop_all()
        verdict = stage.judge(submitter.submitted)
        evictions = len(set(members)) - 1
        if evictions:
            missed.append(f"the service was away from the group: members {sorted(set(members))}")
        missed += checker.missed(verdict, options.delivery, held_s + GOES_ON_WITHIN_S) + stage.trouble
        report = {
            "seed": options.seed, "assignor": options.assignor, "max_poll_interval_s": MAX_POLL_INTERVAL_MS / 1000,
            "open_s": round(open_s, 1), "states": sorted(states), "evictions": evictions,
            "partitions_waiting": len(waiting), "all_partitions_go_on_s": round(goes_on_s, 2),
            "submitted": verdict.submitted, "results": verdict.results, "lost": verdict.lost,
            "duplicates": verdict.duplicates, "missed": missed,
        }
        if verdict.examples:
            report["examples"] = verdict.examples
        return report, missed, stage


def main():
    made = command.parser("breaker_held", __doc__)
    made.add_argument("--held-s", type=float, default=15, help="seconds that it is held open (default 15)")
    options = command.parse(made)
    if options.held_s * 1000 <= 2 * MAX_POLL_INTERVAL_MS:
        made.error(f"--held-s must be more than {2 * MAX_POLL_INTERVAL_MS / 1000}")
    command.execute(made, options, run_breaker_held, options.held_s + options.drain_s + 300)


if __name__ == "__main__":
    main()
