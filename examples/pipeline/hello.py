"""The classic five steps: each door reads what the other wrote, and a job filters it into a blob and a topic."""
import json

from doors import Mismatch

EVENT = {"message": "Hello, World!"}


def same(where, found, count):
    events = [json.loads(value) for value in found]
    if events != [EVENT] * count:
        raise Mismatch(f"{where}: {len(events)} events, expected {count} times {EVENT}")
    return count


def run(doors, step):
    doors.create_topic("test_topic")
    doors.create_topic("results")
    doors.create_container("hello")
    step("kafka-python produces", lambda: doors.produce_simple("test_topic", [EVENT] * 10) or 10)
    step("kafka-python reads", lambda: same("test_topic", doors.consume_simple("test_topic", 10), 10))
    step("azure-eventhub sends", lambda: doors.send_events("test_topic", [EVENT] * 10) or 10)
    step("azure-eventhub receives", lambda: same("test_topic", doors.receive_events("test_topic", 20), 20))

    def job():
        doors.start_job("hello.yaml")
        rows = doors.read_csv("hello", "output.csv", 20)
        if rows != [EVENT] * 20:
            raise Mismatch(f"output.csv: {len(rows)} rows, expected 20")
        return same("results", doors.consume_simple("results", 20), 20)

    step("job into blob and topic", job)
