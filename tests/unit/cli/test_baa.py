"""``triptych baa`` as a person runs it."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.unit.cli.conftest import Run as Plain


class Done(NamedTuple):
    code: int
    out: str
    err: str


Run = Callable[..., Done]

CLINIC = """
[[providers]]
name = "sandbox"
kind = "sandbox"
[[orgs]]
slug = "clinic"
compliance = "hipaa"
[[orgs]]
slug = "shop"
"""
WHO = ("--name", "Ana Łucja", "--title", "CEO", "--email", "ana@example.org")


@pytest.fixture(name="run")
def run_named(run: Plain) -> Run:
    return lambda *arguments: Done(*run(*arguments))


@pytest.fixture
def config(run: Run) -> str:
    Path("t.toml").write_text(CLINIC, encoding="utf-8")
    assert run("apply", "t.toml").code == 0
    return "t.toml"


def test_an_agreement_is_signed_shown_printed_and_ended(run: Run, config: str) -> None:
    signed = run("baa", "sign", "-c", config, "--org", "clinic", *WHO, "--expires", "365d")
    assert signed.code == 0, signed.err
    identity = signed.out.split(":")[0]
    assert re.fullmatch("baa_[0-9A-HJKMNP-TV-Z]{26}", identity)
    states = run("baa", "status", "-c", config).out
    assert re.search(rf"clinic +yes +active +{identity} +\d{{4}}-", states)
    assert re.search(r"shop +no +none +- +-", states)
    listed = run("baa", "list", "-c", config, "--org", "clinic").out
    assert "Ana Łucja (CEO) <ana@example.org>" in listed
    assert identity not in run("baa", "list", "-c", config, "--org", "shop").out
    pypdf = pytest.importorskip("pypdf")
    assert run("baa", "pdf", identity, "signed.pdf", "-c", config).code == 0
    reader = pypdf.PdfReader("signed.pdf")
    text = "".join(page.extract_text() for page in reader.pages)
    assert identity in text
    assert "BUSINESS ASSOCIATE AGREEMENT" in text
    assert "Ana Łucja" in reader.attachments["acceptance.json"][0].decode()
    assert f"{identity} ends at" in run("baa", "expire", "-c", config, "--org", "clinic").out
    assert "expired" in run("baa", "status", "-c", config).out
    assert "no acceptance" in run("baa", "expire", "-c", config, "--org", "clinic").err


def test_a_printed_name_has_its_letters_or_their_numbers(run: Run, config: str) -> None:
    pypdf = pytest.importorskip("pypdf")
    who = ("--name", "Łucja 李明", "--title", "CEO", "--email", "li@example.org")
    identity = run("baa", "sign", "-c", config, "--org", "clinic", *who).out.split(":")[0]
    assert run("baa", "pdf", identity, "signed.pdf", "-c", config) == (0, "Wrote signed.pdf.\n", "")
    text = pypdf.PdfReader("signed.pdf").pages[0].extract_text()
    assert "<U+674E><U+660E>" in text
    assert "ucja" in text


def test_templates_are_listed_shown_and_added(run: Run, config: str) -> None:
    assert "2026-11-29" in run("baa", "templates", "-c", config).out
    assert "BUSINESS ASSOCIATE AGREEMENT" in run("baa", "templates", "show", "2026-11-29", "-c", config).out
    Path("ours.txt").write_text("Our own agreement.\n", encoding="utf-8")
    assert run("baa", "templates", "add", "ours.txt", "--version", "ours-1", "-c", config).code == 0
    listed = run("baa", "templates", "-c", config).out
    assert re.search(r"2026-11-29 +[0-9a-f]{64} +superseded", listed)
    assert re.search(r"ours-1 +[0-9a-f]{64} +to sign", listed)
    refused = run("baa", "sign", "-c", config, "--org", "clinic", *WHO, "--template", "2026-11-29")
    assert (refused.code, "superseded: sign ours-1" in refused.err) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("sign", *WHO), "say which: there are clinic, shop"),
        (("sign", "--org", "nobody", *WHO), 'no org "nobody"'),
        (("sign", "--org", "clinic", *WHO[:-1], "nobody"), "e-mail"),
        (("sign", "--org", "clinic", *WHO, "--expires", "soon"), "'soon': expected a date"),
        (("sign", "--org", "clinic", *WHO, "--expires", "2020-01-01"), "expire before it is signed"),
        (("list", "--org", "nobody"), 'no org "nobody"'),
        (("pdf", "baa_x", "out.pdf"), "no acceptance"),
        (("templates", "show", "v9"), "no template"),
    ],
)
def test_what_cannot_be_done_is_said(run: Run, config: str, arguments: tuple[str, ...], said: str) -> None:
    done = run("baa", *arguments, "-c", config)
    assert done.code != 0
    assert said in done.err
    assert "Traceback" not in done.err
