# SPDX-License-Identifier: Apache-2.0
"""What the tests of the exporter share."""

import sys
import tempfile
import unittest
from pathlib import Path

TOOLS = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOOLS))

import torch  # noqa: E402
from PIL import Image  # noqa: E402

import export_proof  # noqa: E402
import model_files  # noqa: E402

torch.set_num_threads(1)
SAMPLES = 8  # of each axis


class eyes(torch.nn.Module):
    """A model that answers pixels of its input, so that what ziyu-worker makes of an image can be read."""

    def __init__(self, height: int, width: int):
        super().__init__()
        self.rows = [i * (height - 1) // (SAMPLES - 1) for i in range(SAMPLES)]
        self.columns = [i * (width - 1) // (SAMPLES - 1) for i in range(SAMPLES)]

    def forward(self, x):
        return x[:, :, self.rows][:, :, :, self.columns].flatten(1)


class WithWorker(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.worker = export_proof.find_worker(None)
        if not cls.worker:
            raise AssertionError("no ziyu-worker: ninja -C build/release ziyu_worker, or put it on PATH")

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def seen(self, preprocessing: dict, files: list[Path]) -> torch.Tensor:
        """What ziyu-worker makes of images: a row of samples each."""
        folder = self.folder / "eyes"
        folder.mkdir(exist_ok=True)
        size = (preprocessing["height"], preprocessing["width"])
        classes = len(preprocessing["mean"]) * SAMPLES * SAMPLES
        model_files.trace_and_save(eyes(*size), torch.rand(1, len(preprocessing["mean"]), *size), folder / "model.pt")
        model_files.write_folder(folder, name="eyes", version="1", labels=[f"{i}" for i in range(classes)],
                                 preprocessing=preprocessing, activation="none")
        answers = export_proof.served(self.worker, folder, files, classes)
        return torch.tensor([[answer[i] for i in range(classes)] for answer in answers])

    @staticmethod
    def expected(transform, files: list[Path], size: tuple[int, int]) -> torch.Tensor:
        """The same samples of what the original pipeline makes."""
        rows = [transform(Image.open(file).convert("RGB")) for file in files]
        return torch.cat([eyes(*size)(row[None]) for row in rows])
