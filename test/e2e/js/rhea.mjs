// Arguments: HOST:PORT HUB. rhea, the AMQP client below the SDK, by itself: events of every size, in order, both ways.
import rhea from "rhea";

const [host, port] = process.argv[2].split(":");
const hub = process.argv[3];
const count = 500;
const connection = rhea.connect({host, port: Number(port), username: "RootManageSharedAccessKey", password: "SAS_KEY_VALUE",
                                 reconnect: false});
const receiver = connection.open_receiver({
    source: {address: `${hub}/ConsumerGroups/$Default/Partitions/0`,
             filter: rhea.filter.selector("amqp.annotation.x-opt-offset > '@latest'")}, credit_window: 100});
let sent = 0, accepted = 0, got = 0;

function fail(what) {
    console.error(what, {sent, accepted, got});
    process.exit(1);
}

function message(number) {
    const bodies = [`text ${number}`, {a: [1, 2]}, rhea.message.data_section(Buffer.alloc(number % 7 === 0 ? 200_000 : 10))];
    return {message_id: `m${number}`, application_properties: {number, half: 0.5, yes: true}, body: bodies[number % 3]};
}

function finish() {
    if (got === count && accepted === count)
        connection.close();
}

receiver.on("receiver_open", () => {
    const sender = connection.open_sender(`${hub}/Partitions/0`);
    sender.on("sendable", () => {
        for (; sender.sendable() && sent < count; sent++)
            sender.send(message(sent));
    });
    sender.on("accepted", () => { accepted++; finish(); });
    sender.on("rejected", context => fail(context.delivery.remote_state.error));
});
receiver.on("message", context => {
    if (context.message.message_id !== `m${got}` || context.message.application_properties.number !== got)
        fail(`expected ${got}: ${context.message.message_id}`);
    got++;
    finish();
});
connection.on("connection_close", () => {
    console.log("round trip holds");
    process.exit(0);
});
connection.on("disconnected", context => fail(context.error));
setTimeout(() => fail("not in time"), 60_000);
