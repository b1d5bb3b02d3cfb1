"""A new configuration while the gateway runs: in force within a second, and no stream is dropped."""

import contextlib
import io
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from urllib.request import Request, urlopen

import pytest

from tests.acceptance.caller import Answer, Caller, ask, settled_row
from tests.devices.faulty_upstream import FaultyUpstream
from tests.devices.gateway import LIVE_KEY, ORG, TEST_KEY, Gateway, message, provider
from triptych.cli import main

# A busy machine polls late; measured: 0.5 s.
SOON_S = 10.0


class Scene:
    """A gateway whose file is written anew."""

    def __init__(self, gateway: Gateway, upstream: FaultyUpstream) -> None:
        self.gateway = gateway
        self.upstream = upstream
        self.head = gateway.config.read_text().split("[[providers]]")[0]

    def toml(self, *models: str, base_url: str | None = None, more: str = "") -> str:
        return self.head + provider(base_url or self.upstream.base_url, *models) + more

    def write(self, text: str) -> None:
        """As careful programs do: whole, under another name, then renamed."""
        new = self.gateway.config.with_suffix(".new")
        new.write_text(text)
        new.rename(self.gateway.config)

    def told(self, sentence: str) -> int:
        return self.gateway.log.count(sentence)

    def cli(self, *arguments: str) -> tuple[int, str, str]:
        """Exit code, stdout and stderr of a command, beside the running gateway."""
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main((*arguments, "--config", str(self.gateway.config)))
        return code, out.getvalue(), err.getvalue()


def until(holds: Callable[[], bool]) -> float:
    start_s = time.monotonic()
    while not holds():
        assert time.monotonic() - start_s < SOON_S
        time.sleep(0.02)
    return time.monotonic() - start_s


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    with FaultyUpstream() as upstream:
        base = provider(upstream.base_url, "first", "second")
        with Gateway(ORG + base) as gateway:
            yield Scene(gateway, upstream)


@pytest.fixture(autouse=True)
def fresh(scene: Scene) -> None:
    """Every test begins with the same two models in force."""
    scene.upstream.queue.clear()
    scene.write(scene.toml("first", "second"))
    until(
        lambda: (
            answers(scene, "first").status == 200
            and answers(scene, "first").header("sunset") is None
            and answers(scene, "second").status == 200
        )
    )


def answers(scene: Scene, model: str, key: str = TEST_KEY) -> Answer:
    """What a test key is told, which the sandbox answers: nothing is asked of the provider."""
    return ask(scene.gateway, message(model), key=key)


def test_a_changed_file_is_in_force_without_a_restart_and_streams_go_on(scene: Scene) -> None:
    """The stream's own model, and its provider, are gone before its last word."""
    with FaultyUpstream() as other:
        scene.upstream.enqueue("ok_stream:40:50")
        with Caller(scene.gateway) as caller:
            caller.send(message("first", stream=True))
            answer = Answer()
            pieces = caller.pieces(answer)
            next(pieces)
            scene.write(scene.toml("third", base_url=other.base_url))
            until(lambda: answers(scene, "third").status == 200)
            assert answers(scene, "first").status == 400
            assert not answer.whole
            for _ in pieces:
                pass
        names = [name for name, _ in answer.events]
        assert answer.whole and names[-1] == "message_stop" and names.count("content_block_delta") == 40
        row = settled_row(scene.gateway, answer.request_id)
        assert (row["ending"], row["model"], row["usage_source"]) == ("completed", "first", "provider")
        before = len(scene.upstream.requests)
        assert ask(scene.gateway, message("third")).status == 200
        assert (len(other.requests), len(scene.upstream.requests)) == (1, before)


def test_a_signal_has_the_file_read_again_and_says_when_nothing_is_new(scene: Scene) -> None:
    assert scene.gateway.process is not None
    scene.gateway.process.send_signal(signal.SIGHUP)
    until(lambda: scene.told("nothing is new") == 1)
    assert answers(scene, "first").status == 200
    # The clock and the size of the file as before: only the signal tells.
    config = scene.gateway.config
    seen = os.stat(config)
    config.write_text(config.read_text().replace('"second"', '"fourth"'))
    os.utime(config, ns=(seen.st_atime_ns, seen.st_mtime_ns))
    time.sleep(1.2)
    assert answers(scene, "fourth").status == 400
    scene.gateway.process.send_signal(signal.SIGHUP)
    until(lambda: answers(scene, "fourth").status == 200)


