// Runs @azure/storage-blob against a server: node blob.mjs CONNECTION CONTAINER. Prints one "ok" line per step.
import assert from "node:assert/strict";
import crypto from "node:crypto";
import {BlobServiceClient} from "@azure/storage-blob";

const [connection, name] = process.argv.slice(2);
const service = BlobServiceClient.fromConnectionString(connection, {retryOptions: {maxTries: 1}});
const container = service.getContainerClient(name);

async function step(what, run) {
  await run();
  console.log(`ok ${what}`);
}

async function refused(run, status, code) {
  await assert.rejects(run, (error) => {
    assert.equal(error.statusCode, status);
    assert.equal(error.code ?? error.details?.errorCode, code);
    return true;
  });
}

await step("container", async () => {
  assert.equal(await container.exists(), false);
  await container.create({metadata: {k: "v"}});
  assert.deepEqual((await container.getProperties()).metadata, {k: "v"});
  await refused(() => container.create(), 409, "ContainerAlreadyExists");
  const names = [];
  for await (const item of service.listContainers({prefix: name})) names.push(item.name);
  assert.deepEqual(names, [name]);
});

await step("put and get", async () => {
  const blob = container.getBlockBlobClient("dir/ä b+c.txt");
  await blob.upload("hello world", 11, {metadata: {owner: "js"}, blobHTTPHeaders: {blobContentType: "text/plain"}});
  assert.equal((await blob.downloadToBuffer()).toString(), "hello world");
  assert.equal((await blob.downloadToBuffer(6, 3)).toString(), "wor");
  const properties = await blob.getProperties();
  assert.equal(properties.contentType, "text/plain");
  assert.deepEqual(properties.metadata, {owner: "js"});
  await refused(() => container.getBlobClient("none").download(), 404, "BlobNotFound");
  assert.equal(await container.getBlobClient("none").exists(), false);
});

await step("large in blocks", async () => {
  const blob = container.getBlockBlobClient("large");
  const content = crypto.randomBytes(11 * 1024 * 1024 + 3);
  await blob.uploadData(content, {blockSize: 1024 * 1024, maxSingleShotSize: 1024 * 1024, concurrency: 4});
  assert.ok(content.equals(await blob.downloadToBuffer(0, undefined, {concurrency: 4, blockSize: 2000000})));
  const list = await blob.getBlockList("all");
  assert.equal(list.committedBlocks.length, 12);
});

await step("append", async () => {
  const blob = container.getAppendBlobClient("log");
  await blob.create();
  await refused(() => blob.create({conditions: {ifNoneMatch: "*"}}), 409, "BlobAlreadyExists");
  for (let i = 0; i < 5; i++) await blob.appendBlock(`line ${i}\n`, 7);
  assert.equal((await blob.downloadToBuffer()).toString(), "line 0\nline 1\nline 2\nline 3\nline 4\n");
  await refused(() => blob.appendBlock("x", 1, {conditions: {appendPosition: 1}}), 412, "AppendPositionConditionNotMet");
});

await step("conditions", async () => {
  const blob = container.getBlockBlobClient("guarded");
  const first = await blob.upload("1", 1);
  await refused(() => blob.upload("2", 1, {conditions: {ifNoneMatch: "*"}}), 409, "BlobAlreadyExists");
  const second = await blob.upload("2", 1, {conditions: {ifMatch: first.etag}});
  await refused(() => blob.setMetadata({a: "b"}, {conditions: {ifMatch: first.etag}}), 412, "ConditionNotMet");
  await blob.setMetadata({a: "b"}, {conditions: {ifMatch: second.etag}});
});

await step("listing", async () => {
  const flat = [];
  for await (const page of container.listBlobsFlat({includeMetadata: true}).byPage({maxPageSize: 2}))
    flat.push(...page.segment.blobItems.map((item) => item.name));
  assert.deepEqual(flat, ["dir/ä b+c.txt", "guarded", "large", "log"]);
  const tree = [];
  for await (const item of container.listBlobsByHierarchy("/")) tree.push(`${item.kind} ${item.name}`);
  assert.deepEqual(tree.sort(), ["blob guarded", "blob large", "blob log", "prefix dir/"]);
});

await step("not implemented", async () => {
  const blob = container.getBlockBlobClient("guarded");
  await refused(() => blob.createSnapshot(), 501, "NotImplemented");
  await refused(() => service.getProperties(), 501, "NotImplemented");
});

await step("delete", async () => {
  await container.getBlobClient("guarded").delete();
  await refused(() => container.deleteBlob("guarded"), 404, "BlobNotFound");
  await container.delete();
  assert.equal(await container.exists(), false);
});
