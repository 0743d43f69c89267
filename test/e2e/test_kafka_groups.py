"""The classic group protocol and committed offsets at the level of frames."""
import threading
import time

import pytest
from kafka_fixtures import create, kafka_wire

META = b"\0\0\0\0\0\0"


@pytest.fixture
def wire(server):
    with kafka_wire.Connection(server.kafka) as connection:
        yield connection


@pytest.fixture
def topic(wire, unique):
    name = unique()
    create(wire, name, 3)
    return name


def join_request(group, member="", session=10000, rebalance=5000, protocols=(("range", META),), **more):
    return {"group_id": group, "session_timeout_ms": session, "rebalance_timeout_ms": rebalance, "member_id": member,
            "protocol_type": "consumer", "protocols": [{"name": name, "metadata": data} for name, data in protocols],
            **more}


def join(wire, group, member="", version=5, **more):
    """Joins, with the second round that versions 4 and up ask for."""
    answer = wire.call("join_group", version, join_request(group, member, **more))
    if answer["error_code"] == 79:
        answer = wire.call("join_group", version, join_request(group, answer["member_id"], **more))
    return answer


def sync(wire, group, joined, assignments=(), version=3):
    return wire.call("sync_group", version, {
        "group_id": group, "generation_id": joined["generation_id"], "member_id": joined["member_id"],
        "assignments": [{"member_id": member, "assignment": data} for member, data in assignments]})


def stable(wire, group, version=5, **more):
    """A group of one, ready."""
    joined = join(wire, group, version=version, **more)
    assert joined["error_code"] == 0, joined
    assert sync(wire, group, joined, [(joined["member_id"], b"mine")])["assignment"] == b"mine"
    return joined


def heartbeat(wire, group, joined, version=3, **more):
    return wire.call("heartbeat", version, {"group_id": group, "generation_id": joined["generation_id"],
                                            "member_id": joined["member_id"], **more})["error_code"]


def commit(wire, group, topic, offset, joined=None, version=7, partition=0, metadata="m", epoch=-1):
    answer = wire.call("offset_commit", version, {
        "group_id": group,
        **({"generation_id_or_member_epoch": joined["generation_id"], "member_id": joined["member_id"]} if joined else {}),
        "topics": [{"name": topic, "partitions": [{
            "partition_index": partition, "committed_offset": offset, "committed_metadata": metadata,
            **({"committed_leader_epoch": epoch} if version >= 6 else {})}]}]})
    return answer["topics"][0]["partitions"][0]["error_code"]


def fetched(wire, group, topic, partition=0, version=7):
    answer = wire.call("offset_fetch", version, {"group_id": group, "topics": [
        {"name": topic, "partition_indexes": [partition]}]})
    return answer["topics"][0]["partitions"][0]


@pytest.mark.parametrize("version", range(7))
def test_every_version_of_find_coordinator(server, wire, version):
    if version < 4:
        answers = [wire.call("find_coordinator", version, {"key": "g"})]
    else:
        answers = wire.call("find_coordinator", version, {"coordinator_keys": ["g", "h"]})["coordinators"]
        assert [answer["key"] for answer in answers] == ["g", "h"]
    for answer in answers:
        assert answer["error_code"] == 0
        assert f"{answer['host']}:{answer['port']}" == server.kafka


def test_no_coordinator_of_transactions(wire):
    assert wire.call("find_coordinator", 2, {"key": "t", "key_type": 1})["error_code"] == 53


@pytest.mark.parametrize("version", range(10))
def test_every_version_of_a_whole_life(wire, topic, unique, version):
    group = unique("g")
    joined = join(wire, group, version=version)
    assert (joined["error_code"], joined["generation_id"]) == (0, 1)
    assert joined["leader"] == joined["member_id"] and joined["protocol_name"] == "range"
    assert [member["metadata"] for member in joined["members"]] == [META]
    sync_version = min(version, 5)
    answer = wire.call("sync_group", sync_version, {
        "group_id": group, "generation_id": 1, "member_id": joined["member_id"],
        "assignments": [{"member_id": joined["member_id"], "assignment": b"all"}],
        **({"protocol_type": "consumer", "protocol_name": "range"} if sync_version == 5 else {})})
    assert (answer["error_code"], answer["assignment"]) == (0, b"all")
    assert heartbeat(wire, group, joined, min(version, 4)) == 0
    commit_version = min(version, 9)
    assert commit(wire, group, topic, 5, joined if commit_version >= 1 else joined, commit_version) == (
        0 if commit_version >= 1 else 25)
    leave_version = min(version, 5)
    answer = wire.call("leave_group", leave_version, {
        "group_id": group, **({"member_id": joined["member_id"]} if leave_version < 3 else {
            "members": [{"member_id": joined["member_id"]}, {"member_id": "stranger"}]})})
    assert answer["error_code"] == 0
    if leave_version >= 3:
        assert [member["error_code"] for member in answer["members"]] == [0, 25]
    assert heartbeat(wire, group, joined) == 25


