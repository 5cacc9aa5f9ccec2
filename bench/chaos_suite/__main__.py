"""bench/chaos: kills, cuts and fills, and proves that nothing is lost. See docs/chaos.md."""

import argparse
import faulthandler
import json
import os
import signal
import sys
from pathlib import Path

from .processes import adopt_orphans, end_all_descendants, own_mounts
from .run import new_seed, run_chaos

REPOSITORY = Path(__file__).resolve().parents[2]
ASSIGNORS = ("range", "cooperative-sticky")


def arguments():
    parser = argparse.ArgumentParser(prog="bench/chaos", description=__doc__)
    parser.add_argument("--seed", type=int, help="replays the plan and the jobs of a run; default: a new one")
    parser.add_argument("--minutes", type=float, default=2.0, help="of chaos (default 2)")
    parser.add_argument("--delivery", choices=("at_least_once", "exactly_once"), default="at_least_once")
    parser.add_argument("--ordering", choices=("unordered", "key", "partition"), default="unordered")
    parser.add_argument("--assignor", choices=ASSIGNORS, help="of the consumer group; default: by the seed")
    parser.add_argument("--rate", type=float, default=40, help="jobs a second, with bursts (default 40)")
    parser.add_argument("--only", action="append", metavar="KIND", help="only this kind of action; may be repeated")
    parser.add_argument("--drain-s", type=float, default=60, help="how long the last jobs may take (default 60)")
    parser.add_argument("--keep", metavar="FOLDER", help="keep all logs here; otherwise they are kept on failure only")
    parser.add_argument("--quiet", action="store_true", help="no progress on standard error")
    parser.add_argument("--bin", type=Path, default=REPOSITORY / "build/release/bin", help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.repository = REPOSITORY
    options.ziyu = options.bin / "ziyu"
    options.seconds = options.minutes * 60
    if options.seed is None:
        options.seed = new_seed()
    options.assignor = options.assignor or ASSIGNORS[options.seed % 2]
    return options


def main():
    """Exit code: 0 all promises kept, 1 the suite itself failed, 2 a promise was broken."""
    options = arguments()
    adopt_orphans()
    own_mounts()

    def interrupted(number, _):
        raise SystemExit(128 + number)
    signal.signal(signal.SIGTERM, interrupted)
    signal.signal(signal.SIGINT, interrupted)
    # Should the suite itself hang: tell where, and end (and with it, everything that it started).
    faulthandler.dump_traceback_later(options.seconds + options.drain_s + 300, exit=True)
    try:
        report, missed, stage = run_chaos(options)
    finally:
        end_all_descendants()
    if missed or options.keep:
        report["logs"] = str(stage.folder)
    else:
        stage.forget()
    print(json.dumps(report, ensure_ascii=False))
    for line in missed:
        print(f"bench/chaos: seed {options.seed}: {line}", file=sys.stderr)
    sys.stdout.flush()
    # librdkafka's threads need not be waited for.
    os._exit(2 if missed else 0)


if __name__ == "__main__":
    main()
