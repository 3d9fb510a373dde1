"""From a path or a URL to the folder that it names."""

import re
from pathlib import Path
from urllib.parse import unquote

from seqviews.pipeline.storage.folder import Cache, Folder, Timeouts
from seqviews.pipeline.storage.local import LocalFolder

SCHEMES = ("s3", "gs", "az", "http", "https")
_LIKE_A_URL = re.compile(  # with a slip
    rf"\s*((({'|'.join(SCHEMES)}|s3a|s3n|gcs|s?ftp)(:|[/\\]{{2}}))|[a-z][\w+.-]+:(:|[/\\]|.*@))", re.IGNORECASE
)
_NAME, _HOST = re.compile(r"[\w.-]+"), re.compile(r"([\w.-]+|\[[0-9a-fA-F:.]+\])(:[0-9]{1,5})?")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")  # the last: bytes that are not UTF-8


def open_folder(url: Folder | Path | str, *, cache: Cache | None = None, timeouts: Timeouts | None = None) -> Folder:
    """Return the folder that a path or a URL names; nothing is read yet.

    Args:
        url: A path, `s3://bucket/prefix`, `gs://bucket/prefix`, `az://container/prefix`, the read-only
            `http(s)://host/path`, in which a browser's %20 is a space, or a `Folder`, which is returned. Endpoint,
            region and credentials come from the environment variables and files that the store's own tools use.
        cache: The cache for shards from object storage; by default 16 GB at most, below `XDG_CACHE_HOME`.
        timeouts: How long to wait for object storage.

    Raises:
        ValueError: If the URL has another scheme, no bucket, a user name, a password or a query, a setting of the store
            is not valid, or obstore is missing. No message repeats what may be a secret.

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
        if _LIKE_A_URL.match(str(url)):
            raise ValueError("a URL is written s3://bucket/prefix, with :// and as text: check what was given")
        return LocalFolder(Path(url))
    scheme, _, rest = url.strip().partition("://")
    scheme = scheme.lower()
    if scheme not in SCHEMES:
        supported = f"{', '.join(SCHEMES[:-1])} or {SCHEMES[-1]}"
        named = f" {scheme}://" if re.fullmatch("[a-z]{2,8}", scheme) else ""
        raise ValueError(f"unsupported URL scheme{named}: give a folder, or an {supported} URL")
    name, _, path = rest.partition("/")
    is_http = scheme.startswith("http")
    if not name:
        raise ValueError(f"the URL names no bucket or host: use {scheme}://name/prefix")
    if not (_HOST if is_http else _NAME).fullmatch(name) or re.search("[?#;]" if is_http else "[?#]", path):
        raise ValueError(
            f"a URL of {scheme}:// is {scheme}://name/prefix and takes no password, token or query: credentials come "
            "from the environment"
        )
    prefix = (unquote(path, errors="surrogateescape") if is_http else path).strip("/")
    if _CONTROL.search(prefix):
        raise ValueError(f"a URL of {scheme}:// holds no line breaks, control characters or bytes that are not UTF-8")
    try:
        from seqviews.pipeline.storage.bucket import Bucket
        from seqviews.pipeline.storage.connection import connect
    except ModuleNotFoundError as error:
        if error.name != "obstore":
            raise
        raise ValueError(f"{scheme}:// needs obstore: pip install 'seqviews[s3]'") from None
    root, timeouts = f"{scheme}://{name}", timeouts or Timeouts()
    return Bucket(connect(root, timeouts), root, prefix, cache or Cache(), timeouts)