def test_member_id_is_required_from_version_4(wire, unique):
    group = unique("g")
    answer = wire.call("join_group", 4, join_request(group))
    assert (answer["error_code"], answer["generation_id"]) == (79, -1)
    assert answer["member_id"].startswith("weir-test")
    again = wire.call("join_group", 4, join_request(group, answer["member_id"]))
    assert (again["error_code"], again["member_id"]) == (0, answer["member_id"])
    assert wire.call("join_group", 3, join_request(unique("g")))["error_code"] == 0


def test_join_errors(wire, unique):
    group = unique("g")
    assert join(wire, "")["error_code"] == 24
    assert join(wire, group, session=10)["error_code"] == 26
    assert join(wire, group, session=10**9)["error_code"] == 26
    assert join(wire, group, protocols=())["error_code"] == 23
    assert wire.call("join_group", 5, join_request(group, "stranger"))["error_code"] == 25
    stable(wire, group)
    assert join(wire, group, protocols=(("other", META),))["error_code"] == 23
    assert wire.call("join_group", 5, join_request(group, "stranger"))["error_code"] == 25


def test_two_members_share(server, wire, unique):
    group = unique("g")
    first = stable(wire, group)
    with kafka_wire.Connection(server.kafka, "second") as other:
        pending = other.call("join_group", 5, join_request(group))
        other.send("join_group", 5, join_request(group, pending["member_id"]))
        deadline = time.monotonic() + 10
        while heartbeat(wire, group, first) != 27:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        leader = wire.call("join_group", 5, join_request(group, first["member_id"]))
        follower = other.receive("join_group", 5)
        assert leader["generation_id"] == follower["generation_id"] == 2
        assert leader["leader"] == follower["leader"] == first["member_id"]
        assert {member["member_id"] for member in leader["members"]} == {first["member_id"], pending["member_id"]}
        assert follower["members"] == []
        other.send("sync_group", 3, {"group_id": group, "generation_id": 2, "member_id": follower["member_id"]})
        assert sync(wire, group, leader, [(leader["member_id"], b"A"), (follower["member_id"], b"B")])["assignment"] == b"A"
        assert other.receive("sync_group", 3)["assignment"] == b"B"
        assert heartbeat(wire, group, leader) == heartbeat(other, group, follower) == 0
        # Asking again gives the same.
        assert sync(other, group, follower)["assignment"] == b"B"
        # The old generation is over.
        assert heartbeat(wire, group, first) == 22
        assert sync(wire, group, first)["error_code"] == 22


def test_an_empty_group_waits_for_more_members_when_told_to(start_server, tmp_path, unique):
    file = tmp_path / "weir.yaml"
    file.write_text("groups: {initial_rebalance_delay_ms: 1500}\n")
    server, group = start_server("--config", str(file)), unique("g")
    connections = [kafka_wire.Connection(server.kafka) for _ in range(3)]
    for wire in connections:
        wire.send("join_group", 3, join_request(group))
    answers = [wire.receive("join_group", 3) for wire in connections]
    assert [(answer["error_code"], answer["generation_id"]) for answer in answers] == [(0, 1)] * 3
    assert sorted(len(answer["members"]) for answer in answers) == [0, 0, 3]
    for wire in connections:
        wire.socket.close()


def test_a_silent_member_is_expelled(server, wire, unique):
    group = unique("g")
    joined = stable(wire, group, session=6000)
    with kafka_wire.Connection(server.kafka) as other:
        started = time.monotonic()
        other.socket.settimeout(30)
        second = join(other, group, rebalance=60000)
        assert second["error_code"] == 0 and second["leader"] == second["member_id"]
        assert time.monotonic() - started < 20
    assert heartbeat(wire, group, joined) in (22, 25)


