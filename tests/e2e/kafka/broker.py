"""Apache Kafka as one process: broker and controller, on free ports of 127.0.0.1, and its own tools.

The jars are where KAFKA_JARS says; peers.sh puts them there. It does NOT know what is in a message.
"""

import os
import subprocess
from pathlib import Path

from market.market import free_ports
from procs import Failure, Process

START_SECONDS = 60
TOOL_SECONDS = 60
# Started for a minute and a half: what compiles less is ready sooner.
JAVA = ["java", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", f"{os.environ.get('KAFKA_JARS')}/*"]

PROPERTIES = """
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
log.dirs={data}
auto.create.topics.enable=false
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
group.initial.rebalance.delay.ms=0
"""


class Broker:
    """The whole cluster."""

    def __init__(self, folder):
        self.folder = Path(folder)
        port, controller = free_ports(2)
        self.address = f"127.0.0.1:{port}"
        self.config = self.folder / "kafka.properties"
        data = self.folder / "kafka"
        text = PROPERTIES.format(port=port, controller=controller, data=data)
        self.config.write_text(text, encoding="utf-8")
        self._tool("kafka.tools.StorageTool", "format", "--cluster-id", "AAAAAAAAAAAAAAAAAAAAAA", "--config", self.config)
        self.process = None
        self.start()

    def start(self):
        """Until it says that it is up."""
        self.process = Process("kafka", [*JAVA, "kafka.Kafka", self.config], self.folder)
        self.process.wait_for_line("Kafka Server started", START_SECONDS)

    def _tool(self, name, *argv, typed=""):
        argv = [*JAVA, name, *map(str, argv)]
        options = {"capture_output": True, "text": True, "timeout": TOOL_SECONDS, "check": False, "cwd": self.folder}
        done = subprocess.run(argv, input=typed, **options)
        if done.returncode != 0:
            raise Failure(f"{name}: exit {done.returncode}: {done.stdout[-2000:]} {done.stderr[-2000:]}")
        return done.stdout

    def create(self, topic, partitions):
        """A topic."""
        name = "org.apache.kafka.tools.TopicCommand"
        self._tool(name, "--bootstrap-server", self.address, "--create", "--topic", topic, "--partitions", partitions)

    def write(self, topic, line):
        """One message of text."""
        name = "org.apache.kafka.tools.ConsoleProducer"
        self._tool(name, "--bootstrap-server", self.address, "--topic", topic, typed=f"{line}\n")

    def offsets(self, group):
        """What a group has committed and where the log ends, by partition; 0 where nothing was committed."""
        name = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"
        said = self._tool(name, "--bootstrap-server", self.address, "--describe", "--offsets", "--group", group)
        rows = [line.split() for line in said.splitlines() if line.startswith(group)]
        number = lambda text: 0 if text == "-" else int(text)
        return {int(row[2]): (number(row[3]), number(row[4])) for row in rows}
