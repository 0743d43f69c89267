"""The blob door on the wire: signatures, error bodies, conditions of checkpoint stores, hostile input."""
import base64
import concurrent.futures
import email.utils
import hashlib
import os
import pathlib
import re
import socket
import time
import xml.etree.ElementTree

import azure.core.exceptions
import pytest
from blob_fixtures import ACCOUNT, raw, request, service, sign


@pytest.fixture
def container(server, unique):
    name = unique("c")
    assert request(server, "PUT", f"/{name}?restype=container").status == 201
    yield f"/{name}"
    assert request(server, "DELETE", f"/{name}?restype=container").status == 202


def now(seconds=0):
    return email.utils.formatdate(time.time() + seconds, usegmt=True)


def put(server, target, body=b"", **fields):
    return request(server, "PUT", target, body, x_ms_blob_type="BlockBlob", **fields)


def test_signatures_of_the_documents():
    """Our own signing code gives the values that are published for these requests."""
    headers = {"x-ms-blob-type": "BlockBlob", "x-ms-date": "Mon, 02 Jan 2023 03:04:05 GMT", "x-ms-meta-owner": "alice",
               "x-ms-version": "2021-12-02", "Content-Length": "11", "Content-Type": "text/plain",
               "If-None-Match": "*"}
    target = f"/{ACCOUNT}/c1/dir/a%20b.txt?timeout=30"
    assert sign("PUT", target, headers).endswith(":61FwQbeG8mJIVisOLpgRioJVqqxrMO6N/3TLJdPHAa0=")
    assert sign("PUT", target, headers, lite=True).endswith(":GqSglueZqVEFt7xVyRkuRKc/i9fkIDyyq0t4bRVyR3w=")


def test_authorization(server, container):
    assert request(server, "GET", "/?comp=list").status == 200
    assert request(server, "GET", "/?comp=list", lite=True).status == 200
    assert put(server, f"{container}/a%20b?timeout=31536001", b"x", lite=True).status == 201
    wrong = request(server, "GET", "/?comp=list", sign_with=b"wrong key")
    assert (wrong.status, wrong.code) == (403, "AuthenticationFailed")
    absent = request(server, "GET", f"{container}/x", sign_with=None)
    assert (absent.status, absent.code) == (401, "NoAuthenticationInformation")
    for value in ("SharedKey", "SharedKey devstoreaccount1", "Basic abc"):
        answer = request(server, "GET", "/?comp=list", sign_with=None, Authorization=value)
        assert (answer.status, answer.code) == (400, "InvalidAuthenticationInfo"), value
    for value in ("SharedKey devstoreaccount1:", "SharedKey other:" + base64.b64encode(bytes(32)).decode(),
                  "SharedKey devstoreaccount1:" + "A" * 4000):
        answer = request(server, "GET", "/?comp=list", sign_with=None, Authorization=value)
        assert (answer.status, answer.code) == (403, "AuthenticationFailed"), value


def dated(server, target, **dates):
    """A signed GET with exactly these dates: status, code, detail."""
    headers = {"x-ms-version": "2021-12-02"} | {name.replace("_", "-"): value for name, value in dates.items()}
    target = f"/{ACCOUNT}{target}"
    lines = [f"GET {target} HTTP/1.1", f"Host: {server.blob}", "Connection: close",
             "Authorization: " + sign("GET", target, headers)] + [f"{n}: {v}" for n, v in headers.items()]
    head, _, body = raw(server.blob, "\r\n".join(lines + ["", ""]).encode()).partition(b"\r\n\r\n")
    root = xml.etree.ElementTree.fromstring(body)
    return int(head.split()[1]), root.findtext("Code"), root.findtext("AuthenticationErrorDetail")


def test_signatures_age(server, start_server, tmp_path):
    """A good signature is taken for 15 minutes around its date, and never without one."""
    for dates in ({"x_ms_date": now()}, {"Date": now()}, {"x_ms_date": now(-800)}, {"x_ms_date": now(800)},
                  {"x_ms_date": now(), "Date": "Mon, 02 Jan 2023 03:04:05 GMT"}):
        assert dated(server, "/?comp=list", **dates) == (200, None, None), dates
    old = "Mon, 02 Jan 2023 03:04:05 GMT"
    for dates, detail in (({"x_ms_date": old}, f"Request date header too old: '{old}'"),
                          ({"Date": old}, f"Request date header too old: '{old}'"),
                          ({"x_ms_date": old, "Date": now()}, f"Request date header too old: '{old}'"),
                          ({"x_ms_date": "yesterday"}, "Request date header is not an HTTP date: 'yesterday'"),
                          ({}, "Request date header not specified")):
        assert dated(server, "/?comp=list", **dates) == (403, "AuthenticationFailed", detail), dates
    status, code, detail = dated(server, "/?comp=list", x_ms_date=now(1000))
    assert (status, code) == (403, "AuthenticationFailed") and "too far in the future" in detail
    (tmp_path / "weir.yaml").write_text("blob:\n  clock_check: false\n")
    lenient = start_server("--config", str(tmp_path / "weir.yaml"))
    assert dated(lenient, "/?comp=list", x_ms_date=old) == (200, None, None)
    assert dated(lenient, "/?comp=list")[0] == 403


