import com.azure.core.amqp.exception.AmqpErrorCondition;
import com.azure.core.amqp.exception.AmqpException;
import com.azure.messaging.eventhubs.EventData;
import com.azure.messaging.eventhubs.EventDataBatch;
import com.azure.messaging.eventhubs.EventHubClientBuilder;
import com.azure.messaging.eventhubs.EventHubConsumerAsyncClient;
import com.azure.messaging.eventhubs.EventHubProducerClient;
import com.azure.messaging.eventhubs.LoadBalancingStrategy;
import com.azure.messaging.eventhubs.models.CreateBatchOptions;
import com.azure.messaging.eventhubs.models.EventPosition;
import com.azure.messaging.eventhubs.models.PartitionEvent;
import com.azure.messaging.eventhubs.models.ReceiveOptions;
import com.azure.messaging.eventhubs.models.SendOptions;
import com.azure.core.amqp.AmqpRetryOptions;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import java.util.HashSet;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;
import reactor.core.Disposable;

/** azure-messaging-eventhubs against a server: arguments are a connection string and a hub of two partitions. */
public class EventHubs {
    static String connection;
    static String hub;

    static EventHubClientBuilder builder() {
        return new EventHubClientBuilder().connectionString(connection, hub).consumerGroup("$Default")
            .retryOptions(new AmqpRetryOptions().setMaxRetries(1).setTryTimeout(Duration.ofSeconds(20)));
    }

    static void check(boolean good, String what) {
        if (!good)
            throw new AssertionError(what);
    }

    static List<PartitionEvent> read(String partition, EventPosition from, int count, ReceiveOptions options) {
        try (EventHubConsumerAsyncClient client = builder().buildAsyncConsumerClient()) {
            return client.receiveFromPartition(partition, from, options).take(count)
                .collectList().block(Duration.ofSeconds(30));
        }
    }

    static void send(String partition, int count, int size) {
        try (EventHubProducerClient producer = builder().buildProducerClient()) {
            EventDataBatch batch = producer.createBatch(new CreateBatchOptions().setPartitionId(partition));
            for (int i = 0; i < count; i++) {
                EventData event = new EventData(size > 0 ? new byte[size] : ("event " + i).getBytes());
                event.getProperties().put("n", i);
                event.setMessageId("id-" + i);
                check(batch.tryAdd(event), "the batch takes the event");
            }
            producer.send(batch);
        }
    }

    static void properties() {
        try (EventHubProducerClient producer = builder().buildProducerClient()) {
            var all = producer.getEventHubProperties();
            check(all.getPartitionIds().stream().toList().equals(List.of("0", "1")), "partition ids");
            check(producer.getPartitionProperties("1").isEmpty(), "an empty partition");
        }
        System.out.println("ok properties");
    }

    static void positions() {
        Instant before = Instant.now();
        send("0", 10, 0);
        List<PartitionEvent> events = read("0", EventPosition.earliest(), 10, new ReceiveOptions().setTrackLastEnqueuedEventProperties(true));
        for (int i = 0; i < 10; i++) {
            EventData event = events.get(i).getData();
            check(event.getBodyAsString().equals("event " + i), "body");
            check(event.getSequenceNumber() == i && event.getOffset() == i, "position");
            check(event.getProperties().get("n").equals(i), "application property");
            check(event.getMessageId().equals("id-" + i), "message id");
            check(!event.getEnqueuedTime().isBefore(before.minusSeconds(5)), "time");
            check(events.get(i).getLastEnqueuedEventProperties().getSequenceNumber() == 9, "last enqueued");
        }
        ReceiveOptions plain = new ReceiveOptions();
        check(read("0", EventPosition.fromSequenceNumber(3), 1, plain).get(0).getData().getSequenceNumber() == 4, "after");
        check(read("0", EventPosition.fromSequenceNumber(3, true), 1, plain).get(0).getData().getSequenceNumber() == 3, "at");
        check(read("0", EventPosition.fromOffset(7L), 1, plain).get(0).getData().getSequenceNumber() == 8, "offset");
        check(read("0", EventPosition.fromEnqueuedTime(before.minusSeconds(60)), 1, plain).get(0).getData().getSequenceNumber() == 0, "time");
        System.out.println("ok positions");
    }

