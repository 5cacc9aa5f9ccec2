"""What bench/scale reads of a group's records in __consumer_offsets."""

import struct
import unittest

from speed.offsets_topic import metadata_bytes, summary


def text(value):
    return struct.pack(">h", len(value)) + value.encode()


def commit(partition, metadata, group="g", version=3):
    value = struct.pack(">hqi", version, 42, 7)
    if version < 4:
        value += text(metadata)
    else:  # the length and one, seven bits at a time
        length = len(metadata) + 1
        while length >= 0x80:
            value, length = value + bytes([length & 0x7f | 0x80]), length >> 7
        value += bytes([length]) + metadata.encode()
    return struct.pack(">h", 1) + text(group) + text("jobs") + struct.pack(">i", partition), value + bytes(8)


def members(size, group="g"):
    return struct.pack(">h", 2) + text(group), bytes(size)


class OffsetsTopic(unittest.TestCase):
    def test_the_length_of_metadata_is_read_in_both_encodings(self):
        for version in (3, 4):
            for length in (0, 18, 126, 127, 128, 4096):
                self.assertEqual(metadata_bytes(commit(0, "x" * length, version=version)[1]), length)

    def test_only_the_commits_of_the_group_and_the_time_count(self):
        records = [(9, *commit(0, "early")), (10, *commit(0, "abc")), (12, *commit(1, "a")),
                   (12, *commit(1, "longer", group="other")), (13, commit(2, "")[0], None), (21, *commit(0, "later"))]
        found = summary(records, "g", 10, 20)
        self.assertEqual(found["commit_records_per_second"], 0.2)
        self.assertEqual(found["commit_metadata_bytes_max"], 3)
        self.assertEqual(found["group_record_bytes"], 0)

    def test_the_record_of_the_members_is_the_one_in_force_at_the_end(self):
        records = [(1, *members(100)), (2, *members(200)), (3, *members(900, "other")), (30, *members(0))]
        self.assertEqual(summary(records, "g", 10, 20)["group_record_bytes"], 200 + len(members(0)[0]))

    def test_records_of_other_kinds_are_passed_over(self):
        self.assertEqual(summary([(11, struct.pack(">h", 5) + b"\xff", b"x")], "g", 10, 20)["commit_bytes_per_second"], 0)


if __name__ == "__main__":
    unittest.main()
