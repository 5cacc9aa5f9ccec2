# SPDX-License-Identifier: Apache-2.0
"""Reading what AOTInductor has generated, and writing packages. Run by scripts/test unit."""

import json
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import compiled_package  # noqa: E402

CPUINFO = """processor\t: 0
vendor_id\t: AuthenticAMD
cpu family\t: 25
model\t\t: 17
model name\t: AMD EPYC
flags\t\t: fpu fma avx2 amx_int8 avx
"""


def wrapper(*constants: tuple[str, int]) -> str:
    """As the C++ that AOTInductor writes."""
    lines = []
    for index, (name, size) in enumerate(constants):
        lines += [f"    constants_info_[{index}].{line}" for line in (
            f'name = "{name}";', "dtype = cached_torch_dtype_bfloat16;", "offset = 0;", f"data_size = {size};",
            "from_folded = false;", f"shape = {{{size // 2}, 1L}};", "stride = {1L, 0L};",
            "layout = static_cast<int32_t>(cached_torch_layout__mkldnn);", "opaque_metadata = {1L, 255L, 0L};")]
    return "\n".join(lines)


class Hosts(unittest.TestCase):
    def test_are_read_from_cpuinfo_as_ziyu_worker_reads_them(self):
        host = compiled_package.host_of(CPUINFO, "2.15.0")
        self.assertEqual(host, compiled_package.host("AuthenticAMD", 25, 17, "amx_int8 avx2 fma", "2.15.0"))
        self.assertEqual(host.folder(), "AuthenticAMD-25-17-73634edd-torch-2.15.0")


class Constants(unittest.TestCase):
    def test_are_read_from_generated_code(self):
        first, second = compiled_package.read_constants(wrapper(("a", 128), ("b", 64)), 192)
        self.assertEqual(first, {"name": "a", "bytes": 128, "at": 0, "dtype": "bfloat16", "shape": [64, 1],
                                 "stride": [1, 0], "offset": 0, "layout": "mkldnn", "metadata": "01ff00"})
        self.assertEqual((second["name"], second["at"]), ("b", 128))

    def test_that_do_not_fill_their_blob_are_refused(self):
        with self.assertRaisesRegex(SystemExit, "constants of 128 bytes, but its blob has 192"):
            compiled_package.read_constants(wrapper(("a", 128)), 192)


class Packages(unittest.TestCase):
    def write(self, source: str):
        folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        package = compiled_package.writer(folder, sha256="ab", torch="2.15.0", precision="bf16")
        for rows, blob in ((1, b"x" * 64 + b"y" * 64), (2, b"z" * 64 + b"x" * 64)):
            made = Path(self.enterContext(tempfile.TemporaryDirectory()))
            (made / "c.wrapper.cpp").write_text(wrapper(("a", 64), ("b", 64)) + source)
            (made / "c.blob").write_bytes(blob)
            (made / "model.so").write_bytes(b"code")
            if rows == 2:
                (made / "c.wrapper.json").write_text('{"nodes": []}')
            package.add(rows, made)
        package.close()
        return folder, json.loads((folder / "package.json").read_text())

    def test_have_each_constant_once_and_the_calls_by_name_beside_their_code(self):
        folder, description = self.write("")
        self.assertEqual((folder / "constants.bin").read_bytes(), b"x" * 64 + b"y" * 64 + b"z" * 64)
        places = [[x["at"] for x in batch["constants"]] for batch in description["batches"]]
        self.assertEqual(places, [[0, 64], [128, 0]])
        self.assertEqual(sorted(x.name for x in folder.iterdir()), ["1.so", "2.json", "2.so", "constants.bin", "package.json"])

    def test_with_threads_are_refused(self):
        with self.assertRaisesRegex(SystemExit, "starts threads"):
            self.write("\n#pragma omp parallel num_threads(4)\n")


if __name__ == "__main__":
    unittest.main()
