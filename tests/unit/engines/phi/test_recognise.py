"""The recogniser as a request meets it: several texts, any text, long texts."""

import base64
import json
import random
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from triptych.core.finding import Finding
from triptych.engines.phi.cache import CachedRecogniser
from triptych.engines.phi.filters import CompiledFilters
from triptych.engines.phi.inspect import Asked, inspect
from triptych.engines.phi.recognise import Recogniser
from triptych.engines.phi.rules import RANK_RULE, Candidate, resolve

PATIENT = "Margaret Thornton (MRN 00482913), seen by Dr. Adeyemi at Lakeside Medical Center on March 3, 2021."


def values(text: str, findings: list[Finding]) -> list[str]:
    return [text[found.start : found.end] for found in findings]


@given(st.lists(st.text(max_size=80), max_size=4))
@settings(max_examples=150, deadline=None)
def test_findings_of_any_text_are_sorted_apart_and_inside_it(
    recogniser: Recogniser, texts: list[str]
) -> None:
    found = recogniser.scan(texts)
    assert len(found) == len(texts)
    for text, findings in zip(texts, found, strict=True):
        last = 0
        for finding in findings:
            assert last <= finding.start < finding.end <= len(text)
            assert 0 < finding.score <= 1 and finding.type.isupper() and finding.recogniser
            last = finding.end


def test_no_texts_and_empty_texts_have_no_findings(recogniser: Recogniser) -> None:
    assert recogniser.scan([]) == []
    assert recogniser.scan(["", " \n"]) == [[], []]


def test_a_sentence_about_a_patient_loses_all_that_identifies(recogniser: Recogniser) -> None:
    (found,) = recogniser.scan([PATIENT])
    assert {(one.type, value) for one, value in zip(found, values(PATIENT, found), strict=True)} == {
        ("PERSON", "Margaret Thornton"),
        ("MRN", "00482913"),
        ("PERSON", "Dr. Adeyemi"),
        ("LOCATION", "Lakeside Medical Center"),
        ("DATE_TIME", "March 3, 2021"),
    }


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Blood cultures of Xin He grew nothing.", "Xin He"),
        ("We gave Takeshi Park, who waited, a bed.", "Takeshi Park"),
    ],
)
def test_a_surname_that_is_a_usual_word_is_part_of_the_name(
    recogniser: Recogniser, text: str, name: str
) -> None:
    assert name in values(text, recogniser.scan([text])[0])


def test_offsets_count_code_points_of_the_text_as_it_was_given(recogniser: Recogniser) -> None:
    text = "👩🏽‍⚕️ ﬁle: " + PATIENT.replace("00482913", "０0482\u200b913")
    (found,) = recogniser.scan([text])
    assert "０0482\u200b913" in values(text, found)
    assert "Margaret Thornton" in values(text, found)


def test_a_name_found_in_one_text_is_found_in_all(recogniser: Recogniser) -> None:
    texts = ["Dr. Qwxzelby, MRN 48-291", "x = 48-291 + 1", "y = qwxzelby * 3", "qwxzelbyton_4 = 4"]
    found = recogniser.scan(texts)
    assert ("MRN", "consistency") in {(one.type, one.recogniser) for one in found[1]}
    assert values(texts[1], found[1]) == ["48-291"]
    assert "qwxzelby" in values(texts[2], found[2])
    assert "qwxzelby" not in values(texts[3], found[3])


def test_what_a_text_holds_does_not_depend_on_its_neighbours(recogniser: Recogniser) -> None:
    texts = ["The dose of metformin is 500 mg.", "What is the half-life of losartan?", "x = 1"]
    alone = [recogniser.scan([text])[0] for text in texts]
    assert recogniser.scan(texts) == alone


def test_a_number_that_two_texts_share_is_found_in_both(recogniser: Recogniser) -> None:
    left, right = "my ssn is 123-45-", "6789 thanks"
    one, two = recogniser.scan([left, right])
    assert "123-45-" in "".join(values(left, one)) + "-"
    assert "6789" in values(right, two)


