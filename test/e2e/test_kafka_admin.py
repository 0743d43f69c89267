"""Metadata, topics and configurations at the level of frames, in every version."""
import pytest
from kafka_fixtures import create, fetch, kafka_wire, produce


@pytest.fixture
def wire(server):
    with kafka_wire.Connection(server.kafka) as connection:
        yield connection


def create_one(wire, name, version=7, validate=False, **more):
    answer = wire.call("create_topics", version, {
        "validate_only": validate,
        "topics": [{"name": name, "num_partitions": 1, "replication_factor": 1, **more}]} if version >= 1 else {
        "topics": [{"name": name, "num_partitions": 1, "replication_factor": 1, **more}]})
    return answer["topics"][0]


# ---- metadata ----

@pytest.mark.parametrize("version", range(14))
def test_every_version_of_metadata(server, wire, unique, version):
    name = unique()
    topic_id = create(wire, name, 3)
    answer = wire.call("metadata", version, {"topics": [{"name": name}]})
    host, port = server.kafka.rsplit(":", 1)
    broker = answer["brokers"][0]
    assert (broker["host"], broker["port"]) == (host, int(port)) and len(answer["brokers"]) == 1
    topic = answer["topics"][0]
    assert (topic["error_code"], topic["name"]) == (0, name)
    for index, part in enumerate(sorted(topic["partitions"], key=lambda part: part["partition_index"])):
        assert (part["error_code"], part["partition_index"], part["leader_id"]) == (0, index, broker["node_id"])
        assert part["replica_nodes"] == part["isr_nodes"] == [broker["node_id"]]
        if version >= 5:
            assert part["offline_replicas"] == []
        if version >= 7:
            assert part["leader_epoch"] >= 0
    if version >= 1:
        assert answer["controller_id"] == broker["node_id"]
    if version >= 2:
        assert len(answer["cluster_id"]) == 22
    if version >= 8:
        assert topic["topic_authorized_operations"] == -2**31
    if version >= 10:
        assert topic["topic_id"] == topic_id


def test_all_topics_and_none(wire, unique):
    names = {unique() for _ in range(3)}
    for name in names:
        create(wire, name)
    for version, topics in [(0, []), (1, None), (9, None), (13, None)]:
        assert names <= {topic["name"] for topic in wire.call("metadata", version, {"topics": topics})["topics"]}
    for version in (1, 9, 13):
        assert wire.call("metadata", version, {"topics": []})["topics"] == []


def test_metadata_by_id(wire, unique):
    name = unique()
    topic_id = create(wire, name)
    answer = wire.call("metadata", 12, {"topics": [{"topic_id": topic_id, "name": None},
                                                   {"topic_id": b"\3" * 16, "name": None}]})
    known, unknown = answer["topics"]
    assert (known["error_code"], known["name"]) == (0, name)
    assert (unknown["error_code"], unknown["name"], unknown["topic_id"]) == (100, None, b"\3" * 16)


@pytest.mark.parametrize("version", [0, 1, 3, 4, 9, 12])
def test_auto_created_topics_are_usable_in_the_same_answer(wire, unique, version):
    name = unique("auto")
    topic = wire.call("metadata", version, {"topics": [{"name": name}]})["topics"][0]
    assert topic["error_code"] == 0 and topic["partitions"]
    assert all(part["leader_id"] >= 0 and part["error_code"] == 0 for part in topic["partitions"])
    assert produce(wire, name, kafka_wire.batch([b"x"]))["error_code"] == 0


def test_no_auto_creation_when_the_client_forbids_it(wire, unique):
    name = unique("auto")
    answer = wire.call("metadata", 4, {"topics": [{"name": name}], "allow_auto_topic_creation": False})
    assert answer["topics"][0]["error_code"] == 3
    assert answer["topics"][0]["name"] == name


@pytest.mark.parametrize("name", ["", ".", "..", "a b", "a/b", "ä", "x" * 250])
def test_invalid_names(wire, name):
    assert wire.call("metadata", 9, {"topics": [{"name": name}]})["topics"][0]["error_code"] == 17
    assert create_one(wire, name)["error_code"] == 17


