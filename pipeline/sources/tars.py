"""Plain WebDataset tars that others made: their samples, one after another, through `webdataset`."""

import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import webdataset
from webdataset.tariterators import group_by_keys, tar_file_iterator

Sample: TypeAlias = Mapping[str, Any]
"""The members of a sample by extension, and its `__key__`."""


class BrokenTar(ValueError):
    """A tar cannot be read to its end; the samples before that are whole."""


def expand_tars(patterns: Sequence[str]) -> list[str]:
    """Return the tars that patterns name, in order; `{000..099}` is a range.

    Raises:
        ValueError: If there is none, or one twice.

    Example:
        >>> expand_tars(["a-{08..10}.tar", "pipe:cat b.tar"])
        ['a-08.tar', 'a-09.tar', 'a-10.tar', 'pipe:cat b.tar']
    """
    tars = [url for pattern in patterns for url in webdataset.shardlists.expand_urls(pattern)]
    if not tars:
        raise ValueError("no tars are given")
    if twice := [tar for tar in set(tars) if tars.count(tar) > 1]:
        raise ValueError(f"{tar_name(twice[0])} is given twice")
    return tars


def tar_name(url: str) -> str:
    """Return the name of a tar, without the credentials that a URL or a command may hold.

    Example:
        >>> tar_name("pipe:curl -s 'https://example.org/a/videos-003.tar?token=secret'")
        'videos-003'
    """
    found = re.findall(r"([\w.-]+?)(?:\.tar)(?:\.gz)?\b", url)
    return found[-1] if found else "tar"


def read_samples(url: str) -> Iterator[Sample]:
    """Yield the samples of a tar: a path, a `pipe:` command or a URL that `webdataset` opens. Nothing is unpickled.

    Raises:
        BrokenTar: If it cannot be opened, is damaged or ends early, also at the end of a member.
    """
    try:
        with closing(webdataset.gopen(url)) as stream:
            ending = _Ending(stream)
            files = ({**file, "__url__": tar_name(url)} for file in tar_file_iterator(ending))
            last: list[Sample] = []  # of a tar that was cut it may lack members
            for sample in group_by_keys(files):
                yield from last
                last = [sample]
            ending.check()
            yield from last
    except GeneratorExit:
        raise
    except Exception as error:
        reason = re.sub(r" @ <.*", "", str(error)).replace(url, tar_name(url))
        raise BrokenTar(f"{tar_name(url)} cannot be read to its end: {reason}") from None


class _Ending:
    """A stream that remembers its last bytes: a tar without two empty blocks at its end was cut."""

    def __init__(self, stream: Any) -> None:
        self._stream, self._start, self._end = stream, b"", b""

    def read(self, size: int = -1) -> bytes:
        data: bytes = self._stream.read(size)
        self._start = self._start or data[:2]
        self._end = (self._end + data[-1024:])[-1024:]
        return data

    def check(self) -> None:
        while self.read(1 << 20):
            pass
        if self._start == b"\x1f\x8b":  # gzip has checked its own end
            return
        if len(self._end) < 1024 or any(self._end):
            raise ValueError("it ends without two empty blocks, so it was cut")


@contextmanager
def sample_file(sample: Sample, extension: str, images: bool) -> Iterator[Path]:
    """Give the member of a sample as a temporary file, or with `images` all of its images as files of a folder.

    Raises:
        ValueError: If there is no such member.
    """
    names = [name for name in sample if name == extension or (images and name.endswith(f".{extension}"))]
    if not names:
        members = ", ".join(name for name in sample if not name.startswith("__"))
        raise ValueError(f"has no .{extension}: its members are {members}")
    with tempfile.TemporaryDirectory(prefix="seqviews-") as folder:
        for name in names:
            # one image is named by its extension alone
            (Path(folder) / (name if "." in name else f"sample.{name}")).write_bytes(sample[name])
        yield Path(folder) if images else next(Path(folder).iterdir())