def test_an_identifier_in_base64_is_found_as_a_whole(recogniser: Recogniser) -> None:
    text = "note c3NuIGlzIDEyMy00NS02Nzg5 end"
    (found,) = recogniser.scan([text])
    assert values(text, found) == ["c3NuIGlzIDEyMy00NS02Nzg5"]


@pytest.mark.parametrize(
    "text",
    [
        "Compare losartan and valsartan for a 64-year-old with hypertension.",
        "How is the Babinski sign elicited?",
        "Gleason score 7 prostate cancer: next step?",
        "Explain the Wells criteria for pulmonary embolism.",
        "Start Humira after two weeks of prednisone 20 mg daily.",
        "Crohn's disease in adults",
    ],
)
def test_drugs_eponyms_and_scores_are_left(recogniser: Recogniser, text: str) -> None:
    assert recogniser.scan([text]) == [[]]


def test_an_org_filter_wins_over_everything(recogniser: Recogniser) -> None:
    filters = CompiledFilters.compile(
        [{"name": "codename", "kind": "phrase", "pattern": "margaret thornton"}]
    )
    (found,) = recogniser.scan([PATIENT], filters)
    assert (found[0].type, found[0].recogniser) == ("CUSTOM", "filter:codename")


def test_a_long_text_is_found_in_as_its_parts_are(recogniser: Recogniser) -> None:
    filler = "The weather is fine and the road is long. "
    text = (filler * 60 + PATIENT + " ") * 8
    (found,) = recogniser.scan([text])
    assert values(text, found).count("Margaret Thornton") == 8


def test_threads_find_the_same(recogniser: Recogniser) -> None:
    texts = [f"{PATIENT} {number} Oak Street, call 415-555-{number:04}" for number in range(40)]
    expected = [recogniser.scan([text]) for text in texts]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda text: recogniser.scan([text]), texts)) == expected


