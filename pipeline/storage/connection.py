"""Connections to object storage: settings from the environment, and errors without secrets."""

import configparser
import os
import re
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from obstore.exceptions import BaseError, PermissionDeniedError, PreconditionError, UnauthenticatedError
from obstore.store import from_url

from seqviews.pipeline.files import user_home
from seqviews.pipeline.storage.folder import StorageError, Timeouts, TransientError

MAX_REQUEST = timedelta(hours=1)
MAX_RETRIES = 1000  # the deadline comes first
FIRST_PAUSE, MAX_PAUSE = timedelta(milliseconds=100), timedelta(seconds=5)
_STATUS, _CODE = re.compile(r"status code: (\d{3})"), re.compile(r"<Code>(\w{1,60})</Code>")
_RETRIES = re.compile(r"after (\d+) retries")
_DAMAGED = {"BadDigest", "XAmzContentSHA256Mismatch", "RequestTimeout"}
ENDPOINT = re.compile(r"https?://([\w.-]+|\[[\da-fA-F:.]+\])(:\d{1,5})?(/[\w./-]*)?", re.ASCII)
UNSUPPORTED = ("credential_", "login_", "role_arn", "source_profile", "sso_", "web_identity_")  # in a profile
_ROLES = {"AWS_SKIP_SIGNATURE", "AWS_WEB_IDENTITY_TOKEN_FILE"} | {
    f"AWS_CONTAINER_CREDENTIALS_{kind}_URI" for kind in ("FULL", "RELATIVE")
}
_OPTIONS = {  # names in a profile; upper case, in the environment
    "aws_access_key_id": "access_key_id",
    "aws_secret_access_key": "secret_access_key",
    "aws_session_token": "session_token",
    "region": "region",
}
_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"}


def connect(root: str, timeouts: Timeouts) -> Any:
    """Return obstore's store for the URL of a bucket or an HTTP server; no request is made yet.

    obstore repeats a failed request after growing random pauses and resumes a download where it broke off. It sends a
    SHA-256 with every put, so that the server rejects data that was damaged on the way.

    Raises:
        ValueError: If a setting in the environment or in the files of the AWS tools is not valid.
    """
    options = {"checksum_algorithm": "SHA256", **_aws_options(os.environ)} if root.startswith("s3://") else {}
    make: Any = from_url  # it has an overload for each kind of store
    try:
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
    except (BaseError, ValueError):  # their text repeats the setting
        variables = {"s3": "AWS_*", "gs": "GOOGLE_*", "az": "AZURE_*"}.get(root.partition(":")[0])
        wrong = f"one of the variables {variables} has" if variables else "host and port have"
        raise ValueError(f"{root} cannot be opened: {wrong} a value that is not valid") from None


def _aws_options(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what obstore does not find itself: the endpoint by its other names, and the AWS tools' profile.

    Everything that obstore would read is checked first: it panics on some values, and repeats others in its errors.
    """
    variables = {name: value for name, value in environment.items() if name.startswith("AWS_") and value}
    for name, value in variables.items():
        _check_text(name, value, strict=name.lower() in _OPTIONS or name.endswith("REGION"))
    found = {} if "AWS_ACCESS_KEY_ID" in variables else _profile(variables)
    for name in ("AWS_ENDPOINT", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        if name in environment:  # obstore panics also at an empty one
            found["endpoint"] = environment[name]
            _check_endpoint(name, environment[name])
    if "endpoint" in found:
        found["endpoint"] = found["endpoint"].rstrip("/")
    if "AWS_REGION" in variables or "AWS_DEFAULT_REGION" in variables:
        found.pop("region", None)
    pair = ("aws_access_key_id", "aws_secret_access_key")
    missing = [name for name in pair if _OPTIONS[name] not in found and name.upper() not in variables]
    if len(missing) == 1:
        there = next(name for name in pair if name not in missing).upper()
        raise ValueError(
            f"{there} is set without {missing[0].upper()}, in the environment or the AWS profile: set both"
        )
    return found


def _check_text(name: str, value: str, *, strict: bool) -> None:
    """Reject what no header of a request can hold; keys, tokens and regions are ASCII without spaces."""
    if not (re.fullmatch(r"[!-~]+", value) if strict else re.fullmatch(r"[^\x00-\x1f\x7f]+", value)):
        raise ValueError(f"{name} has a line break or another character that cannot be in it: set it again without")


def _check_endpoint(name: str, value: str) -> None:
    try:
        if not ENDPOINT.fullmatch(value):
            raise ValueError
        from_url(value, client_options={"allow_http": True})
    except (BaseError, ValueError):
        example = "https://host or http://host:port, without a password"
        raise ValueError(f"{name} must be an address such as {example}") from None


def _profile(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what a profile of the AWS tools sets."""
    name, home = environment.get("AWS_PROFILE", "default"), user_home() / ".aws"
    section = name if name == "default" else f"profile {name}"
    config = Path(environment.get("AWS_CONFIG_FILE", home / "config"))
    credentials = Path(environment.get("AWS_SHARED_CREDENTIALS_FILE", home / "credentials"))
    settings = {**_section(config, section), **_section(credentials, name)}
    if "AWS_PROFILE" in environment and not settings:
        raise ValueError(f"AWS_PROFILE names the profile {name}, which is in neither {config} nor {credentials}")
    unsupported = sorted(key for key in settings if key.startswith(UNSUPPORTED))
    decides = "AWS_PROFILE" in environment or not environment.keys() & _ROLES
    if unsupported and decides and ("role_arn" in unsupported or "aws_access_key_id" not in settings):
        cure = f"run `aws configure export-credentials --format env --profile {name}` and set what it prints"
        raise ValueError(f"the AWS profile {name} has {unsupported[0]}, which is not supported: {cure}")
    found = {option: settings[key] for key, option in _OPTIONS.items() if settings.get(key)}
    for option, value in found.items():
        _check_text(f"{option} of the AWS profile {name}", value, strict=True)
    if settings.get("endpoint_url"):
        found["endpoint"] = settings["endpoint_url"]
        _check_endpoint(f"endpoint_url of the AWS profile {name}", found["endpoint"])
    return found


def _section(path: Path, section: str) -> dict[str, str]:
    """Return a section of a file of the AWS tools. An error holds the number of the line and nothing of its content."""
    files = configparser.RawConfigParser()
    try:
        files.read_string(path.read_text("utf-8-sig"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ValueError(f"{path}, line {line}: is not UTF-8") from None
    except configparser.Error as error:
        number = vars(error).get("lineno") or vars(error)["errors"][0][0]
        repeated = isinstance(error, configparser.DuplicateSectionError | configparser.DuplicateOptionError)
        kind = "a section or a name comes twice" if repeated else "neither [section] nor name = value"
        raise ValueError(f"{path}, line {number}: {kind}") from None
    return dict(files[section]) if files.has_section(section) else {}


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
        nowhere = "no key in AWS_ACCESS_KEY_ID or in the AWS profile, and no role of this machine"
        return StorageError(f"no credentials were found: {nowhere}")
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