    static void keys() {
        try (EventHubProducerClient producer = builder().buildProducerClient()) {
            for (int i = 0; i < 5; i++)
                producer.send(Arrays.asList(new EventData("k" + i)), new SendOptions().setPartitionKey("7"));
        }
        int found = 0;
        for (String partition : List.of("0", "1")) {
            var last = lastSequence(partition);
            if (last < 0)
                continue;
            long keyed = read(partition, EventPosition.earliest(), (int) last + 1, new ReceiveOptions()).stream()
                .filter(e -> "7".equals(e.getData().getPartitionKey())).count();
            check(keyed == 0 || keyed == 5, "one partition for one key");
            found += keyed;
        }
        check(found == 5, "all of them");
        System.out.println("ok keys");
    }

    static long lastSequence(String partition) {
        try (EventHubProducerClient producer = builder().buildProducerClient()) {
            return producer.getPartitionProperties(partition).getLastEnqueuedSequenceNumber();
        }
    }

    static void large() {
        long last = lastSequence("1");
        send("1", 1, 1000_000);
        var got = read("1", EventPosition.fromSequenceNumber(last), 1, new ReceiveOptions());
        check(got.get(0).getData().getBody().length == 1000_000, "size");
        try {
            try (EventHubProducerClient producer = builder().buildProducerClient()) {
                producer.send(Arrays.asList(new EventData(new byte[1100_000])));
            }
            check(false, "too large is refused");
        } catch (AmqpException refused) {
            check(refused.getErrorCondition() == AmqpErrorCondition.LINK_PAYLOAD_SIZE_EXCEEDED, "" + refused);
        }
        System.out.println("ok large");
    }

    static void epochs() throws Exception {
        AtomicReference<Throwable> lost = new AtomicReference<>();
        CountDownLatch first = new CountDownLatch(1), gone = new CountDownLatch(1), second = new CountDownLatch(1);
        EventHubConsumerAsyncClient one = builder().buildAsyncConsumerClient(), two = builder().buildAsyncConsumerClient();
        Disposable low = one.receiveFromPartition("0", EventPosition.earliest(), new ReceiveOptions().setOwnerLevel(1L))
            .subscribe(e -> first.countDown(), error -> { lost.set(error); gone.countDown(); });
        check(first.await(20, TimeUnit.SECONDS), "the first owner reads");
        Disposable high = two.receiveFromPartition("0", EventPosition.earliest(), new ReceiveOptions().setOwnerLevel(2L))
            .subscribe(e -> second.countDown());
        check(second.await(20, TimeUnit.SECONDS), "the second owner reads");
        check(gone.await(20, TimeUnit.SECONDS), "the first owner hears of it");
        check(((AmqpException) lost.get()).getErrorCondition() == AmqpErrorCondition.LINK_STOLEN, "" + lost.get());
        low.dispose();
        high.dispose();
        one.close();
        two.close();
        System.out.println("ok epochs");
    }

    static void unknown() {
        String keep = hub;
        hub = "no-such-hub";
        try (EventHubProducerClient producer = builder().buildProducerClient()) {
            producer.send(Arrays.asList(new EventData("x")));
            check(false, "an unknown hub is refused");
        } catch (AmqpException refused) {
            check(refused.getErrorCondition() == AmqpErrorCondition.NOT_FOUND, "" + refused);
        }
        hub = keep;
        System.out.println("ok unknown");
    }

    public static void main(String[] arguments) throws Exception {
        connection = arguments[0];
        hub = arguments[1];
        properties();
        positions();
        keys();
        large();
        epochs();
        unknown();
        System.exit(0);
    }
}
