"""The judge: determines the outcome of every submitted job. Pure; it knows records, not the service.

It relies on the topics only: a job is done when a result or a dead letter names it, and never otherwise.
"""

from collections import defaultdict
from dataclasses import dataclass, field

STALL_TO_REPORT_S = 30.0


@dataclass(frozen=True)
class Submitted:
    job_id: str
    kind: str
    key: str
    partition: int
    offset: int
    acked_s: float      # when the broker had acknowledged it, seconds since 1970
    expected: str       # "result", "dead" or "either"
    image: str = ""     # equal images must get equal labels
    digest: str = ""    # of its value
    prompt: bool = True


@dataclass(frozen=True)
class Answer:
    """A record of the result topic or the dead-letter topic."""
    dead: bool
    job_id: str
    source: tuple       # (partition, offset) of the job that it says it answers
    at: tuple           # (partition, offset) of the record itself
    time_s: float       # when it could be read: appended, and its transaction ended
    label: str = ""
    digest: str = ""    # of a dead letter's value
    code: str = ""


@dataclass
class Verdict:
    submitted: int = 0
    results: int = 0
    dead_lettered: int = 0
    lost: int = 0
    duplicates: int = 0
    order_violations: int = 0
    unknown: int = 0            # answers to what was never submitted
    wrong: int = 0              # another kind of answer than expected, another label for the same image, damaged payload
    longest_stall_s: float = 0.0
    longest_partition_stall_s: float = 0.0
    stalls_over_30_s: int = 0   # partitions
    examples: dict = field(default_factory=dict)

    def note(self, what, text):
        found = self.examples.setdefault(what, [])
        if len(found) < 10:
            found.append(text)


def check(submitted, answers, ordering="unordered"):
    """Reconciles the two lists. Counts everything. The function `missed` says which counts break a promise."""
    verdict = Verdict(submitted=len(submitted))
    by_source = {(x.partition, x.offset): x for x in submitted}
    answered = defaultdict(list)
    for answer in sorted(answers, key=lambda x: (x.time_s, x.at)):
        job = by_source.get(answer.source)
        if job is None or (not answer.dead and answer.job_id != job.job_id):
            verdict.unknown += 1
            verdict.note("unknown", f"{'dead letter' if answer.dead else 'result'} {answer.job_id} at {answer.at}"
                                    f" for {answer.source}")
            continue
        answered[job.job_id].append(answer)
        verdict.results += not answer.dead
        verdict.dead_lettered += answer.dead
    for job in submitted:
        found = answered.get(job.job_id, [])
        if not found:
            verdict.lost += 1
            verdict.note("lost", f"{job.job_id} ({job.kind}) at {(job.partition, job.offset)}, acked {job.acked_s:.3f}")
        elif len(found) > 1:
            verdict.duplicates += len(found) - 1
            verdict.note("duplicates", f"{job.job_id} ({job.kind}) from {(job.partition, job.offset)}: "
                                       + ", ".join(f"{'dead' if x.dead else 'result'} {x.time_s:.3f}" for x in found))
        _check_content(verdict, job, found)
    _check_labels(verdict, submitted, answered)
    _check_order(verdict, submitted, answered, ordering)
    _check_stalls(verdict, submitted, answered)
    return verdict


def _check_content(verdict, job, found):
    for answer in found:
        if answer.dead and job.expected == "result" and answer.code != "max_attempts":
            # A good job may become a dead letter only because its workers were killed around it.
            verdict.wrong += 1
            verdict.note("wrong", f"{job.job_id} ({job.kind}) is a dead letter: {answer.code}")
        if not answer.dead and job.expected == "dead":
            verdict.wrong += 1
            verdict.note("wrong", f"{job.job_id} ({job.kind}) has a result: {answer.label}")
        if answer.dead and answer.digest and job.digest and answer.digest != job.digest:
            verdict.wrong += 1
            verdict.note("wrong", f"the payload of {job.job_id} ({job.kind}) was changed on its way to dead letters")


