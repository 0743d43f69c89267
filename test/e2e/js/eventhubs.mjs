// @azure/event-hubs against a running server: node eventhubs.mjs CONNECTION_STRING HUB WRONG_CONNECTION_STRING
// Prints one line per check and ends with status 0 when all hold.
import assert from "node:assert/strict";
import { EventHubConsumerClient, EventHubProducerClient } from "@azure/event-hubs";

const [connection, hub, wrong] = process.argv.slice(2);
const fast = { retryOptions: { maxRetries: 0, timeoutInMs: 15000 } };

async function receive(count, options, partition) {
  const client = new EventHubConsumerClient("$Default", connection, hub, fast);
  const events = [];
  await new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`only ${events.length} of ${count} events`)), 30000);
    const handlers = {
      processEvents: async (batch) => {
        events.push(...batch);
        if (events.length >= count) { clearTimeout(timer); resolve(); }
      },
      processError: async (error) => reject(error),
    };
    if (partition === undefined) client.subscribe(handlers, options);
    else client.subscribe(partition, handlers, options);
  });
  await client.close();
  return events;
}

const checks = {
  async properties() {
    const client = new EventHubProducerClient(connection, hub, fast);
    const properties = await client.getEventHubProperties();
    assert.equal(properties.name, hub);
    assert.deepEqual(properties.partitionIds, ["0", "1"]);
    assert.ok(Math.abs(properties.createdOn.getTime() - Date.now()) < 300000);
    const partition = await client.getPartitionProperties("0");
    assert.equal(partition.lastEnqueuedSequenceNumber, -1);
    assert.equal(partition.isEmpty, true);
    await client.close();
  },
  async batchOrderAndAnnotations() {
    const client = new EventHubProducerClient(connection, hub, fast);
    const batch = await client.createBatch({ partitionId: "0" });
    for (let i = 0; i < 50; i++)
      assert.ok(batch.tryAdd({ body: { number: i, text: "é" }, properties: { n: i, s: "x", d: new Date(5) }, messageId: `m${i}`,
        contentType: "application/json", correlationId: "c" }));
    await client.sendBatch(batch);
    await client.close();
    const events = await receive(50, { startPosition: { offset: "-1" } }, "0");
    events.forEach((event, i) => {
      assert.deepEqual(event.body, { number: i, text: "é" });
      assert.equal(event.sequenceNumber, i);
      assert.equal(event.offset, String(i));
      assert.equal(event.properties.n, i);
      assert.equal(event.properties.s, "x");
      assert.equal(Number(event.properties.d), 5);
      assert.equal(event.messageId, `m${i}`);
      assert.equal(event.correlationId, "c");
      assert.ok(Math.abs(event.enqueuedTimeUtc.getTime() - Date.now()) < 60000);
    });
  },
  async positions() {
    for (const [position, first] of [[{ sequenceNumber: 10 }, 11], [{ sequenceNumber: 10, isInclusive: true }, 10],
      [{ offset: "20" }, 21], [{ offset: "20", isInclusive: true }, 20], [{ enqueuedOn: 0 }, 0]]) {
      const [event] = await receive(1, { startPosition: position, maxBatchSize: 1 }, "0");
      assert.equal(event.sequenceNumber, first);
    }
  },
  async runtimeMetric() {
    const client = new EventHubConsumerClient("$Default", connection, hub, fast);
    await new Promise((resolve, reject) => client.subscribe("0", {
      processEvents: async (events, context) => {
        if (!events.length) return;
        try {
          assert.equal(context.lastEnqueuedEventProperties.sequenceNumber, 49);
          assert.equal(context.lastEnqueuedEventProperties.offset, "49");
          resolve();
        } catch (error) { reject(error); }
      },
      processError: async (error) => reject(error),
    }, { startPosition: { offset: "-1" }, trackLastEnqueuedEventProperties: true }));
    await client.close();
  },
  async partitionKey() {
    const client = new EventHubProducerClient(connection, hub, fast);
    await client.sendBatch([{ body: "keyed" }], { partitionKey: "131" });
    await client.close();
    const [event] = await receive(1, { startPosition: { sequenceNumber: 49 } }, "0");
    assert.equal(event.partitionKey, "131");
    assert.equal(event.body, "keyed");
  },
  async largeEvent() {
    const body = Buffer.alloc(900000, "q");
    const client = new EventHubProducerClient(connection, hub, fast);
    await client.sendBatch([{ body }], { partitionId: "1" });
    await client.close();
    const [event] = await receive(1, { startPosition: { offset: "-1" } }, "1");
    assert.equal(Buffer.compare(Buffer.from(event.body), body), 0);
  },
  async ownerLevel() {
    const low = new EventHubConsumerClient("$Default", connection, hub, fast);
    let ready;
    const started = new Promise((resolve) => { ready = resolve; });
    const kicked = new Promise((resolve) => low.subscribe("0", {
      processEvents: async () => ready(), processError: async (error) => resolve(error),
    }, { ownerLevel: 1, startPosition: { offset: "-1" }, maxWaitTimeInSeconds: 1 }));
    await started;
    const high = new EventHubConsumerClient("$Default", connection, hub, fast);
    high.subscribe("0", { processEvents: async () => {}, processError: async () => {} },
      { ownerLevel: 2, startPosition: { offset: "-1" } });
    assert.equal((await kicked).code, "ReceiverDisconnectedError");
    await low.close();
    await high.close();
  },
  async unknownHub() {
    const client = new EventHubProducerClient(connection, "no-such-hub", fast);
    await assert.rejects(client.getEventHubProperties(), { code: "MessagingEntityNotFoundError" });
    await assert.rejects(client.sendBatch([{ body: "x" }]), { code: "MessagingEntityNotFoundError" });
    await client.close();
  },
  async wrongKey() {
    const client = new EventHubProducerClient(wrong, hub, fast);
    await assert.rejects(client.sendBatch([{ body: "x" }]), /InvalidSignature|Unauthorized/);
    await client.close();
  },
};

for (const [name, check] of Object.entries(checks)) {
  await check();
  console.log(`ok ${name}`);
}
