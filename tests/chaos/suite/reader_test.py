"""The reader of the judge."""

import unittest
from types import SimpleNamespace
from unittest import mock

from confluent_kafka import KafkaError

from chaos_suite import reader


class Tail(unittest.TestCase):
    def test_asks_again_for_a_topic_that_a_broker_does_not_know_yet(self):
        unknown = KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART)
        answers = [SimpleNamespace(error=unknown, partitions={}), SimpleNamespace(error=None, partitions={}),
                   SimpleNamespace(error=None, partitions={0: None, 1: None})]
        with mock.patch.object(reader, "Consumer") as consumer:
            consumer().list_topics.side_effect = [SimpleNamespace(topics={"new": x}) for x in answers]
            tail = reader.Tail("nowhere", ["new"])
        self.assertEqual([x.partition for x in tail.partitions], [0, 1])


if __name__ == "__main__":
    unittest.main()