def test_second_key(start_server, tmp_path):
    keys = [base64.b64encode(bytes([i]) * 32).decode() for i in (1, 2)]
    (tmp_path / "weir.yaml").write_text(f"blob:\n  key: {keys[0]}\n  key2: {keys[1]}\n")
    server = start_server("--config", str(tmp_path / "weir.yaml"))
    for key, status in ((bytes([1]) * 32, 200), (bytes([2]) * 32, 200), (bytes([3]) * 32, 403)):
        assert request(server, "GET", "/?comp=list", sign_with=key).status == status


def test_plus_in_the_query(server, container):
    """'+' is a blank to the clients that encode forms and a plus to the others; each signs what it means."""
    assert put(server, f"{container}/a%20b").status == 201
    target = f"{container}?restype=container&comp=list&prefix=a+b"
    listed = request(server, "GET", target)  # our signing code reads forms
    assert listed.status == 200 and b"<Name>a b</Name>" in listed.body
    full = f"/{ACCOUNT}{target}"
    headers = {"x-ms-version": "2021-12-02", "x-ms-date": now()}
    lines = [f"GET {full} HTTP/1.1", f"Host: {server.blob}", "Connection: close",
             "Authorization: " + sign("GET", full.replace("+", "%2B"), headers).replace("%2B", "+")]
    lines += [f"{n}: {v}" for n, v in headers.items()] + ["", ""]
    assert raw(server.blob, "\r\n".join(lines).encode()).startswith(b"HTTP/1.1 200 ")


def test_frame(server, container):
    answer = put(server, f"{container}/frame", b"x", x_ms_client_request_id="my id", x_ms_encryption_algorithm="AES256",
                 x_ms_blob_cache_control="", CommandName="blob upload")
    assert answer.status == 201
    assert answer.headers["x-ms-client-request-id"] == "my id" and answer.headers["x-ms-version"] == "2021-12-02"
    assert re.fullmatch(r'"0x[A-F0-9]{15,}"', answer.headers["etag"])
    assert re.fullmatch(r"[0-9a-f-]{36}", answer.headers["x-ms-request-id"])
    assert answer.headers["content-md5"] == base64.b64encode(hashlib.md5(b"x").digest()).decode()
    missing = request(server, "GET", f"{container}/none", x_ms_client_request_id="again")
    assert (missing.status, missing.code, missing.reason) == (404, "BlobNotFound", "The specified blob does not exist.")
    assert missing.headers["x-ms-client-request-id"] == "again"
    head = request(server, "HEAD", f"{container}/none")
    assert (head.status, head.headers["x-ms-error-code"], head.body) == (404, "BlobNotFound", b"")
    gone = request(server, "HEAD", "/no-such-container/none")
    assert (gone.status, gone.headers["x-ms-error-code"]) == (404, "ContainerNotFound")


def test_ranges(server, container):
    target = f"{container}/ranges"
    put(server, target, bytes(range(100)))
    for text, first, last in (("bytes=0-99", 0, 99), ("bytes=10-19", 10, 19), ("bytes=90-", 90, 99),
                              ("bytes=50-1000", 50, 99), ("bytes=-5", 95, 99)):
        answer = request(server, "GET", target, x_ms_range=text, Range="bytes=1-2")
        assert answer.status == 206 and answer.body == bytes(range(100))[first:last + 1]
        assert answer.headers["content-range"] == f"bytes {first}-{last}/100"
        assert "content-md5" not in answer.headers and "x-ms-blob-content-md5" in answer.headers
    for text in ("bytes=1-2,4-5", "lines=1-2", "bytes=5-1", "bytes=x-"):
        answer = request(server, "GET", target, x_ms_range=text)
        assert answer.status == 200 and len(answer.body) == 100
    past = request(server, "GET", target, x_ms_range="bytes=100-")
    assert (past.status, past.code) == (416, "InvalidRange")
    assert past.headers["content-range"] == "bytes */100"
    put(server, f"{container}/empty")
    assert request(server, "GET", f"{container}/empty", x_ms_range="bytes=0-10").status == 416
    summed = request(server, "GET", target, x_ms_range="bytes=0-9", x_ms_range_get_content_md5="true")
    assert summed.headers["content-md5"] == base64.b64encode(hashlib.md5(bytes(range(10))).digest()).decode()
    refused = request(server, "GET", target, x_ms_range_get_content_md5="true")
    assert (refused.status, refused.code) == (400, "InvalidHeaderValue")


