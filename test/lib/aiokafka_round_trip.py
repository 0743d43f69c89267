"""Arguments: ADDRESS TOPIC GROUP. aiokafka: admin, producers with every codec, two members of a group, offsets."""
import asyncio
import sys
import time

import aiokafka
from aiokafka.admin import AIOKafkaAdminClient, NewTopic


async def produce(address, topic):
    sent = []
    for codec in (None, "gzip", "snappy", "lz4", "zstd"):
        for idempotent in (False, True):
            async with aiokafka.AIOKafkaProducer(bootstrap_servers=address, compression_type=codec, linger_ms=5,
                                                 enable_idempotence=idempotent) as producer:
                values = [f"{codec} {idempotent} {number}".encode() for number in range(100)]
                waits = [await producer.send(topic, value, key=value, headers=[("codec", b"x")]) for value in values]
                await asyncio.gather(*waits)
                sent += values
    return sent


async def main(address, topic, group):
    admin = AIOKafkaAdminClient(bootstrap_servers=address)
    await admin.start()
    await admin.create_topics([NewTopic(topic, 3, 1)])
    sent, got = await produce(address, topic), []
    members = [aiokafka.AIOKafkaConsumer(topic, bootstrap_servers=address, group_id=group, auto_offset_reset="earliest",
                                         enable_auto_commit=False) for _ in range(2)]
    await asyncio.gather(*(member.start() for member in members))
    deadline = time.monotonic() + 60
    while len(set(got)) < len(sent) and time.monotonic() < deadline:
        for member in members:
            for messages in (await member.getmany(timeout_ms=100)).values():
                got += [message.value for message in messages]
    assert set(got) == set(sent), (len(set(got)), len(sent))
    for member in members:
        await member.commit()
    partitions = [aiokafka.TopicPartition(topic, number) for number in range(3)]
    assert sum((await members[0].end_offsets(partitions)).values()) == len(sent)
    assert {found.offset for found in (await members[0].offsets_for_times(dict.fromkeys(partitions, 0))).values()} == {0}
    for member in members:
        await member.stop()
    committed = await admin.list_consumer_group_offsets(group)
    assert sum(offset.offset for offset in committed.values()) == len(sent)
    assert group in [row[0] for row in await admin.list_consumer_groups()]
    await admin.delete_topics([topic])
    await admin.close()
    print("round trip holds with", aiokafka.__version__)


asyncio.run(main(*sys.argv[1:]))
