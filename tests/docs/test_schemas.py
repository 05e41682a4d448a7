"""The published schemas are the ones that the code has, and what the code takes and writes is valid by them."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from docs.generate import files, schemas
from streamlearn.durability.journal import encode
from streamlearn.stream.dead_letters import DeadLetter, encode_dead_letter
from streamlearn.stream.events import Prediction, encode_predictions
from streamlearn.stream.fields import Fields
from streamlearn.stream.transport import Place, Record
from tests.durability.test_journal import journal_records
from tests.targets import decoder

ROOT = Path(__file__).parent.parent.parent
VALIDATORS = {
    name.removesuffix(".schema.json"): Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)
    for name, schema in schemas().items()
}


def decoded(value):
    return decoder(Fields()).decode([Record("tickets", 0, 0, None, json.dumps(value).encode(), (), 0)])


def test_the_committed_files_are_up_to_date():
    made = {name: content for name, content in files().items() if name.startswith("schemas/")}
    committed = {f"schemas/{path.name}": path.read_bytes() for path in (ROOT / "schemas").glob("*.json")}
    assert committed == made, "run `python -m docs.generate`"


@pytest.mark.parametrize("name", VALIDATORS)
def test_a_schema_is_valid_and_so_are_its_examples(name):
    schema = VALIDATORS[name].schema
    Draft202012Validator.check_schema(schema)
    assert schema["description"]
    for example in schema.get("examples", []):
        VALIDATORS[name].validate(example)
    assert name == "journal" or schema["examples"]


@pytest.mark.parametrize("value", schemas()["event.schema.json"]["examples"])
def test_the_decoder_takes_the_examples(value):
    assert decoded(value).events


parts = st.fixed_dictionaries(
    {},
    optional={
        "id": st.sampled_from(["e1", "", "x" * 257, 5, 1.5, True, None, []]),
        "text": st.sampled_from(["a", "", " ", 5, None]),
        "label": st.sampled_from(["a", "", " ", 5, 1.5, False, None, {}]),
        "time": st.sampled_from(["2026-01-01T00:00:00Z", 5, 5.5, True, None, []]),
        "slices": st.sampled_from([{"a": "b"}, {"a": 5, "b": None}, {"a": []}, {"": 1}, {"x" * 65: 1}, 5, None])
        | st.integers(7, 9).map(lambda n: {str(i): True for i in range(n)}),
        "other": st.just(1),
    },
)


@given(parts)
def test_the_decoder_takes_what_the_schema_takes(value):
    assert VALIDATORS["event"].is_valid(value) == bool(decoded(value).events)


predictions = st.builds(
    Prediction,
    id=st.text(min_size=1),
    label=st.none() | st.text(),
    score=st.none() | st.floats(0, 1),
    said=st.fixed_dictionaries(
        {
            "label": st.none() | st.text(),
            "score": st.none() | st.floats(0, 1),
            "top": st.lists(st.fixed_dictionaries({"label": st.text(), "score": st.floats(0, 1)}), max_size=3),
        }
    ),
    abstained=st.booleans(),
    reason=st.sampled_from([None, "no-known-label", "low-score"]),
    novelty=st.none() | st.floats(0, 1),
    novel=st.booleans(),
    model_step=st.integers(0, 2**53),
    champion_step=st.integers(0, 2**53),
    source=st.builds(Place, st.text(), st.integers(0, 100), st.integers(0, 2**63 - 1)),
)


@given(st.lists(predictions, max_size=3), st.floats(0, 4e9))
def test_predictions_are_valid(batch, now):
    for message in encode_predictions(batch, now):
        VALIDATORS["prediction"].validate(json.loads(message.value or b""))


@pytest.mark.parametrize("size", [10, 10_000])
def test_headers_of_dead_letters_are_valid(size):
    dead = DeadLetter(Record("tickets", 0, 41, None, bytes(size), (), 0), "encoding", "a zero byte")
    headers = {name: (content or b"").decode() for name, content in encode_dead_letter(dead, 1_000).headers}
    VALIDATORS["dead-letter"].validate(headers)
    assert ("streamlearn.truncated" in headers) == (size > 1_000)


@given(journal_records)
def test_journal_records_are_valid(record):
    VALIDATORS["journal"].validate(json.loads(encode(record)))
