"""Arguments: ADDRESS TOPIC GROUP. Producer, consumer group and admin of whatever kafka-python is installed."""
import sys
import time

import kafka
from kafka.admin import KafkaAdminClient, NewTopic


def main(address, topic, group):
    admin = KafkaAdminClient(bootstrap_servers=address)
    admin.create_topics([NewTopic(name=topic, num_partitions=3, replication_factor=1)])
    sent = []
    for codec in (None, "gzip", "lz4"):
        producer = kafka.KafkaProducer(bootstrap_servers=address, compression_type=codec, acks="all", linger_ms=5)
        for i in range(300):
            value = b"%s %d" % (str(codec).encode(), i)
            sent.append(value)
            producer.send(topic, value, key=b"%d" % i)
        producer.flush(30)
        producer.close()
    consumer = kafka.KafkaConsumer(topic, bootstrap_servers=address, group_id=group, auto_offset_reset="earliest",
                                   enable_auto_commit=False)
    got, deadline = [], time.monotonic() + 40
    while len(got) < len(sent) and time.monotonic() < deadline:
        for records in consumer.poll(timeout_ms=500).values():
            got += [record.value for record in records]
    assert sorted(got) == sorted(sent), (len(got), len(sent))
    consumer.commit()
    partitions = [kafka.TopicPartition(topic, p) for p in range(3)]
    assert sum(consumer.committed(partition) for partition in partitions) == len(sent)
    assert sum(consumer.end_offsets(partitions).values()) == len(sent)
    consumer.close()
    offsets = admin.list_consumer_group_offsets(group)
    assert sum(offset.offset for offset in offsets.values()) == len(sent)
    admin.delete_topics([topic])
    admin.close()
    print("round trip holds with", kafka.__version__)


main(*sys.argv[1:])
