"""One run: a cluster, two services, further services that join and leave, jobs, chaos, and the judgement."""

import hashlib
import json
import os
import random
import shutil
import signal
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

from . import checker, schedule
from .chaos import Chaos
from .cluster import Cluster
from .instances import MEMORY_LIMIT, SESSION_MS, LeftBehind, Place, configuration, make_cgroup
from .load import KINDS, Load, without_prompt_dead_letters
from .proxy import Network
from .pressure import Pressures
from .reader import Tail, patiently, to_answer
from .stable import read_log, readable_from
from .submitter import Submitter

TOPICS = {"jobs": "image.jobs", "results": "image.results", "dead_letters": "image.jobs-dlt", "events": "ziyu.events"}
ANSWERS = [TOPICS["results"], TOPICS["dead_letters"]]
# Shares of a run: when a topic that is missing at first is created, and when at the latest. What waits for it comes within
# 30 s then.
CREATED_AFTER, CREATED_BEFORE = 0.5, 0.9
STALL_LIMIT_S = SESSION_MS / 1000 + 5
STOP_LIMIT_S = 25  # drain, leaving the group, workers: more is a stop that hangs


class Log:
    """A log of what the suite did, to explain a failure."""

    def __init__(self, file, quiet):
        self.file, self.quiet, self.start = open(file, "w", buffering=1), quiet, time.monotonic()

    def __call__(self, text):
        line = f"{time.monotonic() - self.start:8.3f} {text}"
        # The wall clock, too: logs of services and brokers have no other.
        self.file.write(f"{time.strftime('%H:%M:%S')}.{int(time.time() * 1000) % 1000:03d} {line}\n")
        if not self.quiet:
            print(line, file=sys.stderr)


