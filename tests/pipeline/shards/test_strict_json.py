"""Untrusted JSON: bounded objects are parsed as json parses them, anything else is rejected with a reason."""

import json

import pytest

from seqviews.pipeline.shards.strict_json import MAX_DEPTH, MAX_VALUES, parse_object


@pytest.mark.parametrize(
    "text",
    [
        '{"a": [1, -2.5e3, true, null, "\\u00e9"], "b": {"a": 9223372036854775807}}',
        '{"a":' * (MAX_DEPTH - 1) + "[]" + "}" * (MAX_DEPTH - 1),
        '{"a": [' + "0," * (MAX_VALUES - 2) + "0]}",
        "{}",
        ' \t\r\n{"a": 1} \n',
    ],
)
def test_ordinary_objects(text: str) -> None:
    assert parse_object(text) == json.loads(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not JSON"),
        ("[]", "not a JSON object"),
        ("3", "not a JSON object"),
        ('{"a": 1} {}', "something follows the value at character 8"),
        ('\xa0{"a": 1}', "not JSON"),
        ('{"a": NaN}', "NaN is not a number"),
        ('{"a": -Infinity}', "-Infinity is not a number"),
        ('{"a": 1e999}', "too large for a float"),
        ('{"a": 9223372036854775808}', "64 bits"),
        ('{"a": [-' + "9" * 4000 + "]}", "64 bits"),
        ('{"a": ' + "9" * 5000 + "}", "not JSON: Exceeds the limit"),
        ('{"a": {"b": 1, "b": 1}}', "the key 'b' is repeated"),
        ('{"a":' * MAX_DEPTH + "[]" + "}" * MAX_DEPTH, "at most 32 levels"),
        ("[" * 100_000, "not JSON"),
        ('{"a": [' + "0," * MAX_VALUES + "0]}", "more than 200000 values"),
    ],
)
def test_rejected_text(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_object(text)
