# SPDX-License-Identifier: Apache-2.0
"""Needs no PyTorch: scripts/test runs it."""

import contextlib
import json
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
import label_text  # noqa: E402

SIMPLIFIED = ("金毛犬 猫 狗 汽车 自行车 飞机 轮船 电视 手机 键盘 鼠标 苹果 香蕉 西瓜 米饭 面条 饺子 男人 女人 儿童 风景 山水 "
              "树木 花草 天空 房子 桌子 椅子 杯子 书本 衣服 鞋子 帽子 医院 学校 电脑 地图 雨伞 眼镜 钢琴").split()
TRADITIONAL = ("黃金獵犬 貓 狗 汽車 自行車 飛機 輪船 電視 手機 鍵盤 滑鼠 蘋果 香蕉 西瓜 米飯 麵條 餃子 男人 女人 兒童 風景 山水 "
               "樹木 花草 天空 房子 桌子 椅子 杯子 書本 衣服 鞋子 帽子 醫院 學校 電腦 地圖 雨傘 眼鏡 鋼琴").split()


class LabelText(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.file = Path(folder.name) / "labels.txt"

    def read(self, content: bytes, name: str = "labels.txt"):
        path = self.file.with_name(name)
        path.write_bytes(content)
        return label_text.read_labels(path)

    def error(self, content: bytes, name: str = "labels.txt") -> str:
        with self.assertRaises(SystemExit) as ended:
            self.read(content, name)
        return str(ended.exception)

    def test_one_label_a_line(self):
        self.assertEqual(self.read("金毛犬\n猫\n".encode()), ["金毛犬", "猫"])
        self.assertEqual(self.read("\ufeff金毛犬\r\n猫".encode()), ["金毛犬", "猫"])
        self.assertIn("line 2 is empty", self.error(b"a\n\nb\n"))
        self.assertIn("has no labels", self.error(b""))

    def test_json_lists_and_id2label(self):
        self.assertEqual(self.read(b'["a", "b"]', "x.json"), ["a", "b"])
        self.assertEqual(self.read(json.dumps({"id2label": {"1": "b", "0": "a"}}).encode(), "x.json"), ["a", "b"])
        self.assertIn("none for the class 1", self.error(b'{"0": "a", "2": "c"}', "x.json"))
        self.assertIn("is not JSON", self.error(b"{", "x.json"))
        self.assertIn("must be a list", self.error(b"7", "x.json"))

    def test_encodings_of_chinese_are_named(self):
        for labels, encoding, name in ((SIMPLIFIED, "gbk", "GBK"), (TRADITIONAL, "big5", "BIG5")):
            for size in (1, 3, len(labels)):
                some = "\n".join(labels[:size]) + "\n"
                self.assertEqual(label_text.likely_encoding(some.encode(encoding)), name, some)
        self.assertEqual(label_text.likely_encoding("𠮷野家\n金\n".encode("gb18030")), "GB18030")
        self.assertEqual(label_text.likely_encoding("猫\n".encode("utf-16")), "UTF-16")
        self.assertEqual(label_text.likely_encoding("猫\n".encode("utf-32")), "UTF-32")
        self.assertEqual(label_text.likely_encoding("猫\n狗\n".encode("utf-16-le")), "UTF-16LE")
        self.assertEqual(label_text.likely_encoding("cat\ndog\n".encode("utf-16-be")), "UTF-16BE")
        self.assertEqual(label_text.likely_encoding("café\n".encode("cp1252")), "WINDOWS-1252")
        self.assertEqual(label_text.likely_encoding("café 猫\n".encode()), "")

    def test_errors_give_the_command_that_converts(self):
        text = "a\n金毛犬\n".encode("gbk")
        self.assertIn(f"labels.txt line 2 is not UTF-8, but likely GBK (\"金毛犬\")", self.error(text))
        self.assertIn(f"iconv -f GBK -t UTF-8 {self.file} > {self.file}.utf8 && mv {self.file}.utf8 {self.file}",
                      self.error(text))
        self.assertIn('likely UTF-16 ("猫"); convert the file: iconv -f UTF-16 -t UTF-8',
                      self.error("猫\n".encode("utf-16")))

    def test_each_encoding_that_the_bytes_may_have_is_shown_with_a_label_and_its_command(self):
        said = self.error("貓\n".encode("big5"))  # 窟 in GBK: one character cannot tell
        self.assertIn('likely GBK ("窟") or BIG5 ("貓") or WINDOWS-1252 ("¿ß"); '
                      "convert the file from the one in which the label makes sense: iconv -f GBK ", said)
        for encoding in ("GBK", "BIG5", "WINDOWS-1252"):
            self.assertIn(f"iconv -f {encoding} -t UTF-8 {self.file} > ", said)
        self.assertIn('or WINDOWS-1252 ("Müller")', self.error("Müller\n".encode("cp1252")))
        many = self.error(("\n".join(TRADITIONAL) + "\n").encode("big5"))
        self.assertIn('likely BIG5 ("黃金獵犬")', many)
        self.assertNotIn("WINDOWS", many)

    def test_duplicates_and_numbers_warn(self):
        self.assertEqual(label_text.label_warnings(["crane", "cat"]), [])
        self.assertIn('"crane" stands for the classes 0 and 2', label_text.label_warnings(["crane", "cat", "crane"])[0])
        for labels in (["0,cat", "1,dog"], ["1: cat", "2: dog"], ["0\tcat", "1\tdog"], ["0 cat", "1 dog"]):
            self.assertIn("begins with its number", label_text.label_warnings(labels)[0])
        for labels in (["0", "1"], ["1 yuan", "5 yuan"], ["0th", "1st"], ["0,cat"], ["cat", "1,dog"]):
            self.assertEqual(label_text.label_warnings(labels), [])


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        unittest.main()