@pytest.mark.parametrize(
    "piece",
    [
        "a",
        "0",
        "1-",
        "a@",
        "A ",
        ".",
        "x.y",
        "mrn ",
        "Dr. ",
        "1 ",
        "\u200b",
        "é",
        "AAAA",
        "=a;",
        "-----BEGIN ",
        "may 1 ",
        "password ",
        "(0",
        "http://",
        "\\u0031",
        "\n",
        " ",
        "e\u0301\u0316",
        "\u0301\u0316",
        "\u0430a",
        "[[{{((",
        "[PERSON_1] ",
        "QUJD1",
        "key aB3dE6gH9jK2 ",
        "1.1.",
        "Dr. A ",
        "Aa-",
        "MRN 4829137 ",
        "MY NAME IS ALLEN. ",
        "&#49;",
        "&lt",
        "%20Ann",
        "a%20 ",
        "\x1b[1ma",
        "1_2_34_",
        "1\\-",
    ],
)
def test_a_hostile_text_takes_linear_time(recogniser: Recogniser, piece: str) -> None:
    """Twice the text, about twice the time; a quadratic step takes four times."""

    def cpu_s(size: int) -> float:
        text = piece * (size // len(piece))
        began = time.process_time()
        recogniser.scan([text])
        return time.process_time() - began

    # The least of several: what a pattern's automaton costs the first time is not the text's length.
    small = min(cpu_s(20_000) for _ in range(2))
    large = min(cpu_s(80_000) for _ in range(2))
    assert large < 9 * small + 0.05


@pytest.mark.parametrize("letters", ["0123456789 -.", "0123456789abcdef:", "ABCDE abcde", "aA1 .,-/@:#()\n"])
def test_noise_takes_linear_time(recogniser: Recogniser, letters: str) -> None:
    """No two stretches are the same, so that nothing an automaton kept of one helps with another."""
    drawn = "".join(random.Random(7).choices(letters, k=160_000))

    def cpu_s(text: str) -> float:
        began = time.process_time()
        recogniser.scan([text])
        return time.process_time() - began

    small = min(cpu_s(drawn[:40_000]) for _ in range(2))
    assert cpu_s(drawn) < 9 * small + 0.05


def test_what_is_found_does_not_depend_on_the_length_of_the_text(recogniser: Recogniser) -> None:
    """Longer texts are read by pieces, and all patterns are tried on them."""
    filler = "The weather is fine and the road is long. " * 400
    (short,) = recogniser.scan([PATIENT])
    long = filler + PATIENT + " " + filler + PATIENT
    (found,) = recogniser.scan([filler * 3 + long])
    assert values(filler * 3 + long, found) == 2 * values(PATIENT, short)


class TestCache:
    def test_a_text_is_looked_at_once(self, recogniser: Recogniser, monkeypatch: pytest.MonkeyPatch) -> None:
        looked: list[str] = []
        candidates = recogniser.candidates

        def spy(texts, spelled, filters):  # type: ignore[no-untyped-def]
            looked.extend(texts)
            return candidates(texts, spelled, filters)

        monkeypatch.setattr(recogniser, "candidates", spy)
        cached = CachedRecogniser(recogniser)
        first = cached.scan([PATIENT, "Hello"], org="a")
        again = cached.scan([PATIENT, "Hello", "More"], org="a")
        assert again[:2] == first == recogniser.scan([PATIENT, "Hello"])
        assert looked[:3] == [PATIENT, "Hello", "More"]

    def test_orgs_and_filters_have_entries_of_their_own(
        self, recogniser: Recogniser, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        looked: list[str] = []
        candidates = recogniser.candidates

        def spy(texts, spelled, filters):  # type: ignore[no-untyped-def]
            looked.extend(texts)
            return candidates(texts, spelled, filters)

        monkeypatch.setattr(recogniser, "candidates", spy)
        cached = CachedRecogniser(recogniser)
        filters = CompiledFilters.compile([{"name": "h", "kind": "literal", "pattern": "Hello"}])
        assert cached.scan(["Hello"], org="a") == [[]]
        assert cached.scan(["Hello"], org="b") == [[]]
        assert [one.type for one in cached.scan(["Hello"], filters, org="a")[0]] == ["CUSTOM"]
        assert len(looked) == 3

    def test_it_is_bounded_and_holds_no_text(self, recogniser: Recogniser) -> None:
        cached = CachedRecogniser(recogniser, max_bytes=4_000)
        rng = random.Random(3)
        for number in range(60):
            cached.scan([f"Patient {rng.random()} SSN 123-45-{number:04}"], org="a")
        assert len(cached._entries) <= 20
        assert "123-45" not in repr(cached._entries)


@pytest.mark.parametrize(
    "text",
    [
        "Synthetic record gravel-stirrup-trowel-gutter-tarpaulin: card 4111-1111-1111-1111",
        "see branch fix-grommet-pliers-crowbar-conduit and service gutter_nozzle_spindle_relay",
    ],
)
def test_words_joined_to_a_slug_are_no_names(recogniser: Recogniser, text: str) -> None:
    found = values(text, recogniser.scan([text])[0])
    assert [value for value in found if any(map(str.isalpha, value))] == []


def test_a_name_in_a_slug_is_found_all_the_same(recogniser: Recogniser) -> None:
    text = "the file is discharge-summary-margaret-thornton-final for Margaret Thornton"
    covered = " ".join(values(text, recogniser.scan([text])[0]))
    assert covered.count("argaret") == 2 and covered.count("hornton") == 2


def test_values_of_several_words_and_in_brackets_are_found_again(recogniser: Recogniser) -> None:
    texts = [
        "Patient John O'Malley-Quist, MRN AB-99 4411, phone (555) 201-3344",
        "(555) 201-3344 O'Malley-Quist",
    ]
    again = values(texts[1], recogniser.scan(texts)[1])
    assert again[0] == "(555) 201-3344"
    assert "Quist" in "".join(again)


def test_a_value_that_begins_as_a_longer_one_does_is_found_at_the_end_of_a_text(
    recogniser: Recogniser,
) -> None:
    texts = ["MRN 4829137-22, MRN 4829137-2", "and 4829137-2"]
    _, found = recogniser.scan(texts)
    assert [(one.start, one.end) for one in found] == [(4, 13)]


def test_candidates_that_chain_are_weighed_together() -> None:
    """Each overlaps the next one only; all that was under some of them still is."""
    text = "0123456789" * 3
    chain = [
        Candidate(0, 12, "UNIQUE_ID", 0.5, "a", RANK_RULE),
        Candidate(10, 20, "PHONE_NUMBER", 0.5, "b", RANK_RULE),
        Candidate(18, 26, "US_SSN", 0.5, "c", RANK_RULE + 1),
        Candidate(27, 30, "AGE", 0.5, "d", RANK_RULE),
    ]
    spans = [(one.start, one.end, one.recogniser) for one in resolve(chain, text)]
    assert spans == [(0, 12, "a"), (12, 18, "b"), (18, 26, "c"), (27, 30, "d")]


def test_e_g_is_nobody_s_initials(recogniser: Recogniser) -> None:
    text = "Ask for a panel, e.g. CBC, i.e. a count; e.g. Margaret Thornton had one."
    (found,) = recogniser.scan([text])
    assert values(text, found) == ["Margaret Thornton"]


@pytest.mark.parametrize("key", ["age", "patient_age", "PatientAge"])
def test_an_age_over_89_is_found_where_arguments_write_it_as_a_number(
    recogniser: Recogniser, key: str
) -> None:
    arguments = {key: 93, "pages": 93, "n": 12, "ages": [41, 102]}
    use = {"type": "tool_use", "id": "toolu_1", "name": "look", "input": arguments}
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": json.dumps(arguments)}}
    for wire, turn in (
        ("anthropic-messages", {"role": "assistant", "content": [use]}),
        ("openai-chat", {"role": "assistant", "tool_calls": [call]}),
    ):
        body = json.dumps({"model": "m", "messages": [turn]}).encode()
        (told,) = json.loads(inspect(recogniser, Asked(wire, body)).body)["messages"]
        read = told["content"][0]["input"] if "content" in told else None
        read = read or json.loads(told["tool_calls"][0]["function"]["arguments"])
        assert read == {key: "[AGE_1]", "pages": 93, "n": 12, "ages": [41, "[AGE_2]"]}


def test_the_sites_that_a_search_may_visit_are_no_finding_and_what_else_stands_there_is(
    recogniser: Recogniser,
) -> None:
    def found(*domains: str) -> bool:
        search = {"type": "web_search_20250305", "name": "web_search", "allowed_domains": list(domains)}
        body = json.dumps({"model": "m", "max_tokens": 1, "messages": [], "tools": [search]}).encode()
        return inspect(recogniser, Asked("anthropic-messages", body)).tool is not None

    assert not found("wikipedia.org", "*.nih.gov", "docs.python.org/3", "https://who.int/search")
    assert found("wikipedia.org/Margaret_Thornton/123-45-6789")
    assert found("ann.lee@example.org")
    assert found("Margaret Thornton")


def test_a_note_in_the_place_of_an_address_hides_no_date_of_birth(recogniser: Recogniser) -> None:
    result = {
        "type": "search_result",
        "source": "Discharge of Margaret Thornton, born 03/14/1962",
        "title": "t",
    }
    turn = {"role": "user", "content": [{**result, "content": []}]}
    body = json.dumps({"model": "m", "max_tokens": 1, "messages": [turn]}).encode()
    told = inspect(recogniser, Asked("anthropic-messages", body)).body
    assert b"Thornton" not in told and b"03/14/1962" not in told


@pytest.mark.parametrize(
    "place", ["p?dob=03/14/1962&page=2", "p/1962/03/14", "p?dob=03%2F14%2F1962", "p#3/14/62"]
)
def test_a_date_in_an_address_is_one_whatever_its_slashes_mean_there(
    recogniser: Recogniser, place: str
) -> None:
    url = f"https://ehr.example.org/{place}"
    result = {"type": "search_result", "source": url, "title": "t", "content": []}
    body = {"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": [result]}]}
    told = inspect(recogniser, Asked("anthropic-messages", json.dumps(body).encode()))
    assert "[DATE_TIME_1]" in told.values
    said = json.loads(told.body)["messages"][0]["content"][0]["source"]
    assert said.startswith("https://ehr.example.org/p") and "62" not in said
    body["messages"] = []
    asked = Asked("anthropic-messages", json.dumps(body).encode(), query=place.partition("?")[2].encode())
    assert inspect(recogniser, asked).fixed == ("query" if "?" in place else None)


