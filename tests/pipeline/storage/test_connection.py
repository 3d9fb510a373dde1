"""Settings of object storage: what is wrong is said in one sentence that holds nothing of a secret."""

import os
import random
import traceback
from pathlib import Path

import pytest
from object_storage import KEY, SECRET

from seqviews.pipeline.storage.connection import connect
from seqviews.pipeline.storage.folder import Timeouts
from seqviews.pipeline.storage.urls import open_folder

PAIR = f"aws_access_key_id = {KEY}\naws_secret_access_key = {SECRET}\n"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the AWS tools, and no variable of theirs."""
    for name in os.environ:
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".aws").mkdir()
    return tmp_path / ".aws"


def failure(url: str = "s3://data/x") -> str:
    """The message of the error that opening a URL raises; nothing that is shown of it holds the secret or the key."""
    with pytest.raises(ValueError, match=r".+") as caught:
        open_folder(url)
    shown = "".join(traceback.format_exception(caught.value))
    assert not [part for part in (SECRET, KEY, SECRET.lower(), KEY.lower()) if part in shown]
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (f"[default]\n{PAIR}{SECRET}\n".encode(), "line 4: neither [section] nor name = value"),
        (f"[default]\n{SECRET}\n".encode(), "line 2: neither [section] nor"),
        (PAIR.encode(), "line 1: neither [section] nor"),
        (f"[default\n{PAIR}".encode(), "line 1: neither [section] nor"),
        (f"[default]\n{PAIR}\n[default]\n{PAIR}".encode(), "line 5: a section or a name comes twice"),
        (f"[default]\n{KEY} = {SECRET}\n{KEY} = {SECRET}\n".encode(), "line 3: a section or a name comes twice"),
        (f"[default]\n{PAIR}".encode("utf-16"), "line 1: is not UTF-8"),
        (f"[default]\n{PAIR}#".encode() + b"\xff", "line 4: is not UTF-8"),
    ],
)
@pytest.mark.parametrize("name", ["credentials", "config"])
def test_a_malformed_file_is_named_with_the_line_and_without_its_content(
    home: Path, content: bytes, line: str, name: str
) -> None:
    (home / name).write_bytes(content)
    assert f"{home / name}, {line}" in failure()


def test_a_byte_order_mark_is_no_fault(home: Path) -> None:
    (home / "credentials").write_text(f"\ufeff[default]\n{PAIR}", "utf-8")
    assert connect("s3://data", Timeouts()).config["access_key_id"] == KEY


def test_files_with_random_faults(home: Path) -> None:
    whole, number, failures = f"[default]\n{PAIR}region = x\n\n[b]\n{PAIR}", random.Random(0), 0
    parts = [SECRET, f"{SECRET}\n", "\n", "[", "]", "=", ":", " ", "\x00", "\r", "#", "[default]\n", f"  {SECRET}\n"]
    for _ in range(100):
        text = whole
        for _ in range(3):
            at = number.randrange(len(text))
            text = text[:at] + number.choice(parts) + text[at + number.choice([0, 1, 5]) :]
        (home / "credentials").write_text(text, newline="")
        try:
            open_folder("s3://data/x")
        except ValueError:
            failures += 1
            failure()
    assert failures > 20


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"AWS_ACCESS_KEY_ID": KEY}, "AWS_ACCESS_KEY_ID is set without AWS_SECRET_ACCESS_KEY"),
        ({"AWS_SECRET_ACCESS_KEY": SECRET}, "AWS_SECRET_ACCESS_KEY is set without AWS_ACCESS_KEY_ID"),
        *(
            ({"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, name: value + end}, f"{name} has a line break")
            for end in ("\n", "\r\n")
            for name, value in (
                ("AWS_ACCESS_KEY_ID", KEY),
                ("AWS_SECRET_ACCESS_KEY", SECRET),
                ("AWS_SESSION_TOKEN", SECRET),
                ("AWS_REGION", "eu-west-1"),
                ("AWS_S3_EXPRESS", SECRET),
            )
        ),
        ({"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_S3_EXPRESS": SECRET}, "variables AWS_* has"),
        *(
            ({name: value}, f"{name} must be an address such as https://host")
            for name, values in (
                (
                    "AWS_ENDPOINT_URL",
                    ["", "localhost:9000", "http://", "http://host:99999", f"http://{KEY}:{SECRET}@h"],
                ),
                ("AWS_ENDPOINT", ["s3://host", "https://host?x=1", "https://999.1.1.1", "http://[::1", "host"]),
            )
            for value in values
        ),
    ],
)
def test_a_wrong_variable(home: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], message: str) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    assert message in failure()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        *(
            (f"[profile x]\n{line}\n", "`aws configure export-credentials --format env --profile x` and set what")
            for line in (
                "sso_session = corp",
                f"sso_start_url = https://x/{SECRET}",
                f"credential_process = /bin/echo {SECRET}",
                "role_arn = arn:aws:iam::1:role/r\nsource_profile = default",
                f"role_arn = arn:aws:iam::1:role/r\n{PAIR}",
                "web_identity_token_file = /x",
            )
        ),
        (f"[profile x]\naws_access_key_id = {KEY}\n", "AWS_ACCESS_KEY_ID is set without AWS_SECRET_ACCESS_KEY"),
        (f"[profile x]\n{PAIR}  {SECRET}\n", "secret_access_key of the AWS profile x has a line break"),
        (f"[profile x]\n{PAIR}endpoint_url = {SECRET}\n", "endpoint_url of the AWS profile x must be an address"),
        (f"[profile y]\n{PAIR}", "AWS_PROFILE names the profile x, which is in neither"),
    ],
)
def test_a_profile_that_cannot_be_used(home: Path, monkeypatch: pytest.MonkeyPatch, config: str, message: str) -> None:
    monkeypatch.setenv("AWS_PROFILE", "x")
    (home / "config").write_text(config)
    assert message in failure()


def test_keys_in_the_environment_come_before_a_profile(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "config").write_text("[default]\nsso_session = corp\n")
    assert "sso_session" in failure()
    monkeypatch.setenv("AWS_SKIP_SIGNATURE", "true")
    open_folder("s3://data/x")
    monkeypatch.delenv("AWS_SKIP_SIGNATURE")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    open_folder("s3://data/x")