class Stage:
    """The cluster, the places and what watches them. Leaving the context ends all of them.

    `places`: the number of services that share the topics. 0: neither places nor topics are made.
    `subject(place_number, folder)`: makes the command of a place, for subjects that are not `ziyu serve`.
    `missing`: keys of TOPICS that are not created before `create_missing`.
    """

    def __init__(self, options, brokers=3, places=3, partitions=6, changes=None, subject=None,
                 small_disks=True, cgroup=None, missing=()):
        self.options, self.repository = options, Path(options.repository)
        self.folder = Path(options.keep or f"/tmp/ziyu-chaos-{os.getpid()}")
        self.folder.mkdir(parents=True, exist_ok=True)
        if any(self.folder.iterdir()):
            raise SystemExit(f"--keep {self.folder}: the folder is not empty; name another, or remove it")
        self.log = Log(self.folder / "chaos.log", options.quiet)
        self.trouble = []
        self.left_behind = LeftBehind()
        self.network = Network()
        self.cluster = None
        self.places = []
        self.partitions, self.changes, self.subject = partitions, changes, subject
        self.shape, self.small_disks, self.cgroup = (brokers, places), small_disks, cgroup
        self.missing = {TOPICS[x] for x in missing}

    def __enter__(self):
        try:
            brokers, places = self.shape
            self.cluster = Cluster(self.folder, self.repository / ".deps/kafka/lib", self.network, brokers, places,
                                   768 << 20 if self.small_disks else 0)
            self.log(f"starting {brokers} brokers in {self.folder}")
            self.cluster.start()
            if places > 0:
                self._create_topics()
            for number in range(places):
                cgroup = self.cgroup or make_cgroup(number, self.repository)
                self.places.append(Place(number, self.folder, self._command(number, cgroup), cgroup,
                                         is_plain=self.subject is not None))
            return self
        except BaseException:
            self.__exit__(*sys.exc_info())
            raise

    @property
    def transactional(self):
        return self.options.delivery == "exactly_once"

    def answers(self, topics=ANSWERS):
        """Follows results and dead letters with the isolation level that the delivery's guarantee needs. Topics that
        are missing at present are left out."""
        return Tail(self.cluster.bootstrap, [x for x in topics if x not in self.missing],
                    "read_committed" if self.transactional else "read_uncommitted")

    def _create_topics(self, only_missing=False):
        stamped = {"message.timestamp.type": "LogAppendTime"}
        one_lane = self.options.ordering != "unordered"
        topics = {
            TOPICS["jobs"]: (self.partitions, {"max.message.bytes": "16777216"}),
            TOPICS["results"]: (1 if one_lane else self.partitions, stamped),
            TOPICS["dead_letters"]: (1, {**stamped, "max.message.bytes": "16777216"}),
            TOPICS["events"]: (1, {}),
        }
        self.cluster.create_topics({k: v for k, v in topics.items() if (k in self.missing) == only_missing})
        self.log("topics are there" + (f", but for {sorted(self.missing)}" if self.missing and not only_missing else ""))

    def create_missing(self):
        """Creates the topics that were left out. Returns their names."""
        created = sorted(self.missing)
        self._create_topics(only_missing=True)
        self.missing = set()
        return created

    def _command(self, number, cgroup):
        if self.subject:
            return lambda _: self.subject(self.cluster.bootstrap_of(number), number)
        file = self.folder / f"place{number}.json"
        file.write_text(json.dumps(configuration(
            number, self.cluster.bootstrap_of(number), TOPICS, self.repository / "models/digits/1",
            MEMORY_LIMIT if cgroup else 0, self.options.delivery, self.options.ordering, self.options.assignor,
            self.changes), indent=1))
        return lambda _: [self.options.ziyu, "serve", "--config", file]

    def __exit__(self, *_):
        for place in self.places:
            place.release()
            if place.running():
                place.signal(signal.SIGCONT)
                self.left_behind.watch(place.kill(), place.number)
        if self.cluster:
            self.cluster.end()
        self.network.close()
        for place in self.places:
            if place.cgroup:
                place.cgroup.remove()

    def look(self):
        """Finds faults: a service that ended by itself, or processes that outlive their service."""
        self.left_behind.look()
        self.cluster.look()
        for place in self.places:
            if place.meant_to_run and not place.running():
                self.complain(f"the service of place {place.number} ended by itself with {place.child.exit_code()}:"
                              f" {place.child.log}")
                place.start()
            if place.stopping_since is not None:
                if not place.running():
                    code = place.child.exit_code()
                    # Before it can handle signals, SIGTERM ends it as any program.
                    if code != 0 and not (code == 128 + signal.SIGTERM and not place.address()):
                        self.complain(f"the service of place {place.number} ended with {code} after SIGTERM:"
                                      f" {place.child.log}")
                    place.stopping_since = None
                elif time.monotonic() - place.stopping_since > STOP_LIMIT_S:
                    self.complain(f"the service of place {place.number} did not end within {STOP_LIMIT_S} s after"
                                  f" SIGTERM: {place.child.log}")
                    place.stopping_since = None
                    self.left_behind.watch(place.kill(), place.number)

    def complain(self, text):
        self.log("TROUBLE " + text)
        self.trouble.append(text)

    def await_ready(self, places, limit_s=120):
        deadline = time.monotonic() + limit_s
        while not all(x.ready() for x in places):
            if time.monotonic() > deadline:
                raise TimeoutError(f"the services did not become ready within {limit_s} s: see {self.folder}")
            time.sleep(0.1)

    def await_whole(self, limit_s=120):
        """Waits until all brokers have caught up, which may take a while after a start on a busy machine."""
        deadline = time.monotonic() + limit_s
        while not self.cluster.whole():
            if time.monotonic() > deadline:
                raise TimeoutError(f"the brokers did not catch up within {limit_s} s: see {self.folder}")
            time.sleep(0.2)

    def stop_all(self):
        """Sends SIGTERM to all services and checks their exit codes."""
        for place in self.places:
            if place.running():
                place.signal(signal.SIGCONT)
                place.terminate()
        deadline = time.monotonic() + STOP_LIMIT_S + 1
        while any(x.stopping_since is not None for x in self.places) and time.monotonic() < deadline:
            self.look()
            time.sleep(0.05)
        # Give what was left behind the time that it may take.
        deadline = time.monotonic() + LeftBehind.LIMIT_S + 1
        while self.left_behind.watched and time.monotonic() < deadline:
            self.look()
            time.sleep(0.05)
        self.trouble += self.left_behind.overdue
        self.left_behind.overdue = []

    def placed(self, submitted):
        """The jobs that are in the topic, each with its offset. Kafka may acknowledge a record as a duplicate without
        its offset. That may be wrong if it had refused the first record of a partition before."""
        if all(x.offset is not None for x in submitted):
            return submitted
        tail = Tail(self.cluster.bootstrap, [TOPICS["jobs"]])
        try:
            known = {(x.partition, x.offset) for x in submitted}
            found = {(x.partition(), hashlib.sha1(x.value() or b"").hexdigest(), (x.key() or b"").decode()): x.offset()
                     for x in tail.rest(120) if (x.partition(), x.offset()) not in known}
        finally:
            tail.close()
        placed = [x if x.offset is not None else replace(x, offset=found.get((x.partition, x.digest, x.key)))
                  for x in submitted]
        for x in placed:
            if x.offset is None:
                self.log(f"Kafka has acknowledged {x.job_id} ({x.kind}) of partition {x.partition} and does not have it")
        return [x for x in placed if x.offset is not None]

    def judge(self, submitted):
        tail = self.answers()
        try:
            messages = tail.rest(120)
            readable = {(x.topic, x.partition): self._readable_from(x.topic, x.partition)
                        for x in tail.partitions} if self.transactional else {}
        finally:
            tail.close()
        answers = [to_answer(x, TOPICS["dead_letters"], readable.get((x.topic(), x.partition()), {}).get(x.offset()))
                   for x in messages]
        unreadable = answers.count(None)
        if unreadable:
            self.complain(f"{unreadable} answers cannot be read")
        answers = [x for x in answers if x]
        self.keep_history(submitted, answers)
        return checker.check(submitted, answers, self.options.ordering)

    def _readable_from(self, topic, partition):
        return readable_from(read_log(patiently(lambda: self.cluster.log_of(topic, partition))))

    def keep_history(self, submitted, answers):
        with open(self.folder / "history.jsonl", "w", encoding="utf-8") as file:
            for x in [*submitted, *answers]:
                file.write(json.dumps({type(x).__name__: asdict(x)}, ensure_ascii=False) + "\n")

    def forget(self):
        shutil.rmtree(self.folder, ignore_errors=True)


