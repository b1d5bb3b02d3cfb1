"""Identifiers and credentials that have a form or a context."""

from importlib import resources
from pathlib import Path

import pytest
from training.phi.evasion import cases

from tests.unit.engines.phi.conftest import Found
from triptych.engines.phi.datasets import read
from triptych.engines.phi.normalise import plain
from triptych.engines.phi.rules import RANK_NAME, RANK_RULE, Candidate, Rules, resolve

VALUES = [
    ("His SSN is 123-45-6789.", "US_SSN", "123-45-6789"),
    ("social security number ending in 6789", "US_SSN", "6789"),
    ("ssn 000-00-0000", "US_SSN", "000-00-0000"),
    ("call (415) 555-1234 ext. 12 today", "PHONE_NUMBER", "(415) 555-1234 ext. 12"),
    ("ring +44 20 7946 0958", "PHONE_NUMBER", "+44 20 7946 0958"),
    ("tel. 06 12 34 56 78", "PHONE_NUMBER", "06 12 34 56 78"),
    ("Fax: 555-010-9999", "FAX_NUMBER", "555-010-9999"),
    ("write jane.doe+x@example.co.uk", "EMAIL_ADDRESS", "jane.doe+x@example.co.uk"),
    ("write jane at example dot com", "EMAIL_ADDRESS", "jane at example dot com"),
    ("write jane (at) example (dot) org", "EMAIL_ADDRESS", "jane (at) example (dot) org"),
    ("see https://portal.example.com/p?id=7", "URL", "https://portal.example.com/p?id=7"),
    ("from 10.20.30.40", "IP_ADDRESS", "10.20.30.40"),
    ("from 2001:db8::8a2e:370:7334", "IP_ADDRESS", "2001:db8::8a2e:370:7334"),
    ("mac 00:1B:44:11:3A:B7", "MAC_ADDRESS", "00:1B:44:11:3A:B7"),
    ("MRN: 00482913", "MRN", "00482913"),
    ("Medical Record Number is AB-77-1234", "MRN", "AB-77-1234"),
    ("member ID XQJ 445566778", "HEALTH_PLAN_ID", "XQJ 445566778"),
    ("MBI 1EG4-TE5-MK73", "HEALTH_PLAN_ID", "1EG4-TE5-MK73"),
    ("account number 55512345", "ACCOUNT_NUMBER", "55512345"),
    ("IBAN GB29 NWBK 6016 1331 9268 19", "IBAN_CODE", "GB29 NWBK 6016 1331 9268 19"),
    ("card 4111 1111 1111 1111", "CREDIT_CARD", "4111 1111 1111 1111"),
    ("driver's license D1234567", "US_DRIVER_LICENSE", "D1234567"),
    ("medical license number MD-98765", "MEDICAL_LICENSE", "MD-98765"),
    ("NPI 1234567893", "NPI", "1234567893"),
    ("DEA AB1234563", "DEA_NUMBER", "AB1234563"),
    ("VIN 1HGCM82633A004352", "VEHICLE_ID", "1HGCM82633A004352"),
    ("license plate 7ABC123", "VEHICLE_ID", "7ABC123"),
    ("pacemaker serial number PM-883-22", "DEVICE_ID", "PM-883-22"),
    ("born on 03/04/1962", "DATE_TIME", "03/04/1962"),
    ("on March 3rd, 2021 she", "DATE_TIME", "March 3rd, 2021"),
    ("the 5th of May", "DATE_TIME", "5th of May"),
    ("am 15. März 2023", "DATE_TIME", "15. März 2023"),
    ("since 2023-05-06T10:11:12Z", "DATE_TIME", "2023-05-06T10:11:12Z"),
    ("a 92-year-old woman", "AGE", "92-year-old"),
    ("aged 101, lives", "AGE", "101"),
    ("She is aged 97.", "AGE", "97"),
    ('{"name":"x","age":97}', "AGE", "97"),
    ('"age": "97"', "AGE", "97"),
    ("patient_age=95, sex=F", "AGE", "95"),
    ('{"ageInYears": 103}', "AGE", "103"),
    ("Age/Sex: 97/F", "AGE", "97"),
    ("97M with CHF", "AGE", "97"),
    ("91F s/p fall", "AGE", "91"),
    ("lives at 12 Oak Street, Apt 4", "LOCATION", "12 Oak Street, Apt 4"),
    ("to P.O. Box 1234", "LOCATION", "P.O. Box 1234"),
    ("Hauptstraße 12", "LOCATION", "Hauptstraße 12"),
    ("12 rue de la Paix", "LOCATION", "12 rue de la Paix"),
    ("Austin, TX 78701", "US_ZIP", "78701"),
    ("London SW1A 1AA", "LOCATION", "SW1A 1AA"),
    ("seen by Dr. A. Barnes", "PERSON", "Dr. A. Barnes"),
    ("password: hunter", "PASSWORD", "hunter"),
    ("my password is Tr0ub4dor&3", "PASSWORD", "Tr0ub4dor&3"),
    ("key AKIAIOSFODNN7EXAMPLE", "API_KEY", "AKIAIOSFODNN7EXAMPLE"),
    ("ghp_0123456789abcdefghijABCDEFGHIJ012345", "API_KEY", "ghp_0123456789abcdefghijABCDEFGHIJ012345"),
    ("postgres://app:s3cret@db/prod", "CONNECTION_STRING", "postgres://app:s3cret@db/prod"),
    ("Authorization: Bearer abcdef0123456789abcdef", "ACCESS_TOKEN", "abcdef0123456789abcdef"),
    (
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln",
        "ACCESS_TOKEN",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln",
    ),
]