def test_odd_ranges(server, container):
    target = f"{container}/odd"
    put(server, target, b"0123456789")
    for text, body in (("BYTES=0-1", b"01"), ("bytes=-10", b"0123456789"), ("bytes=-11", b"0123456789"),
                       ("bytes=9-9", b"9"), ("bytes=0-18446744073709551615", b"0123456789")):
        answer = request(server, "GET", target, Range=text)
        assert (answer.status, answer.body) == (206, body), text
    for text in ("bytes=-0", "bytes=10-10", "bytes=18446744073709551615-"):
        answer = request(server, "GET", target, Range=text)
        assert (answer.status, answer.code) == (416, "InvalidRange"), text
    for text in ("bytes=0-18446744073709551616", "bytes= 0-1", "bytes=-", "bytes", "bytes=0-1,3-4"):
        assert request(server, "GET", target, Range=text).status == 200, text


def test_what_xml_cannot_hold(server, container):
    """Names and prefixes with control bytes come back percent-encoded; what is no text is refused."""
    for name in ("a%01b", "a%02/c", "plain", "a%EF%BF%BE"):
        assert put(server, f"{container}/{name}").status == 201
    listed = request(server, "GET", f"{container}?restype=container&comp=list&prefix=a%01")
    root = xml.etree.ElementTree.fromstring(listed.body)
    assert root.findtext("Prefix") == "a%01" and root.find("Prefix").get("Encoded") == "true"
    assert [(e.text, e.get("Encoded")) for e in root.iter("Name")] == [("a%01b", "true")]
    listed = request(server, "GET", f"{container}?restype=container&comp=list&delimiter=%02")
    root = xml.etree.ElementTree.fromstring(listed.body)
    assert root.findtext("Delimiter") == "%02"
    assert [e.text for e in root.iter("Name")] == ["a%01b", "a%02", "a%EF%BF%BE", "plain"]
    for query, name in (("prefix=%ff", "prefix"), ("delimiter=%c3", "delimiter")):
        answer = request(server, "GET", f"{container}?restype=container&comp=list&{query}")
        assert (answer.status, answer.code) == (400, "InvalidQueryParameterValue"), query
        assert xml.etree.ElementTree.fromstring(answer.body).findtext("QueryParameterName") == name
    for fields, code in (({"x_ms_meta_a": "gr\xfcn"}, "InvalidMetadata"),
                         ({"x_ms_blob_content_disposition": "gr\xfcn"}, "InvalidHeaderValue"),
                         ({"Content_Language": "gr\xfcn"}, "InvalidHeaderValue"),
                         ({"Content_Disposition": "gr\xfcn".encode().decode("latin-1")}, None)):
        headers = {"x-ms-version": "2021-12-02", "x-ms-date": now(), "x-ms-blob-type": "BlockBlob",
                   "Content-Length": "0"} | {n.replace("_", "-"): v for n, v in fields.items()}
        full = f"/{ACCOUNT}{container}/odd"
        lines = [f"PUT {full} HTTP/1.1", f"Host: {server.blob}", "Connection: close",
                 "Authorization: " + sign("PUT", full, headers, encoding="latin-1")]
        lines += [f"{n}: {v}" for n, v in headers.items()] + ["", ""]
        answer = raw(server.blob, "\r\n".join(lines).encode("latin-1"))
        assert answer.startswith(b"HTTP/1.1 400 " if code else b"HTTP/1.1 201 "), fields
        assert code is None or f"x-ms-error-code: {code}".encode() in answer, fields
    listed = request(server, "GET", f"{container}?restype=container&comp=list&prefix=odd")
    root = xml.etree.ElementTree.fromstring(listed.body)
    assert root.findtext("Blobs/Blob/Properties/Content-Disposition") == "gr\xfcn"


def test_delete_snapshots(server, container):
    """Without snapshots "only" deletes nothing, and the blob stays."""
    target = f"{container}/kept"
    put(server, target, b"x")
    assert request(server, "DELETE", target, x_ms_delete_snapshots="only").status == 202
    assert request(server, "GET", target).body == b"x"
    odd = request(server, "DELETE", target, x_ms_delete_snapshots="all")
    assert (odd.status, odd.code) == (400, "InvalidHeaderValue")
    assert request(server, "DELETE", target, x_ms_delete_snapshots="include").status == 202
    assert request(server, "DELETE", target, x_ms_delete_snapshots="only").status == 404


def test_another_client_replaces_a_blob(server, container):
    """Ids of committed blocks do not bind the length of new ones, those of staged blocks do."""
    target = f"{container}/shared"
    for ids in (("QUFB", "QkJC"), ("QUFBQUFB", "QkJCQkJC")):
        for block in ids:
            assert request(server, "PUT", f"{target}?comp=block&blockid={block}", block.encode()).status == 201
        other = request(server, "PUT", f"{target}?comp=block&blockid=QQ==", b"x")
        assert (other.status, other.code) == (400, "InvalidBlobOrBlock")
        text = "".join(f"<Latest>{block}</Latest>" for block in ids)
        done = request(server, "PUT", f"{target}?comp=blocklist", f"<BlockList>{text}</BlockList>".encode())
        assert done.status == 201
        assert request(server, "GET", target).body == "".join(ids).encode()


