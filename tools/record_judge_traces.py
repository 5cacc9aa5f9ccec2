#!/usr/bin/env python3
"""Records traces for bench/judge with the real service: each job's live bytes, private
memory and input sizes, one CSV file per worker.

  tools/record_judge_traces.py ZIYU FOLDER

ZIYU is the built program (build/release/bin/ziyu); files go to FOLDER.
"""

import json
import pathlib
import signal
import subprocess
import sys
import tempfile

JOBS = 400
# Fault of slot 0, and the mean bytes that each of its jobs leaves.
FAULTS = {
    "none": 0,
    "native_malloc:1KiB": 1024,
    "native_malloc:64KiB": 65536,
    "retain_tensors:64KiB": 65536,
    "retain_tensors:1MiB": 1048576,
    "retain_images": 0,
}


def results_of(ziyu, broker_folder, jobs):
    broker = subprocess.Popen([ziyu, "broker", "--dir", broker_folder], stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, text=True)
    try:
        bootstrap = json.loads(broker.stdout.readline())["bootstrap"]
        out = subprocess.run([ziyu, "results", "-b", bootstrap, "--from", "beginning", "--count",
                              str(jobs), "--timeout", "60", "--json"],
                             stdout=subprocess.PIPE, text=True, timeout=120, check=True).stdout
    finally:
        broker.send_signal(signal.SIGTERM)
        broker.wait(60)
    return [json.loads(line) for line in out.splitlines()]


def record(ziyu, fault, folder):
    with tempfile.TemporaryDirectory() as scratch:
        subprocess.run([ziyu, "demo", "--jobs", str(JOBS), "--leak", fault, "--no-comparison",
                        "--chart", "", "--keep", scratch],
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=300)
        rows = results_of(ziyu, scratch + "/kafka", JOBS)
    workers = {}
    for x in rows:
        workers.setdefault((x["worker"]["slot"], x["worker"]["generation"]), []).append(x)
    for (slot, generation), jobs in sorted(workers.items()):
        if len(jobs) < 40 or generation > 1:
            continue
        leaks = slot == 0 and fault != "none"
        deltas = [x["memory"]["delta_bytes"] for x in jobs]
        mean = sum(deltas) / len(deltas) if leaks else 0
        name = fault.replace(":", "_") + f"_slot{slot}"
        with open(folder / f"{name}.csv", "w", encoding="utf-8") as out:
            out.write(f"# {fault.split(':')[0] if leaks else 'healthy'} "
                      f"{'leak' if leaks else 'healthy'} {1 if leaks else 0} "
                      f"{FAULTS[fault] or round(mean) if leaks else 0}\n")
            out.write("live_bytes,private_bytes,encoded_bytes,decoded_bytes,ok\n")
            for x in jobs:
                out.write(f"{x['memory']['live_bytes']},{x['memory']['private_bytes']},0,0,"
                          f"{int(x['status'] == 'ok')}\n")


def main():
    ziyu, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    for fault in FAULTS:
        record(ziyu, fault, folder)


if __name__ == "__main__":
    main()