class Progress:
    """Which jobs are still to be answered, by following the topics during the run."""

    def __init__(self, stage, submitter):
        self.stage, self.submitter = stage, submitter
        self.tails = [stage.answers()]
        self.sources = set()

    def add(self, topics):
        """Follows topics that were missing."""
        self.tails.append(self.stage.answers(topics))

    def look(self):
        for tail in self.tails:
            for message in tail.poll():
                answer = to_answer(message, TOPICS["dead_letters"])
                if answer:
                    self.sources.add(answer.source)

    def close(self):
        for tail in self.tails:
            tail.close()

    def open_jobs(self):
        return [x for x in self.submitter.submitted if (x.partition, x.offset) not in self.sources]


class LateTopics:
    """Topics that are missing in the first part of a run. Only the records for these topics wait meanwhile."""

    def __init__(self, stage, progress, seconds):
        self.stage, self.progress = stage, progress
        start = time.monotonic()
        # On a slow machine the first dead letter may come late.
        self.next_look, self.last_look = start + CREATED_AFTER * seconds, start + CREATED_BEFORE * seconds
        self.set_aside = 0  # records that waited for them just before they were created

    def look(self):
        now = time.monotonic()
        if not self.stage.missing or now < self.next_look:
            return
        self.next_look = now + 1
        self.set_aside = int(sum(x.metric("ziyu_set_aside_records") or 0 for x in self.stage.places if x.address()))
        if self.set_aside == 0 and now < self.last_look:
            return
        if self.set_aside == 0:
            self.stage.complain("no dead letter waited for its topic")
        self.progress.add(self.stage.create_missing())