def test_data_lake_clients_learn_what_this_is(server, container):
    """They ask for the access control of the root: 400 means an ordinary account, and they go on with blobs."""
    for target in (f"{container}/?action=getAccessControl", f"{container}//?action=getAccessControl&upn=false"):
        answer = request(server, "HEAD", target)
        assert (answer.status, answer.headers["x-ms-error-code"]) == (400, "HierarchicalNamespaceNotEnabled")
    assert request(server, "PATCH", f"{container}/x?action=setAccessControl").status == 501


NOT_YET = [
    ("GET", "", "restype=service&comp=properties", {}), ("PUT", "", "restype=service&comp=properties", {}),
    ("GET", "", "restype=service&comp=stats", {}), ("POST", "", "restype=service&comp=userdelegationkey", {}),
    ("POST", "", "comp=batch", {}), ("GET", "", "comp=blobs&where=a", {}),
    ("GET", "C", "restype=container&comp=acl", {}), ("PUT", "C", "restype=container&comp=acl", {}),
    ("PUT", "C", "restype=container&comp=lease", {"x-ms-lease-action": "acquire"}),
    ("PUT", "C", "restype=container&comp=undelete", {}), ("PUT", "C", "restype=container&comp=rename", {}),
    ("POST", "C", "restype=container&comp=batch", {}), ("GET", "C", "restype=container&comp=blobs&where=a", {}),
    ("PUT", "B", "comp=lease", {"x-ms-lease-action": "acquire"}), ("PUT", "B", "comp=snapshot", {}),
    ("PUT", "B", "comp=copy&copyid=1", {}), ("PUT", "B", "comp=tier", {"x-ms-access-tier": "Cool"}),
    ("GET", "B", "comp=tags", {}), ("PUT", "B", "comp=tags", {}), ("PUT", "B", "comp=undelete", {}),
    ("PUT", "B", "comp=expiry", {}), ("PUT", "B", "comp=immutabilityPolicies", {}),
    ("DELETE", "B", "comp=immutabilityPolicies", {}), ("PUT", "B", "comp=legalhold", {}), ("POST", "B", "comp=query", {}),
    ("PUT", "B", "comp=page", {}), ("GET", "B", "comp=pagelist", {}), ("PUT", "B", "comp=incrementalcopy", {}),
    ("PUT", "B", "comp=seal", {}), ("PUT", "B", "comp=anything", {}), ("HEAD", "B", "comp=anything", {}),
    ("GET", "B", "snapshot=2020-01-01T00:00:00.0000000Z", {}), ("DELETE", "B", "versionid=2020-01-01T00:00:00.0000000Z", {}),
    ("PATCH", "B", "", {}), ("POST", "B", "", {}), ("PUT", "B", "", {"x-ms-blob-type": "PageBlob"}),
    ("PUT", "B", "", {"x-ms-copy-source": "http://127.0.0.1/a/b"}),
    ("PUT", "B", "", {"x-ms-blob-type": "BlockBlob", "x-ms-tags": "a=b"}),
    ("PUT", "B", "comp=block&blockid=QQ==", {"x-ms-copy-source": "http://127.0.0.1/a/b"}),
    ("PUT", "B", "comp=properties", {"x-ms-blob-content-length": "512"}),
]


def test_the_rest_is_not_implemented(server, container):
    """Every operation that is not there says so with 501, which no client repeats, and changes nothing."""
    target = f"{container}/kept"
    etag = put(server, target, b"x").headers["etag"]
    for method, level, query, headers in NOT_YET:
        path = {"": "/", "C": container, "B": target}[level] + (f"?{query}" if query else "")
        answer = request(server, method, path, b"" if method in ("PUT", "POST", "PATCH") else None, **headers)
        assert (answer.status, answer.code) == (501, "NotImplemented"), (method, path, headers)
    kept = request(server, "GET", target)
    assert (kept.headers["etag"], kept.body) == (etag, b"x")


def test_not_modified(server, container):
    target = f"{container}/cached"
    etag = put(server, target, b"x").headers["etag"]
    answer = request(server, "GET", target, If_None_Match=etag)
    assert (answer.status, answer.headers["etag"], answer.headers["x-ms-error-code"]) == (304, etag, "ConditionNotMet")
    assert "last-modified" in answer.headers and answer.body == b""


