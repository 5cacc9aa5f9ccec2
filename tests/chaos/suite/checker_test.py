"""The judge of bench/chaos must catch what is broken: it is fed with histories that are."""

import struct
import tempfile
import unittest
from pathlib import Path

from chaos_suite.checker import Answer, Submitted, check, missed
from chaos_suite.instances import MEMORY_LIMIT
from chaos_suite.pressure import CLOSES_WITHIN_S, LETS_GO_WITHIN_S, Pressures
from chaos_suite.stable import Batch, read_log, readable_from


def job(number, acked_s=None, partition=0, key="k", expected="result", prompt=True, image="a.png"):
    return Submitted(f"j{number}", "digit", key, partition, number, float(number if acked_s is None else acked_s),
                     expected, image, "digest", prompt)


def result(number, time_s, partition=0, at=None, label="三"):
    return Answer(False, f"j{number}", (partition, number), (0, number if at is None else at), float(time_s), label)


def dead(number, time_s, code="max_attempts", digest="digest"):
    return Answer(True, "", (0, number), (0, number), float(time_s), "", digest, code)


class Checker(unittest.TestCase):
    def test_a_history_without_fault_has_none(self):
        verdict = check([job(1), job(2), job(3)], [result(1, 2), result(2, 3), dead(3, 4)])
        self.assertEqual((verdict.submitted, verdict.results, verdict.dead_lettered), (3, 2, 1))
        self.assertEqual((verdict.lost, verdict.duplicates, verdict.unknown, verdict.wrong), (0, 0, 0, 0))
        self.assertEqual(verdict.longest_stall_s, 1.0)
        self.assertEqual(missed(verdict), [])

    def test_a_job_without_answer_is_lost(self):
        verdict = check([job(1), job(2)], [result(1, 2)])
        self.assertEqual(verdict.lost, 1)
        self.assertIn("j2", verdict.examples["lost"][0])
        self.assertEqual(missed(verdict), ["lost: 1"])

    def test_no_job_and_no_answer_is_nothing(self):
        self.assertEqual(missed(check([], [])), [])

    def test_repeated_answers_count_and_are_forgiven_only_at_least_once(self):
        verdict = check([job(1)], [result(1, 2, at=1), result(1, 3, at=2), dead(1, 4)])
        self.assertEqual(verdict.duplicates, 2)
        self.assertEqual(missed(verdict), [])
        self.assertEqual(missed(verdict, "exactly_once"), ["duplicates with exactly_once: 2"])

    def test_a_result_of_another_job_is_no_answer(self):
        other = Answer(False, "j9", (0, 1), (0, 0), 2.0)
        verdict = check([job(1)], [other])
        self.assertEqual((verdict.unknown, verdict.lost), (1, 1))

    def test_an_answer_to_what_was_never_submitted_is_told(self):
        self.assertEqual(check([job(1)], [result(1, 2), result(5, 3)]).unknown, 1)

    def test_labels_that_were_mixed_up_are_wrong(self):
        jobs = [job(1), job(2), job(3)]
        verdict = check(jobs, [result(1, 2), result(2, 3), result(3, 4, label="七")])
        self.assertEqual(verdict.wrong, 1)
        self.assertIn("七 in j3", verdict.examples["wrong"][0])

    def test_a_good_job_may_become_a_dead_letter_by_kills_only(self):
        self.assertEqual(check([job(1)], [dead(1, 2)]).wrong, 0)
        self.assertEqual(check([job(1)], [dead(1, 2, "undecodable_image")]).wrong, 1)

    def test_a_bad_job_must_not_have_a_result(self):
        self.assertEqual(check([job(1, expected="dead")], [result(1, 2)]).wrong, 1)

    def test_a_dead_letter_must_carry_its_payload(self):
        self.assertEqual(check([job(1)], [dead(1, 2, digest="other")]).wrong, 1)
        self.assertEqual(check([job(1)], [dead(1, 2, digest="")]).wrong, 0)  # left out, and said so

    def test_order_by_key_is_of_first_answers(self):
        jobs = [job(1), job(2), job(3)]
        replayed = [result(1, 2, at=0), result(2, 3, at=1), result(1, 4, at=2), result(2, 5, at=3), result(3, 6, at=4)]
        self.assertEqual(check(jobs, replayed, "key").order_violations, 0)
        overtaken = [result(1, 2, at=0), result(3, 3, at=1), result(2, 4, at=2)]
        verdict = check(jobs, overtaken, "key")
        self.assertEqual(verdict.order_violations, 1)
        self.assertIn("j2", verdict.examples["order"][0])
        self.assertEqual(missed(verdict), ["order violations: 1"])

    def test_order_by_key_is_not_asked_between_keys_but_by_partition_it_is(self):
        jobs = [job(1, key="a"), job(2, key="b")]
        answers = [result(2, 2, at=0), result(1, 3, at=1)]
        self.assertEqual(check(jobs, answers, "key").order_violations, 0)
        self.assertEqual(check(jobs, answers, "partition").order_violations, 1)
        self.assertEqual(check(jobs, answers, "unordered").order_violations, 0)

    def test_a_stall_is_time_without_answers_while_a_job_waits(self):
        idle = check([job(1, acked_s=1), job(2, acked_s=100)], [result(1, 2), result(2, 101)])
        self.assertEqual(idle.longest_stall_s, 1.0)
        stalled = check([job(1, acked_s=1), job(2, acked_s=3)], [result(1, 2), result(2, 15)])
        self.assertEqual(stalled.longest_stall_s, 12.0)
        self.assertEqual(missed(stalled, stall_limit_s=11.0), ["longest stall: 12.0 s, allowed are 11.0 s"])

    def test_a_machine_that_stood_still_is_no_stall_of_the_service(self):
        verdict = check([job(1, acked_s=1), job(2, acked_s=3)], [result(1, 2), result(2, 15)])
        self.assertEqual(missed(verdict, stall_limit_s=11.0, machine_delay_s=0.5), ["longest stall: 12.0 s, allowed are 11.5 s"])
        self.assertEqual(missed(verdict, stall_limit_s=11.0, machine_delay_s=2), [])

    def test_a_job_that_waits_while_others_are_answered_is_no_stall_of_all(self):
        jobs = [job(1, acked_s=1)] + [job(x, acked_s=x, partition=1) for x in range(2, 50)]
        answers = [result(x, x + 0.5, partition=1) for x in range(2, 50)] + [result(1, 49.7)]
        verdict = check(jobs, answers)
        self.assertLess(verdict.longest_stall_s, 2)
        # …but of its partition, which counts from 30 s on.
        self.assertEqual(verdict.longest_partition_stall_s, 48.7)
        self.assertEqual(verdict.stalls_over_30_s, 1)
        self.assertEqual(missed(verdict), ["partitions without progress for 30 s: 1"])

    def test_a_job_that_hangs_by_itself_is_not_waited_for(self):
        verdict = check([job(1, acked_s=1, prompt=False, expected="dead")], [dead(1, 40)])
        self.assertEqual(verdict.longest_stall_s, 0.0)

    def test_answers_in_any_order_of_reading(self):
        jobs = [job(x) for x in range(1, 20)]
        answers = [result(x, x + 1) for x in range(1, 20)]
        self.assertEqual(check(jobs, answers), check(jobs, answers[::-1]))


