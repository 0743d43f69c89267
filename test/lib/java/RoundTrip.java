import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.TreeMap;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/** Arguments: ADDRESS TOPIC GROUP. Admin, producer with every codec, consumer group; exits 0 when all is as it must be. */
public class RoundTrip {
    static void check(boolean holds, String what) {
        if (!holds)
            throw new AssertionError(what);
    }

    static void admin(Admin admin, String topic) throws Exception {
        var created = admin.createTopics(List.of(new NewTopic(topic, 3, (short) 1).configs(Map.of("retention.ms", "5000000"))));
        created.all().get();
        check(created.numPartitions(topic).get() == 3, "partitions of the answer");
        check(admin.listTopics().names().get().contains(topic), "topic is listed");
        var described = admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic);
        check(described.partitions().size() == 3 && described.partitions().get(0).leader() != null, "leader");
        var resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        var config = admin.describeConfigs(List.of(resource)).all().get().get(resource);
        check(config.get("retention.ms").value().equals("5000000"), "config");
        check(admin.describeCluster().nodes().get().size() == 1, "one node");
        check(admin.describeCluster().clusterId().get().length() == 22, "cluster id");
        try {
            admin.createTopics(List.of(new NewTopic(topic, 3, (short) 1))).all().get();
            check(false, "created twice");
        } catch (ExecutionException expected) {
            check(expected.getCause().getClass().getSimpleName().equals("TopicExistsException"), "topic exists");
        }
    }

    static Map<String, String> produce(String address, String topic) throws Exception {
        Map<String, String> sent = new TreeMap<>();
        for (String codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
            Properties config = new Properties();
            config.put("bootstrap.servers", address);
            config.put("compression.type", codec);
            config.put("linger.ms", "20");
            try (var producer = new KafkaProducer<>(config, new StringSerializer(), new StringSerializer())) {
                List<java.util.concurrent.Future<RecordMetadata>> pending = new ArrayList<>();
                for (int i = 0; i < 500; i++) {
                    var record = new ProducerRecord<>(topic, codec + i, "value " + i + " of " + codec);
                    record.headers().add("codec", codec.getBytes());
                    sent.put(record.key(), record.value());
                    pending.add(producer.send(record));
                }
                producer.flush();
                for (var future : pending)
                    check(future.get().hasOffset(), "offset");
            }
        }
        return sent;
    }

    static Map<String, String> consume(String address, String topic, String group, int count) {
        Map<String, String> got = new TreeMap<>();
        Properties config = new Properties();
        config.put("bootstrap.servers", address);
        config.put("group.id", group);
        config.put("auto.offset.reset", "earliest");
        config.put("enable.auto.commit", "false");
        try (var consumer = new KafkaConsumer<>(config, new StringDeserializer(), new StringDeserializer())) {
            consumer.subscribe(Collections.singleton(topic));
            long deadline = System.currentTimeMillis() + 60000;
            while (got.size() < count && System.currentTimeMillis() < deadline)
                for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofMillis(300))) {
                    check(record.headers().lastHeader("codec") != null, "header");
                    got.put(record.key(), record.value());
                }
            consumer.commitSync();
            TopicPartition first = new TopicPartition(topic, 0);
            check(consumer.committed(Collections.singleton(first)).get(first).offset() > 0, "committed");
            check(consumer.beginningOffsets(List.of(first)).get(first) == 0, "beginning");
        }
        return got;
    }

    public static void main(String[] args) throws Exception {
        String address = args[0], topic = args[1], group = args[2];
        Properties config = new Properties();
        config.put("bootstrap.servers", address);
        try (Admin admin = Admin.create(config)) {
            admin(admin, topic);
            Map<String, String> sent = produce(address, topic);
            check(consume(address, topic, group, sent.size()).equals(sent), "what came is what was sent");
            var first = new TopicPartition(topic, 0);
            check(admin.listOffsets(Map.of(first, OffsetSpec.latest())).all().get().get(first).offset() > 0, "latest");
            check(admin.listOffsets(Map.of(first, OffsetSpec.maxTimestamp())).all().get().get(first).offset() >= 0, "newest");
            check(admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get().size() == 3, "group offsets");
            admin.deleteTopics(List.of(topic)).all().get();
            check(!admin.listTopics().names().get().contains(topic), "topic is gone");
        }
        System.out.println("round trip holds");
    }
}