def test_checksums(server, container):
    target = f"{container}/sums"
    good = base64.b64encode(hashlib.md5(b"hello world").digest()).decode()
    bad = base64.b64encode(bytes(16)).decode()
    assert put(server, target, b"hello world", Content_MD5=good).status == 201
    assert put(server, target, b"hello world", x_ms_content_crc64="vo7q9sPVKY0=").status == 201
    for fields, code in (({"Content_MD5": bad}, "Md5Mismatch"), ({"Content_MD5": "AAAA"}, "InvalidMd5"),
                         ({"x_ms_blob_content_md5": bad}, "Md5Mismatch"),
                         ({"x_ms_content_crc64": "AAAAAAAAAAA="}, "Crc64Mismatch"),
                         ({"Content_MD5": good, "x_ms_content_crc64": "vo7q9sPVKY0="}, "BothCrc64AndMd5HeaderPresent")):
        answer = put(server, target, b"hello world", **fields)
        assert (answer.status, answer.code) == (400, code)
    odd = base64.b64encode(b"00000000").decode()  # kept as given where nothing is to compare it with
    assert request(server, "PUT", f"{target}?comp=properties", x_ms_blob_content_md5=odd).status == 200
    assert request(server, "HEAD", target).headers["content-md5"] == odd
    assert odd.encode() in request(server, "GET", f"{container}?restype=container&comp=list&prefix=sums").body
    for text in ("!", "A" * 48, "A" * 4000):
        answer = request(server, "PUT", f"{target}?comp=properties", x_ms_blob_content_md5=text)
        assert (answer.status, answer.code) == (400, "InvalidMd5")
    large = bytes(1 << 20)
    assert put(server, target, large, Content_MD5=bad).code == "Md5Mismatch"
    assert request(server, "GET", target).body == b"hello world"


def test_refused_names_and_values(server, container):
    for name, code in (("/Bad", "InvalidResourceName"), ("/a--b", "InvalidResourceName"), ("/ab", "OutOfRangeInput"),
                       ("/" + "a" * 64, "OutOfRangeInput"), ("/-ab", "InvalidResourceName")):
        answer = request(server, "PUT", f"{name}?restype=container")
        assert (answer.status, answer.code) == (400, code), name
    long = request(server, "PUT", f"{container}/{'n' * 1025}", b"", x_ms_blob_type="BlockBlob")
    assert (long.status, long.code) == (400, "OutOfRangeInput")
    assert put(server, f"{container}/{'n' * 1024}").status == 201
    for target in ("/%zz", "/%00", "/%ff"):
        assert request(server, "GET", container + target).code == "InvalidUri"
    for fields, code in (({"x_ms_meta_1a": "v"}, "InvalidMetadata"), ({"x_ms_meta_": "v"}, "EmptyMetadataKey"),
                         ({"x_ms_meta_a": "v" * 8200}, "MetadataTooLarge")):
        answer = put(server, f"{container}/meta", **fields)
        assert (answer.status, answer.code) == (400, code)
    answer = put(server, f"{container}/page", x_ms_version="yesterday")
    assert request(server, "PUT", f"{container}/x", b"", x_ms_blob_type="Odd").code == "InvalidHeaderValue"
    assert request(server, "PUT", f"{container}/x", b"").code == "MissingRequiredHeader"
    for query, code in (("maxresults=0", "OutOfRangeQueryParameterValue"), ("maxresults=x", "InvalidQueryParameterValue"),
                        ("include=odd", "InvalidQueryParameterValue"), ("marker=%21%21", "InvalidQueryParameterValue")):
        answer = request(server, "GET", f"{container}?restype=container&comp=list&{query}")
        assert (answer.status, answer.code) == (400, code), query
    for query in ("comp=block&blockid=!!!", "comp=block&blockid=" + "QUFB" * 30):
        assert request(server, "PUT", f"{container}/x?{query}", b"x").code == "InvalidQueryParameterValue"
    assert request(server, "PUT", f"{container}/x?comp=block", b"x").code == "MissingRequiredQueryParameter"


def test_newer_versions_are_taken(server, container):
    target = f"/{ACCOUNT}{container}?restype=container"
    host, port = server.blob.rsplit(":", 1)
    for version, status in (("2039-01-01", 200), ("2009-09-19", 200), ("nonsense", 400)):
        headers = {"x-ms-date": now(), "x-ms-version": version}
        lines = [f"GET {target} HTTP/1.1", f"Host: {server.blob}", "Connection: close",
                 "Authorization: " + sign("GET", target, headers)] + [f"{n}: {v}" for n, v in headers.items()]
        answer = raw(server.blob, "\r\n".join(lines + ["", ""]).encode())
        assert answer.startswith(b"HTTP/1.1 %d " % status), answer
        if status == 200:
            assert b"x-ms-version: " + version.encode() in answer


