"""Chaos on a real Kafka of three brokers with several services, and an independent judge.

Read in this order: `schedule` (what happens when, from a seed), `load` (which jobs), `cluster`, `proxy`, `instances`
(what it happens to), `run` (one run), `checker` (what became of every job).
"""
