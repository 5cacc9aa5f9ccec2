# SPDX-License-Identifier: Apache-2.0
"""Needs no PyTorch: scripts/test runs it."""

import hashlib
import json
import re
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


class Licence(unittest.TestCase):
    def test_the_licence_is_apache_2_whole(self):
        digest = hashlib.sha256((ROOT / "LICENSE").read_bytes()).hexdigest()
        self.assertEqual(digest, "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30")

    def test_the_notice_names_every_library_of_the_dependencies(self):
        table = read("docs/dependencies.md").partition("## Libraries")[2].partition("\n## ")[0]
        rows = [line.split("|")[1:-1] for line in table.splitlines() if line.startswith("|")][2:]
        self.assertGreater(len(rows), 10)
        notice = read("NOTICE").lower()
        for row in rows:
            if "planned" in row[1]:
                continue
            for name in re.split(r",\s*", re.sub(r"\(.*?\)", "", row[0]).strip()):
                self.assertIn(name.strip().lower(), notice)

    def test_cmake_files_and_package_data_say_their_licence(self):
        files = [ROOT / "CMakeLists.txt", *ROOT.glob("cmake/*.cmake")]
        for folder in ("actors", "base", "bench", "broker", "cli", "configs", "messaging", "model", "supervision",
                       "tests", "wire"):
            files += (ROOT / folder).rglob("CMakeLists.txt")
        self.assertGreater(len(files), 15)
        for file in files:
            self.assertIn("SPDX-License-Identifier: Apache-2.0", file.read_text(encoding="utf-8"), str(file))
        self.assertIn('SPDX-License-Identifier = "Apache-2.0"', read("REUSE.toml"))
        self.assertEqual(json.loads(read("models/digits/1/model.json"))["license"], "Apache-2.0")
        for readme in ("README.md", "README.zh-CN.md"):
            self.assertIn("(LICENSE)", read(readme))
            self.assertIn("(NOTICE)", read(readme))


if __name__ == "__main__":
    unittest.main()