def test_block_lists(server, container):
    target = f"{container}/list"
    assert request(server, "PUT", f"{target}?comp=block&blockid=QUE9", b"content").status in (201, 400)
    assert request(server, "PUT", f"{target}?comp=block&blockid=QUFB", b"content").status == 201
    staged = request(server, "GET", f"{target}?comp=blocklist&blocklisttype=all")
    assert b"<CommittedBlocks />" in staged.body and b"<Name>QUFB</Name><Size>7</Size>" in staged.body
    assert "etag" not in staged.headers

    def commit(xml):
        return request(server, "PUT", f"{target}?comp=blocklist", xml)

    for xml, code in ((b"", "InvalidXmlDocument"), (b"<BlockList>", "InvalidXmlDocument"),
                      (b"<Other></Other>", "InvalidXmlDocument"),
                      (b'<!DOCTYPE a [<!ENTITY b "c">]><BlockList>&b;</BlockList>', "InvalidXmlDocument"),
                      (b"<BlockList><Latest>!</Latest></BlockList>", "InvalidBlockId"),
                      (b"<BlockList><Latest>WFhY</Latest></BlockList>", "InvalidBlockList"),
                      (b"<BlockList><Committed>QUFB</Committed></BlockList>", "InvalidBlockList"),
                      (b"<BlockList>" + b"<Latest>QUFB</Latest>" * 50001 + b"</BlockList>", "BlockListTooLong"),
                      (b"<a>" * 100, "InvalidXmlDocument")):
        answer = commit(xml)
        assert (answer.status, answer.code) == (400, code), xml[:60]
    assert request(server, "GET", target).status == 404
    body = b'\xef\xbb\xbf<?xml version="1.0"?>\n<BlockList>\n <Uncommitted>QUFB</Uncommitted>\n</BlockList>'
    done = commit(body)
    assert done.status == 201 and "x-ms-content-crc64" in done.headers
    assert request(server, "GET", target).body == b"content"


def test_checkpoint_store(server, container):
    """What the event processors of the SDKs do, and two of them race for."""
    target = f"{container}/hub/group/ownership/0"
    claim = request(server, "PUT", f"{target}?comp=metadata", x_ms_meta_ownerid="one", If_None_Match="*",
                    x_ms_encryption_algorithm="AES256")
    assert (claim.status, claim.code) == (404, "BlobNotFound")
    made = put(server, target, x_ms_meta_ownerid="one", If_None_Match="*", x_ms_encryption_algorithm="AES256")
    assert made.status == 201
    again = put(server, target, x_ms_meta_ownerid="two", If_None_Match="*")
    assert (again.status, again.code) == (409, "BlobAlreadyExists")
    late = request(server, "PUT", f"{target}?comp=metadata", x_ms_meta_ownerid="two", If_None_Match="*")
    assert (late.status, late.code) == (412, "ConditionNotMet")
    bare = made.headers["etag"].strip('"')
    for tag in (made.headers["etag"], bare):
        answer = request(server, "PUT", f"{target}?comp=metadata", x_ms_meta_ownerid="one", If_Match=tag)
        assert answer.status == (200 if tag is made.headers["etag"] else 412)
    listed = request(server, "GET", f"{container}?restype=container&comp=list&include=metadata&prefix=hub/group/")
    root = xml.etree.ElementTree.fromstring(listed.body)
    assert root.findtext("Blobs/Blob/Metadata/ownerid") == "one"
    etag = root.findtext("Blobs/Blob/Properties/Etag")
    assert '"' not in etag
    assert request(server, "PUT", f"{target}?comp=metadata", x_ms_meta_ownerid="one", If_Match=etag).status == 200

    def steal(i):
        return request(server, "PUT", f"{target}?comp=metadata", x_ms_meta_ownerid=f"p{i}", If_Match=current).status

    for _ in range(3):
        current = request(server, "HEAD", target).headers["etag"]
        with concurrent.futures.ThreadPoolExecutor(6) as pool:
            assert sorted(pool.map(steal, range(6))) == [200] + [412] * 5


def test_lengths(server, container):
    """411 without a length, 413 before the body, chunked bodies taken, 100 Continue given."""
    def head(target, *lines):
        headers = {"x-ms-date": now(), "x-ms-version": "2021-12-02",
                   "x-ms-blob-type": "BlockBlob"}
        for line in lines:
            name, _, value = line.partition(":")
            headers[name] = value.strip()
        target = f"/{ACCOUNT}{target}"
        signature = sign("PUT", target, headers)
        text = [f"PUT {target} HTTP/1.1", f"Host: {server.blob}", f"Authorization: {signature}"]
        return "\r\n".join(text + [f"{n}: {v}" for n, v in headers.items()] + ["", ""]).encode()

    assert raw(server.blob, head(f"{container}/x")).startswith(b"HTTP/1.1 411 ")
    huge = raw(server.blob, head(f"{container}/x", "Content-Length: 9000000000000"))
    assert huge.startswith(b"HTTP/1.1 413 ") and b"RequestBodyTooLarge" in huge
    assert b"<MaxLimit>5242880000</MaxLimit>" in huge
    chunked = head(f"{container}/chunked", "Transfer-Encoding: chunked") + b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"
    assert raw(server.blob, chunked).startswith(b"HTTP/1.1 201 ")
    assert request(server, "GET", f"{container}/chunked").body == b"hello world"
    broken = head(f"{container}/broken", "Transfer-Encoding: chunked") + b"5\r\nhelloX\r\n0\r\n\r\n"
    assert raw(server.blob, broken).startswith(b"HTTP/1.1 400 ")
    cut = raw(server.blob, head(f"{container}/cut", "Content-Length: 100000") + b"x" * 99999)
    assert cut.startswith(b"HTTP/1.1 400 ")
    assert request(server, "GET", f"{container}/cut").status == 404
    host, port = server.blob.rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=10) as sock:
        sock.sendall(head(f"{container}/waits", "Content-Length: 5", "Expect: 100-continue"))
        assert sock.recv(100).startswith(b"HTTP/1.1 100 Continue\r\n\r\n")
        sock.sendall(b"hello")
        assert sock.recv(1000).startswith(b"HTTP/1.1 201 ")
    two = head(f"{container}/one", "Content-Length: 1") + b"1" + head(f"{container}/two", "Content-Length: 1") + b"2"
    assert raw(server.blob, two).count(b"HTTP/1.1 201 ") == 2
    assert request(server, "GET", f"{container}/two").body == b"2"


