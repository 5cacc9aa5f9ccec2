"""The common part of the commands in this folder: options, a clean end, one JSON object."""

import argparse
import faulthandler
import json
import os
import signal
import sys
from pathlib import Path

from .processes import Cgroup, adopt_orphans, end_all_descendants, own_mounts
from .run import STALL_LIMIT_S, new_seed

REPOSITORY = Path(__file__).resolve().parents[2]
GUARANTEES = ("at_least_once", "exactly_once")
ORDERINGS = ("unordered", "key", "partition")
ASSIGNORS = ("range", "cooperative-sticky")


def parser(name, description, drain_s=60, one_load=True):
    """Options of a command. `one_load`: the command also takes the kind of delivery and the rate of the jobs."""
    made = argparse.ArgumentParser(prog=f"bench/{name}", description=description)
    made.add_argument("--seed", type=int, help="replays the plan and the jobs of a run; default: a new one")
    if one_load:
        made.add_argument("--delivery", choices=GUARANTEES, default=GUARANTEES[0])
        made.add_argument("--ordering", choices=ORDERINGS, default=ORDERINGS[0])
        made.add_argument("--rate", type=float, default=40, help="jobs a second, with bursts (default 40)")
        made.add_argument("--stall-limit-s", type=float, default=STALL_LIMIT_S,
                          help=f"longest stall allowed (default {STALL_LIMIT_S}: the session and 5 s)")
    made.add_argument("--assignor", choices=ASSIGNORS, help="of the consumer group; default: by the seed")
    made.add_argument("--drain-s", type=float, default=drain_s,
                      help=f"how long the last jobs may take (default {drain_s})")
    made.add_argument("--keep", metavar="FOLDER", help="keep all logs here; otherwise they are kept on failure only")
    made.add_argument("--quiet", action="store_true", help="no progress on standard error")
    made.add_argument("--bin", type=Path, default=REPOSITORY / "build/release/bin", help=argparse.SUPPRESS)
    return made


def parse(made):
    options = made.parse_args()
    options.repository = REPOSITORY
    options.ziyu = options.bin / "ziyu"
    if options.seed is None:
        options.seed = new_seed()
    options.assignor = options.assignor or assignor_of(options.seed)
    return options


def assignor_of(seed):
    """The assignor for a seed, by the seed's second bit. Callers choose the delivery by its first bit, so each delivery
    runs with both assignors."""
    return ASSIGNORS[seed // 2 % 2]


def execute(made, options, function, limit_s):
    """Runs `function(options)`, which returns (report, missed promises, stage or None), and ends the process: exit code
    0 all promises kept, 1 the suite itself failed, 2 a promise was broken."""
    adopt_orphans()
    own_mounts()

    # An exception that a handler raises inside a library's C code may be lost there, or become another one: the end
    # does not depend on it.
    def interrupted(number, _):
        end_all_descendants()
        Cgroup.remove_all()
        os._exit(128 + number)
    signal.signal(signal.SIGTERM, interrupted)
    signal.signal(signal.SIGINT, interrupted)
    # If the suite itself hangs, report where and end it, with everything that it started.
    faulthandler.dump_traceback_later(limit_s, exit=True)
    try:
        report, missed, stage = function(options)
    finally:
        end_all_descendants()
    if stage and (missed or options.keep):
        report["logs"] = str(stage.folder)
    elif stage:
        stage.forget()
    print(json.dumps(report, ensure_ascii=False))
    for line in missed:
        print(f"{made.prog}: seed {options.seed}: {line}", file=sys.stderr)
    sys.stdout.flush()
    # Does not wait for librdkafka's threads.
    os._exit(2 if missed else 0)
