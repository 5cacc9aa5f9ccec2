"""A real Kafka and the topics of a measurement. What is measured reads the same records of the same topic as all others,
and is timed by the broker: by the times at which it appended the results."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from confluent_kafka import Consumer, ConsumerGroupState, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from chaos_suite.processes import descendants, free_port

from . import machine

ROOT = Path(__file__).resolve().parents[2]
ZIYU = ROOT / "build/release/bin/ziyu"
PARTITIONS = 4


def await_true(what, done, limit_s, alive=(), pause_s=0.1):
    """Waits for `done`; a process of `alive` that ends before it is an error."""
    end = time.monotonic() + limit_s
    while not done():
        for process in alive:
            if process.poll() is not None:
                raise RuntimeError(f"{what}: {process.args[0]} ended with {process.returncode}")
        if time.monotonic() > end:
            raise RuntimeError(f"waited {limit_s} s in vain for {what}")
        time.sleep(pause_s)


class Stage:
    """Starts a broker in a folder of its own; ends it, and all that `start` started, when it is left."""

    def __init__(self):
        self._folder = tempfile.TemporaryDirectory(prefix="ziyu-speed-")
        self.folder = Path(self._folder.name)
        self.brokers = f"127.0.0.1:{free_port()}"
        self._log = open(self.folder / "log", "w", encoding="utf-8")
        self._running = []
        self._runs = 0

    def __enter__(self):
        try:
            self.broker = self.start([ZIYU, "broker", "--dir", self.folder / "kafka", "--port",
                                      self.brokers.rsplit(":", 1)[1]])
            self._admin = AdminClient({"bootstrap.servers": self.brokers, "log_level": 0})
            await_true("Kafka", self._reachable, 120, [self.broker])
        except BaseException:
            self.__exit__(*sys.exc_info())
            raise
        return self

    def __exit__(self, kind, *_):
        for process in reversed(self._running):
            end(process)
        self._log.flush()
        if kind and issubclass(kind, Exception):
            sys.stderr.write((self.folder / "log").read_text(encoding="utf-8")[-8000:])
        self._log.close()
        self._folder.cleanup()

    def _reachable(self):
        try:
            return bool(self._admin.list_topics(timeout=2).brokers)
        except Exception:  # pylint: disable=broad-except # not yet
            return False

    def start(self, command, **environment):
        """From the main thread only. The process gets SIGTERM when the benchmark ends, whatever ends that."""
        command = [str(x) for x in command]
        process = subprocess.Popen(["setpriv", "--pdeathsig", "TERM", *command], stdin=subprocess.DEVNULL,
                                   stdout=self._log, stderr=self._log, env={**os.environ, **environment})
        process.args = command  # what messages name
        self._running.append(process)
        return process

    def new_name(self, kind):
        self._runs += 1
        return f"{kind}-{self._runs}"

    def create(self, *topics, partitions=PARTITIONS):
        made = self._admin.create_topics([NewTopic(x, partitions, 1, config={
            "message.timestamp.type": "LogAppendTime"}) for x in topics])
        for future in made.values():
            future.result(30)

    def await_members(self, group, count, alive):
        def there():
            try:
                about = self._admin.describe_consumer_groups([group])[group].result(10)
            except KafkaException:  # its coordinator is being made
                return False
            return about.state == ConsumerGroupState.STABLE and len(about.members) >= count
        await_true(f"{count} members of {group}", there, 120, alive)

    def fill(self, topic, values, count, partitions=PARTITIONS):
        """Writes `count` records, the values in turn."""
        producer = Producer({"bootstrap.servers": self.brokers, "linger.ms": 20, "queue.buffering.max.kbytes": 131072,
                             "partitioner": "random", "sticky.partitioning.linger.ms": 0})
        failed = []
        report = lambda why, _: failed.append(why) if why else None
        for i in range(count):
            while True:
                try:
                    producer.produce(topic, values[i % len(values)], partition=i % partitions, on_delivery=report)
                    break
                except BufferError:
                    producer.poll(0.1)
            if i % 1000 == 0:
                producer.poll(0)
        if producer.flush(300) or failed:
            raise RuntimeError(f"{topic}: {failed[:1] or 'not all records were written'}")

    def count(self, topic):
        """Records in the topic. A topic that has just been made may have no leader yet: nothing is in it."""
        reader = Consumer({"bootstrap.servers": self.brokers, "group.id": "count"})
        try:
            ends = [reader.get_watermark_offsets(TopicPartition(topic, i), 10, cached=False)
                    for i in range(PARTITIONS)]
            return sum(high - low for low, high in ends)
        except KafkaException as x:
            if x.args[0].code() == KafkaError.NOT_LEADER_FOR_PARTITION:
                return 0
            raise
        finally:
            reader.close()

    def append_times(self, topic, count):
        """When the broker appended each of `count` records, in seconds, sorted."""
        reader = Consumer({"bootstrap.servers": self.brokers, "group.id": "times", "enable.auto.commit": False})
        reader.assign([TopicPartition(topic, i, 0) for i in range(PARTITIONS)])
        times = []
        try:
            while len(times) < count:
                records = reader.consume(10_000, 10)
                if not records:
                    raise RuntimeError(f"{topic} has {len(times)} records that can be read, not {count}")
                times += [x.timestamp()[1] / 1000 for x in records if not x.error()]
        finally:
            reader.close()
        return sorted(times)


def end(process, limit_s=30):
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(limit_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def throughput(stage, subject, topic, count, limit_s):
    """Has `subject` do the `count` records of `topic`. Returns jobs a second, from the first tenth of its results on,
    and the processor time that each part took a second meanwhile."""
    results = stage.new_name("results")
    stage.create(results)
    processes = subject.start(stage, topic, results)
    try:
        await_true("a tenth of the results", lambda: stage.count(results) >= count / 10, limit_s, processes)
        before, began = usage(stage, processes), time.monotonic()
        await_true("all results", lambda: stage.count(results) >= count, limit_s, processes)
        after, seconds = usage(stage, processes), time.monotonic() - began
    finally:
        for process in processes:
            end(process)
    times = stage.append_times(results, count)[count // 10:]
    return {"jobs_per_second": round((len(times) - 1) / max(times[-1] - times[0], 1e-3), 2),
            "cpu_ms_per_second": {x: round(1000 * (after[x] - before[x]) / seconds, 1) for x in before}}


def usage(stage, processes):
    """Processor time so far: of the broker, of the processes, and of all that they have started."""
    pids = [x.pid for x in processes]
    spent = lambda some: sum(map(machine.cpu_seconds, some))
    return {"broker": spent([stage.broker.pid, *descendants(stage.broker.pid)]), "own": spent(pids),
            "children": spent(x for pid in pids for x in descendants(pid)), "machine": machine.ticks()[0]}
