// Arguments: ADDRESS TOPIC GROUP. Admin, producer and consumer group of kafkajs; exits 0 when all is as it must be.
const assert = require('assert')
const { Kafka, logLevel, CompressionTypes } = require('kafkajs')

async function main([address, topic, group]) {
  const kafka = new Kafka({ clientId: 'weir-test', brokers: [address], logLevel: logLevel.ERROR })
  const admin = kafka.admin()
  await admin.connect()
  assert(await admin.createTopics({ topics: [{ topic, numPartitions: 2 }] }))
  assert(!(await admin.createTopics({ topics: [{ topic }] })))
  assert((await admin.listTopics()).includes(topic))
  assert.equal((await admin.fetchTopicMetadata({ topics: [topic] })).topics[0].partitions.length, 2)
  const configs = await admin.describeConfigs({ resources: [{ type: 2, name: topic }] })
  assert(configs.resources[0].configEntries.length > 20)

  const producer = kafka.producer()
  await producer.connect()
  const sent = []
  for (const compression of [CompressionTypes.None, CompressionTypes.GZIP]) {
    const messages = Array.from({ length: 200 }, (_, i) => ({ key: `k${i}`, value: `v${compression}-${i}`, headers: { n: `${i}` } }))
    sent.push(...messages.map((message) => message.value))
    await producer.send({ topic, messages, compression, acks: -1 })
  }
  const automatic = `${topic}-auto`
  await producer.send({ topic: automatic, messages: [{ value: 'made on first use' }] })
  const idempotent = kafka.producer({ idempotent: true, maxInFlightRequests: 1 })
  await idempotent.connect()
  await idempotent.send({ topic, messages: [{ key: 'i', value: 'idempotent' }] })
  sent.push('idempotent')
  await idempotent.disconnect()
  await producer.disconnect()

  const got = []
  const consumer = kafka.consumer({ groupId: group, sessionTimeout: 10000 })
  await consumer.connect()
  await consumer.subscribe({ topic, fromBeginning: true })
  await new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`only ${got.length} of ${sent.length} came`)), 60000)
    consumer.run({
      eachMessage: async ({ message }) => {
        got.push(message.value.toString())
        if (got.length === sent.length) {
          clearTimeout(timer)
          resolve()
        }
      },
    }).catch(reject)
  })
  assert.deepEqual(got.sort(), sent.sort())
  await consumer.disconnect()
  const offsets = await admin.fetchOffsets({ groupId: group, topics: [topic] })
  assert.equal(offsets[0].partitions.reduce((sum, row) => sum + Number(row.offset), 0), sent.length)
  await admin.deleteTopics({ topics: [topic] })
  await admin.disconnect()
  console.log('round trip holds')
}

main(process.argv.slice(2)).catch((error) => {
  console.error(error)
  process.exit(1)
})
