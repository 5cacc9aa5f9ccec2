# SPDX-License-Identifier: Apache-2.0
"""The whole way: compile a trained model, and let ziyu-worker classify with it."""

import json
import subprocess
import sys
import unittest

from support import TOOLS, WithWorker

ROOT = TOOLS.parent
DIGITS = ROOT / "models/digits/1"


class Compiled(WithWorker):
    def classify(self, precision: str, compiled) -> tuple[list[str], str]:
        images = sorted((ROOT / "tests/data/digits").glob("*.png"))
        done = subprocess.run([self.worker, "--model", DIGITS, "--precision", precision, "--compiled-path", compiled,
                               "--classify", *images], capture_output=True, text=True, timeout=300, check=True)
        return [json.loads(line)["label"] for line in done.stdout.splitlines()], done.stderr

    def test_digits_get_the_labels_of_fp32(self):
        folder = self.folder / "compiled"
        subprocess.run([sys.executable, TOOLS / "optimize_model.py", DIGITS, "--output", folder, "--max-batch", "1",
                        "--precision", "fp32", "--precision", "bf16", "--precision", "int8",
                        "--calibration", ROOT / "tests/data/digits"], timeout=900, check=True)
        wanted, _ = self.classify("fp32", self.folder)
        self.assertEqual(len(wanted), 360)
        for precision in ("fp32", "bf16", "int8"):
            got, said = self.classify(precision, folder)
            # A package may be slower than TorchScript on this machine; any other reason is a mistake.
            if "of the time of TorchScript in fp32" not in said:
                self.assertNotIn("does not serve", said)
            same = sum(a == b for a, b in zip(got, wanted, strict=True))
            self.assertGreaterEqual(same, 0.99 * len(wanted), precision)


if __name__ == "__main__":
    unittest.main()
