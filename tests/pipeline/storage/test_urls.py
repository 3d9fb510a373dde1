"""URLs: what may be a secret is refused and not repeated; a browser's are understood."""

import functools
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from object_storage import KEY, SECRET, Storage

from seqviews.pipeline.storage.local import LocalFolder
from seqviews.pipeline.storage.urls import open_folder

NAMES = {"my%20data": "my data", "%C3%BC": "ü", "a%2Bb": "a+b", "a+b": "a+b", "100%25": "100%", "a%2520b": "a%20b"}
NAMES |= {"a;b".replace(";", "%3B"): "a;b", "q%3Fx%23": "q?x#", "my data": "my data", "ü": "ü", "a&b='c'": "a&b='c'"}


@pytest.mark.parametrize("scheme", ["s3", "S3", "gs", "az", "http", "https", "s3a", "ftp", "file"])
@pytest.mark.parametrize(
    "rest",
    [
        f"{mark}{authority}"
        for mark in (":/", "://", ":///", ":", "::/", ":\\\\", "://x@")
        for authority in (f"{KEY}:{SECRET}@bucket", f"{SECRET}@bucket/x", f":{SECRET}@b")
    ]
    + [f"://bucket{mark}{SECRET}/x" for mark in ";?#@ \n\u2100%"]
    + [f"://[{SECRET}]/x", f"://bucket:{SECRET}"],
)
def test_what_may_hold_a_secret_is_refused_without_repeating_it(scheme: str, rest: str) -> None:
    for url in (scheme + rest, f" {scheme}{rest}", Path(scheme + rest)):
        with pytest.raises(ValueError, match="URL") as caught:
            open_folder(url)
        assert not [part for part in (SECRET, KEY) if part.lower() in str(caught.value).lower()]


@pytest.mark.parametrize("path", ["s3", "s3/x", "./s3:x", "data/a:b@c", "C:/data", "x@y", "a b"])
def test_a_path_is_a_path(path: str) -> None:
    assert open_folder(path) == LocalFolder(Path(path))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """The URL of a web server with a file in a folder of each name."""
    for name in NAMES.values():
        (tmp_path / name / "train").mkdir(parents=True, exist_ok=True)
        (tmp_path / name / "train" / "f").write_text(name)
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


def test_a_url_as_copied_from_a_browser(server: str) -> None:
    for path, name in NAMES.items():
        folder = open_folder(f"{server}/{path}/")
        for same in (folder, open_folder(str(folder))):
            assert (same / "train").get("f", 100) == name.encode()
            assert same.name == str(same).rpartition("/")[2]


def test_keys_of_s3_are_literal(storage: Storage) -> None:
    for name in NAMES:
        folder = open_folder(f"{storage.url}/{name}").for_writing()
        assert folder.put("f", name.encode(), {})
        assert open_folder(str(folder)).get("f", 100) == name.encode()
    assert {path.partition("/")[0] for path in storage.objects()} == set(NAMES)
