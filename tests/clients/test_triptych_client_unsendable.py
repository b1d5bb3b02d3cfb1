"""What the client can tell by itself is told before anything is sent."""

from typing import Any

import pytest

from tests.clients.scripted_gateway import ScriptedGateway
from triptych.client import AsyncTriptych, ConnectionFailed, Triptych, TriptychError


@pytest.mark.parametrize("key", ["trp_live_secret\n", "trp_live_s\xe9cret", "trp_live_secret "])
def test_a_key_that_no_header_can_carry_is_told_at_once_and_never_shown(key: str) -> None:
    with (
        ScriptedGateway([]) as gateway,
        Triptych(gateway.url, api_key=key) as triptych,
        pytest.raises(TriptychError, match="x-api-key holds a line break") as refused,
    ):
        triptych.emotion.models()
    assert not isinstance(refused.value, ConnectionFailed)  # nothing is wrong with the gateway
    assert "trp_live" not in str(refused.value)


@pytest.mark.parametrize(
    "url", ["127.0.0.1:8080", "localhost", "http://", "http://x:99999", "http://x:y", "ftp://x", "http://a b"]
)
@pytest.mark.parametrize("client", [Triptych, AsyncTriptych])
def test_a_base_url_that_is_none_is_told_before_anything_is_sent(url: str, client: Any) -> None:
    with pytest.raises(TriptychError, match="base_url must be like http://"):
        client(url, api_key="trp_live_secret")


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_a_number_that_json_has_not_is_told_and_takes_no_cap_away(number: float) -> None:
    with ScriptedGateway([]) as gateway, Triptych(gateway.url, api_key="trp_live_secret") as triptych:
        with pytest.raises(TriptychError, match="cannot be written as JSON"):
            triptych.clinical.set_budget(spend_cap_usd=number)
        with pytest.raises(TriptychError, match="cannot be written as JSON"):
            triptych.emotion.analyse([{"role": "user", "content": "x", "weight": number}])


def test_half_a_character_is_told_before_anything_is_sent() -> None:
    with ScriptedGateway([]) as gateway, Triptych(gateway.url, api_key="trp_live_secret") as triptych:
        with pytest.raises(TriptychError, match="cannot be written as JSON"):
            triptych.emotion.analyse(["\ud83d"])
        with pytest.raises(TriptychError, match="half a character"):
            triptych.emotion.context("\ud83d")