HOSTILE = [
    b"", b"\r\n", b"\x00" * 100, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"GET", b"GET / HTTP/1.1\r\n",
    b"GET / HTTP/1.1\nHost: x\n\n", b"GET / HTTP/9.9\r\nHost: x\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET /" + b"a" * 100000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 1000 + b"\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 100000 + b"\r\n\r\n",
    b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: +5\r\n\r\nhello",
    b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    b"GET /%00/../.. HTTP/1.1\r\nHost: x\r\n\r\n", b"GET /devstoreaccount1/" + b"/" * 5000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /devstoreaccount1?" + b"a=b&" * 3000 + b" HTTP/1.1\r\nHost: x\r\nAuthorization: SharedKey devstoreaccount1:"
    + b"A" * 43 + b"=\r\n\r\n",
]


def test_hostile_bytes(server, container):
    for data in HOSTILE:
        answer = raw(server.blob, data)
        assert answer == b"" or re.match(rb"HTTP/1\.1 (4\d\d|501|505) ", answer), (data[:60], answer[:100])
    assert put(server, f"{container}/alive", b"yes").status == 201


def test_unfinished_uploads_leave_nothing(server, container):
    """Connections cut in the middle of bodies; the blob never appears, the server goes on."""
    host, port = server.blob.rsplit(":", 1)
    target = f"/{ACCOUNT}{container}/torn"
    headers = {"x-ms-date": now(), "x-ms-version": "2021-12-02",
               "x-ms-blob-type": "BlockBlob", "Content-Length": str(10 << 20)}
    head = "\r\n".join([f"PUT {target} HTTP/1.1", f"Host: {server.blob}", "Authorization: " + sign("PUT", target, headers)]
                       + [f"{n}: {v}" for n, v in headers.items()] + ["", ""]).encode()
    for size in (0, 1, 300000, 5 << 20):
        with socket.create_connection((host, int(port)), timeout=10) as sock:
            sock.sendall(head + bytes(size))
    assert request(server, "GET", f"{container}/torn").status == 404


def test_memory_is_bounded(start_server, unique, monkeypatch):
    """Eight uploads of 48 MiB at once cost a few buffers, not their size."""
    monkeypatch.setenv("ASAN_OPTIONS", "quarantine_size_mb=8")  # freed memory that a sanitizer build holds back
    private = start_server()
    client = service(private, max_single_put_size=64 << 20).create_container(unique("c"))
    status = pathlib.Path(f"/proc/{private.process.pid}/status")

    def peak():
        return int(re.search(r"VmHWM:\s+(\d+) kB", status.read_text()).group(1)) * 1024

    client.upload_blob("warm", bytes(1 << 20))
    before = peak()
    content = bytes(48 << 20)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: client.upload_blob(f"big{i}", content), range(8)))
    assert sum(blob.size for blob in client.list_blobs()) == 8 * len(content) + (1 << 20)
    grown = peak() - before
    assert grown < 64 << 20, f"{grown >> 20} MiB"


def test_restart_keeps_everything(start_server, unique):
    private = start_server()
    client = service(private).create_container(unique("c"), metadata={"k": "v"})
    contents = {f"b{i}": bytes([i]) * (i * 7001) for i in range(20)}
    for name, content in contents.items():
        client.upload_blob(name, content, metadata={"n": name})
    client.get_blob_client("staged").stage_block("0001", b"waits")
    etags = {blob.name: blob.etag for blob in client.list_blobs()}
    name = client.container_name
    assert private.stop() == 0
    private.start()
    client = service(private).get_container_client(name)
    assert client.get_container_properties().metadata == {"k": "v"}
    assert {blob.name: blob.etag for blob in client.list_blobs()} == etags
    for blob, content in contents.items():
        assert client.get_blob_client(blob).download_blob().readall() == content
    staged = client.get_blob_client("staged")
    assert [block.id for block in staged.get_block_list("uncommitted")[1]] == ["0001"]
    fresh = client.upload_blob("b1", b"new", overwrite=True).get_blob_properties().etag
    assert fresh.strip('"') > max(etags.values())