def test_rebalance_timeout_drops_those_who_do_not_rejoin(server, wire, unique):
    group = unique("g")
    joined = stable(wire, group, session=60000, rebalance=700)
    with kafka_wire.Connection(server.kafka) as other:
        second = join(other, group, rebalance=700)
        assert (second["error_code"], len(second["members"])) == (0, 1)
    assert heartbeat(wire, group, joined) in (22, 25)


def test_static_members(server, wire, unique):
    group = unique("g")
    joined = join(wire, group, group_instance_id="one")
    assert joined["error_code"] == 0
    assert joined["members"][0]["group_instance_id"] == "one"
    sync(wire, group, joined, [(joined["member_id"], b"kept")])
    with kafka_wire.Connection(server.kafka) as other:
        back = join(other, group, version=9, group_instance_id="one")
        assert (back["error_code"], back["generation_id"], back["skip_assignment"]) == (0, 1, True)
        assert back["member_id"] != joined["member_id"]
        assert heartbeat(wire, group, joined, group_instance_id="one") == 82
        assert heartbeat(other, group, back, group_instance_id="one") == 0
        answer = other.call("leave_group", 3, {"group_id": group, "members": [
            {"member_id": "", "group_instance_id": "one"}]})
        assert answer["members"][0]["error_code"] == 0


def test_a_static_member_that_comes_back_before_assignments_starts_a_rebalance(server, wire, unique):
    group = unique("g")
    first = join(wire, group, group_instance_id="one")
    assert (first["error_code"], first["generation_id"]) == (0, 1)
    with kafka_wire.Connection(server.kafka) as other:
        back = join(other, group, version=5, group_instance_id="one")
        assert (back["error_code"], back["generation_id"]) == (0, 2)
        assert [member["member_id"] for member in back["members"]] == [back["member_id"]]
        assert wire.call("sync_group", 3, {
            "group_id": group, "generation_id": 1, "member_id": first["member_id"], "group_instance_id": "one",
            "assignments": [{"member_id": first["member_id"], "assignment": b"old"}]})["error_code"] == 82
        assert sync(other, group, back, [(back["member_id"], b"new")])["assignment"] == b"new"


def test_sync_names_its_protocol_from_version_5(wire, unique):
    group = unique("g")
    joined = join(wire, group)
    request = {"group_id": group, "generation_id": 1, "member_id": joined["member_id"],
               "assignments": [{"member_id": joined["member_id"], "assignment": b"all"}]}
    both = {"protocol_type": "consumer", "protocol_name": "range"}
    for missing in ("protocol_type", "protocol_name"):
        wrong = {**both, missing: None}
        assert wire.call("sync_group", 5, {**request, **wrong})["error_code"] == 23
        assert wire.call("sync_group", 5, {**request, **both, missing: "other"})["error_code"] == 23
    assert wire.call("sync_group", 5, {**request, **both})["assignment"] == b"all"
    assert wire.call("sync_group", 4, request)["assignment"] == b"all"


def test_a_commit_is_there_for_whoever_asks_next(server, topic, unique):
    """At every connection, so on every shard, right after the answer."""
    group = unique("g")
    connections = [kafka_wire.Connection(server.kafka) for _ in range(6)]
    for offset in range(60):
        writer, reader = connections[offset % 6], connections[(offset * 5 + 1) % 6]
        assert commit(writer, group, topic, offset) == 0
        assert fetched(reader, group, topic)["committed_offset"] == offset
    for connection in connections:
        connection.socket.close()


def test_a_partition_committed_twice_keeps_the_last(wire, topic, unique):
    group = unique("g")
    answer = wire.call("offset_commit", 7, {"group_id": group, "topics": [{"name": topic, "partitions": [
        {"partition_index": 0, "committed_offset": offset} for offset in (5, 9, 7)]}]})
    assert [part["error_code"] for part in answer["topics"][0]["partitions"]] == [0, 0, 0]
    assert fetched(wire, group, topic)["committed_offset"] == 7
    answer = wire.call("offset_fetch", 7, {"group_id": group, "topics": [
        {"name": topic, "partition_indexes": [0, 0]}, {"name": topic, "partition_indexes": [0]}]})
    assert [[part["committed_offset"] for part in row["partitions"]] for row in answer["topics"]] == [[7, 7], [7]]


