"""Other readers read our shards in a bucket by presigned URLs; our stream reads them from a web server."""

import functools
import json
import threading
from datetime import timedelta
from hashlib import sha256
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import obstore
from fault_proxy import Fault, fault_proxy
from object_storage import Storage
from toy_clips import ToyClips

from seqviews.pipeline.prepare.write import prepare
from seqviews.pipeline.storage.urls import open_folder
from seqviews.pipeline.stream.stream import SequenceStream


def with_webdataset(tars: list[str]) -> dict[str, str]:
    """SHA-256 of the frames, and JSON, by key."""
    import webdataset

    rows = webdataset.WebDataset(tars, shardshuffle=False)
    return {row["__key__"]: sha256(row["frames.webp"]).hexdigest() + row["json"].decode() for row in rows}


def test_other_readers_read_presigned_urls(storage: Storage, toy: Path) -> None:
    import datasets

    prepare(ToyClips(), storage.url, shard_sources=2)
    folder = storage.folder() / "train"
    paths = [f"{folder.prefix}/train-{shard:06d}.tar" for shard in range(6)]
    urls = [obstore.sign(folder.store, "GET", path, timedelta(hours=1)) for path in paths]
    expected = with_webdataset(sorted(map(str, (toy / "train").glob("*.tar"))))
    assert with_webdataset([f"pipe:curl -s -f '{url}'" for url in urls]) == expected
    rows = datasets.load_dataset("webdataset", data_files={"train": urls}, split="train", streaming=True)
    rows = rows.cast_column("frames.webp", datasets.Image(decode=False))
    found = {row["__key__"]: (sha256(row["frames.webp"]["bytes"]).hexdigest(), row["json"]) for row in rows}
    assert found == {key: (text[:64], json.loads(text[64:])) for key, text in expected.items()}


def test_we_read_from_a_web_server(storage: Storage, toy: Path) -> None:
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(toy))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        with fault_proxy(server.server_port) as proxy:
            folder = open_folder(f"http://127.0.0.1:{proxy.port}/", cache=storage.cache)
            proxy.faults = [fault := Fault("cut", at=2000)]
            keys = [batch.keys for batch in SequenceStream(folder / "train", 5)]
    finally:
        server.shutdown()
        server.server_close()
    assert keys == [batch.keys for batch in SequenceStream(toy / "train", 5)]
    assert fault.fired == 1
