# SPDX-License-Identifier: Apache-2.0
"""What is demanded of code in int8. Run by scripts/test unit."""

import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import int8_graph  # noqa: E402


class Int8(unittest.TestCase):
    def setUp(self):
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))

    def code(self, *calls: str) -> Path:
        (self.folder / "c.wrapper.cpp").write_text("".join(f"CHECK({call}(buf0));\n" for call in calls))
        return self.folder

    def test_operators_are_counted_in_generated_code(self):
        made = self.code("aoti_torch_cpu__qconv_pointwise_tensor", "aoti_torch_cpu__qconv2d_pointwise_binary_tensor",
                         "aoti_torch_cpu__qlinear_pointwise_tensor", "aoti_torch_cpu_mkldnn__convolution_pointwise")
        self.assertEqual(int8_graph.require_int8(made, 3), "2 of 3 convolutions and 1 matrix products in int8")

    def test_code_without_int8_convolutions_is_refused(self):
        made = self.code("aoti_torch_cpu_mkldnn__convolution_pointwise", "aoti_torch_cpu__qlinear_pointwise_tensor")
        with self.assertRaisesRegex(SystemExit, "no int8 convolutions, of which the model has 20"):
            int8_graph.require_int8(made, 20)

    def test_code_of_a_model_without_convolutions_needs_int8_products(self):
        with self.assertRaisesRegex(SystemExit, "no int8 matrix products"):
            int8_graph.require_int8(self.code("aoti_torch_cpu__linear_pointwise"), 0)

    def test_a_folder_that_is_not_there_says_what_to_do(self):
        with self.assertRaisesRegex(SystemExit, "no calibration images: .* name another folder by --calibration"):
            int8_graph.calibration_files(self.folder / "nothing")

    def test_too_few_images_say_what_to_do(self):
        with self.assertRaisesRegex(SystemExit, "has 0 images that can be read; at least 16 images"):
            int8_graph.require_images(self.folder, 0)


if __name__ == "__main__":
    unittest.main()
