#!/usr/bin/env python3
"""Makes a model whose forward keeps the features of a bounded number of latest inputs: growth that ends.

    tools/make_caching_model.py              # writes tests/data/models/caching/1

It is the leaky model (tools/make_leaky_model.py) with a bound: one line of its TorchScript code is added, so PyTorch
is not needed. The model tests the judge; its answers mean nothing.
"""

import hashlib
import json
import shutil
import zipfile
from pathlib import Path

MODELS = Path(__file__).resolve().parent.parent / "tests/data/models"
ENTRIES = 300  # of 64 KiB

BEFORE = "    _1 = torch.append(history, _0)\n"
AFTER = BEFORE + f"""    if torch.gt(torch.len(history), {ENTRIES}):
      _2 = torch.pop(history, 0)
    else:
      pass
"""


def main():
    source, folder = MODELS / "leaky/1", MODELS / "caching/1"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(source / "labels.txt", folder)
    with zipfile.ZipFile(source / "model.pt") as old, zipfile.ZipFile(folder / "model.pt", "w") as new:
        for entry in old.infolist():
            content = old.read(entry)
            if entry.filename.endswith(".debug_pkl"):
                continue
            if entry.filename == "model/code/__torch__.py":
                text = content.decode()
                assert text.count(BEFORE) == 1, "another leaky model"
                content = text.replace(BEFORE, AFTER).encode()
            new.writestr(zipfile.ZipInfo(entry.filename, (1980, 1, 1, 0, 0, 0)), content)
    description = json.loads((source / "model.json").read_text(encoding="utf-8"))
    description.update(
        name="caching", version="1", sha256=hashlib.sha256((folder / "model.pt").read_bytes()).hexdigest(),
        notes=f"Made by tools/make_caching_model.py: keeps a tensor of 65536 bytes of each of its latest {ENTRIES} "
              "inputs. For tests only.")
    (folder / "model.json").write_text(json.dumps(description, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
