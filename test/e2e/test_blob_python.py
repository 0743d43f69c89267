"""azure-storage-blob for Python, unmodified."""
import concurrent.futures
import hashlib
import os
import random

import pytest
from azure.core import MatchConditions
from azure.core.exceptions import (HttpResponseError, ResourceExistsError, ResourceModifiedError, ResourceNotFoundError)
from azure.storage.blob import BlobBlock, BlobServiceClient, BlobType, ContentSettings
from blob_fixtures import service


@pytest.fixture
def container(server, unique):
    client = service(server).create_container(unique("c"))
    yield client
    client.delete_container()


def test_container(server, unique):
    name = unique("c")
    client = service(server).get_container_client(name)
    assert not client.exists()
    with pytest.raises(ResourceNotFoundError) as missing:
        client.get_container_properties()
    assert missing.value.error_code == "ContainerNotFound"
    client.create_container(metadata={"Colour": "red"})
    with pytest.raises(ResourceExistsError) as twice:
        client.create_container()
    assert twice.value.error_code == "ContainerAlreadyExists"
    before = client.get_container_properties()
    assert before.metadata == {"Colour": "red"}
    client.set_container_metadata({"a": "1", "b": "2"})
    after = client.get_container_properties()
    assert after.metadata == {"a": "1", "b": "2"} and after.etag != before.etag
    listed = {c.name: c for c in service(server).list_containers(name_starts_with=name, include_metadata=True)}
    assert listed[name].metadata == {"a": "1", "b": "2"} and listed[name].etag.strip('"') == after.etag.strip('"')
    client.delete_container()
    assert not client.exists()


def test_containers_in_pages(server, unique):
    prefix = unique("page")
    names = [f"{prefix}-{i:02}" for i in range(7)]
    for name in names:
        service(server).create_container(name)
    pages = [[c.name for c in page] for page in
             service(server).list_containers(name_starts_with=prefix, results_per_page=3).by_page()]
    assert pages == [names[:3], names[3:6], names[6:]]
    for name in names:
        service(server).delete_container(name)


def test_put_and_get(container):
    blob = container.get_blob_client("dir/a b+c%ä😀.txt")
    assert not blob.exists()
    blob.upload_blob(b"hello world", metadata={"Owner": "alice"}, content_settings=ContentSettings(
        content_type="text/plain", content_encoding="x", content_language="de", content_disposition="inline",
        cache_control="no-cache"))
    properties = blob.get_blob_properties()
    settings = properties.content_settings
    assert (settings.content_type, settings.content_encoding, settings.content_language, settings.content_disposition,
            settings.cache_control) == ("text/plain", "x", "de", "inline", "no-cache")
    assert bytes(settings.content_md5) == hashlib.md5(b"hello world").digest()
    assert properties.metadata == {"Owner": "alice"} and properties.size == 11
    assert properties.blob_type == BlobType.BLOCKBLOB and properties.blob_tier == "Hot"
    assert blob.download_blob().readall() == b"hello world"
    assert blob.download_blob(offset=6, length=3).readall() == b"wor"
    assert blob.download_blob(offset=6, length=3, validate_content=True).readall() == b"wor"
    created = properties.creation_time
    blob.upload_blob(b"", overwrite=True)
    properties = blob.get_blob_properties()
    assert properties.size == 0 and properties.metadata == {} and properties.creation_time == created
    assert blob.download_blob().readall() == b""
    blob.delete_blob()
    with pytest.raises(ResourceNotFoundError) as missing:
        blob.download_blob()
    assert missing.value.error_code == "BlobNotFound"