def test_authorized_operations_when_asked(wire, unique):
    name = unique()
    create(wire, name)
    answer = wire.call("metadata", 10, {"topics": [{"name": name}], "include_topic_authorized_operations": True,
                                        "include_cluster_authorized_operations": True})
    assert answer["topics"][0]["topic_authorized_operations"] & 0xD18 == 0xD18
    assert answer["cluster_authorized_operations"] > 0


@pytest.mark.parametrize("version", range(3))
def test_describe_cluster(server, wire, version):
    answer = wire.call("describe_cluster", version, {"include_cluster_authorized_operations": True})
    assert answer["error_code"] == 0
    assert f"{answer['brokers'][0]['host']}:{answer['brokers'][0]['port']}" == server.kafka
    assert answer["cluster_id"] == wire.call("metadata", 9, {"topics": []})["cluster_id"]
    assert answer["cluster_authorized_operations"] > 0


@pytest.mark.parametrize("kind,code", [(0, 42), (2, 114), (3, 115), (-1, 115)])
def test_describe_cluster_of_others_than_brokers(wire, kind, code):
    answer = wire.call("describe_cluster", 1, {"endpoint_type": kind})
    assert (answer["error_code"], answer["brokers"]) == (code, []) and answer["error_message"]


def test_cluster_id_outlives_a_restart(start_server):
    server = start_server()
    with kafka_wire.Connection(server.kafka) as wire:
        before = wire.call("metadata", 9, {"topics": []})["cluster_id"]
    server.kill()
    server.start()
    with kafka_wire.Connection(server.kafka) as wire:
        assert wire.call("metadata", 9, {"topics": []})["cluster_id"] == before


# ---- creating and deleting ----

@pytest.mark.parametrize("version", range(8))
def test_every_version_of_create_topics(wire, unique, version):
    name = unique()
    topic = create_one(wire, name, version, num_partitions=2, configs=[{"name": "retention.ms", "value": "12345"}])
    assert topic["error_code"] == 0
    if version >= 5:
        assert (topic["num_partitions"], topic["replication_factor"]) == (2, 1)
        configs = {config["name"]: config for config in topic["configs"]}
        assert (configs["retention.ms"]["value"], configs["retention.ms"]["config_source"]) == ("12345", 1)
        assert configs["cleanup.policy"]["config_source"] == 5
    assert create_one(wire, name, version)["error_code"] == 36


@pytest.mark.parametrize("version", range(8))
def test_defaults_are_asked_for_with_minus_one(wire, unique, version):
    name = unique()
    assert create_one(wire, name, version, num_partitions=-1, replication_factor=-1)["error_code"] == 0
    assert len(wire.call("metadata", 9, {"topics": [{"name": name}]})["topics"][0]["partitions"]) >= 1


@pytest.mark.parametrize("more,code", [
    ({"num_partitions": 0}, 37), ({"num_partitions": -2}, 37), ({"num_partitions": 2**31 - 1}, 37),
    ({"replication_factor": 0}, 38), ({"replication_factor": -2}, 38),
    ({"configs": [{"name": "no.such.config", "value": "1"}]}, 40),
    ({"configs": [{"name": "retention.ms", "value": "soon"}]}, 40),
    ({"configs": [{"name": "retention.ms", "value": None}]}, 40),
    ({"configs": [{"name": "cleanup.policy", "value": "burn"}]}, 40),
    ({"assignments": [{"partition_index": 0, "broker_ids": [1]}]}, 42),
    ({"num_partitions": -1, "replication_factor": -1, "assignments": [{"partition_index": 1, "broker_ids": [1]}]}, 39),
    ({"num_partitions": -1, "replication_factor": -1, "assignments": [{"partition_index": 0, "broker_ids": [77]}]}, 39),
])
def test_refused_creations(wire, unique, more, code):
    name = unique()
    topic = create_one(wire, name, **more)
    assert topic["error_code"] == code and topic["error_message"]
    answer = wire.call("metadata", 9, {"topics": [{"name": name}], "allow_auto_topic_creation": False})
    assert answer["topics"][0]["error_code"] == 3


def test_replication_is_clamped_to_one_node(wire, unique):
    name = unique()
    assert create_one(wire, name, replication_factor=3)["error_code"] == 0


def test_manual_assignment(wire, unique):
    node = wire.call("metadata", 9, {"topics": []})["brokers"][0]["node_id"]
    name = unique()
    topic = create_one(wire, name, num_partitions=-1, replication_factor=-1, assignments=[
        {"partition_index": 1, "broker_ids": [node]}, {"partition_index": 0, "broker_ids": [node]}])
    assert (topic["error_code"], topic["num_partitions"]) == (0, 2)


