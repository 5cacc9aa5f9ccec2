"""Child processes that end with this process, whatever happens, and their figures in /proc."""

import ctypes
import os
import random
import signal
import socket
import subprocess
import time
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36
CLONE_NEWNS = 0x20000


def adopt_orphans():
    """Makes this process the parent of the children of a killed descendant, so that they are found and ended."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def own_mounts():
    """From now on, mounts disappear with this process, however it ends. False if mounting is not allowed."""
    if os.geteuid() != 0 or ctypes.CDLL(None).unshare(CLONE_NEWNS) != 0:
        return False
    return subprocess.run(["mount", "--make-rprivate", "/"], check=False, stderr=subprocess.DEVNULL).returncode == 0


given_ports = set()


def free_port():
    """A port of 127.0.0.1 that nobody listens on, a different one each time. It is below the range from which the
    kernel gives ports to clients: a broker that is restarted must find its port free."""
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    for _ in range(200):
        port = random.randrange(max(2048, lowest - 12000), lowest)
        if port in given_ports:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                given_ports.add(port)
                return port
            except OSError:
                continue
    raise OSError("no free port below the ephemeral range")


class Child:
    """A process in a session of its own. It gets SIGKILL when our process ends, also by SIGKILL.

    Start it from the main thread only: the kernel counts the death of the thread that started it.
    """

    def __init__(self, command, log, cgroup=None, out=None, env=None):
        wrapped = ["setpriv", "--pdeathsig", "KILL", *map(str, command)]
        if cgroup:
            wrapped = [str(cgroup.enter), str(cgroup.folder), *wrapped]
        with open(log, "ab") as errors:
            self.process = subprocess.Popen(wrapped, stdin=subprocess.DEVNULL, stdout=out or errors, stderr=errors,
                                            start_new_session=True, env={**os.environ, **(env or {})})
        self.log = Path(log)
        self.started = time.monotonic()

    @property
    def pid(self):
        return self.process.pid

    def running(self):
        return self.process.poll() is None

    def exit_code(self):
        """None while it runs; 128 + the signal that ended it."""
        code = self.process.poll()
        return code if code is None or code >= 0 else 128 - code

    def signal(self, number):
        if self.running():
            self.process.send_signal(number)

    def kill(self):
        self.signal(signal.SIGKILL)
        self.process.wait()

    def wait(self, limit_s):
        """Its exit code, or None if it has not ended within the limit."""
        try:
            self.process.wait(limit_s)
        except subprocess.TimeoutExpired:
            pass
        return self.exit_code()


def read_process(pid):
    """(state, parent, command line), or None when there is no such process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return None
    return stat[0], int(stat[1]), command


def descendants(root):
    """{pid: (state, parent, command)} of all processes below `root`, without zombies."""
    found = {int(x): read_process(x) for x in os.listdir("/proc") if x.isdigit()}
    children = {}
    for pid, info in found.items():
        if info:
            children.setdefault(info[1], []).append(pid)
    result, todo = {}, [root]
    while todo:
        for pid in children.get(todo.pop(), []):
            todo.append(pid)
            if found[pid][0] != "Z":
                result[pid] = found[pid]
    return result


def send(pid, number):
    """Sends a signal to a process that may be gone. Returns whether the process was there."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def end_all_descendants(limit_s=10):
    """Sends SIGKILL to all descendants until there is none, and reaps them."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        left = descendants(os.getpid())
        for pid in left:
            send(pid, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            if not left:
                return
        time.sleep(0.05)


class Cgroup:
    """A memory cgroup of our own with a limit, version 1 or 2. Only root can make one: see `make`."""

    made = set()  # those not removed yet

    def __init__(self, folder, enter, v2):
        self.folder, self.enter, self.v2 = folder, enter, v2
        self.made.add(self)

    @classmethod
    def remove_all(cls):
        """Removes those that were made and not removed yet. No process may be in them."""
        for cgroup in list(cls.made):
            cgroup.remove()

    @classmethod
    def make(cls, name, limit_bytes, enter):
        """A new cgroup; None if none can be made here. `enter`: the program that starts another one inside of a
        cgroup."""
        for root, v2, limit in ((Path("/sys/fs/cgroup/memory"), False, "memory.limit_in_bytes"),
                                (Path("/sys/fs/cgroup"), True, "memory.max")):
            folder = root / name
            try:
                if v2 and not (root / "cgroup.controllers").exists():
                    continue
                if not root.exists():
                    continue
                folder.mkdir(exist_ok=True)
                (folder / limit).write_text(str(limit_bytes))
                return cls(folder, enter, v2)
            except OSError:
                try:
                    folder.rmdir()
                except OSError:
                    pass
        return None

    def _number(self, file, key=None):
        text = (self.folder / file).read_text()
        if key is None:
            return int(text)
        return int(dict(line.split() for line in text.splitlines())[key])

    def used_bytes(self):
        """The memory in use, counted as the service does it: without inactive file cache."""
        if self.v2:
            return self._number("memory.current") - self._number("memory.stat", "inactive_file")
        return self._number("memory.usage_in_bytes") - self._number("memory.stat", "total_inactive_file")

    def peak_bytes(self):
        return self._number("memory.peak" if self.v2 else "memory.max_usage_in_bytes")

    def oom_kills(self):
        return self._number("memory.events" if self.v2 else "memory.oom_control", "oom_kill")

    def remove(self):
        """Removes the cgroup. No process may be in it."""
        self.made.discard(self)
        for _ in range(100):
            try:
                self.folder.rmdir()
                return
            except FileNotFoundError:
                return
            except OSError:
                time.sleep(0.05)
