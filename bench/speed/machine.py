"""What a figure of speed was measured on. Figures of two machines are never divided by each other."""

import os
import re
from pathlib import Path

WANTED = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_tile", "amx_int8", "amx_bf16")


def describe():
    """CPU model, the instruction sets that matter here, processors, and the load of the last minute."""
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    find = lambda key: (re.search(rf"^{key}\s*: (.*)$", text, re.MULTILINE) or [None, ""])[1]
    flags = set(find("flags").split())
    return {"cpu": find("model name"), "family": find("cpu family"), "model": find("model"),
            "isa": [x for x in WANTED if x in flags], "processors": len(os.sched_getaffinity(0)),
            "load_before": round(os.getloadavg()[0], 2)}


def ticks():
    """(busy, stolen, all) processor time of the machine so far, in seconds."""
    values = [int(x) for x in Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:9]]
    second = os.sysconf("SC_CLK_TCK")
    return ((sum(values) - values[3] - values[4]) / second, values[7] / second, sum(values) / second)


def cpu_seconds(pid, also_ended=False):
    """Processor time of one process so far; 0 when it is gone. `also_ended`: also of its children that have ended, and
    of theirs."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return sum(map(int, fields[11:15 if also_ended else 13])) / os.sysconf("SC_CLK_TCK")
