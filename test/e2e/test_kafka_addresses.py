"""What the Kafka door tells clients its address is: dialled, configured, or seen through a mapped port."""
import json
import socket
import subprocess
import sys
import threading

import confluent_kafka
import kafka
import pytest
from kafka_fixtures import create, kafka_wire

KEYS = "amqp: {key: secret}\nblob: {key: c2VjcmV0}\n"


class Forwarder:
    """Passes connections on to another port and counts them: the address that a network maps."""

    def __init__(self, port):
        self.target, self.count = port, 0
        self.listener = socket.create_server(("127.0.0.2", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                here, _ = self.listener.accept()
            except OSError:
                return
            self.count += 1
            there = socket.create_connection(("127.0.0.1", self.target))
            for pair in ((here, there), (there, here)):
                threading.Thread(target=self.pump, args=pair, daemon=True).start()

    @staticmethod
    def pump(source, sink):
        try:
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass


def told(address):
    """Every answer that carries an address."""
    with kafka_wire.Connection(address) as wire:
        broker = wire.call("metadata", 9, {"topics": []})["brokers"][0]
        found = [(broker["host"], broker["port"])]
        for row in (wire.call("describe_cluster", 0)["brokers"][0], wire.call("find_coordinator", 2, {"key": "g"}),
                    wire.call("find_coordinator", 4, {"coordinator_keys": ["g"]})["coordinators"][0]):
            found.append((row["host"], row["port"]))
        configs = wire.call("describe_configs", 4, {"resources": [{
            "resource_type": 4, "resource_name": str(broker["node_id"]),
            "configuration_keys": ["advertised.listeners"]}]})["results"][0]["configs"]
        assert configs[0]["value"] == f"PLAINTEXT://{broker['host']}:{broker['port']}"
    assert len(set(found)) == 1
    return found[0]


def test_clients_go_where_they_are_told(start_server, tmp_path, unique):
    """They bootstrap through one address and are told another, which they use from then on."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    forwarder = Forwarder(port)
    file = tmp_path / "weir.yaml"
    file.write_text(f"kafka: {{advertised_host: 127.0.0.2, advertised_port: {forwarder.port}, port: {port}}}\n")
    server = start_server("--config", str(file), "--kafka-port", str(port))
    assert told(server.kafka) == ("127.0.0.2", forwarder.port)
    topic = unique()
    with kafka_wire.Connection(server.kafka) as wire:
        create(wire, topic)
    producer = kafka.KafkaProducer(bootstrap_servers=server.kafka)
    for number in range(100):
        producer.send(topic, b"%d" % number)
    producer.flush(30)
    producer.close()
    assert forwarder.count > 0
    before = forwarder.count
    consumer = confluent_kafka.Consumer({"bootstrap.servers": server.kafka, "group.id": unique("g"),
                                         "auto.offset.reset": "earliest", "log_level": 0})
    consumer.subscribe([topic])
    values = []
    while len(values) < 100:
        message = consumer.poll(30)
        assert message is not None and not message.error(), message and message.error()
        values.append(int(message.value()))
    consumer.close()
    assert values == list(range(100)) and forwarder.count > before
    forwarder.listener.close()


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_without_settings_clients_are_told_what_they_dialled(start_server, tmp_path, host):
    """Also on all addresses at once; an IPv4 client of an IPv6 socket is told an IPv4 address."""
    if host == "::" and not socket.has_dualstack_ipv6():
        pytest.skip("no IPv6 here")
    file = tmp_path / "weir.yaml"
    file.write_text(KEYS)
    server = start_server("--host", host, "--config", str(file))
    port = int(server.kafka.rsplit(":", 1)[1])
    for dialled in ("127.0.0.1", "127.0.0.2"):
        assert told(f"{dialled}:{port}") == (dialled, port)
    if host == "::":
        program = ("import sys, json, kafka; c = kafka.KafkaConsumer(bootstrap_servers=sys.argv[1]); c.topics();"
                   "print(json.dumps([[b.host, b.port] for b in c._client.cluster.brokers()]))")
        done = subprocess.run([sys.executable, "-c", program, f"[::1]:{port}"], capture_output=True, text=True, timeout=60)
        assert json.loads(done.stdout or "null") == [["::1", port]], done.stderr
