"""SIGTERM at random moments of a service's life, under load, while a second service takes over."""

import random
import time

from . import checker
from .instances import SESSION_MS
from .load import Load
from .run import STOP_LIMIT_S, TOPICS, Progress, Stage, drain
from .submitter import Submitter

# Jobs that end by themselves: a worker that hangs may well outlast the drain.
KINDS = {
    "digit": (0.93, "result", True),
    "photo": (0.03, "result", True),
    "undecodable": (0.02, "dead", True),
    "slow": (0.02, "result", False),
}


def run_stops(options):
    """Two services; again and again one of them gets SIGTERM, between its start and several seconds later, and a new
    one takes its place. Returns (the JSON object to print, the promises that were broken, the stage)."""
    rng = random.Random(f"stops {options.seed}")
    with Stage(options, brokers=1, places=2) as stage:
        for place in stage.places:
            place.start()
        stage.await_ready(stage.places)
        load = Load(options.seed, stage.repository, options.rate, options.ordering, kinds=KINDS)
        submitter = Submitter(stage.cluster.bootstrap, TOPICS["jobs"], load)
        progress = Progress(stage, submitter)
        durations, early, in_flight = [], 0, 0

        def serve(until):
            """Does everything else that the run needs until a time or a condition is reached."""
            while not until():
                submitter.pump()
                progress.look()
                stage.look()
                time.sleep(0.005)

        def at(seconds):
            moment = time.monotonic() + seconds
            return lambda: time.monotonic() >= moment
        for number in range(options.stops):
            place = stage.places[rng.randrange(2)]
            # Starting services are stopped, too: a signal is easily missed then.
            serve(at(rng.choice((rng.uniform(0, 0.5), rng.uniform(0.5, 3)))))
            ledger = place.get("/ledger")
            in_flight += ledger["total"]["in_flight"] if ledger else 0
            early += ledger is None
            begun = time.monotonic()
            place.terminate()
            serve(lambda place=place: not place.running())
            durations.append(time.monotonic() - begun)
            stage.look()
            place.start()
            if number % 20 == 19:
                stage.log(f"{number + 1} stops, the longest took {max(durations):.2f} s")
        submitter.finish(60)
        drain(stage, progress, options.drain_s)
        stage.stop_all()
        verdict = stage.judge(submitter.submitted)
        missed = checker.missed(verdict, options.delivery, options.stall_limit_s) + stage.trouble
        if verdict.duplicates > in_flight:
            missed.append(f"duplicates: {verdict.duplicates}, more than the {in_flight} jobs that were in flight")
        durations.sort()
        report = {
            "stops": options.stops, "seed": options.seed, "delivery": options.delivery, "assignor": options.assignor,
            "submitted": verdict.submitted, "results": verdict.results, "dead_lettered": verdict.dead_lettered,
            "lost": verdict.lost, "duplicates": verdict.duplicates, "in_flight": in_flight, "before_serving": early,
            "stop_p50_s": round(durations[len(durations) // 2], 3), "stop_max_s": round(durations[-1], 3),
            "stop_limit_s": STOP_LIMIT_S, "longest_stall_s": verdict.longest_stall_s,
            "session_timeout_s": SESSION_MS / 1000, "missed": missed,
        }
        if verdict.examples:
            report["examples"] = verdict.examples
        return report, missed, stage