def of(producer, first, time_s, last=None):
    return Batch(first, first if last is None else last, float(time_s), producer, transactional=True)


def end(producer, at, time_s):
    return Batch(at, at, float(time_s), producer, transactional=True, ends=True)


class Transactions(unittest.TestCase):
    """An answer counts from when a reader of what is committed could see it."""

    def test_a_transaction_that_hangs_is_a_stall_though_its_answers_were_written_at_once(self):
        jobs = [job(1, acked_s=1), job(2, acked_s=3)]
        readable = readable_from([of(7, 0, 2), end(7, 1, 2.1), of(7, 2, 3.2), end(7, 3, 15)])
        self.assertEqual(readable, {0: 2.1, 2: 15.0})
        answers = [result(1, readable[0], at=0), result(2, readable[2], at=2)]
        self.assertEqual(check(jobs, answers).longest_stall_s, 12.0)
        self.assertEqual(check(jobs, [result(1, 2, at=0), result(2, 3.2, at=2)]).longest_stall_s, 1.0)

    def test_what_is_committed_waits_for_transactions_that_began_before_it(self):
        readable = readable_from([of(1, 0, 1), of(2, 1, 2, last=3), end(2, 4, 3), of(3, 5, 4), end(1, 6, 9),
                                  end(3, 7, 10)])
        self.assertEqual(readable, {0: 9.0, 1: 9.0, 2: 9.0, 3: 9.0, 5: 10.0})

    def test_what_needs_no_transaction_is_there_when_appended_and_what_still_hangs_never(self):
        readable = readable_from([Batch(0, 1, 1.0, -1), of(1, 2, 2), Batch(3, 3, 3.0, -1)])
        self.assertEqual(readable, {0: 1.0, 1: 1.0})

    def test_a_log_is_read_as_brokers_write_it(self):
        def batch(first, last, attributes, time_ms):
            body = struct.pack(">iBIhiqqqhii", 0, 2, 0, attributes, last, 5, time_ms, 77, 3, -1, last + 1) + b"records"
            return struct.pack(">qi", first, len(body)) + body
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "00.log").write_bytes(batch(0, 2, 0x18, 1500) + batch(3, 0, 0x38, 2500))
            (Path(folder) / "04.log").write_bytes(batch(4, 0, 0x08, 3000) + b"\0" * 8)
            self.assertEqual(list(read_log(Path(folder))), [
                Batch(0, 2, 1.5, 77, True), Batch(3, 3, 2.5, 77, True, True), Batch(4, 4, 3.0, 77)])
            (Path(folder) / "05.log").write_bytes(batch(5, 0, 0x10, 3500))  # with the producer's time
            with self.assertRaises(ValueError):
                list(read_log(Path(folder)))


