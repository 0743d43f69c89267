"""What the Kafka tests share: raw connections and topics of their own."""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import kafka_wire  # noqa: E402


def create(wire, name, partitions=1, **configs):
    """Makes a topic and returns its id."""
    answer = wire.call("create_topics", 7, {"topics": [{
        "name": name, "num_partitions": partitions, "replication_factor": 1,
        "configs": [{"name": key.replace("_", "."), "value": str(value)} for key, value in configs.items()]}]})
    assert answer["topics"][0]["error_code"] == 0, answer
    return answer["topics"][0]["topic_id"]


def produce(wire, topic, batch, partition=0, acks=-1, version=9):
    """Sends one batch; the partition's answer."""
    wire.send("produce", version, produce_request(topic, batch, partition, acks))
    if acks == 0:
        return None
    return wire.receive("produce", version)["responses"][0]["partition_responses"][0]


def produce_request(topic, batch, partition=0, acks=-1):
    return {"acks": acks, "timeout_ms": 10000,
            "topic_data": [{"name": topic, "partition_data": [{"index": partition, "records": batch}]}]}


def fetch_request(topic, offset=0, partition=0, wait=0, least=1, most=1 << 20, part_most=1 << 20, **more):
    return {"max_wait_ms": wait, "min_bytes": least, "max_bytes": most, "topics": [{
        "topic": topic, "partitions": [
            {"partition": partition, "fetch_offset": offset, "partition_max_bytes": part_most}]}], **more}


def fetch(wire, topic, offset=0, version=11, **more):
    """One partition's answer."""
    return wire.call("fetch", version, fetch_request(topic, offset, **more))["responses"][0]["partitions"][0]


def offset_at(wire, topic, timestamp, partition=0, version=5, isolation=0):
    answer = wire.call("list_offsets", version, {"replica_id": -1, "isolation_level": isolation, "topics": [{
        "name": topic, "partitions": [{"partition_index": partition, "timestamp": timestamp}]}]})
    return answer["topics"][0]["partitions"][0]


__all__ = ["create", "fetch", "fetch_request", "kafka_wire", "offset_at", "produce", "produce_request"]
