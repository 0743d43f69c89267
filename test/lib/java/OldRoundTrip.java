import java.util.ArrayList;
import java.util.Collections;
import java.util.HashSet;
import java.util.List;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.Future;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;

/** Arguments: ADDRESS TOPIC GROUP. What Java clients since 0.10.2 have in common: producers, a group, offsets. */
public class OldRoundTrip {
    static void check(boolean holds, String what) {
        if (!holds)
            throw new AssertionError(what);
    }

    static Properties config(String address, String group) {
        Properties config = new Properties();
        config.put("bootstrap.servers", address);
        for (String side : new String[] {"key", "value"}) {
            config.put(side + ".serializer", "org.apache.kafka.common.serialization.StringSerializer");
            config.put(side + ".deserializer", "org.apache.kafka.common.serialization.StringDeserializer");
        }
        config.put("group.id", group);
        config.put("auto.offset.reset", "earliest");
        config.put("enable.auto.commit", "false");
        config.put("linger.ms", "10");
        return config;
    }

    static Set<String> produce(String address, String topic) throws Exception {
        Set<String> sent = new HashSet<>();
        for (String codec : new String[] {"none", "gzip", "snappy", "lz4"})
            for (String acks : new String[] {"all", "1", "0"}) {
                Properties config = config(address, "");
                config.put("compression.type", codec);
                config.put("acks", acks);
                KafkaProducer<String, String> producer = new KafkaProducer<>(config);
                List<Future<RecordMetadata>> pending = new ArrayList<>();
                for (int i = 0; i < 200; i++) {
                    String value = codec + acks + i;
                    sent.add(value);
                    pending.add(producer.send(new ProducerRecord<>(topic, value, value)));
                }
                for (Future<RecordMetadata> future : pending)
                    check(future.get().offset() >= (acks.equals("0") ? -1 : 0), "offset");
                producer.close();
            }
        return sent;
    }

    @SuppressWarnings("deprecation")
    static void consume(KafkaConsumer<String, String> consumer, Set<String> sent) {
        Set<String> got = new HashSet<>();
        long deadline = System.currentTimeMillis() + 60000;
        while (got.size() < sent.size() && System.currentTimeMillis() < deadline)
            for (ConsumerRecord<String, String> record : consumer.poll(100))
                got.add(record.value());
        check(got.equals(sent), "came " + got.size() + " of " + sent.size());
    }

    @SuppressWarnings("deprecation")
    public static void main(String[] args) throws Exception {
        String address = args[0], topic = args[1], group = args[2];
        Set<String> sent = produce(address, topic);
        KafkaConsumer<String, String> consumer = new KafkaConsumer<>(config(address, group));
        consumer.subscribe(Collections.singletonList(topic));
        consume(consumer, sent);
        consumer.commitSync();
        TopicPartition first = new TopicPartition(topic, 0);
        long end = consumer.endOffsets(Collections.singletonList(first)).get(first);
        check(end == sent.size(), "end");
        check(consumer.committed(first).offset() == end, "committed");
        check(consumer.beginningOffsets(Collections.singletonList(first)).get(first) == 0, "beginning");
        check(consumer.offsetsForTimes(Collections.singletonMap(first, 0L)).get(first).offset() == 0, "by time");
        consumer.close();
        System.out.println("round trip holds");
    }
}
