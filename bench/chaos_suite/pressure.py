"""Checks that the breaker opens under memory pressure and closes when the pressure is over, by asking the service.

A service that does not answer, or a pressure that was too short, proves nothing and is not judged.
"""

import time
from dataclasses import dataclass

from .instances import BREAKER_OPENS_AT, MEMORY_LIMIT, Place

FILL_TO = 0.88
# Surely above `breaker.open_at`, whenever the service looks.
HELD_AT = (BREAKER_OPENS_AT + FILL_TO) / 2
# A service reads its memory each second; on a busy machine later.
OPENS_WITHIN_S = 5.0
# How long it may take to fill the memory, and for that to be seen, beyond the end in the plan.
LONGER_S = 8.0
# The longest time that it stays open (breaker.open_max_ms) twice, as a probe may be poison, and a rebalance before that.
CLOSES_WITHIN_S = 40.0
# …that it stays open without jobs, and a bit.
LETS_GO_WITHIN_S = 15.0
LOOKS_EACH_S = 0.1
ASKS_EACH_S = 0.5
# After so long without a look the state in between is not known.
GAP_S = 1.0


@dataclass
class Pressure:
    place: Place
    start: int                       # of the service in this place: a later one was not under pressure
    ends_s: float                    # by the plan
    held_from: float | None = None   # the memory is full, without a gap, since then
    was_full: bool = False
    looked_s: float = 0.0
    released_s: float | None = None

    def same_service(self):
        return self.place.running() and self.place.starts == self.start and self.place.stopping_since is None


class Pressures:
    """All times are of `clock`, in seconds."""

    def __init__(self, log, clock=time.monotonic):
        self.log, self.clock = log, clock
        self.active, self.closing = [], []
        self.held = self.opened = self.closed = 0
        self.missed = []

    def begin(self, place, lasts_s):
        """Begins a pressure. None if no service can be pressed, or there is no memory to do it."""
        if not place.squeeze(FILL_TO):
            return None
        self.active.append(Pressure(place, place.starts, self.clock() + lasts_s))
        return self.active[-1]

    def end(self, pressure):
        """Releases the pressure if the breaker is open or has had its time to open. False: call this again soon."""
        now = self.clock()
        state = self._breaker(pressure)
        held_s = now - pressure.held_from if pressure.held_from is not None else 0.0
        if state not in ("open", "gone") and held_s < OPENS_WITHIN_S and now < pressure.ends_s + LONGER_S:
            return False
        pressure.place.release()
        pressure.released_s = now
        self.active.remove(pressure)
        where = f"place {pressure.place.number}"
        self.log(f"memory pressure on {where} ends: breaker {state}, memory was full for {held_s:.1f} s")
        if state == "open" and pressure.was_full:
            self.held += 1
            self.opened += 1
            self.closing.append(pressure)
        elif state not in ("open", "unknown", "gone") and held_s >= OPENS_WITHIN_S:
            self.held += 1
            self.missed.append(f"the breaker of {where} was {state} after {held_s:.1f} s of memory pressure")
        return True

    def disturb(self, place):
        """Another action affects the service. From now on its breaker says nothing about the pressure."""
        self.closing = [x for x in self.closing if x.place is not place]

    def look(self):
        """Looks at all breakers under pressure. To be called often."""
        now = self.clock()
        for x in self.active:
            if now - x.looked_s < LOOKS_EACH_S:
                continue
            full = x.place.cgroup.used_bytes() >= HELD_AT * MEMORY_LIMIT
            if not full or x.held_from is None or now - x.looked_s > GAP_S:
                x.held_from = now if full else None
            x.was_full |= full
            x.looked_s = now
        for x in list(self.closing):
            if now - x.looked_s < ASKS_EACH_S:
                continue
            x.looked_s = now
            state = self._breaker(x)
            if state == "closed":
                self.closed += 1
            elif state not in ("gone", "unknown") and now - x.released_s > CLOSES_WITHIN_S:
                self.missed.append(f"the breaker of place {x.place.number} was {state} {CLOSES_WITHIN_S:.0f} s after the"
                                   " memory pressure")
            elif state != "gone":
                continue
            self.closing.remove(x)

    def finish(self, serve):
        """Waits until no breaker is open. Without jobs a breaker does not close, but it must not stay open either.
        Calls `serve()` while it waits."""
        deadline = self.clock() + LETS_GO_WITHIN_S
        while self.closing:
            for x in list(self.closing):
                state = self._breaker(x)
                if state == "open" and self.clock() > deadline:
                    self.missed.append(f"the breaker of place {x.place.number} was still open in the end")
                elif state == "open" or (state == "unknown" and self.clock() < deadline):
                    continue
                self.closed += state == "closed"
                self.closing.remove(x)
            serve()

    @staticmethod
    def _breaker(pressure):
        """The state of a breaker; "unknown" if the service does not answer, "gone" if it has ended or another one has
        its place."""
        if not pressure.same_service():
            return "gone"
        answer = pressure.place.get("/health", 0.3)
        return answer.get("breaker", "unknown") if answer else "unknown"