def test_a_broken_file_changes_nothing_and_says_why(scene: Scene) -> None:
    wrong = scene.told("the configuration stays as it was")
    scene.write(scene.toml("first").replace('provider = "mock"', 'provider = "mokc"'))
    until(lambda: scene.told("the configuration stays as it was") == wrong + 1)
    assert 'models[0].provider: found "mokc"' in scene.gateway.log.replace("\\", "")
    assert answers(scene, "second").status == 200
    scene.write(scene.toml("third"))
    until(lambda: answers(scene, "third").status == 200)


def test_what_takes_a_restart_or_an_apply_is_said(scene: Scene) -> None:
    text = scene.toml("first", "second").replace('plan = "enterprise"', 'plan = "scale"')
    scene.write(text.replace("[storage]", "[retries]\nattempts = 1\n[storage]"))
    until(lambda: bool(scene.told("[retries] changed too, and takes a restart")))
    until(lambda: bool(scene.told("[[orgs]] changed too: triptych apply ")))


def test_a_file_that_states_a_retirement_has_answers_tell_of_it(scene: Scene) -> None:
    start = datetime.now(UTC).replace(microsecond=0)
    scene.write(
        scene.toml("second", more=_model("first", 'retires_at = "2101-02-03"', 'replacement = "second"'))
    )
    until(lambda: answers(scene, "first").header("sunset") is not None)
    for key in (TEST_KEY, LIVE_KEY):
        for path, body in PATHS.items():
            got = ask(scene.gateway, body, path=path, key=key)
            assert got.header("sunset") == "Thu, 03 Feb 2101 00:00:00 GMT"
            assert got.header("x-triptych-replacement") == "second"
            since = got.header("deprecation") or ""
            assert since.startswith("@")
            assert start <= datetime.fromtimestamp(int(since[1:]), UTC) <= datetime.now(UTC)
    refused = ask(scene.gateway, b'{"model":"first","max_tokens":0,"messages":[]}')
    assert refused.status == 400 and refused.header("sunset") is None, "nobody knows what it asks for"
    assert answers(scene, "second").header("deprecation") is None


PATHS = {
    "/v1/messages": message("first"),
    "/v1/messages/count_tokens": message("first"),
    "/v1/chat/completions": b'{"model":"first","messages":[{"role":"user","content":"hello"}]}',
    "/v1/responses": b'{"model":"first","input":"hello"}',
}


def test_a_retirement_that_is_announced_is_told_within_a_second_and_taken_back(scene: Scene) -> None:
    soon = (datetime.now(UTC) + timedelta(days=89)).date().isoformat()
    at = (datetime.now(UTC) + timedelta(days=92)).date()
    refused = scene.cli("models", "retire", "first", "--at", soon)
    assert refused[0] == 1 and "at least 90 days ahead" in refused[2]
    done = scene.cli("models", "retire", "first", "--at", at.isoformat(), "--replacement", "second")
    assert done == (0, f"first retires {at.isoformat()}T00:00:00Z, to be replaced by second.\n", "")
    took_s = until(lambda: answers(scene, "first").header("sunset") is not None)
    assert took_s < 5, "measured: 0.4 s"
    got = answers(scene, "first")
    assert parsedate_to_datetime(got.header("sunset") or "").date() == at
    assert got.header("x-triptych-replacement") == "second"
    listed = ask_models(scene)
    assert (listed["lifecycle"], listed["retires_at"]) == ("deprecated", f"{at.isoformat()}T00:00:00Z")
    assert listed["deprecated_at"] is not None
    assert f"retires {at.isoformat()}" in scene.cli("models", "list")[1]
    ask(scene.gateway, message("first"))
    report = scene.cli("models", "callers")[1].splitlines()
    assert report[0].split() == ["MODEL", "RETIRES", "ORG", "USER", "KEY", "REQUESTS", "LAST", "USD"]
    assert {line.split()[4] for line in report[1:]} == {"live", "test"}
    assert {line.split()[0] for line in report[1:]} == {"first"}
    assert scene.cli("models", "retire", "first", "--withdraw")[1] == "first stays.\n"
    until(lambda: answers(scene, "first").header("sunset") is None)