def test_a_number_is_found_in_a_field_that_nobody_knows_where_its_key_says_what_it_is(
    recogniser: Recogniser,
) -> None:
    fields = {"max_tokens": 64_000, "seed": 1_700_000_009, "limits": {"bytes": 4_111_111_111_111_111}}
    patient = {"ssn": 123_456_789, "mrn": 10_482_913, "ages": [41, 97], "visits": 12_345}
    body = json.dumps(
        {"model": "m", "messages": [], **fields, "patient": patient, "ssn": 987_654_321}
    ).encode()
    told = inspect(recogniser, Asked("anthropic-messages", body))
    assert json.loads(told.body) == {
        "model": "m",
        "messages": [],
        **fields,
        "patient": {"ssn": "[US_SSN_1]", "mrn": "[MRN_1]", "ages": [41, "[AGE_1]"], "visits": 12_345},
        "ssn": "[US_SSN_2]",
    }


@pytest.mark.parametrize(
    ("example", "found"),
    [({"ssn": 123_456_789}, True), ({"limit": 100_000, "timeout": 1_700_000_009}, False)],
)
def test_a_definition_of_a_tool_has_no_person_s_number_in_its_examples(
    recogniser: Recogniser, example: dict[str, int], found: bool
) -> None:
    schema = {"type": "object", "properties": {"age": {"type": "integer", "maximum": 120}}}
    tool = {"name": "look", "description": "d", "input_schema": schema, "input_examples": [example]}
    body = json.dumps({"model": "m", "max_tokens": 1, "messages": [], "tools": [tool]}).encode()
    assert (inspect(recogniser, Asked("anthropic-messages", body)).tool is not None) is found


def test_a_signature_of_google_s_goes_back_as_it_came(recogniser: Recogniser) -> None:
    """Without it, or with a placeholder in its place, Gemini refuses the turn after a call."""
    signature = base64.b64encode(bytes(range(200, 256)) * 4).decode()
    function = {"name": "look", "arguments": '{"who": "Margaret Thornton"}'}
    google = {"google": {"thought_signature": signature}}
    call = {"id": "call_1", "type": "function", "function": function, "extra_content": google}
    turns = [
        {"role": "user", "content": "Look for Margaret Thornton"},
        {"role": "assistant", "content": None, "tool_calls": [call], "extra_content": google},
        {"role": "tool", "tool_call_id": "call_1", "content": "found"},
    ]
    told = inspect(recogniser, Asked("openai-chat", json.dumps({"model": "m", "messages": turns}).encode()))
    assert told.body.count(signature.encode()) == 2 and b"Thornton" not in told.body
    readable = {"google": {"thought_signature": "Margaret Thornton thought so"}}
    turns[1]["tool_calls"] = [{**call, "extra_content": readable}]
    body = json.dumps({"model": "m", "messages": turns}).encode()
    assert inspect(recogniser, Asked("openai-chat", body)).fixed is not None