def test_a_lost_coordinator_is_told_in_every_version(start_server, unique):
    """Its partition of the offsets topic cannot be read: each call says so where its version has a place for it, and
    everything else is served."""
    server = start_server()
    name, group = unique(), unique("g")
    with kafka_wire.Connection(server.kafka) as wire:
        create(wire, name)
        assert commit(wire, group, name, 1) == 0
        topic = wire.call("metadata", 12, {"topics": [{"name": "__consumer_offsets"}]})["topics"][0]
        logs = list((server.data / "log/topics").glob("__consumer_offsets-*"))
        assert len(logs) == len(topic["partitions"])
    server.kill()
    for log in logs:
        log.rename(log.with_suffix(".aside"))
        log.write_text("not a folder")
    server.start()
    told = (15, 14, 16)
    with kafka_wire.Connection(server.kafka) as wire:
        parts = [{"name": name, "partition_indexes": [0]}]
        for version in range(8):
            answer = wire.call("offset_fetch", version, {"group_id": group, "topics": parts})
            if version >= 2:
                assert answer["error_code"] in told, version
            else:
                part = answer["topics"][0]["partitions"][0]
                assert part["error_code"] in told and part["committed_offset"] == -1, version
        for version in (8, 9):
            answer = wire.call("offset_fetch", version, {"groups": [{"group_id": group, "topics": parts}]})
            assert answer["groups"][0]["error_code"] in told
        for version in range(10):
            assert commit(wire, group, name, 1, version=version) in told
            assert wire.call("join_group", version, join_request(group))["error_code"] in told
        for version in range(6):
            answer = wire.call("list_groups", version)
            assert answer["error_code"] in told and answer["groups"] == []
        for version in range(7):
            assert wire.call("describe_groups", version, {"groups": [group]})["groups"][0]["error_code"] in told
        for version in range(3):
            assert wire.call("delete_groups", version, {"groups_names": [group]})["results"][0]["error_code"] in told
        request = {"group_id": group, "generation_id": 1, "member_id": "m"}
        for version in range(5):
            assert wire.call("heartbeat", version, request)["error_code"] in told
            named = {"protocol_type": "consumer", "protocol_name": "range"} if version >= 5 else {}
            assert wire.call("sync_group", version, {**request, **named})["error_code"] in told
        for version in range(6):
            who = {"members": [{"member_id": "m"}]} if version >= 3 else {"member_id": "m"}
            assert wire.call("leave_group", version, {"group_id": group, **who})["error_code"] in told
        assert wire.call("metadata", 9, {"topics": [{"name": name}]})["topics"][0]["error_code"] == 0


def test_offsets_and_metadata_round_trip(wire, topic, unique):
    group = unique("g")
    assert fetched(wire, group, topic)["committed_offset"] == -1
    assert commit(wire, group, topic, 42, metadata="näme", epoch=3) == 0
    part = fetched(wire, group, topic)
    assert (part["committed_offset"], part["metadata"], part["committed_leader_epoch"], part["error_code"]) == (
        42, "näme", 3, 0)
    assert commit(wire, group, topic, 41, metadata=None) == 0
    part = fetched(wire, group, topic)
    assert (part["committed_offset"], part["metadata"]) == (41, "")
    assert fetched(wire, group, topic, 1)["committed_offset"] == -1


@pytest.mark.parametrize("version", range(11))
def test_every_version_of_commit_and_fetch(wire, unique, version):
    name, group = unique(), unique("g")
    topic_id = create(wire, name, 2)
    where = {"topic_id": topic_id} if version >= 10 else {"name": name}
    answer = wire.call("offset_commit", version, {"group_id": group, "topics": [{
        **where, "partitions": [{"partition_index": 1, "committed_offset": 9, "committed_metadata": "x"}]}]})
    assert answer["topics"][0]["partitions"] == [{"partition_index": 1, "error_code": 0}]
    topics = [{**where, "partition_indexes": [0, 1]}]
    request = ({"groups": [{"group_id": group, "topics": topics}, {"group_id": unique("none"), "topics": topics}]}
               if version >= 8 else {"group_id": group, "topics": topics})
    answer = wire.call("offset_fetch", version, request)
    if version >= 8:
        assert [part["committed_offset"] for part in answer["groups"][1]["topics"][0]["partitions"]] == [-1, -1]
        answer = answer["groups"][0]
    parts = answer["topics"][0]["partitions"]
    assert [(part["partition_index"], part["committed_offset"], part["metadata"], part["error_code"])
            for part in parts] == [(0, -1, "", 0), (1, 9, "x", 0)]
    if version >= 2:
        everything = ({"groups": [{"group_id": group, "topics": None}]} if version >= 8
                      else {"group_id": group, "topics": None})
        answer = wire.call("offset_fetch", version, everything)
        answer = answer["groups"][0] if version >= 8 else answer
        assert [[part["partition_index"] for part in row["partitions"]] for row in answer["topics"]] == [[1]]