def ask_models(scene: Scene) -> dict[str, object]:
    request = Request(
        scene.gateway.url + "/v1/models/first",
        headers={"x-api-key": LIVE_KEY, "anthropic-version": "2023-06-01"},
    )
    with urlopen(request, timeout=5) as got:
        found: dict[str, object] = json.loads(got.read())
    return found


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("nobody", "--at", "2101-01-01"), "'nobody' is no configured model"),
        (("first", "--at", "2101-01-01", "--replacement", "first"), "is the model itself"),
        (("first", "--at", "2101-01-01", "--replacement", "nobody"), "'nobody' is no configured model"),
        (("first", "--at", "soon"), "'soon': expected a date"),
        # In UTC that is the year 10000, which no Sunset header can tell.
        (("first", "--at", "9999-12-31T23:59:59-05:00"), "expected a date"),
        (("first",), "give either a date or --withdraw"),
        (("first", "--at", "2101-01-01", "--withdraw"), "give either a date or --withdraw"),
    ],
)
def test_an_announcement_that_makes_no_sense_is_refused(
    scene: Scene, arguments: tuple[str, ...], told: str
) -> None:
    code, _, err = scene.cli("models", "retire", *arguments)
    assert code == 2 and told in err


def _model(id: str, *lines: str) -> str:
    return "\n".join(
        (f'\n[[models]]\nid = "{id}"\nprovider = "mock"\nprice = {{ input = 3.0, output = 15.0 }}', *lines)
    )


def test_an_empty_file_is_taken_for_one_that_is_being_written(scene: Scene) -> None:
    assert scene.gateway.process is not None
    scene.gateway.config.write_text("")
    time.sleep(2.0)
    assert answers(scene, "first").status == 200
    scene.gateway.process.send_signal(signal.SIGHUP)
    until(lambda: scene.told("names no provider and no model") == 1)
    assert answers(scene, "first").status == 200
    scene.gateway.config.write_text("# a comment comes first\n")
    until(lambda: scene.told("names no provider and no model") == 2)
    assert answers(scene, "first").status == 200


def test_a_signal_and_a_broken_file_are_told_once_and_not_as_nothing_new(scene: Scene) -> None:
    assert scene.gateway.process is not None
    kept, nothing = scene.told("the configuration stays as it was"), scene.told("nothing is new")
    scene.gateway.config.write_text("[[[")
    scene.gateway.process.send_signal(signal.SIGHUP)
    until(lambda: scene.told("the configuration stays as it was") == kept + 1)
    time.sleep(0.2)
    assert scene.told("nothing is new") == nothing


def test_the_clinical_catalogue_names_the_agreements_of_the_new_file(scene: Scene) -> None:
    asked = Request(scene.gateway.url + "/clinical/v1/ai/models", headers={"x-api-key": LIVE_KEY})

    def told() -> list[object]:
        with urlopen(asked, timeout=5) as answer:
            return [one["baa"] for one in json.load(answer)["data"]]

    none = {"covered": False, "agreement": None}
    until(lambda: told() == [none, none])
    scene.write(scene.toml("first", "second").replace('name = "mock"', 'name = "mock"\nbaa = "mock_2027"'))
    until(lambda: told() == [{"covered": True, "agreement": "mock_2027"}] * 2)


def test_a_request_under_way_goes_to_no_provider_that_took_the_name_of_a_covered_one() -> None:
    """It waits for its first target while the second one's name is given to somebody without agreement."""
    org = ORG.replace('plan = "enterprise"', 'plan = "enterprise"\ncompliance = "hipaa"\nbaa = "active"')

    def toml(first: FaultyUpstream, second: FaultyUpstream, agreement: str) -> str:
        providers = [
            provider(upstream.base_url, name=name) + f"{baa}\n"
            for name, upstream, baa in (("a", first, 'baa = "signed"'), ("b", second, agreement))
        ]
        targets = ", ".join(
            f'{{ provider = "{name}", upstream_id = "fault-ok", priority = {priority} }}'
            for priority, name in enumerate("ab")
        )
        model = f'[[models]]\nid = "m"\ntargets = [{targets}]\n'
        return "[retries]\nattempts = 0\n" + org + "".join(providers) + model

    with FaultyUpstream() as first, FaultyUpstream() as covered, FaultyUpstream() as bare:
        with Gateway(toml(first, covered, 'baa = "signed"')) as gateway:
            scene = Scene(gateway, first)
            first.enqueue("hang_before_head")
            with Caller(gateway) as caller:
                caller.send(message("m"))
                assert first.wait_until(lambda: len(first.requests) == 1)
                head = gateway.config.read_text().split("[retries]")[0]
                scene.write(head + toml(first, bare, ""))
                until(lambda: scene.told("a new configuration is in force") == 1)
                first.drop_connections()
                assert caller.receive().status == 200
        assert (len(covered.requests), len(bare.requests)) == (1, 0)
