"""The plan of a seed: which action happens when. Pure; the same seed and duration give the same plan.

Three rules make sure that every stall can be short:

1. At most one broker is harmed at a time, so the others have a majority and all in-sync replicas that `acks=all` needs.
2. At most one of the first two places is harmed at a time, so one service can always go on. Further places join and
   leave at any time.
3. While the group has not yet noticed that a member vanished, no other member vanishes and no broker is harmed. Kafka's
   classic protocol stops the whole group until the session of each vanished member has timed out, and a broker that
   takes over the group counts the sessions anew. So a chain of such actions would stop any consumer.
"""

import random
from dataclasses import dataclass, field

STABLE_PLACES = 2
# A broker that comes back reads its log and catches up before it is a full replica again.
BROKER_REST_S = 8.0
PLACE_REST_S = 2.0
# Until the group has noticed that a member is gone, and has settled without it.
GROUP_REST_S = 8.0
RESTS = {"broker": BROKER_REST_S, "place": PLACE_REST_S, "storm": 1.0}


@dataclass(frozen=True)
class Action:
    """`kind` happens at `at_s` to `target` and is undone, where that makes sense, `lasts_s` later."""
    at_s: float
    kind: str
    target: int  # a broker (0…) or a place (0…)
    lasts_s: float = 0.0
    detail: dict = field(default_factory=dict)

    @property
    def ends_s(self):
        return self.at_s + self.lasts_s


@dataclass(frozen=True)
class Kind:
    name: str
    harms: str  # "broker", "place" or "worker": a place that can go on by itself
    weight: float
    lasts: tuple  # seconds, shortest and longest
    vanishes: bool = False  # a member of the group goes without a word
    needs: str = ""  # what the machine must allow: "disk" or "cgroup"


KINDS = (
    Kind("worker_kill", "worker", 5, (0, 0)),
    Kind("worker_stop", "worker", 3, (0.2, 6)),
    Kind("fork_server_kill", "worker", 2, (0, 0)),
    Kind("fork_server_stop", "worker", 1, (0.5, 4)),
    Kind("service_kill", "place", 4, (0.2, 4), vanishes=True),
    Kind("service_stop", "place", 3, (0.5, 12), vanishes=True),  # beyond the session: it comes back as a zombie
    Kind("service_term", "place", 2, (0.2, 2)),
    Kind("broker_kill", "broker", 3, (0.5, 5)),
    Kind("broker_stop", "broker", 3, (0.5, 8)),
    Kind("broker_disk_full", "broker", 1, (2, 5), needs="disk"),
    Kind("storm", "storm", 3, (4, 9)),
    Kind("storm_kill", "storm", 2, (2, 5), vanishes=True),
    Kind("net_cut", "place", 3, (0.2, 10), vanishes=True),
    Kind("net_cut_one", "place", 2, (0.5, 8), vanishes=True),
    Kind("net_half_open", "place", 3, (1, 12), vanishes=True),
    Kind("net_delay", "place", 2, (2, 8)),
    Kind("net_slow_publisher", "place", 2, (2, 8)),
    Kind("memory_pressure", "place", 2, (2, 5), needs="cgroup"),
)


def plan(seed, seconds, brokers=3, places=3, allowed=("disk", "cgroup"), only=None, every=None):
    """Actions in the order of `at_s`, the last of which ends before `seconds`.

    `only`: names of kinds, instead of all. Runs of less than two minutes are denser, and begin with one of each kind
    in random order as far as there is room.
    """
    rng = random.Random(f"schedule {seed}")
    kinds = [x for x in KINDS if (not x.needs or x.needs in allowed) and (only is None or x.name in only)]
    if places <= STABLE_PLACES:
        kinds = [x for x in kinds if x.harms != "storm"]
    if brokers < 3:
        kinds = [x for x in kinds if x.harms != "broker"]
    short = seconds < 120
    every = every or (0.8 if short else 1.5)
    first = rng.sample(kinds, len(kinds))
    free = dict.fromkeys(("broker", "place", "storm", "group", "worker"), 0.0)
    actions, now, broker_at = [], 1.0, 0.0
    while kinds and now < seconds:
        kind = first.pop() if first else rng.choices(kinds, [x.weight for x in kinds])[0]
        shortest, longest = kind.lasts
        lasts = rng.uniform(shortest, max(shortest, longest * (0.6 if short else 1)))
        at = max(now, *(free[x] for x in waits_for(kind)))
        if kind.vanishes:
            at = max(at, broker_at)
        if at + lasts <= seconds:
            action = Action(round(at, 3), kind.name, *_target(rng, kind, brokers, places, lasts))
            actions.append(action)
            free.update(rests(kind, action.at_s, action.lasts_s))
            broker_at = at if kind.harms == "broker" else broker_at
        now += rng.expovariate(1 / every)
    return sorted(actions, key=lambda x: x.at_s)


def waits_for(kind):
    """The targets that must have had their rest before the action may begin."""
    return [kind.harms] + ["group"] * (kind.vanishes or kind.harms == "broker")


def rests(kind, at_s, lasts_s):
    """The time before which no further action of the same sort may happen: {"broker", "place", "storm" or "group":
    seconds}"""
    ends_s = at_s + lasts_s
    found = {kind.harms: ends_s + RESTS[kind.harms]} if kind.harms in RESTS else {}
    if kind.vanishes:
        gone_at = ends_s if kind.harms == "storm" else at_s
        found["group"] = max(gone_at + GROUP_REST_S, ends_s + PLACE_REST_S)
    return found


def _target(rng, kind, brokers, places, lasts):
    lasts = round(lasts, 3)
    if kind.harms == "broker":
        return rng.randrange(brokers), lasts, {}
    if kind.harms == "storm":
        # The place joins and leaves as often as fits; the last time perhaps without a word.
        stays, left = [], lasts
        while left > 0.6:
            stay = min(left, rng.uniform(0.5, 3))
            gap = rng.uniform(0.1, 0.8)
            stays.append([round(stay, 3), round(gap, 3)])
            left -= stay + gap
        return STABLE_PLACES + rng.randrange(places - STABLE_PLACES), lasts, {"stay_gap": stays}
    place = rng.randrange(min(STABLE_PLACES, places))
    detail = {}
    if kind.name.startswith("worker"):
        detail = {"nth": rng.randrange(8), "count": rng.choice((1, 1, 1, 2))}
    elif kind.name == "net_cut_one":
        detail = {"broker": rng.randrange(brokers)}
    elif kind.name == "net_half_open":
        detail = {"reset": rng.random() < 0.5, "broker": rng.choice((None, rng.randrange(brokers)))}
    elif kind.name == "net_delay":
        detail = {"delay_s": round(rng.uniform(0.05, 0.5), 3)}
    elif kind.name == "net_slow_publisher":
        detail = {"bytes_per_s": rng.choice((20_000, 60_000, 200_000))}
    return place, lasts, detail
