"""Runs clang-tidy over source files; used by scripts/lint.

    tidy.py CLANG_TIDY CACHE BUILD JOBS FIX FILE...

A file takes seconds, and minutes when it includes libtorch. So what was clean is
remembered by a hash of all that clang-tidy would see of it: the preprocessed source, its
options, the checks. FIX is "fix" to apply what clang-tidy proposes (one at a time then).
"""

import concurrent.futures
import hashlib
import json
import os
import pathlib
import shlex
import subprocess
import sys
import time


def without_precompiled(entry):
    """The entry without g++'s precompiled headers, which clang cannot read."""
    words = []
    for word in shlex.split(entry["command"]):
        if word.endswith("cmake_pch.hxx") and words[-1] == "-include":
            words.pop()
        elif word not in ("-Winvalid-pch", "-fpch-preprocess"):
            words.append(word)
    return {**entry, "command": shlex.join(words)}


def preprocessed(entry):
    """What the compiler makes of the file, or None if it does not compile."""
    words = shlex.split(entry["command"])
    if os.path.basename(words[0]) == "ccache":
        words = words[1:]
    drop = words.index("-o") if "-o" in words else None
    if drop is not None:
        del words[drop : drop + 2]
    words = [word for word in words if word != "-c"]
    run = subprocess.run(
        words + ["-E", "-P"], cwd=entry["directory"], capture_output=True, check=False
    )
    return run.stdout if run.returncode == 0 else None


def key_of(entry, tidy, root):
    text = preprocessed(entry)
    if text is None:
        return None
    version = subprocess.run([tidy, "--version"], capture_output=True, check=True).stdout
    digest = hashlib.sha256(version)
    digest.update((root / ".clang-tidy").read_bytes())
    digest.update(pathlib.Path(entry["file"]).read_bytes())  # NOLINT stands in comments
    digest.update(text)
    return digest.hexdigest()


def check(entry, tidy, cache, build, root, fix):
    """Returns the findings: an empty text when it is clean."""
    key = key_of(entry, tidy, root)
    mark = cache / key if key else None
    if mark and mark.exists():
        mark.touch()
        return ""
    command = [tidy, "-quiet", "-p", build, entry["file"]]
    if fix:
        command += ["-fix"]
    # Options of g++ that clang does not know must not count as findings.
    command += ["--extra-arg=-Wno-unknown-warning-option", "--extra-arg=-Wno-everything"]
    run = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if run.returncode == 0 and "warning:" not in run.stdout:
        if mark:
            mark.touch()
        return ""
    noise = " warnings generated."
    errors = "\n".join(x for x in run.stderr.splitlines() if not x.endswith(noise))
    return run.stdout + errors


def main():
    tidy, cache, build, jobs, fix, *files = sys.argv[1:]
    root = pathlib.Path(__file__).resolve().parents[2]
    cache = pathlib.Path(cache)
    cache.mkdir(parents=True, exist_ok=True)
    # Marks that nobody has asked for in a month.
    for mark in cache.iterdir():
        if time.time() - mark.stat().st_mtime > 30 * 86400:
            mark.unlink()
    commands = [
        without_precompiled(entry)
        for entry in json.loads(pathlib.Path(build, "compile_commands.json").read_text())
    ]
    build = pathlib.Path(build, "tidy")
    build.mkdir(exist_ok=True)
    (build / "compile_commands.json").write_text(json.dumps(commands))
    known = {os.path.realpath(entry["file"]): entry for entry in commands}
    entries = [known[os.path.realpath(x)] for x in files if os.path.realpath(x) in known]
    bad = 0
    with concurrent.futures.ThreadPoolExecutor(1 if fix == "fix" else int(jobs)) as pool:
        work = {
            pool.submit(check, x, tidy, cache, build, root, fix == "fix"): x for x in entries
        }
        for done, future in enumerate(concurrent.futures.as_completed(work), 1):
            name = os.path.relpath(work[future]["file"], root)
            findings = future.result()
            print(f"  [{done}/{len(entries)}] {name}", file=sys.stderr, flush=True)
            if findings:
                bad += 1
                print(findings, flush=True)
    if bad:
        print(f"  clang-tidy: {bad} of {len(entries)} files have findings", file=sys.stderr)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