def test_commit_errors(wire, topic, unique):
    group = unique("g")
    stranger = {"generation_id": 3, "member_id": "stranger"}
    assert commit(wire, group, topic, 1, stranger) == 22
    assert commit(wire, group, topic, 1, stranger, version=9) == 69
    assert commit(wire, group, unique("none"), 1) == 3
    assert commit(wire, group, topic, 1, partition=99) == 3
    assert commit(wire, group, topic, 1, metadata="m" * 5000) == 12
    joined = stable(wire, group)
    assert commit(wire, group, topic, 1) == 25
    assert commit(wire, group, topic, 1, stranger) == 25
    assert commit(wire, group, topic, 1, {**joined, "generation_id": 7}) == 22
    assert commit(wire, group, topic, 1, joined) == 0


def test_committed_offsets_outlive_kill(start_server, unique):
    server = start_server()
    name, group = unique(), unique("g")
    with kafka_wire.Connection(server.kafka) as wire:
        create(wire, name, 3)
        for partition in range(3):
            for offset in (1, 100 + partition):
                assert commit(wire, group, name, offset, partition=partition, metadata=f"p{partition}") == 0
    server.kill()
    server.start()
    with kafka_wire.Connection(server.kafka) as wire:
        deadline = time.monotonic() + 15
        for partition in range(3):
            while True:
                answer = wire.call("offset_fetch", 7, {"group_id": group, "topics": [
                    {"name": name, "partition_indexes": [partition]}]})
                if answer["error_code"] not in (14, 15, 16):
                    break
                assert time.monotonic() < deadline
                time.sleep(0.02)
            part = answer["topics"][0]["partitions"][0]
            assert (part["committed_offset"], part["metadata"]) == (100 + partition, f"p{partition}")


def test_a_deleted_topic_takes_its_offsets_along(wire, topic, unique):
    group = unique("g")
    assert commit(wire, group, topic, 7) == 0
    wire.call("delete_topics", 4, {"topic_names": [topic], "timeout_ms": 1000})
    create(wire, topic, 3)
    deadline = time.monotonic() + 5
    while fetched(wire, group, topic)["committed_offset"] != -1:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_members_come_and_go_under_load(server, unique):
    """Ten members join, work, and leave or vanish at once; the group always settles again."""
    group, failures = unique("g"), []

    def member(number):
        try:
            for turn in range(4):
                with kafka_wire.Connection(server.kafka, f"m{number}", timeout=60) as wire:
                    member_id, deadline = "", time.monotonic() + 60
                    while True:
                        assert time.monotonic() < deadline
                        joined = join(wire, group, member_id, session=6000, rebalance=2000)
                        member_id = joined["member_id"]
                        if joined["error_code"] != 0:
                            member_id = member_id if joined["error_code"] == 79 else ""
                            continue
                        plan = [(row["member_id"], row["member_id"].encode()) for row in joined["members"]]
                        synced = sync(wire, group, joined, plan)
                        if synced["error_code"] == 0:
                            assert synced["assignment"] == member_id.encode()
                            break
                    assert heartbeat(wire, group, joined) in (0, 22, 27, 25)
                    if (number + turn) % 3:
                        wire.call("leave_group", 3, {"group_id": group, "members": [{"member_id": member_id}]})
        except Exception as error:  # noqa: BLE001
            failures.append(f"member {number}: {error!r}")
    threads = [threading.Thread(target=member, args=(number,)) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(100)
    assert not failures
    with kafka_wire.Connection(server.kafka, timeout=30) as wire:
        assert join(wire, group)["error_code"] == 0
