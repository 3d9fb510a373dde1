"""From a path or a URL to the folder that it names."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from seqviews.pipeline.storage.folder import Cache, Folder, Timeouts
from seqviews.pipeline.storage.local import LocalFolder

SCHEMES = ("s3", "gs", "az", "http", "https")


def open_folder(url: Folder | Path | str, *, cache: Cache | None = None, timeouts: Timeouts | None = None) -> Folder:
    """Return the folder that a path or a URL names; nothing is read yet.

    Args:
        url: A path, `s3://bucket/prefix`, `gs://bucket/prefix`, `az://container/prefix`, the read-only
            `http(s)://host/path`, or a `Folder`, which is returned. Endpoint, region and credentials come from the
            environment variables and files that the store's own tools use.
        cache: The cache for shards from object storage; by default 16 GB at most, below `XDG_CACHE_HOME`.
        timeouts: How long to wait for object storage.

    Raises:
        ValueError: If the URL has another scheme, no bucket, a user name, a password or a query, or obstore is missing.

    Example:
        >>> folder = open_folder("data/sprites") / "train"
        >>> str(folder), folder.name
        ('data/sprites/train', 'train')
        >>> open_folder("ftp://example.org/data")
        Traceback (most recent call last):
        ValueError: unsupported URL scheme ftp://: give a folder, or an s3, gs, az, http or https URL
    """
    if isinstance(url, Folder):
        return url
    if isinstance(url, Path) or "://" not in url:
        return LocalFolder(Path(url))
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES:
        raise ValueError(
            f"unsupported URL scheme {parts.scheme}://: give a folder, or an s3, gs, az, http or https URL"
        )
    if "@" in parts.netloc or parts.query or parts.fragment:
        reason = "takes no password, token or query: credentials come from the environment"
        raise ValueError(f"a URL of {parts.scheme}:// {reason}")
    if not parts.netloc:
        raise ValueError(f"{url} names no bucket or host: use {parts.scheme}://name/prefix")
    try:
        from seqviews.pipeline.storage.bucket import Bucket
        from seqviews.pipeline.storage.connection import connect
    except ModuleNotFoundError as error:
        if error.name != "obstore":
            raise
        raise ValueError(f"{parts.scheme}:// needs obstore: pip install 'seqviews[s3]'") from None
    root, timeouts = f"{parts.scheme}://{parts.netloc}", timeouts or Timeouts()
    return Bucket(connect(root, timeouts), root, parts.path.strip("/"), cache or Cache(), timeouts)