@pytest.mark.parametrize("size", [1, 16 * 1024, 16 * 1024 + 1, 256 * 1024, 256 * 1024 + 1, 4 << 20, (9 << 20) + 17])
def test_sizes(container, size):
    content = random.Random(size).randbytes(size)
    blob = container.get_blob_client("sized")
    blob.upload_blob(content, validate_content=True, max_concurrency=4)
    assert blob.download_blob(max_concurrency=4).readall() == content
    for offset, length in ((0, 1), (size - 1, 1), (size // 2, size), (size // 3, 70000)):
        assert blob.download_blob(offset=offset, length=length).readall() == content[offset:offset + length]


def test_one_large_put(server, unique):
    """A single Put Blob of 64 MiB: more than any buffer of the server."""
    large = BlobServiceClient.from_connection_string(server.blob_connection, max_single_put_size=128 << 20,
                                                     max_single_get_size=128 << 20)
    container = large.create_container(unique("c"))
    content = random.Random(1).randbytes(1 << 20) * 64
    blob = container.get_blob_client("large")
    blob.upload_blob(content)
    assert hashlib.sha256(blob.download_blob().readall()).digest() == hashlib.sha256(content).digest()
    assert blob.get_block_list("all") == ([], [])
    container.delete_container()


def test_blocks(container):
    blob = container.get_blob_client("blocks")
    parts = {f"{i:04}": os.urandom(20000 * (i + 1)) for i in range(4)}
    for name, content in parts.items():
        blob.stage_block(name, content, validate_content=True)
    assert not blob.exists()
    assert [b.name for b in container.list_blobs(include=["uncommittedblobs"])] == ["blocks"]
    assert list(container.list_blobs()) == []
    order = ["0002", "0000", "0002", "0003"]
    blob.commit_block_list([BlobBlock(name) for name in order], metadata={"m": "1"})
    assert blob.download_blob().readall() == b"".join(parts[name] for name in order)
    committed, staged = blob.get_block_list("all")
    assert [b.id for b in committed] == order and staged == []
    assert [b.size for b in committed] == [len(parts[name]) for name in order]
    etag = blob.get_blob_properties().etag
    blob.stage_block("0009", b"new end")
    assert blob.get_blob_properties().etag == etag
    blob.commit_block_list([BlobBlock("0003"), BlobBlock("0009")])
    assert blob.download_blob().readall() == parts["0003"] + b"new end"
    with pytest.raises(HttpResponseError) as gone:
        blob.commit_block_list([BlobBlock("0000")])
    assert gone.value.error_code == "InvalidBlockList"
    assert blob.download_blob().readall() == parts["0003"] + b"new end"
    blob.stage_block("0010", b"x")
    with pytest.raises(HttpResponseError) as uneven:
        blob.stage_block("longer-than-the-others", b"x")
    assert uneven.value.error_code == "InvalidBlobOrBlock"
    blob.commit_block_list([])
    assert blob.get_blob_properties().size == 0


def test_append(container):
    blob = container.get_blob_client("log")
    with pytest.raises(ResourceNotFoundError):
        blob.append_block(b"x")
    blob.create_append_blob(metadata={"a": "b"})
    expected = b""
    for i in range(30):
        part = os.urandom(random.Random(i).randrange(1, 30000))
        answer = blob.append_block(part, appendpos_condition=len(expected))
        assert int(answer["blob_append_offset"]) == len(expected)
        expected += part
        assert int(answer["blob_committed_block_count"]) == i + 1
    assert blob.download_blob().readall() == expected
    for offset in range(0, len(expected), 50001):
        assert blob.download_blob(offset=offset, length=1000).readall() == expected[offset:offset + 1000]
    with pytest.raises(HttpResponseError) as position:
        blob.append_block(b"x", appendpos_condition=3)
    assert (position.value.status_code, position.value.error_code) == (412, "AppendPositionConditionNotMet")
    with pytest.raises(HttpResponseError) as full:
        blob.append_block(b"x", maxsize_condition=len(expected))
    assert full.value.error_code == "MaxBlobSizeConditionNotMet"
    properties = blob.get_blob_properties()
    assert properties.blob_type == BlobType.APPENDBLOB and properties.append_blob_committed_block_count == 30
    with pytest.raises(ResourceExistsError) as wrong:
        blob.stage_block("0000", b"x")
    assert wrong.value.error_code == "InvalidBlobType"
    other = container.get_blob_client("block")
    other.upload_blob(b"x")
    with pytest.raises(ResourceExistsError) as wrong:
        other.append_block(b"x")
    assert wrong.value.error_code == "InvalidBlobType"


def test_conditions(container):
    blob = container.get_blob_client("guarded")
    blob.upload_blob(b"1")
    first = blob.get_blob_properties().etag
    with pytest.raises(ResourceExistsError) as exists:
        blob.upload_blob(b"2", overwrite=False)
    assert exists.value.error_code == "BlobAlreadyExists"
    blob.upload_blob(b"2", overwrite=True, etag=first, match_condition=MatchConditions.IfNotModified)
    with pytest.raises(ResourceModifiedError) as stale:
        blob.upload_blob(b"3", overwrite=True, etag=first, match_condition=MatchConditions.IfNotModified)
    assert stale.value.error_code == "ConditionNotMet"
    with pytest.raises(ResourceModifiedError):
        blob.set_blob_metadata({"a": "b"}, etag=first, match_condition=MatchConditions.IfNotModified)
    with pytest.raises(ResourceModifiedError):
        blob.delete_blob(etag=first, match_condition=MatchConditions.IfNotModified)
    with pytest.raises(ResourceModifiedError):
        blob.download_blob(etag=first, match_condition=MatchConditions.IfNotModified)
    current = blob.get_blob_properties().etag
    with pytest.raises(HttpResponseError) as same:
        blob.get_blob_properties(etag=current, match_condition=MatchConditions.IfModified)
    assert (same.value.status_code, same.value.error_code) == (304, "ConditionNotMet")
    assert blob.download_blob(etag=current, match_condition=MatchConditions.IfNotModified).readall() == b"2"
    with pytest.raises(HttpResponseError) as created:
        container.get_blob_client("none").upload_blob(b"x", etag=current, overwrite=True,
                                                      match_condition=MatchConditions.IfNotModified)
    assert created.value.status_code == 412


def test_properties(container):
    blob = container.get_blob_client("props")
    blob.upload_blob(b"x", metadata={"keep": "me"})
    before = blob.get_blob_properties()
    blob.set_http_headers(ContentSettings(content_type="a/b", content_language="fr"))
    after = blob.get_blob_properties()
    assert after.content_settings.content_type == "a/b" and after.content_settings.content_language == "fr"
    assert after.content_settings.content_md5 is None and after.metadata == {"keep": "me"}
    assert after.etag != before.etag
    blob.set_blob_metadata(None)
    assert blob.get_blob_properties().metadata == {}


def test_listing(container):
    names = sorted([f"a/{i}" for i in range(5)] + [f"b/c/{i}" for i in range(5)] + ["a", "b", "a.txt", "z&<>\"'é"],
                   key=lambda name: name.encode())
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: container.upload_blob(name, name.encode(), metadata={"n": "v"}), names))
    assert [b.name for b in container.list_blobs()] == names
    for size in (1, 2, 3, 100):
        pages = [[b.name for b in page] for page in container.list_blobs(results_per_page=size).by_page()]
        assert sum(pages, []) == names and all(len(page) <= size for page in pages)
    assert [b.name for b in container.list_blobs(name_starts_with="a/")] == [n for n in names if n.startswith("a/")]
    walked = [b.name for b in container.walk_blobs()]  # the SDK puts the prefixes of a page first
    assert sorted(walked) == ["a", "a.txt", "a/", "b", "b/", "z&<>\"'é"]
    assert [b.name for b in container.walk_blobs(name_starts_with="b/")] == ["b/c/"]
    paged = [b.name for page in container.walk_blobs(results_per_page=2).by_page() for b in page]
    assert sorted(paged) == sorted(walked)
    one = next(iter(container.list_blobs(name_starts_with="a.txt", include=["metadata"])))
    assert one.metadata == {"n": "v"} and one.size == 5 and one.etag and '"' not in one.etag
    assert bytes(one.content_settings.content_md5) == hashlib.md5(b"a.txt").digest()
    assert next(iter(container.list_blobs())).metadata == {}


