"""Runs clang-tidy over source files; used by scripts/lint.

    tidy.py CLANG_TIDY CACHE BUILD JOBS FIX FILE...

A file takes one to ten seconds, nearly all of it for the headers of others. So what was clean is
remembered by a hash of all that decides about it: the file and our headers below it, the compile
command, the checks, and the versions of clang-tidy and of the others' headers. FIX is "fix" to
apply what clang-tidy proposes (one at a time then).
"""

import concurrent.futures
import hashlib
import json
import os
import pathlib
import re
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


def apart(entry):
    """The entries of the sources that cmake/Together.cmake compiles as one, or the entry."""
    path = pathlib.Path(entry["file"])
    if path.parent.name != "together":
        return [entry]
    root = pathlib.Path(__file__).resolve().parents[2]
    sources = [str(root / x) for x in re.findall(r'#include "(.*)"', path.read_text())]
    words = shlex.split(entry["command"])
    at = words.index(entry["file"])
    return [
        {**entry, "file": x, "command": shlex.join(words[:at] + [x] + words[at + 1 :])}
        for x in sources
    ]


INCLUDE = re.compile(rb'^\s*#\s*include\s+"([^"]+)"', re.MULTILINE)


def ours_below(entry, root):
    """The file and those that it includes by "", as far as they are ours or generated."""
    words = shlex.split(entry["command"])
    folders = [pathlib.Path(word[2:]) for word in words if word.startswith("-I")]
    folders = [folder for folder in folders if folder.is_relative_to(root)]
    found, waiting = {}, [pathlib.Path(entry["file"])]
    while waiting:
        path = waiting.pop()
        if path in found:
            continue
        found[path] = path.read_bytes()
        for name in INCLUDE.findall(found[path]):
            places = [folder / os.fsdecode(name) for folder in (path.parent, *folders)]
            waiting += [place for place in places if place.is_file()][:1]
    return found


def versions(tidy, root):
    """What all files have in common."""
    digest = hashlib.sha256()
    digest.update(subprocess.run([tidy, "--version"], capture_output=True, check=True).stdout)
    for path in (root / ".clang-tidy", *sorted((root / "scripts/pins").iterdir())):
        digest.update(path.read_bytes())
    digest.update(pathlib.Path("/etc/debian_version").read_bytes())
    return digest.digest()


def key_of(entry, common, root):
    digest = hashlib.sha256(common)
    digest.update(entry["command"].replace(str(root), "").encode())
    parts = ours_below(entry, root)
    for folder in pathlib.Path(entry["file"]).parents:
        rules = folder / ".clang-tidy"  # the root's are in `common`
        if folder.is_relative_to(root) and folder != root and rules.is_file():
            parts[rules] = rules.read_bytes()
    for path, text in sorted(parts.items()):
        digest.update(os.fsencode(path.relative_to(root)) + b"\0" + text)
    return digest.hexdigest()


def check(entry, tidy, common, cache, build, root, fix):
    """Returns the findings: an empty text when it is clean."""
    mark = cache / key_of(entry, common, root)
    if mark.exists():
        mark.touch()
        return ""
    command = [tidy, "-quiet", "-p", build, entry["file"]]
    if fix:
        command += ["-fix"]
    # Options of g++ that clang does not know must not count as findings.
    command += ["--extra-arg=-Wno-unknown-warning-option", "--extra-arg=-Wno-everything"]
    run = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if run.returncode == 0 and "warning:" not in run.stdout:
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
        without_precompiled(one)
        for entry in json.loads(pathlib.Path(build, "compile_commands.json").read_text())
        for one in apart(entry)
    ]
    build = pathlib.Path(build, "tidy")
    build.mkdir(exist_ok=True)
    (build / "compile_commands.json").write_text(json.dumps(commands))
    known = {os.path.realpath(entry["file"]): entry for entry in commands}
    entries = [known[os.path.realpath(x)] for x in files if os.path.realpath(x) in known]
    common = versions(tidy, root)
    bad = 0
    with concurrent.futures.ThreadPoolExecutor(1 if fix == "fix" else int(jobs)) as pool:
        work = {
            pool.submit(check, x, tidy, common, cache, build, root, fix == "fix"): x
            for x in entries
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
