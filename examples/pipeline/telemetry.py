"""One million generated telemetry events, filtered the same two ways."""
import json
import subprocess

from doors import WEIR, Checksum

EVENTS = 1000000
PARTITIONS = 4


def run(doors, step):
    doors.create_topic("telemetry", PARTITIONS)
    doors.create_topic("co2-alarms", PARTITIONS)
    doors.create_container("telemetry")
    generated = subprocess.run([WEIR, "generate", "telemetry", "--count", str(EVENTS), "--seed", "1"], check=True,
                               stdout=subprocess.PIPE).stdout.splitlines()
    lines, every, high = [], Checksum(), Checksum()
    for line in generated:
        event = json.loads(line)
        key = event["deviceId"].encode()
        lines.append((key, line))
        every.add(key, line)
        if event["type"] == "CO2" and event["value"] > 45:
            high.add(event["deviceId"], event["value"], event["seq"])
    step("telemetry: Kafka producer", lambda: doors.produce_many("telemetry", lines))

    def read_back():
        found = Checksum()
        for key, line in doors.consume_many("telemetry", PARTITIONS, EVENTS):
            found.add(key, line)
        found.expect("telemetry", every)
        return found.count

    step("telemetry: Kafka consumer", read_back)
    doors.start_job("telemetry.yaml")

    def blob():
        found = Checksum()
        for row in doors.read_csv("telemetry", "high.csv", high.count):
            found.add(row["deviceId"], float(row["value"]), int(row["seq"]))
        found.expect("high.csv", high)
        return found.count

    def hub():
        found = Checksum()
        for body in doors.receive_events("co2-alarms", high.count):
            row = json.loads(body)
            found.add(row["deviceId"], float(row["value"]), row["seq"])
        found.expect("co2-alarms", high)
        return found.count

    step("telemetry: job to CSV blob", blob)
    step("telemetry: job to hub", hub)