class FakePlace:
    """A service whose breaker and memory are as the test says."""

    number, stopping_since = 0, None

    def __init__(self):
        self.cgroup, self.starts, self.breaker, self.share = self, 1, "closed", 0.4

    def squeeze(self, share):
        self.share = share
        return 1

    def release(self):
        self.share = 0.4

    def running(self):
        return True

    def used_bytes(self):
        return int(self.share * MEMORY_LIMIT)

    def get(self, _, __):
        return {"breaker": self.breaker} if self.breaker else None


class MemoryPressure(unittest.TestCase):
    def setUp(self):
        self.now, self.place = 0.0, FakePlace()
        self.pressures = Pressures(lambda _: None, lambda: self.now)

    def pass_(self, seconds):
        for _ in range(int(seconds * 10)):
            self.now += 0.1
            self.pressures.look()

    def press(self, opens_after_s=None, lasts_s=2.0):
        """Returns for how long the pressure was there."""
        pressure, begun = self.pressures.begin(self.place, lasts_s), self.now
        self.pass_(lasts_s)
        while not self.pressures.end(pressure):
            self.pass_(0.2)
            if opens_after_s is not None and self.now - begun >= opens_after_s:
                self.place.breaker = "open"
        return self.now - begun

    def counts(self):
        return self.pressures.held, self.pressures.opened, self.pressures.closed, len(self.pressures.missed)

    def test_a_breaker_that_opens_and_closes_is_well(self):
        self.assertAlmostEqual(self.press(opens_after_s=3), 3, delta=0.5)  # goes on until it is open
        self.pass_(3)
        self.place.breaker = "closed"
        self.pass_(1)
        self.assertEqual(self.counts(), (1, 1, 1, 0))

    def test_one_that_does_not_open_while_the_memory_is_full_is_missed(self):
        self.press()
        self.assertEqual(self.counts(), (1, 0, 0, 1))
        self.assertIn("closed after 5", self.pressures.missed[0])

    def test_one_that_does_not_close_is_missed(self):
        self.press(opens_after_s=2)
        self.pass_(CLOSES_WITHIN_S + 1)
        self.assertEqual(self.counts(), (1, 1, 0, 1))

    def test_one_that_is_still_open_in_the_end_is_missed_and_one_that_only_waits_for_jobs_is_not(self):
        def later():
            self.now += 1
        self.press(opens_after_s=2)
        self.place.breaker = "half_open"
        self.pressures.finish(later)
        self.assertEqual(self.counts(), (1, 1, 0, 0))
        self.press(opens_after_s=2)
        self.place.breaker = "open"
        begun = self.now
        self.pressures.finish(later)
        self.assertEqual(self.counts(), (2, 2, 0, 1))
        self.assertGreater(self.now - begun, LETS_GO_WITHIN_S)

    def test_a_pressure_that_ends_by_itself_is_not_judged(self):
        pressure = self.pressures.begin(self.place, 2)
        self.pass_(4)
        self.place.share = 0.7  # a process was killed
        self.pass_(2)
        while not self.pressures.end(pressure):
            self.pass_(0.2)
        self.assertEqual(self.counts(), (0, 0, 0, 0))

    def test_what_did_not_come_or_did_not_answer_or_was_disturbed_is_not_judged(self):
        squeeze, self.place.squeeze = self.place.squeeze, lambda _: 1  # something else gave memory back
        self.press()
        self.place.breaker = "open"  # of something else
        self.press()
        self.place.squeeze, self.place.breaker = squeeze, None
        self.press()
        self.assertEqual(self.counts(), (0, 0, 0, 0))
        self.press(opens_after_s=2)
        self.pressures.disturb(self.place)
        self.pass_(CLOSES_WITHIN_S + 1)
        self.press(opens_after_s=2)
        self.place.starts += 1  # killed, and started again
        self.pass_(CLOSES_WITHIN_S + 1)
        self.assertEqual(self.counts(), (2, 2, 0, 0))


if __name__ == "__main__":
    unittest.main()
