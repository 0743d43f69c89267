"""What the tests of the blob door share: raw HTTP, own signatures, the SDK's service client."""
import base64
import email.utils
import hashlib
import hmac
import http.client
import socket
import urllib.parse
import xml.etree.ElementTree

import azure.storage.blob

ACCOUNT = "devstoreaccount1"
KEY = base64.b64decode("Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==")
VERSION = "2021-12-02"


def service(server, **options):
    return azure.storage.blob.BlobServiceClient.from_connection_string(server.blob_connection, retry_total=0,
                                                                       **options)


def sign(method, target, headers, lite=False, key=KEY, account=ACCOUNT, encoding="utf-8"):
    """The Authorization value, computed here from the documents and not by the SDK."""
    path, _, query = target.partition("?")
    lower = {name.lower(): value.strip() for name, value in headers.items()}
    canonical = "".join(f"{name}:{lower[name]}\n" for name in sorted(lower) if name.startswith("x-ms-"))
    date = "" if "x-ms-date" in lower else lower.get("date", "")
    pairs = urllib.parse.parse_qsl(query, keep_blank_values=True, errors="surrogateescape")
    if lite:
        text = "\n".join([method, lower.get("content-md5", ""), lower.get("content-type", ""), date, ""]) + canonical
        text += f"/{account}{path}" + "".join(f"?comp={value}" for name, value in pairs if name == "comp")
    else:
        length = lower.get("content-length", "")
        lines = [method] + [lower.get(name, "") for name in ("content-encoding", "content-language")]
        lines += ["" if length == "0" else length, lower.get("content-md5", ""), lower.get("content-type", ""), date]
        lines += [lower.get(name, "") for name in
                  ("if-modified-since", "if-match", "if-none-match", "if-unmodified-since", "range")]
        text = "\n".join(lines) + "\n" + canonical + f"/{account}{path}"
        text += "".join(f"\n{name.lower()}:{value}" for name, value in sorted(pairs))
    mac = base64.b64encode(hmac.new(key, text.encode(encoding, "surrogateescape"), hashlib.sha256).digest()).decode()
    return f"SharedKey{'Lite' if lite else ''} {account}:{mac}"


class Answer:
    def __init__(self, response):
        self.status, self.reason = response.status, response.reason
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        self.body = response.read()

    @property
    def code(self):
        """The error code, which header and body must agree on."""
        header = self.headers.get("x-ms-error-code")
        if self.body:
            assert xml.etree.ElementTree.fromstring(self.body).findtext("Code") == header
        return header


def request(server, method, target, body=None, lite=False, sign_with=KEY, **fields):
    """One signed request on its own connection; target without the account."""
    target = f"/{ACCOUNT}{target}"
    headers = {name.replace("_", "-"): value for name, value in fields.items()}
    headers["x-ms-date"] = email.utils.formatdate(usegmt=True)
    headers["x-ms-version"] = VERSION
    if body is not None or method in ("PUT", "POST"):
        headers["Content-Length"] = str(len(body or b""))
    if sign_with:
        headers["Authorization"] = sign(method, target, headers, lite, sign_with)
    host, port = server.blob.rsplit(":", 1)
    connection = http.client.HTTPConnection(host, int(port), timeout=30)
    connection.putrequest(method, target, skip_accept_encoding=True)
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders(body if body else None)
    answer = Answer(connection.getresponse())
    connection.close()
    return answer


def raw(address, data, timeout=10):
    """Sends bytes, returns all that comes until the peer closes or falls silent for a while."""
    host, port = address.rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=timeout) as sock:
        try:
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        received = b""
        try:
            while True:
                block = sock.recv(65536)
                if not block:
                    break
                received += block
        except OSError:
            pass
    return received