def _check_labels(verdict, submitted, answered):
    """Finds answers that were swapped between jobs: the same image then has different labels."""
    labels = defaultdict(lambda: defaultdict(list))
    for job in submitted:
        for answer in answered.get(job.job_id, []):
            if job.image and not answer.dead:
                labels[job.image][answer.label].append(job.job_id)
    for image, seen in labels.items():
        usual = max(seen, key=lambda x: len(seen[x]))
        for label, jobs in seen.items():
            if label != usual:
                verdict.wrong += len(jobs)
                verdict.note("wrong", f"{image} is {label} in {jobs[0]}, elsewhere {usual}")


def _check_order(verdict, submitted, answered, ordering):
    """First answers must come in the order of the jobs, for those that go to the same partition of results."""
    if ordering == "unordered":
        return
    lanes = defaultdict(list)
    for job in submitted:
        first = {}
        for answer in answered.get(job.job_id, []):
            if not answer.dead:
                lane = (job.partition, job.key if ordering == "key" else "", answer.at[0])
                first[lane] = min(first.get(lane, answer.at[1]), answer.at[1])
        for lane, at in first.items():
            lanes[lane].append((at, job.offset, job.job_id))
    for lane, found in lanes.items():
        highest, before = -1, ""
        for _, offset, job_id in sorted(found):
            if offset < highest:
                verdict.order_violations += 1
                verdict.note("order", f"{job_id} (offset {offset}) of {lane} was answered after {before} ({highest})")
            else:
                highest, before = offset, job_id


def _check_stalls(verdict, submitted, answered):
    progress = sorted(x.time_s for found in answered.values() for x in found)
    verdict.longest_stall_s = round(longest_stall(submitted, answered, progress)[0], 3)
    partitions = defaultdict(list)
    for job in submitted:
        partitions[job.partition].append(job)
    for partition, jobs in sorted(partitions.items()):
        times = sorted(x.time_s for job in jobs for x in answered.get(job.job_id, []))
        stall, since = longest_stall(jobs, answered, times)
        verdict.longest_partition_stall_s = max(verdict.longest_partition_stall_s, round(stall, 3))
        if stall > STALL_TO_REPORT_S:
            verdict.stalls_over_30_s += 1
            verdict.note("stalls", f"partition {partition}: nothing for {stall:.1f} s from {since:.3f} on")


def longest_stall(jobs, answered, progress):
    """(seconds, start): the longest time without progress while a prompt job waited that was answered later.

    Jobs that are lost do not count here, as the wait for them would never end: they are counted as lost.
    """
    changes = []
    for job in jobs:
        found = answered.get(job.job_id, [])
        if job.prompt and found:
            first = min(x.time_s for x in found)
            if first > job.acked_s:
                changes += [(job.acked_s, 1), (first, -1)]
    changes += [(x, 0) for x in progress]
    worst, since, pending, idle_from = 0.0, 0.0, 0, None
    for time_s, change in sorted(changes):
        if pending > 0 and idle_from is not None and time_s - idle_from > worst and change <= 0:
            worst, since = time_s - idle_from, idle_from
        pending += change
        if change <= 0:
            idle_from = time_s
        elif pending == 1:
            idle_from = time_s
    return worst, since


def missed(verdict, delivery="at_least_once", stall_limit_s=11.0, machine_delay_s=0.0):
    """The promises that were broken, each as a line for people. Empty: all were kept.

    `machine_delay_s`: how long the machine kept the suite itself from running. A stall may be longer by this time.
    """
    lines = []
    for name, count in (("lost", verdict.lost), ("order violations", verdict.order_violations),
                        ("answers to unknown jobs", verdict.unknown), ("wrong answers", verdict.wrong),
                        ("partitions without progress for 30 s", verdict.stalls_over_30_s if
                         verdict.longest_partition_stall_s > STALL_TO_REPORT_S + machine_delay_s else 0)):
        if count:
            lines.append(f"{name}: {count}")
    if delivery == "exactly_once" and verdict.duplicates:
        lines.append(f"duplicates with exactly_once: {verdict.duplicates}")
    allowed_s = round(stall_limit_s + machine_delay_s, 3)
    if verdict.longest_stall_s >= allowed_s:
        lines.append(f"longest stall: {verdict.longest_stall_s} s, allowed are {allowed_s} s")
    return lines