def test_duplicates_and_collisions(wire, unique):
    name = unique("a.b")
    answer = wire.call("create_topics", 5, {"topics": [
        {"name": name, "num_partitions": 1, "replication_factor": 1},
        {"name": name, "num_partitions": 1, "replication_factor": 1}]})
    assert [topic["error_code"] for topic in answer["topics"]] == [42, 42]
    assert create_one(wire, name)["error_code"] == 0
    assert create_one(wire, name.replace(".", "_"))["error_code"] == 17


def test_validate_only_changes_nothing(wire, unique):
    name = unique()
    assert create_one(wire, name, validate=True)["error_code"] == 0
    answer = wire.call("metadata", 9, {"topics": [{"name": name}], "allow_auto_topic_creation": False})
    assert answer["topics"][0]["error_code"] == 3
    assert create_one(wire, name)["error_code"] == 0
    assert create_one(wire, name, validate=True)["error_code"] == 36


def test_validate_only_tells_what_would_be(wire, unique):
    """As a creation does: the default number of partitions, and every configuration with its source."""
    node = wire.call("metadata", 9, {"topics": []})["brokers"][0]["node_id"]
    for more, partitions in [({"num_partitions": -1}, 1), ({"num_partitions": 7}, 7), ({
            "num_partitions": -1, "replication_factor": -1,
            "assignments": [{"partition_index": index, "broker_ids": [node]} for index in range(3)]}, 3)]:
        more["configs"] = [{"name": "retention.ms", "value": "77"}]
        checked, made = (create_one(wire, unique(), validate=validate, **more) for validate in (True, False))
        assert (checked["error_code"], checked["num_partitions"], checked["replication_factor"]) == (0, partitions, 1)
        assert checked["topic_id"] == bytes(16) != made["topic_id"]
        assert checked["configs"] == made["configs"] and checked["configs"]


def test_a_created_topic_is_usable_at_once(server, unique):
    """Every partition has its leader in the next answer, on whatever shard that is written, and takes records."""
    name, count = unique(), 40
    with kafka_wire.Connection(server.kafka) as wire:
        create(wire, name, count)
    for _ in range(4):
        with kafka_wire.Connection(server.kafka) as wire:
            topic = wire.call("metadata", 9, {"topics": [{"name": name}], "allow_auto_topic_creation": False})["topics"][0]
            assert [part["leader_id"] >= 0 and part["error_code"] == 0 for part in topic["partitions"]] == [True] * count
            for partition in range(count):
                assert produce(wire, name, kafka_wire.batch([b"x"]), partition)["error_code"] == 0


@pytest.mark.parametrize("version", range(7))
def test_every_version_of_delete_topics(wire, unique, version):
    name, missing = unique(), unique("none")
    create(wire, name)
    values = ({"topics": [{"name": name}, {"name": missing}]} if version >= 6 else {"topic_names": [name, missing]})
    answer = wire.call("delete_topics", version, values)
    assert [(row["name"], row["error_code"]) for row in answer["responses"]] == [(name, 0), (missing, 3)]
    answer = wire.call("metadata", 9, {"topics": [{"name": name}], "allow_auto_topic_creation": False})
    assert answer["topics"][0]["error_code"] == 3


def test_delete_by_id(wire, unique):
    name = unique()
    topic_id = create(wire, name)
    answer = wire.call("delete_topics", 6, {"topics": [
        {"name": None, "topic_id": topic_id}, {"name": None, "topic_id": b"\4" * 16}, {"name": None}]})
    assert [row["error_code"] for row in answer["responses"]] == [0, 100, 42]
    assert answer["responses"][0]["name"] == name


@pytest.mark.parametrize("version", range(7))
def test_a_topic_named_twice_is_not_deleted(wire, unique, version):
    name, other = unique(), unique()
    create(wire, name), create(wire, other)
    names = [name, other, name]
    values = {"topics": [{"name": each} for each in names]} if version >= 6 else {"topic_names": names}
    answer = wire.call("delete_topics", version, values)
    assert [(row["name"], row["error_code"]) for row in answer["responses"]] == [(name, 42), (other, 0), (name, 42)]
    assert create_one(wire, name)["error_code"] == 36


