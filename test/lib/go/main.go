// Arguments: ADDRESS TOPIC GROUP. Producer and consumer group of franz-go; exits 0 when all is as it must be.
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

func fail(what string, err error) {
	fmt.Fprintln(os.Stderr, what, err)
	os.Exit(1)
}

func main() {
	address, topic, group := os.Args[1], os.Args[2], os.Args[3]
	ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
	defer cancel()
	sent := map[string]bool{}
	codecs := []kgo.CompressionCodec{kgo.NoCompression(), kgo.GzipCompression(), kgo.SnappyCompression(),
		kgo.Lz4Compression(), kgo.ZstdCompression()}
	for c, codec := range codecs {
		producer, err := kgo.NewClient(kgo.SeedBrokers(address), kgo.ProducerBatchCompression(codec),
			kgo.AllowAutoTopicCreation())
		if err != nil {
			fail("producer", err)
		}
		for i := 0; i < 400; i++ {
			value := fmt.Sprintf("value %d %d", c, i)
			sent[value] = true
			producer.Produce(ctx, &kgo.Record{Topic: topic, Key: []byte(fmt.Sprint(i)), Value: []byte(value)},
				func(_ *kgo.Record, err error) {
					if err != nil {
						fail("produce", err)
					}
				})
		}
		if err := producer.Flush(ctx); err != nil {
			fail("flush", err)
		}
		producer.Close()
	}
	consumer, err := kgo.NewClient(kgo.SeedBrokers(address), kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit())
	if err != nil {
		fail("consumer", err)
	}
	total := len(sent)
	for len(sent) > 0 {
		fetches := consumer.PollFetches(ctx)
		if errs := fetches.Errors(); len(errs) > 0 {
			fail(fmt.Sprintf("fetch, %d of %d missing", len(sent), total), errs[0].Err)
		}
		fetches.EachRecord(func(record *kgo.Record) {
			if !sent[string(record.Value)] {
				fail("unexpected or repeated: "+string(record.Value), nil)
			}
			delete(sent, string(record.Value))
		})
	}
	if err := consumer.CommitUncommittedOffsets(ctx); err != nil {
		fail("commit", err)
	}
	consumer.Close()
	fmt.Println("round trip holds")
}
