// Arguments: EVENT-HUBS-CONNECTION HUB BLOB-CONNECTION AMQP-ADDRESS. The hub has two partitions. azeventhubs with its
// blob checkpoints, then go-amqp by itself; exits 0 when all is as it must be.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2/checkpoints"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/Azure/go-amqp"
)

const large = 1_000_000

var connection, hub string

func check(good bool, what ...any) {
	if !good {
		fmt.Fprintln(os.Stderr, what...)
		os.Exit(1)
	}
}

func must(err error) {
	check(err == nil, "failed:", err)
}

func producer() *azeventhubs.ProducerClient {
	client, err := azeventhubs.NewProducerClientFromConnectionString(connection, hub, nil)
	must(err)
	return client
}

func send(ctx context.Context, options *azeventhubs.EventDataBatchOptions, bodies ...[]byte) {
	client := producer()
	batch, err := client.NewEventDataBatch(ctx, options)
	must(err)
	for _, body := range bodies {
		must(batch.AddEventData(&azeventhubs.EventData{Body: body, Properties: map[string]any{"n": int64(len(body))}}, nil))
	}
	must(client.SendEventDataBatch(ctx, batch, nil))
	must(client.Close(ctx))
}

func consumer() *azeventhubs.ConsumerClient {
	client, err := azeventhubs.NewConsumerClientFromConnectionString(connection, hub, azeventhubs.DefaultConsumerGroup, nil)
	must(err)
	return client
}

func read(ctx context.Context, partition string, from azeventhubs.StartPosition, count int) []*azeventhubs.ReceivedEventData {
	client := consumer()
	defer client.Close(ctx)
	part, err := client.NewPartitionClient(partition, &azeventhubs.PartitionClientOptions{StartPosition: from})
	must(err)
	defer part.Close(ctx)
	got, err := part.ReceiveEvents(ctx, count, nil)
	must(err)
	return got
}

func properties(ctx context.Context) {
	client := producer()
	all, err := client.GetEventHubProperties(ctx, nil)
	must(err)
	check(len(all.PartitionIDs) == 2 && all.Name == hub, "properties", all)
	one, err := client.GetPartitionProperties(ctx, "1", nil)
	must(err)
	check(one.IsEmpty && one.LastEnqueuedSequenceNumber == -1, "an empty partition", one)
	must(client.Close(ctx))
}

func positions(ctx context.Context) {
	zero := to.Ptr("0")
	send(ctx, &azeventhubs.EventDataBatchOptions{PartitionID: zero}, []byte("a"), []byte("bb"), []byte("ccc"))
	send(ctx, &azeventhubs.EventDataBatchOptions{PartitionID: zero}, make([]byte, large))
	send(ctx, &azeventhubs.EventDataBatchOptions{PartitionID: zero}, []byte("last"))
	got := read(ctx, "0", azeventhubs.StartPosition{Earliest: to.Ptr(true)}, 5)
	for i, size := range []int{1, 2, 3, large, 4} {
		check(len(got[i].Body) == size && got[i].SequenceNumber == int64(i), "event", i, len(got[i].Body))
		check(got[i].Properties["n"] == int64(size) && got[i].Offset == fmt.Sprint(i), "its properties", i)
	}
	for _, from := range []azeventhubs.StartPosition{
		{SequenceNumber: to.Ptr(int64(3))}, {Offset: to.Ptr("3")}, {SequenceNumber: to.Ptr(int64(4)), Inclusive: true}} {
		check(read(ctx, "0", from, 1)[0].SequenceNumber == 4, "the position after the large event")
	}
}