def test_a_topic_named_by_id_twice_is_not_deleted(wire, unique):
    name = unique()
    topic_id = create(wire, name)
    twice = {"name": None, "topic_id": topic_id}
    assert [row["error_code"] for row in wire.call("delete_topics", 6, {"topics": [twice, twice]})["responses"]] == [42, 42]
    answer = wire.call("delete_topics", 6, {"topics": [twice, {"name": name}]})
    assert [row["error_code"] for row in answer["responses"]] == [42, 42]
    assert create_one(wire, name)["error_code"] == 36


def test_a_recreated_topic_is_another(wire, unique):
    name = unique()
    first = create(wire, name)
    produce(wire, name, kafka_wire.batch([b"old"]))
    wire.call("delete_topics", 6, {"topics": [{"name": name}]})
    assert create(wire, name) != first
    assert fetch(wire, name)["high_watermark"] == 0


def test_topics_outlive_kill(start_server, unique):
    server = start_server()
    name = unique()
    with kafka_wire.Connection(server.kafka) as wire:
        topic_id = create(wire, name, 5, retention_ms=777)
    server.kill()
    server.start()
    with kafka_wire.Connection(server.kafka) as wire:
        topic = wire.call("metadata", 10, {"topics": [{"name": name}]})["topics"][0]
        assert (topic["error_code"], topic["topic_id"], len(topic["partitions"])) == (0, topic_id, 5)
        assert config_of(wire, name)["retention.ms"]["value"] == "777"


# ---- configurations ----

def config_of(wire, name, version=4, kind=2, keys=None, **more):
    answer = wire.call("describe_configs", version, {"resources": [{
        "resource_type": kind, "resource_name": name, "configuration_keys": keys}], **more})
    result = answer["results"][0]
    assert result["error_code"] == 0, result
    return {config["name"]: config for config in result["configs"]}


@pytest.mark.parametrize("version", range(5))
def test_every_version_of_describe_configs(wire, unique, version):
    name = unique()
    create(wire, name, cleanup_policy="compact")
    configs = config_of(wire, name, version)
    assert len(configs) >= 25
    assert (configs["cleanup.policy"]["value"], configs["retention.ms"]["value"]) == ("compact", "604800000")
    if version == 0:
        assert (configs["cleanup.policy"]["is_default"], configs["retention.ms"]["is_default"]) == (False, True)
    else:
        assert (configs["cleanup.policy"]["config_source"], configs["retention.ms"]["config_source"]) == (1, 5)
    if version >= 3:
        assert configs["retention.ms"]["config_type"] == 5


def test_names_filter_and_synonyms(wire, unique):
    name = unique()
    create(wire, name, retention_ms=5000)
    configs = config_of(wire, name, keys=["retention.ms", "no.such"], include_synonyms=True,
                        include_documentation=True)
    assert list(configs) == ["retention.ms"]
    synonyms = configs["retention.ms"]["synonyms"]
    assert [(synonym["name"], synonym["source"]) for synonym in synonyms] == [
        ("retention.ms", 1), ("log.retention.ms", 5)]
    assert configs["retention.ms"]["documentation"]


def test_every_name_shown_is_accepted_back(wire, unique):
    name = unique()
    create(wire, name)
    configs = [{"name": key, "value": config["value"]} for key, config in config_of(wire, name).items()]
    assert create_one(wire, unique(), configs=configs)["error_code"] == 0


def test_broker_configs(wire):
    node = str(wire.call("metadata", 9, {"topics": []})["brokers"][0]["node_id"])
    configs = config_of(wire, node, kind=4)
    assert configs["auto.create.topics.enable"]["value"] == "true"
    assert configs["num.partitions"]["value"].isdigit()
    assert config_of(wire, "", kind=4) == {}  # the cluster's changeable defaults: there are none


def test_config_errors(wire, unique):
    answer = wire.call("describe_configs", 4, {"resources": [
        {"resource_type": 2, "resource_name": unique("none"), "configuration_keys": None},
        {"resource_type": 4, "resource_name": "4711", "configuration_keys": None},
        {"resource_type": 99, "resource_name": "x", "configuration_keys": None}]})
    assert [result["error_code"] for result in answer["results"]] == [3, 42, 42]