def run_chaos(options, subject=None, kinds=None):
    """Returns (the JSON object to print, the promises that were broken)."""
    seconds = options.seconds
    places = 3
    missing = ["dead_letters"] if options.missing_dead_letters else []
    if missing:
        kinds = without_prompt_dead_letters(kinds or KINDS)
    with Stage(options, brokers=3, places=places, subject=subject, missing=missing) as stage:
        allowed = (["disk"] if stage.cluster.disks_can_fill else []) \
            + (["cgroup"] if stage.places[0].cgroup and not subject else [])
        actions = schedule.plan(options.seed, seconds, 3, places, allowed, only=options.only or None)
        (stage.folder / "plan.txt").write_text("".join(f"{x}\n" for x in actions))
        stable = stage.places[:schedule.STABLE_PLACES]
        for place in stable:
            place.start()
        if not subject:
            stage.await_ready(stable)
        # Also the topics that the services have made the brokers make.
        stage.await_whole()
        stage.log("services are ready")
        load = Load(options.seed, stage.repository, options.rate, options.ordering, kinds=kinds)
        submitter = Submitter(stage.cluster.bootstrap, TOPICS["jobs"], load)
        progress = Progress(stage, submitter)
        late_topics = LateTopics(stage, progress, seconds)
        pressures = Pressures(stage.log)
        chaos = Chaos(actions, stage.cluster, stage.places, stage.left_behind, stage.log, seconds, pressures)
        chaos.start()
        end, last, late_s = time.monotonic() + seconds, time.monotonic(), 0.0
        while time.monotonic() < end:
            late_s, last = max(late_s, time.monotonic() - last), time.monotonic()
            chaos.step()
            submitter.pump()
            progress.look()
            late_topics.look()
            stage.look()
            pressures.look()
            time.sleep(0.005)
        while chaos.step():
            stage.look()
            pressures.look()
            time.sleep(0.02)
        unacknowledged = submitter.finish(60) + len(submitter.submitted)
        submitter.submitted = stage.placed(submitter.submitted)
        unacknowledged -= len(submitter.submitted)
        stage.log(f"{len(submitter.submitted)} jobs are acknowledged, {unacknowledged} are not; waiting for the rest")
        late = drain(stage, progress, options.drain_s)
        pressures.finish(lambda: (stage.look(), time.sleep(0.2)))
        stage.stop_all()
        if late:
            # What a fresh service still does was not lost, but its services were stuck.
            stage.log(f"a service of its own has {options.drain_s} s for the {late} jobs that are open")
            stage.places[0].start()
            drain(stage, progress, options.drain_s)
            stage.stop_all()
        progress.close()
        stage.log("judging")
        verdict = stage.judge(submitter.submitted)
        missed = checker.missed(verdict, options.delivery, options.stall_limit_s,
                                max(late_s, stage.network.worst_delay_s)) + stage.trouble + pressures.missed
        if late:
            missed.append(f"{late} jobs were open {options.drain_s} s after the end, before a fresh service was started")
        if submitter.failed:
            missed.append(f"submissions refused by Kafka itself: {submitter.failed[:3]}")
        report = {
            "seed": options.seed, "minutes": round(seconds / 60, 2), "delivery": options.delivery,
            "ordering": options.ordering, "assignor": options.assignor, **{k: v for k, v in asdict(verdict).items() if k != "examples"},
            "stall_limit_s": options.stall_limit_s, "unacknowledged": unacknowledged, "late": late,
            "kills": dict(sorted(chaos.counts.items())),
            "dropped": dict(sorted(chaos.dropped.items())),
            **({"set_aside": late_topics.set_aside} if missing else {}),
            "pressures_held": pressures.held, "breaker_opened": pressures.opened, "breaker_closed": pressures.closed,
            # How long the suite's own loop stood still (stalls may be longer by that), and who else wants the processors.
            "suite_delay_s": round(late_s, 3), "proxy_delay_s": round(stage.network.worst_delay_s, 3),
            "load_average": round(os.getloadavg()[0], 1),
            "left_out": sorted({x.needs for x in schedule.KINDS if x.needs and x.needs not in allowed
                                and (not options.only or x.name in options.only)}),
            "missed": missed,
        }
        if verdict.examples:
            report["examples"] = verdict.examples
        return report, missed, stage


def drain(stage, progress, limit_s):
    """Waits until every job is answered. Returns how many are not answered after `limit_s`."""
    deadline = time.monotonic() + limit_s
    while progress.open_jobs() and time.monotonic() < deadline:
        progress.look()
        stage.look()
        time.sleep(0.05)
    progress.look()
    left = progress.open_jobs()
    stage.log(f"{len(left)} jobs are open: {[(x.job_id, x.kind, x.partition, x.offset) for x in left[:10]]}")
    if left:
        for place in stage.places:
            stage.log(f"place {place.number}: {place.get('/readyz')} {place.get('/ledger')}")
    return len(left)


def new_seed():
    return random.SystemRandom().randrange(1, 1_000_000)