func owners(ctx context.Context) {
	client := consumer()
	earliest := azeventhubs.StartPosition{Earliest: to.Ptr(true)}
	open := func(level int64) *azeventhubs.PartitionClient {
		part, err := client.NewPartitionClient("0", &azeventhubs.PartitionClientOptions{OwnerLevel: to.Ptr(level), StartPosition: earliest})
		must(err)
		return part
	}
	first := open(1)
	_, err := first.ReceiveEvents(ctx, 1, nil)
	must(err)
	_, err = open(2).ReceiveEvents(ctx, 1, nil)
	must(err)
	for err == nil {
		_, err = first.ReceiveEvents(ctx, 100, nil)
	}
	var lost *azeventhubs.Error
	check(errors.As(err, &lost) && lost.Code == azeventhubs.ErrorCodeOwnershipLost, "the first owner hears", err)
	must(client.Close(ctx))
}

// processor reads both partitions from the checkpoints and writes new ones.
func processor(ctx context.Context, store azeventhubs.CheckpointStore, count int) {
	client := consumer()
	defer client.Close(ctx)
	processor, err := azeventhubs.NewProcessor(client, store, &azeventhubs.ProcessorOptions{
		LoadBalancingStrategy: azeventhubs.ProcessorStrategyGreedy, UpdateInterval: 200 * time.Millisecond,
		StartPositions: azeventhubs.StartPositions{Default: azeventhubs.StartPosition{Earliest: to.Ptr(true)}}})
	must(err)
	running, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- processor.Run(running) }()
	events := make(chan *azeventhubs.ReceivedEventData)
	for range 2 {
		part := processor.NextPartitionClient(ctx)
		check(part != nil, "a partition to own")
		go func() {
			defer part.Close(context.Background())
			for {
				got, err := part.ReceiveEvents(running, 1, nil)
				if err != nil {
					return
				}
				must(part.UpdateCheckpoint(ctx, got[0], nil))
				events <- got[0]
			}
		}()
	}
	for range count {
		select {
		case <-events:
		case <-ctx.Done():
			check(false, "not all events came")
		}
	}
	select {
	case more := <-events:
		check(false, "an event too many", more.SequenceNumber)
	case <-time.After(300 * time.Millisecond):
	}
	stop()
	must(<-done)
}

func generic(ctx context.Context, address string) {
	conn, err := amqp.Dial(ctx, "amqp://"+address, &amqp.ConnOptions{
		SASLType: amqp.SASLTypePlain("RootManageSharedAccessKey", "SAS_KEY_VALUE"), MaxFrameSize: 512})
	must(err)
	session, err := conn.NewSession(ctx, nil)
	must(err)
	receiver, err := session.NewReceiver(ctx, hub+"/ConsumerGroups/$Default/Partitions/0", &amqp.ReceiverOptions{Credit: -1})
	must(err)
	must(receiver.IssueCredit(5))
	for i, size := range []int{1, 2, 3, large, 4} {
		message, err := receiver.Receive(ctx, nil)
		must(err)
		check(len(message.GetData()) == size, "delivery", i)
	}
	must(receiver.IssueCredit(1000))
	must(receiver.DrainCredit(ctx, nil))
	sender, err := session.NewSender(ctx, "nowhere", nil)
	if err == nil {
		err = sender.Send(ctx, amqp.NewMessage([]byte("x")), nil)
	}
	check(err != nil && strings.Contains(err.Error(), "amqp:not-found"), "an unknown hub is refused", err)
	must(conn.Close())
}

func main() {
	connection, hub = os.Args[1], os.Args[2]
	ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
	defer cancel()
	properties(ctx)
	positions(ctx)
	owners(ctx)
	blobs, err := container.NewClientFromConnectionString(os.Args[3], hub, nil)
	must(err)
	_, err = blobs.Create(ctx, nil)
	must(err)
	store, err := checkpoints.NewBlobStore(blobs, nil)
	must(err)
	processor(ctx, store, 5)
	send(ctx, &azeventhubs.EventDataBatchOptions{PartitionKey: to.Ptr("key")}, []byte("x"), []byte("y"))
	processor(ctx, store, 2)
	generic(ctx, os.Args[4])
	fmt.Println("round trip holds")
}