@pytest.mark.parametrize(("text", "type", "value"), VALUES)
def test_a_value_is_found_and_nothing_beside_it(by_rules: Found, text: str, type: str, value: str) -> None:
    assert (type, value) in by_rules(text)


@pytest.mark.parametrize(
    "text",
    [
        "A 34-year-old man took 500 mg twice daily for 2 weeks in 2020.",
        "BP 120/80, HR 72, HbA1c 7.5%, pain 7/10.",
        "Compare ICD-10 E11.9 with trial NCT01234567 and PMID 12345678.",
        "The password is required to continue.",
        "What changed between version 1.2.10 and 1.3?",
        "Give 1,000,000 units over 90 minutes.",
        "Cache-Control: max-age=120; page: 97; percentage = 95; min_age: 95; temperature 97 F, 95F at noon.",
    ],
)
def test_quantities_durations_and_public_codes_are_left(by_rules: Found, text: str) -> None:
    assert by_rules(text) == []


def test_no_pattern_that_matches_is_left_out(rules: Rules, monkeypatch: pytest.MonkeyPatch) -> None:
    """What any match of a pattern is said to hold is in the texts of this file, of the sample and in disguises."""
    sample = Path(str(resources.files("triptych.engines.phi"))) / "weights" / "sample.jsonl"
    texts = [text for text, _, _ in VALUES] + [example.text for example in read(sample)]
    texts += [text for case in cases() for text in case.texts]
    texts = [plain(spelled).text for text in texts for spelled in (text, text.upper(), text.lower())]
    found = [rules.find(text) for text in texts]
    left_out = sum(rules.possible(text).bit_count() for text in texts)
    monkeypatch.setattr(rules, "possible", lambda text: (1 << len(rules.patterns)) - 1)
    assert found == [rules.find(text) for text in texts]
    assert left_out < 0.2 * len(texts) * len(rules.patterns)


def test_all_patterns_are_tried_where_the_automaton_of_shapes_gives_up(
    rules: Rules, monkeypatch: pytest.MonkeyPatch
) -> None:
    class GivesUp:
        def Match(self, text: bytes) -> None:  # noqa: N802 - as RE2 calls it
            return None

    monkeypatch.setattr(rules, "_shapes", GivesUp())
    assert rules.possible("").bit_count() == len(rules.patterns)
    assert "US_SSN" in {one.type for one in rules.find("123-45-6789")}


def test_a_check_digit_makes_surer_and_its_absence_drops_nothing(rules: Rules) -> None:
    valid = max(found.score for found in rules.find("4111 1111 1111 1111"))
    invalid = max(found.score for found in rules.find("4111 1111 1111 1112"))
    assert valid > invalid > 0.5


def test_a_private_key_is_one_finding(by_rules: Found) -> None:
    body = "\n".join(["MIIEowIBAAKCAQEA0Z3VS5JJcds3xfn/ygWyF0qk" + "A" * 24] * 4)
    key = f"-----BEGIN RSA PRIVATE KEY-----\n{body}\n-----END RSA PRIVATE KEY-----"
    assert by_rules(f"see {key} thanks") == [("PRIVATE_KEY", key)]


def test_words_between_two_numbers_are_no_telephone_number() -> None:
    text = "997-63-1663, card 4111-1111"
    number = [
        Candidate(0, 11, "US_SSN", 0.9, "a", RANK_RULE),
        Candidate(18, 27, "CREDIT_CARD", 0.9, "b", RANK_RULE),
    ]
    marked = Candidate(0, 27, "PHONE_NUMBER", 0.9, "tagger", RANK_NAME)
    assert [one.type for one in resolve([*number, marked], text)] == ["US_SSN", "CREDIT_CARD"]
    left = resolve([number[0], marked], text)[1]
    assert text[left.start : left.end] == "card 4111-1111"
