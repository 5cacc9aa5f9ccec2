"""Performs the actions of a plan. Nothing here waits: an action that takes time is begun, and a later call ends it."""

import heapq
import signal
import time
from collections import Counter

from . import schedule
from .processes import send

KINDS = {x.name: x for x in schedule.KINDS}


class Chaos:
    """Call `step` often, from the main thread.

    The plan keeps its rules by the clock. On a busy machine a broker or a service may need longer to come back than the
    plan allows. So each action waits until the rules really hold, and is dropped if its time ends before that.
    """

    def __init__(self, actions, cluster, places, left_behind, log, seconds, pressures):
        self.cluster, self.places, self.left_behind, self.log = cluster, places, left_behind, log
        self.seconds, self.pressures = seconds, pressures
        self.counts, self.dropped = Counter(), Counter()
        self.rest_until = Counter()  # what is harmed ("broker", "place", "group") -> since the start, s
        self.queue, self.order = [], 0
        self.origin = None
        for action in actions:
            self._at(action.at_s, self._begin, action)

    def start(self):
        self.origin = time.monotonic()

    def step(self):
        """Whether actions of the plan are still to come."""
        now = time.monotonic() - self.origin
        while self.queue and self.queue[0][0] <= now:
            _, _, function, arguments = heapq.heappop(self.queue)
            function(*arguments)
        return bool(self.queue)

    def _at(self, seconds, function, *arguments):
        self.order += 1
        heapq.heappush(self.queue, (seconds, self.order, function, arguments))

    def _later(self, action, function, *arguments):
        self._at(time.monotonic() - self.origin + action.lasts_s, function, *arguments)

    def _obstacle(self, kind, action):
        """Why the action must wait, or None."""
        now = time.monotonic() - self.origin
        for what in schedule.waits_for(kind):
            if now < self.rest_until[what]:
                return f"the last {what} needs a rest"
        if kind.harms == "broker" and not self.cluster.whole():
            return "a broker is not back yet"
        if kind.harms == "place":
            for place in self.places[:schedule.STABLE_PLACES]:
                if place.number != action.target and not place.goes_on():
                    return f"place {place.number} is not back yet"
        if kind.vanishes and not self.cluster.group_is_stable(sum(x.running() for x in self.places)):
            return "the group is not stable"
        return None

    def _begin(self, action, waited=False):
        kind = KINDS[action.kind]
        obstacle = self._obstacle(kind, action)
        if obstacle:
            now = time.monotonic() - self.origin
            if now + action.lasts_s > self.seconds:
                self.dropped[action.kind] += 1
                self.log(f"{action.kind} target {action.target} is left out: {obstacle}")
                return
            if not waited:
                self.log(f"{action.kind} target {action.target} waits: {obstacle}")
            self._at(now + 0.5, self._begin, action, True)
            return
        if kind.harms == "place":
            self.pressures.disturb(self.places[action.target])
        done = getattr(self, "_" + action.kind)(action)
        if kind.harms in schedule.RESTS:
            now = time.monotonic() - self.origin
            for what, until in schedule.rests(kind, now, action.lasts_s).items():
                self.rest_until[what] = until
        # An action that was not possible (no worker was up) is reported, not counted.
        self.counts[action.kind] += 0 if done is False else 1
        self.log(f"{action.kind} target {action.target} for {action.lasts_s} s {action.detail or ''}"
                 f"{': nothing there' if done is False else ''}")

    # -- workers and fork servers ----------------------------------------------------

    def _pick(self, action):
        workers, _ = self.places[action.target].workers()
        first = action.detail["nth"] % max(1, len(workers))
        return (workers[first:] + workers[:first])[:action.detail["count"]]

    def _worker_kill(self, action):
        return any([send(pid, signal.SIGKILL) for pid in self._pick(action)])

    def _worker_stop(self, action):
        return any([self._pause(pid, action) for pid in self._pick(action)])

    def _fork_server_kill(self, action):
        # Not while the service starts: without a first fork server it ends, with the reason, as it should.
        server = self.places[action.target].workers()[1] if self.places[action.target].goes_on() else None
        return server is not None and send(server, signal.SIGKILL)

    def _fork_server_stop(self, action):
        server = self.places[action.target].workers()[1]
        return server is not None and self._pause(server, action)

    def _pause(self, pid, action):
        self._later(action, send, pid, signal.SIGCONT)
        return send(pid, signal.SIGSTOP)

    # -- services --------------------------------------------------------------------

    def _service_kill(self, action):
        place = self.places[action.target]
        if not place.running():
            return False
        self._kill(place)
        self._later(action, place.start)
        return True

    def _kill(self, place):
        self.left_behind.watch(place.kill(), place.number)

    def _service_stop(self, action):
        place = self.places[action.target]
        if not place.running():
            return False
        place.signal(signal.SIGSTOP)
        self._later(action, place.signal, signal.SIGCONT)
        return True

    def _service_term(self, action):
        place = self.places[action.target]
        if not place.running():
            return False
        place.terminate()
        self._later(action, self._restart_when_ended, place)
        return True

    def _restart_when_ended(self, place):
        if place.running() and place.stopping_since is not None:
            self._at(time.monotonic() - self.origin + 0.1, self._restart_when_ended, place)
        else:
            place.start()

    def _storm(self, action, last=None):
        place, at = self.places[action.target], time.monotonic() - self.origin
        for i, (stay, gap) in enumerate(action.detail["stay_gap"]):
            self._at(at, self._restart_when_ended, place)
            ends = last if last and i + 1 == len(action.detail["stay_gap"]) else self._terminate
            self._at(at + stay, ends, place)
            at += stay + gap
        return True

    def _storm_kill(self, action):
        return self._storm(action, self._kill)

    def _terminate(self, place):
        place.terminate()

    def _memory_pressure(self, action):
        pressure = self.pressures.begin(self.places[action.target], action.lasts_s)
        if pressure:
            self._later(action, self._release, pressure)
        return pressure is not None

    def _release(self, pressure):
        if not self.pressures.end(pressure):
            now = time.monotonic() - self.origin
            self.rest_until["place"] = now + schedule.PLACE_REST_S
            self._at(now + 0.2, self._release, pressure)

    # -- brokers ---------------------------------------------------------------------

    def _broker_kill(self, action):
        broker = self.cluster.brokers[action.target]
        if not broker.running():
            return False
        broker.kill()
        self._later(action, broker.start)
        return True

    def _broker_stop(self, action):
        broker = self.cluster.brokers[action.target]
        broker.child.signal(signal.SIGSTOP)
        self._later(action, broker.child.signal, signal.SIGCONT)
        return broker.running()

    def _broker_disk_full(self, action):
        broker = self.cluster.brokers[action.target]
        broker.fill_disk()
        self._later(action, broker.free_disk)
        return True

    # -- network ---------------------------------------------------------------------

    def _links(self, action, which="broker"):
        number = action.detail.get(which)
        return [x.links[action.target] for i, x in enumerate(self.cluster.brokers) if number is None or i == number]

    def _heal(self, links, reset=False):
        for link in links:
            link.heal(reset)

    def _disturb(self, action, disturb, reset=False):
        links = self._links(action)
        for link in links:
            disturb(link)
        self._later(action, self._heal, links, reset)
        return True

    def _net_cut(self, action):
        return self._disturb(action, lambda link: link.cut())

    def _net_cut_one(self, action):
        return self._disturb(action, lambda link: link.cut())

    def _net_half_open(self, action):
        return self._disturb(action, lambda link: link.freeze(), action.detail["reset"])

    def _net_delay(self, action):
        return self._disturb(action, lambda link: link.delay(action.detail["delay_s"]))

    def _net_slow_publisher(self, action):
        return self._disturb(action, lambda link: link.limit("up", action.detail["bytes_per_s"]))
