"""Three real Kafka brokers (KRaft, combined mode) on 127.0.0.1, behind proxies.

Each broker has a listener for brokers and judges, which no fault disturbs, and one for each place of a service. The
advertised address of the latter is the proxy of that place. So a service can be cut off from one broker, or from all.
"""

import os
import shutil
import signal
import subprocess
import time
import uuid
from base64 import urlsafe_b64encode
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, NewTopic

from .processes import Child, free_port

JAVA_OPTIONS = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-XX:-UsePerfData", "-XX:+ExitOnOutOfMemoryError",
                "-Djava.awt.headless=true"]
# A broker that is killed or stopped loses its leaderships after this long.
BROKER_SESSION_MS = 3000


class Broker:
    def __init__(self, cluster, number, places):
        self.cluster, self.number = cluster, number
        self.folder = cluster.folder / f"broker{number}"
        self.ports = {"DIRECT": free_port(), "CONTROLLER": free_port()}
        self.ports.update({f"PLACE{x}": free_port() for x in range(places)})
        self.links = [cluster.network.link(self.ports[f"PLACE{x}"], free_port()) for x in range(places)]
        self.disk = self.folder / "disk"  # a small file system of its own, where one can be mounted
        self.child = None
        self.starts = 0
        self.meant_to_run = False

    def configure(self, voters):
        self.disk.mkdir(parents=True)
        replicas = len(self.cluster.brokers)
        min_isr = max(1, replicas - 1)
        advertised = [f"DIRECT://127.0.0.1:{self.ports['DIRECT']}"]
        advertised += [f"PLACE{i}://127.0.0.1:{link.port}" for i, link in enumerate(self.links)]
        properties = {
            "process.roles": "broker,controller",
            "node.id": self.number,
            "controller.quorum.voters": voters,
            "controller.listener.names": "CONTROLLER",
            "listeners": ",".join(f"{name}://127.0.0.1:{port}" for name, port in self.ports.items()),
            "advertised.listeners": ",".join(advertised),
            "listener.security.protocol.map": ",".join(f"{name}:PLAINTEXT" for name in self.ports),
            "inter.broker.listener.name": "DIRECT",
            "log.dirs": self.disk / "data",
            "auto.create.topics.enable": "false",
            "group.initial.rebalance.delay.ms": 0,
            "default.replication.factor": replicas,
            "min.insync.replicas": min_isr,
            "offsets.topic.num.partitions": 3,
            "offsets.topic.replication.factor": replicas,
            "transaction.state.log.num.partitions": 3,
            "transaction.state.log.replication.factor": replicas,
            "transaction.state.log.min.isr": min_isr,
            "transaction.abort.timed.out.transaction.cleanup.interval.ms": 500,
            "share.coordinator.state.topic.num.partitions": 1,
            "share.coordinator.state.topic.replication.factor": replicas,
            "share.coordinator.state.topic.min.isr": min_isr,
            "num.network.threads": 2,
            "num.io.threads": 4,
            "log.cleaner.dedupe.buffer.size": 4194304,
            "message.max.bytes": 33554432,
            "replica.fetch.max.bytes": 33554432,
            "group.min.session.timeout.ms": 1000,
            "broker.session.timeout.ms": BROKER_SESSION_MS,
            "broker.heartbeat.interval.ms": 500,
            "controller.quorum.election.timeout.ms": 500,
            "controller.quorum.fetch.timeout.ms": 1500,
            # A follower that hangs must not hold up acks=all for longer than its session.
            "replica.lag.time.max.ms": BROKER_SESSION_MS,
        }
        (self.folder / "server.properties").write_text("".join(f"{k}={v}\n" for k, v in properties.items()))
        (self.folder / "log4j2.properties").write_text(
            "status=error\nappender.f.type=File\nappender.f.name=f\n"
            f"appender.f.fileName={self.folder}/server.log\nappender.f.layout.type=PatternLayout\n"
            "appender.f.layout.pattern=[%d] %p %m (%c)%n\nrootLogger.level=info\nrootLogger.appenderRef.f.ref=f\n")

    def java(self, heap, *arguments):
        classes = Path(self.cluster.jars).parent / "classes.jsa"  # made by scripts/deps
        archive = [f"-XX:SharedArchiveFile={classes}"] if classes.exists() else []
        return ["java", f"-Xmx{heap}", *archive, *JAVA_OPTIONS, f"-Dlog4j2.configurationFile={self.folder}/log4j2.properties",
                f"-Djava.io.tmpdir={self.folder}", "-cp", f"{self.cluster.jars}/*", *arguments,
                f"{self.folder}/server.properties"]

    def start(self):
        self.starts += 1
        self.meant_to_run = True
        log = self.folder / "server.log"
        if log.exists():
            log.rename(self.folder / f"server.{self.starts - 1}.log")
        self.child = Child(self.java("256m", "kafka.Kafka"), self.folder / "stdout.log")

    def ready(self):
        log = self.folder / "server.log"
        return self.running() and log.exists() and "Kafka Server started" in log.read_text(errors="replace")

    def running(self):
        return self.child is not None and self.child.running()

    def kill(self):
        self.meant_to_run = False
        self.child.kill()

    def fill_disk(self):
        """Fills the broker's disk. Returns the bytes taken. The broker ends itself when it notices that, which may
        happen only after `free_disk`."""
        taken = 0
        with open(self.disk / "filler", "wb", buffering=0) as file:
            try:
                while True:
                    taken += file.write(bytes(1 << 20))
            except OSError:
                pass
        return taken

    def free_disk(self):
        (self.disk / "filler").unlink(missing_ok=True)