def test_replaced_while_read(container):
    """A download goes on with what it began, though the blob is replaced and deleted meanwhile."""
    blob = container.get_blob_client("moving")
    content = os.urandom(32 << 20)
    blob.upload_blob(content, max_concurrency=4)
    reader = service_without_chunks(container).get_blob_client("moving").download_blob()
    chunks = reader.chunks()
    got = next(chunks)
    blob.upload_blob(b"new", overwrite=True)
    blob.delete_blob()
    for chunk in chunks:
        got += chunk
    assert hashlib.sha256(got).digest() == hashlib.sha256(content).digest()


def service_without_chunks(container):
    return container.from_container_url(container.url, credential=container.credential, max_single_get_size=64 << 20)


def test_parallel_writers(container):
    """Many writers of one blob under If-Match: exactly one wins each round."""
    blob = container.get_blob_client("race")
    blob.upload_blob(b"0")
    for _ in range(5):
        etag = blob.get_blob_properties().etag

        def attempt(i):
            try:
                container.get_blob_client("race").upload_blob(b"%d" % i, overwrite=True, etag=etag,
                                                              match_condition=MatchConditions.IfNotModified)
                return 1
            except ResourceModifiedError:
                return 0

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            assert sum(pool.map(attempt, range(8))) == 1


def test_not_implemented(container):
    blob = container.get_blob_client("later")
    blob.upload_blob(b"x")
    for call in (lambda: blob.create_snapshot(), lambda: blob.acquire_lease(), lambda: blob.get_blob_tags(),
                 lambda: blob.set_standard_blob_tier("Cool"), lambda: container.get_container_access_policy(),
                 lambda: blob.create_page_blob(512), lambda: blob.start_copy_from_url(blob.url)):
        with pytest.raises(HttpResponseError) as missing:
            call()
        assert (missing.value.status_code, missing.value.error_code) == (501, "NotImplemented")
    assert blob.download_blob().readall() == b"x"


def test_no_metadata_is_none_listed(container):
    container.upload_blob("bare", b"x")
    container.upload_blob("with", b"x", metadata={"k": "v"})
    assert [blob.metadata for blob in container.list_blobs(include=["metadata"])] == [{}, {"k": "v"}]


def test_metadata_in_any_order(container):
    """The SDK sorts names as .NET does; names that are none are told as such, not as a wrong signature."""
    blob = container.get_blob_client("sorted")  # -, _ and digits weigh differently there
    names = ["a0", "a_b", "ab", "a1b", "a_", "_a", "A2", "zz_9", "zz9"]
    blob.upload_blob(b"x", metadata={name: "v" for name in names})
    assert set(blob.get_blob_properties().metadata) == set(names)
    with pytest.raises(HttpResponseError) as refused:
        blob.upload_blob(b"x", overwrite=True, metadata={c: "v" for c in "!#$%&*+.^_`|~aA0" if c != "A"})
    assert refused.value.error_code == "InvalidMetadata"
