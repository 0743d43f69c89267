"""The Java client and Kafka's own console tools, from their published jars."""
import pathlib
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "test/lib"))
import maven  # noqa: E402

pytestmark = [pytest.mark.skipif(not (shutil.which("java") and shutil.which("mvn")), reason="needs Java and Maven"),
              pytest.mark.timeout(300)]
CLIENTS = ["4.3.1", "3.9.1"]


def java(classpath, *arguments, stdin=None, timeout=200):
    options = ["-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]
    return subprocess.run(["java", *options, "-cp", ":".join(map(str, classpath)), *map(str, arguments)], input=stdin,
                          capture_output=True, text=True, timeout=timeout)


@pytest.mark.parametrize("release", CLIENTS)
def test_java_client(server, unique, release):
    jars = maven.closure(f"org.apache.kafka:kafka-clients:{release}")
    done = java(jars, ROOT / "test/lib/java/RoundTrip.java", server.kafka, unique(), unique("g"))
    assert done.returncode == 0 and "round trip holds" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize("release", ["0.10.2.2"])
def test_old_java_client(server, unique, release):
    """0.10 knows neither batches of format 2 nor idempotence: it sends and reads message sets."""
    jars = maven.closure(f"org.apache.kafka:kafka-clients:{release}")
    done = java(jars, ROOT / "test/lib/java/OldRoundTrip.java", server.kafka, unique(), unique("g"))
    assert done.returncode == 0 and "round trip holds" in done.stdout, done.stdout + done.stderr


@pytest.fixture(scope="module")
def tool():
    """Runs one of Kafka's console tools by its class."""
    jars = maven.closure("org.apache.kafka:kafka-tools:4.3.1")

    def run(name, *arguments, stdin=None):
        return java(jars, f"org.apache.kafka.tools.{name}", *arguments, stdin=stdin)
    return run


def test_console_tools(server, unique, tool):
    topic, group = unique(), unique("g")
    base = ["--bootstrap-server", server.kafka]
    done = tool("TopicCommand", *base, "--create", "--topic", topic, "--partitions", "2", "--config", "retention.ms=99999")
    assert done.returncode == 0, done.stdout + done.stderr
    done = tool("TopicCommand", *base, "--describe", "--topic", topic)
    assert "PartitionCount: 2" in done.stdout and "retention.ms=99999" in done.stdout, done.stdout + done.stderr
    assert topic in tool("TopicCommand", *base, "--list").stdout.split()
    done = tool("ConsoleProducer", *base, "--topic", topic, stdin="one\ntwo\nthree\n")
    assert done.returncode == 0, done.stderr
    done = tool("consumer.ConsoleConsumer", *base, "--topic", topic, "--from-beginning", "--group", group,
                "--max-messages", "3", "--timeout-ms", "60000")
    assert sorted(done.stdout.split()) == ["one", "three", "two"], done.stdout + done.stderr
    done = tool("GetOffsetShell", *base, "--topic", topic)
    total = sum(int(line.rsplit(":", 1)[1]) for line in done.stdout.split())
    assert total == 3, done.stdout + done.stderr
    done = tool("consumer.group.ConsumerGroupCommand", *base, "--list")
    assert group in done.stdout.split(), done.stdout + done.stderr
    done = tool("consumer.group.ConsumerGroupCommand", *base, "--describe", "--group", group)
    rows = [line.split() for line in done.stdout.splitlines() if line.startswith(group)]
    assert len(rows) == 2 and sum(int(row[3]) for row in rows) == 3, done.stdout + done.stderr
    done = tool("TopicCommand", *base, "--delete", "--topic", topic)
    assert done.returncode == 0, done.stderr


def test_verifiable_tools_agree(server, unique, tool):
    import json
    topic = unique()
    done = tool("VerifiableProducer", "--bootstrap-server", server.kafka, "--topic", topic, "--max-messages", "2000",
                "--acks", "-1")
    summary = [json.loads(line) for line in done.stdout.splitlines() if '"tool_data"' in line][0]
    assert (summary["sent"], summary["acked"]) == (2000, 2000), done.stderr
    done = tool("VerifiableConsumer", "--bootstrap-server", server.kafka, "--topic", topic, "--group-id", unique("g"),
                "--max-messages", "2000", "--reset-policy", "earliest")
    consumed = [json.loads(line) for line in done.stdout.splitlines() if '"records_consumed"' in line]
    assert sum(row["count"] for row in consumed) == 2000, done.stderr
