"""Connections to object storage: settings from the environment, and errors without secrets."""

from __future__ import annotations

import configparser
import os
import re
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from obstore.exceptions import BaseError, PermissionDeniedError, PreconditionError, UnauthenticatedError
from obstore.store import from_url

from seqviews.pipeline.storage.folder import StorageError, Timeouts, TransientError

MAX_REQUEST = timedelta(hours=1)
MAX_RETRIES = 1000  # the deadline comes first
FIRST_PAUSE, MAX_PAUSE = timedelta(milliseconds=100), timedelta(seconds=5)
_STATUS, _CODE = re.compile(r"status code: (\d{3})"), re.compile(r"<Code>(\w{1,60})</Code>")
_RETRIES = re.compile(r"after (\d+) retries")
_DAMAGED = {"BadDigest", "XAmzContentSHA256Mismatch", "RequestTimeout"}
_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"}


def connect(root: str, timeouts: Timeouts) -> Any:
    """Return obstore's store for the URL of a bucket or an HTTP server; no request is made yet.

    obstore repeats a failed request after growing random pauses and resumes a download where it broke off. It sends a
    SHA-256 with every put, so that the server rejects data that was damaged on the way.
    """
    options = {"checksum_algorithm": "SHA256", **_aws_options(os.environ)} if root.startswith("s3://") else {}
    make: Any = from_url  # it has an overload for each kind of store
    return make(
        root,
        client_options={
            "allow_http": options.get("endpoint", root).startswith("http://"),
            "read_timeout": timedelta(seconds=timeouts.stall),
            "connect_timeout": timedelta(seconds=timeouts.stall),
            "timeout": MAX_REQUEST,
        },
        retry_config={
            "max_retries": MAX_RETRIES,
            "retry_timeout": timedelta(seconds=timeouts.deadline),
            "backoff": {"init_backoff": FIRST_PAUSE, "max_backoff": MAX_PAUSE, "base": 2},
        },
        **options,
    )


def _aws_options(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what obstore does not find itself: the endpoint by its other names, and the AWS tools' profile."""
    found = {} if "AWS_ACCESS_KEY_ID" in environment else _profile(environment)
    for name in ("AWS_ENDPOINT", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        if environment.get(name):
            found["endpoint"] = environment[name].rstrip("/")
    if "AWS_REGION" in environment or "AWS_DEFAULT_REGION" in environment:
        found.pop("region", None)
    return found


def _profile(environment: Mapping[str, str]) -> dict[str, str]:
    name, home = environment.get("AWS_PROFILE", "default"), Path.home() / ".aws"
    config, credentials = configparser.RawConfigParser(), configparser.RawConfigParser()
    config.read(environment.get("AWS_CONFIG_FILE", home / "config"), encoding="utf-8")
    credentials.read(environment.get("AWS_SHARED_CREDENTIALS_FILE", home / "credentials"), encoding="utf-8")
    section = name if name == "default" else f"profile {name}"
    found = [dict(files[key]) for files, key in ((config, section), (credentials, name)) if files.has_section(key)]
    settings = {key: value for part in found for key, value in part.items()}
    if "AWS_PROFILE" in environment and not settings:
        raise ValueError(f"AWS_PROFILE names the profile {name}, which is in neither file of {home}")
    kinds = {
        "aws_access_key_id": "access_key_id",
        "aws_secret_access_key": "secret_access_key",
        "aws_session_token": "session_token",
        "region": "region",
        "endpoint_url": "endpoint",
    }
    return {option: settings[key] for key, option in kinds.items() if key in settings}


def translated(error: Exception) -> StorageError:
    """Return an error of obstore in our own words: a server's text may repeat the key and what was signed."""
    text = str(error)
    status, code = (match[1] if (match := pattern.search(text)) else "" for pattern in (_STATUS, _CODE))
    answer = " ".join(filter(None, (status, code)))
    if isinstance(error, FileNotFoundError):
        return StorageError("does not exist")
    if isinstance(error, PreconditionError):
        return TransientError("was replaced while it was read")
    if code in _EXPIRED:
        return StorageError(f"the credentials have expired ({answer}): renew them and start again")
    if "169.254.169.254" in text or "metadata.google.internal" in text:
        advice = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
        return StorageError(f"no credentials were found: {advice}")
    if isinstance(error, (PermissionDeniedError, UnauthenticatedError)) or status in {"401", "403"}:
        return StorageError(f"access was denied ({answer}): check credentials and permissions")
    if "edirect" in text.partition("Debug source")[0]:
        return StorageError("the server redirects to another address: check region and endpoint")
    match = _RETRIES.search(text)
    retried = f"; gave up after {int(match[1]) + 1} attempts" if match else ""
    if status:
        kind = TransientError if code in _DAMAGED else StorageError
        return kind(f"the server answered {answer}{retried}")
    return TransientError(_no_answer(error, text) + retried)


def _no_answer(error: Exception, text: str) -> str:
    if "TimedOut" in text or "kind: Timeout" in text or isinstance(error, TimeoutError):
        return "the server stopped responding"
    if "kind: Connect," in text:  # not ConnectionReset
        return "no connection to the server"
    return "the connection broke" if isinstance(error, BaseError) else type(error).__name__