class Cluster:
    def __init__(self, folder, jars, network, count=3, places=3, disk_bytes=768 << 20):
        self.folder, self.jars, self.network = Path(folder), Path(jars), network
        self.brokers = []
        for number in range(1, count + 1):
            self.brokers.append(Broker(self, number, places))
        voters = ",".join(f"{x.number}@127.0.0.1:{x.ports['CONTROLLER']}" for x in self.brokers)
        for broker in self.brokers:
            broker.configure(voters)
        self.mounted = [x for x in self.brokers if _mount_small(x.disk, disk_bytes)]
        self.bootstrap = ",".join(f"127.0.0.1:{x.ports['DIRECT']}" for x in self.brokers)
        self.admin = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 2, "socket.timeout.ms": 2000,
                                  "reconnect.backoff.max.ms": 500})

    @property
    def disks_can_fill(self):
        return len(self.mounted) == len(self.brokers)

    def bootstrap_of(self, place):
        return ",".join(f"127.0.0.1:{x.links[place].port}" for x in self.brokers)

    def start(self, limit_s=180):
        self._format()
        for broker in self.brokers:
            broker.start()
        deadline = time.monotonic() + limit_s
        while not all(x.ready() for x in self.brokers):
            for broker in self.brokers:
                if not broker.running():
                    raise RuntimeError(f"broker {broker.number} ended at its start: see {broker.folder}")
            if time.monotonic() > deadline:
                raise TimeoutError(f"Kafka was not ready within {limit_s} s: see {self.folder}")
            time.sleep(0.1)

    def _format(self):
        """Formats one broker's storage and copies it to the others, which saves a start of Java for each of them."""
        first = self.brokers[0]
        identity = urlsafe_b64encode(uuid.UUID(int=uuid.uuid4().int >> 1).bytes).decode().rstrip("=")
        done = subprocess.run(first.java("128m", "kafka.tools.StorageTool", "format", "-g", "-t", identity, "-c"),
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=180, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"formatting Kafka's storage failed: {done.stdout.decode(errors='replace')}")
        for broker in self.brokers[1:]:
            shutil.copytree(first.disk / "data", broker.disk / "data")
            file = broker.disk / "data/meta.properties"
            lines = [x for x in file.read_text().splitlines() if not x.startswith(("node.id=", "directory.id="))]
            directory = urlsafe_b64encode(uuid.UUID(int=uuid.uuid4().int >> 1).bytes).decode().rstrip("=")
            file.write_text("\n".join([*lines, f"node.id={broker.number}", f"directory.id={directory}", ""]))

    def create_topics(self, topics, limit_s=60):
        """`topics`: {name: (partitions, configuration)}"""
        deadline = time.monotonic() + limit_s
        missing = dict(topics)
        while missing:
            new = [NewTopic(name, partitions, len(self.brokers), config=config)
                   for name, (partitions, config) in missing.items()]
            for name, future in self.admin.create_topics(new, request_timeout=10).items():
                try:
                    future.result()
                except KafkaException as e:
                    if e.args[0].name() != "TOPIC_ALREADY_EXISTS":
                        if time.monotonic() > deadline:
                            raise
                        continue
                del missing[name]

    def whole(self):
        """Whether all brokers are up and have caught up."""
        if not all(x.ready() for x in self.brokers):
            return False
        try:
            topics = self.admin.list_topics(timeout=1).topics.values()
        except KafkaException:
            return False
        return all(len(p.isrs) == len(p.replicas) for topic in topics for p in topic.partitions.values())

    def _group(self, name):
        """What is known of a consumer group; None if no broker answers. (describe_consumer_groups is not used: its
        requests crash the client when they time out.)"""
        try:
            found = self.admin.list_groups(name, timeout=1.5)
        except KafkaException:
            return None
        return next((x for x in found if x.id == name and x.members), None)

    def group_is_stable(self, members, name="chaos"):
        """Whether the consumer group has so many members and no rebalance is under way."""
        about = self._group(name)
        return about is not None and about.state == "Stable" and len(about.members) == members

    def members(self, name, client_id):
        """Ids of the group's members with this client id; empty if no broker answers."""
        about = self._group(name)
        return [x.id for x in about.members if x.client_id == client_id] if about else []

    def log_of(self, topic, partition):
        """The folder of a partition's log at a replica that has all committed records. Raises KafkaException if no
        broker answers."""
        in_sync = self.admin.list_topics(topic, timeout=5).topics[topic].partitions[partition].isrs
        return next(x.disk for x in self.brokers if x.number in in_sync) / "data" / f"{topic}-{partition}"

    def look(self):
        """Restarts brokers that ended themselves because their disk was full or because they could not bind."""
        for broker in self.brokers:
            if broker.meant_to_run and not broker.running() and not (broker.disk / "filler").exists():
                broker.start()

    def end(self):
        for broker in self.brokers:
            if broker.running():
                broker.child.signal(signal.SIGCONT)
                broker.kill()
        for broker in self.mounted:
            subprocess.run(["umount", "-l", broker.disk], check=False)


def _mount_small(folder, size):
    """Mounts a tmpfs if `size` is above 0 and this process may mount. Sparse files take no room in a tmpfs."""
    if os.geteuid() != 0 or size == 0:
        return False
    return subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "ziyu-chaos", folder], check=False,
                          stderr=subprocess.DEVNULL).returncode == 0
