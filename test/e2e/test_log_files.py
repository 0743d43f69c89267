"""Kafka's own dump tool reads the log's files: segments, both indexes, producer snapshots."""
import pathlib
import re
import shutil
import subprocess
import sys

import confluent_kafka
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "test/lib"))
import maven  # noqa: E402

pytestmark = [pytest.mark.skipif(not (shutil.which("java") and shutil.which("mvn")), reason="needs Java and Maven"),
              pytest.mark.timeout(300)]
COUNT = 3000


def dump(files, *options):
    jars = maven.closure("org.apache.kafka:kafka-tools:4.3.1")
    done = subprocess.run(["java", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-cp", ":".join(map(str, jars)),
                           "org.apache.kafka.tools.DumpLogSegments", *options, "--files", ",".join(map(str, files))],
                          capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_dump_tool_reads_the_log(start_server):
    server = start_server()
    producer = confluent_kafka.Producer({"bootstrap.servers": server.kafka, "enable.idempotence": True,
                                         "batch.num.messages": 20, "compression.type": "lz4"})
    failures = []
    for i in range(COUNT):
        producer.produce("dumped", f"value {i} ".encode() * 20, key=str(i), partition=0,
                         on_delivery=lambda error, _: error and failures.append(error))
        if i % 200 == 0:
            producer.flush(30)
    assert producer.flush(60) == 0 and not failures
    assert server.stop() == 0, server.stderr()

    folder = next(server.data.rglob("dumped-0"))
    text = dump(sorted(folder.glob("*.log")), "--deep-iteration", "--print-data-log")
    assert "isvalid: false" not in text
    offsets = [int(n) for n in re.findall(r"^\| offset: (\d+)", text, re.M)]
    assert offsets == list(range(COUNT))
    assert [int(n) for n in re.findall(r"payload: value (\d+) ", text)] == list(range(COUNT))
    text = dump(sorted(folder.glob("*.index")) + sorted(folder.glob("*.timeindex")), "--verify-index-only")
    assert len(text.splitlines()) > 0 and not re.search(r"mismatch|out of order|not found|error", text, re.I), text
    text = dump(sorted(folder.glob("*.snapshot")))
    assert f"lastOffset: {COUNT - 1} " in text, text
