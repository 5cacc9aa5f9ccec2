"""The judge of bench/chaos must catch what is broken: it is fed with histories that are."""

import unittest

from chaos_suite.checker import Answer, Submitted, check, missed


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


if __name__ == "__main__":
    unittest.main()
