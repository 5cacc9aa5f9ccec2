# SPDX-License-Identifier: Apache-2.0
"""Needs no PyTorch: scripts/test runs it."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

TOOLS = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOOLS))
import model_files  # noqa: E402


class ModelFiles(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.output = Path(folder.name) / "models"

    def write(self, text: str, force: bool = False):
        with model_files.new_version(self.output, "pets", "1", force) as folder:
            (folder / "model.pt").write_text(text)

    def content(self) -> dict[str, str]:
        return {str(file.relative_to(self.output)): file.read_text()
                for file in sorted(self.output.rglob("*")) if file.is_file()}

    def test_a_version_appears_whole(self):
        with model_files.new_version(self.output, "pets", "1", False) as folder:
            self.assertEqual(folder.parent, self.output / "pets")
            self.assertFalse((self.output / "pets/1").exists())
            (folder / "model.pt").write_text("a")
        self.assertEqual(self.content(), {"pets/1/model.pt": "a"})
        umask = os.umask(0)
        os.umask(umask)
        self.assertEqual((self.output / "pets/1").stat().st_mode & 0o777, 0o777 & ~umask)

    def test_a_version_is_replaced_by_force_only(self):
        self.write("a")
        with self.assertRaises(SystemExit) as ended:
            self.write("b")
        self.assertIn("--force", str(ended.exception))
        self.assertEqual(self.content(), {"pets/1/model.pt": "a"})
        self.write("c", force=True)
        self.assertEqual(self.content(), {"pets/1/model.pt": "c"})

    def test_a_failure_leaves_nothing_behind(self):
        for problem in (SystemExit("no"), ValueError("no"), KeyboardInterrupt()):
            with self.assertRaises(type(problem)):
                with model_files.new_version(self.output, "pets", "1", False) as folder:
                    (folder / "model.pt").write_text("a")
                    raise problem
            self.assertFalse(self.output.exists())

    def test_a_failure_leaves_the_old_version_as_it_was(self):
        self.write("a")
        with self.assertRaises(ValueError):
            with model_files.new_version(self.output, "pets", "1", True) as folder:
                (folder / "model.pt").write_text("b")
                raise ValueError
        self.assertEqual(self.content(), {"pets/1/model.pt": "a"})
        self.assertEqual(len(list((self.output / "pets").iterdir())), 1)

    def test_sigterm_leaves_nothing_behind(self):
        program = ("import signal, sys, pathlib; sys.path.insert(0, sys.argv[1]); import model_files\n"
                   "signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))\n"
                   "with model_files.new_version(pathlib.Path(sys.argv[2]), 'pets', '1', False) as folder:\n"
                   "    (folder / 'model.pt').write_text('a'); print('written', flush=True); sys.stdin.read()\n")
        with subprocess.Popen([sys.executable, "-c", program, str(TOOLS), str(self.output)], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, text=True) as child:
            try:
                self.assertEqual(child.stdout.readline(), "written\n")
                child.send_signal(signal.SIGTERM)
                self.assertEqual(child.wait(60), 143)
            finally:
                child.kill()
        self.assertFalse(self.output.exists())

    def test_names_that_are_no_folders_are_refused(self):
        for name, version in (("a/b", "1"), ("..", "1"), ("pets", ""), ("pets", "../2"), ("pets", ".1")):
            with self.assertRaises(SystemExit):
                with model_files.new_version(self.output, name, version, True):
                    self.fail("entered")
        self.assertFalse(self.output.exists())

    def test_model_json_has_activation_and_threshold_where_they_differ_from_the_default(self):
        for how, wanted in (({}, {}), ({"activation": "sigmoid", "threshold": 0.5},
                                       {"activation": "sigmoid", "threshold": 0.5})):
            self.output.mkdir(exist_ok=True)
            (self.output / "model.pt").write_bytes(b"weights")
            model_files.write_folder(self.output, name="n", version="1", labels=["猫", "狗"], preprocessing={}, **how)
            found = json.loads((self.output / "model.json").read_text(encoding="utf-8"))
            self.assertEqual({key: found[key] for key in ("activation", "threshold") if key in found}, wanted)
            self.assertEqual((self.output / "labels.txt").read_text(encoding="utf-8"), "猫\n狗\n")


if __name__ == "__main__":
    unittest.main()