def test_files_go_when_blobs_go(start_server, unique):
    """Content of deleted and replaced blobs leaves the disk by itself."""
    private = start_server()
    client = service(private).create_container(unique("c"))
    folder = pathlib.Path(private.data)

    def files():
        return sum(1 for path in folder.rglob("*.dat"))

    for i in range(10):
        client.upload_blob(f"b{i}", bytes(100000))
    assert files() == 10
    for i in range(5):
        client.delete_blob(f"b{i}")
    client.upload_blob("b5", b"small now", overwrite=True)
    wait_for(lambda: files() == 4)
    client.delete_container()
    wait_for(lambda: files() == 0)


def wait_for(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_full_disk(small_disk, start_server, unique):
    """A full disk refuses what does not fit, keeps what was there, and goes on when there is room again."""
    private = start_server(data=small_disk / "data")
    client = service(private, max_single_put_size=64 << 20).create_container(unique("c"))
    client.upload_blob("before", bytes(100000))
    filler = small_disk / "filler"
    free = os.statvfs(small_disk)
    with open(filler, "wb") as file:
        file.write(bytes(max(0, free.f_bavail * free.f_bsize - (4 << 20))))
    with pytest.raises(azure.core.exceptions.HttpResponseError) as full:
        client.upload_blob("large", bytes(16 << 20))
    assert (full.value.status_code, full.value.error_code) == (507, "InsufficientStorage")
    assert client.get_blob_client("before").download_blob().readall() == bytes(100000)
    assert not client.get_blob_client("large").exists()
    filler.unlink()
    client.upload_blob("large", bytes(16 << 20))
    assert client.get_blob_client("large").get_blob_properties().size == 16 << 20
    assert private.stop() == 0


def test_damaged_content_costs_its_blob_only(start_server, unique):
    private = start_server()
    client = service(private).create_container(unique("c"))
    for name in ("gone", "cut", "whole"):
        client.upload_blob(name, name.encode() * 50000)
    gone, cut, _ = sorted(pathlib.Path(private.data).rglob("*.dat"))
    gone.unlink()
    os.truncate(cut, 1000)
    assert private.stop() == 0
    private.start()
    client = service(private).get_container_client(client.container_name)
    for name in ("gone", "cut"):
        with pytest.raises(azure.core.exceptions.HttpResponseError) as damaged:
            client.get_blob_client(name).download_blob()
        assert (damaged.value.status_code, damaged.value.error_code) == (500, "InternalError")
    assert client.get_blob_client("whole").download_blob().readall() == b"whole" * 50000
    client.upload_blob("gone", b"back", overwrite=True)
    assert client.get_blob_client("gone").download_blob().readall() == b"back"


def test_stop_with_a_stuck_reader(start_server, unique):
    """A client that asked for a large blob and reads nothing does not hold up the stop."""
    private = start_server()
    client = service(private).create_container(unique("c"))
    client.upload_blob("large", bytes(64 << 20))
    headers = {"x-ms-date": now(), "x-ms-version": "2021-12-02"}
    target = f"/{ACCOUNT}/{client.container_name}/large"
    head = "\r\n".join([f"GET {target} HTTP/1.1", f"Host: {private.blob}", "Authorization: " + sign("GET", target, headers)]
                       + [f"{n}: {v}" for n, v in headers.items()] + ["", ""]).encode()
    host, port = private.blob.rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=10) as sock:
        sock.sendall(head)
        assert sock.recv(17).startswith(b"HTTP/1.1 200 OK")
        assert private.stop() == 0


def test_host_style(server, container):
    """ACCOUNT.blob.anything as Host: the path holds no account, and is signed without."""
    put(server, f"{container}/hosted", b"here")
    for host, status in ((f"{ACCOUNT}.blob.localhost:10000", 200), (f"{ACCOUNT}-secondary.blob.example", 200),
                         (f"{ACCOUNT}.queue.localhost", 404), ("other.blob.localhost", 404), ("blob", 404)):
        headers = {"x-ms-date": now(), "x-ms-version": "2021-12-02"}
        target = f"{container}/hosted"
        lines = [f"GET {target} HTTP/1.1", f"Host: {host}", "Connection: close",
                 "Authorization: " + sign("GET", target, headers)] + [f"{n}: {v}" for n, v in headers.items()]
        answer = raw(server.blob, "\r\n".join(lines + ["", ""]).encode())
        assert answer.startswith(b"HTTP/1.1 %d " % status), (host, answer)
        assert answer.endswith(b"here") == (status == 200)
