"""Chaos on a real Kafka of three brokers with several services, and an independent judge.

Read in this order: `schedule` (the plan of a seed), `load` (the jobs), `cluster`, `proxy` and `instances` (the parts
that are harmed), `run` (one run), `checker` (the outcome of every job).
"""
