"""The plan of a chaos run: a function of its seed that keeps the rules it says it keeps."""

import struct
import unittest
import zlib

from chaos_suite import schedule
from chaos_suite.command import ASSIGNORS, assignor_of
from chaos_suite.load import DEAD, KINDS as JOBS, Load, with_comment, without_prompt_dead_letters
from chaos_suite.oversupply import MAX_PIXELS, Photos

KINDS = {x.name: x for x in schedule.KINDS}
BROKERS = {x.name for x in schedule.KINDS if x.harms == "broker"}
PLACES = {x.name for x in schedule.KINDS if x.harms == "place"}
VANISHES = {x.name for x in schedule.KINDS if x.vanishes}


class Plan(unittest.TestCase):
    def test_the_seed_decides(self):
        self.assertEqual(schedule.plan(7, 120), schedule.plan(7, 120))
        self.assertNotEqual(schedule.plan(7, 120), schedule.plan(8, 120))

    def test_nothing_ends_later_than_the_run(self):
        for seed in range(50):
            self.assertLessEqual(max(x.ends_s for x in schedule.plan(seed, 60)), 60)

    def test_at_most_one_broker_is_harmed_at_a_time_and_has_time_to_catch_up(self):
        for seed in range(50):
            self._apart(seed, BROKERS, schedule.BROKER_REST_S)

    def test_one_of_the_two_stable_services_is_left_alone_at_any_time(self):
        for seed in range(50):
            self._apart(seed, PLACES, schedule.PLACE_REST_S)

    def test_members_vanish_one_after_the_other(self):
        for seed in range(50):
            found = [x for x in schedule.plan(seed, 180) if x.kind in VANISHES]
            for before, after in zip(found, found[1:]):
                self.assertGreaterEqual(after.at_s, before.at_s + schedule.GROUP_REST_S - 0.01, (seed, before, after))

    def test_no_broker_goes_while_a_member_is_missed(self):
        for seed in range(50):
            plan = schedule.plan(seed, 180)
            for gone in (x for x in plan if x.kind in VANISHES):
                until = schedule.rests(KINDS[gone.kind], gone.at_s, gone.lasts_s)["group"]
                for broker in (x for x in plan if x.kind in BROKERS):
                    begun = gone.ends_s if KINDS[gone.kind].harms == "storm" else gone.at_s
                    self.assertFalse(begun + 0.01 < broker.at_s < until - 0.01, (seed, gone, broker))

    def test_a_short_run_has_most_kinds_and_many_short_runs_have_all(self):
        all_kinds = {x.name for x in schedule.KINDS}
        seen = set()
        for seed in range(10):
            kinds = {x.kind for x in schedule.plan(seed, 60)}
            self.assertGreater(len(kinds), len(all_kinds) // 2, seed)
            seen |= kinds
        self.assertEqual(seen, all_kinds)

    def test_even_and_odd_seeds_get_each_assignor(self):
        for parity in (0, 1):
            self.assertEqual({assignor_of(x) for x in range(parity, 8, 2)}, set(ASSIGNORS))

    def test_what_the_machine_does_not_allow_is_left_out(self):
        kinds = {x.kind for seed in range(20) for x in schedule.plan(seed, 120, allowed=())}
        self.assertNotIn("broker_disk_full", kinds)
        self.assertNotIn("memory_pressure", kinds)

    def _apart(self, seed, kinds, rest_s):
        found = [x for x in schedule.plan(seed, 180) if x.kind in kinds]
        self.assertGreater(len(found), 2)
        for before, after in zip(found, found[1:]):
            self.assertGreaterEqual(after.at_s, before.ends_s + rest_s - 0.01, (seed, before, after))


class Jobs(unittest.TestCase):
    def test_the_seed_decides_the_jobs_too(self):
        first, second = (Load(3, REPOSITORY, 40) for _ in range(2))
        self.assertEqual([first.next() for _ in range(300)], [second.next() for _ in range(300)])

    def test_order_by_key_needs_keys_that_come_again(self):
        load = Load(3, REPOSITORY, 40, ordering="key")
        jobs = [load.next() for _ in range(200)]
        self.assertLessEqual(len({x.key for x in jobs}), load.keys)
        self.assertEqual(len({x.job_id for x in jobs}), 200)

    def test_bursts_bring_more_and_nothing_is_forgotten(self):
        load = Load(3, REPOSITORY, 40)
        self.assertEqual([load.pace(x) for x in (0, 1, 7, 8, 16)], [0, 40, 280, 400, 800])

    def test_while_the_topic_of_dead_letters_is_missing_nobody_waits_for_one(self):
        changed = without_prompt_dead_letters(JOBS)
        self.assertEqual({k: v[:2] for k, v in changed.items()}, {k: v[:2] for k, v in JOBS.items()})
        for name, (_, expected, prompt) in changed.items():
            self.assertEqual(prompt, JOBS[name][2] and expected != DEAD, name)

    def test_pngs_of_an_oversupply_are_10_to_30_times_as_large_when_decoded(self):
        photos = Photos(3, REPOSITORY, 10)
        for picture, decoded in photos.packed:
            self.assertLessEqual(decoded, 3 * MAX_PIXELS)
            self.assertTrue(10 <= decoded / len(picture) <= 30, decoded / len(picture))
        picture, decoded = photos.packed[0]
        chunks, at, commented = {}, 8, with_comment(picture, "a-1")
        while at < len(commented):
            size, kind = struct.unpack_from(">I4s", commented, at)
            chunks[kind] = commented[at + 8:at + 8 + size]
            at += 12 + size
        width, height = struct.unpack_from(">II", chunks[b"IHDR"])
        self.assertEqual(3 * width * height, decoded)
        self.assertEqual(len(zlib.decompress(chunks[b"IDAT"])), height * (1 + 3 * width))
        self.assertEqual(chunks[b"tEXt"], b"Comment\0a-1")

    def test_a_third_of_an_oversupply_are_pngs(self):
        photos = Photos(3, REPOSITORY, 100)
        while photos.left > 0:
            photos.next()
        self.assertTrue(0.2 < photos.pngs / photos.count < 0.5, (photos.pngs, photos.count))
        self.assertGreater(photos.decoded_bytes, 2 * photos.bytes)


if __name__ == "__main__":
    from pathlib import Path
    REPOSITORY = Path(__file__).resolve().parents[3]
    unittest.main()
