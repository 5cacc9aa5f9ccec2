# SPDX-License-Identifier: Apache-2.0
"""Needs no PyTorch: scripts/test runs it."""

import sys
import tempfile
import unittest
import zipfile
from pathlib import Path

TOOLS = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOOLS))
import weights_format  # noqa: E402


class WeightsFormat(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def kind(self, content: bytes, name: str = "w.pt") -> str:
        (self.folder / name).write_bytes(content)
        return weights_format.kind_of(self.folder / name)

    def archive(self, *names: str) -> str:
        path = self.folder / "w.zip"
        with zipfile.ZipFile(path, "w") as file:
            for name in names:
                file.writestr(name, b"")
        return weights_format.kind_of(path)

    def test_archives(self):
        self.assertEqual(weights_format.kind_of(TOOLS.parent / "models/digits/1/model.pt"), "TorchScript")
        self.assertEqual(self.archive("m/data.pkl", "m/code/x.py", "m/constants.pkl"), "TorchScript")
        self.assertEqual(self.archive("m/data.pkl", "m/data/0"), "state dict")
        self.assertEqual(self.archive("m/archive_format", "m/models/model.json"), "torch.export")
        self.assertEqual(self.archive("m/archive_format", "m/data/aotinductor/model/x.so"), "AOTInductor")
        self.assertEqual(self.archive("config.json", "model.weights.h5"), "Keras")
        self.assertEqual(self.archive("w.npy"), "NumPy")
        self.assertEqual(self.archive("readme.txt"), "ZIP")
        self.assertEqual(self.kind(b"PK\x03\x04 and no more"), "cut off")

    def test_first_bytes(self):
        for content, kind in ((b"", "empty"), (b"weights", ""), (b"\x80\x02\x8a\x0a", "pickle"),
                              ((20).to_bytes(8, "little") + b"{}" + b" " * 30, "safetensors"),
                              (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"), (b"\x89HDF\r\n", "HDF5"),
                              (b"\x1c\0\0\0TFL3\0", "TensorFlow Lite"), (b"GGUF\x03", "GGUF"),
                              (b"\n<!DOCTYPE html>", "web page"), (b"\x08\x08\x12\x07pytorch", "ONNX")):
            self.assertEqual(self.kind(content), kind, content)
        self.assertEqual(self.kind(b"\x08\x07\x6a\x01", "model.onnx"), "ONNX")

    def test_what_is_no_checkpoint_says_what_to_do(self):
        for kind in ("torch.export", "AOTInductor", "ONNX", "Keras", "HDF5", "TensorFlow Lite", "NumPy", "GGUF",
                     "Git LFS", "web page", "ZIP", "cut off", "empty"):
            self.assertIn("w.pt", weights_format.why_no_checkpoint(Path("w.pt"), kind))
        for kind in (*weights_format.READABLE, ""):
            self.assertEqual(weights_format.why_no_checkpoint(Path("w.pt"), kind), "")


if __name__ == "__main__":
    unittest.main()
