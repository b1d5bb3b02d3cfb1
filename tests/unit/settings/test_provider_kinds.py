"""What each kind of provider needs to be told, and what it can do without."""

from pathlib import Path

import pytest

from triptych.settings import SettingsError, effective_toml, load_settings, remarks
from triptych.settings.tree import BUILT_KINDS, KNOWN_KINDS, ProviderSettings

AWS_KEYS = "AKIDEXAMPLE:hunter2/secret+EXAMPLEKEY"
RUNTIME = "https://bedrock-runtime.eu-west-1.amazonaws.com"


def text_of(kind: str, api_key: str | None = "hunter2", **keys: str) -> str:
    lines = ["[[providers]]", 'name = "p"', f'kind = "{kind}"']
    if api_key is not None:
        lines.append(f'api_key = "{api_key}"')
    return "\n".join([*lines, *(f'{key} = "{value}"' for key, value in keys.items())]) + "\n"


def load(tmp_path: Path, text: str) -> ProviderSettings:
    path = tmp_path / "t.toml"
    path.write_text(text)
    settings = load_settings(path, {})
    (provider,) = settings.providers
    # What is shown can be loaded again, but for the mask.
    again = tmp_path / "again.toml"
    again.write_text(effective_toml(settings).replace("********", "hunter2"))
    assert load_settings(again, {}).providers[0].base_url == provider.base_url
    assert load_settings(again, {}).providers[0].region == provider.region
    return provider


def refusal(tmp_path: Path, text: str) -> str:
    path = tmp_path / "t.toml"
    path.write_text(text)
    with pytest.raises(SettingsError) as caught:
        load_settings(path, {})
    assert "hunter2" not in str(caught.value)
    return str(caught.value)


def test_every_kind_that_can_be_named_answers() -> None:
    assert frozenset(KNOWN_KINDS) == BUILT_KINDS


@pytest.mark.parametrize(
    ("kind", "base_url"),
    [
        ("anthropic", "https://api.anthropic.com"),
        ("openai", "https://api.openai.com/v1"),
        ("gemini", "https://generativelanguage.googleapis.com/v1beta/openai"),
    ],
)
def test_a_kind_with_one_address_needs_none(tmp_path: Path, kind: str, base_url: str) -> None:
    assert load(tmp_path, text_of(kind)).base_url == base_url


def test_azure_has_no_address_of_its_own(tmp_path: Path) -> None:
    assert "base_url: missing" in refusal(tmp_path, text_of("azure-openai"))


@pytest.mark.parametrize("kind", ["openai", "azure-openai"])
def test_one_of_two_wires_can_be_chosen(tmp_path: Path, kind: str) -> None:
    text = text_of(kind, base_url="https://a.openai.azure.com", wire="chat")
    provider = load(tmp_path, text)
    assert provider.wire == "chat"
    assert 'wire = "chat"' in (tmp_path / "again.toml").read_text()


@pytest.mark.parametrize("kind", ["anthropic", "gemini", "bedrock"])
def test_where_there_is_one_wire_none_can_be_chosen(tmp_path: Path, kind: str) -> None:
    said = refusal(tmp_path, text_of(kind, base_url=RUNTIME, wire="chat"))
    assert f'wire: only known to a provider of kind "openai" or "azure-openai"; this one is "{kind}"' in said


@pytest.mark.parametrize("kind", ["anthropic", "openai", "azure-openai", "gemini", "bedrock"])
def test_a_key_is_needed(tmp_path: Path, kind: str) -> None:
    assert "api_key: missing" in refusal(tmp_path, text_of(kind, None, base_url=RUNTIME))


@pytest.mark.parametrize("api_key", ["ABSKhunter2=", AWS_KEYS, f"{AWS_KEYS}:token+/="])
@pytest.mark.parametrize(
    ("keys", "base_url", "region"),
    [
        ({"region": "eu-west-1"}, RUNTIME, "eu-west-1"),
        ({"base_url": RUNTIME}, RUNTIME, "eu-west-1"),
        ({"base_url": RUNTIME + "/", "region": "eu-west-1"}, RUNTIME, "eu-west-1"),
        (
            {"region": "cn-north-1"},
            "https://bedrock-runtime.cn-north-1.amazonaws.com.cn",
            "cn-north-1",
        ),
        (
            {"base_url": "https://bedrock-runtime-fips.us-gov-west-1.amazonaws.com"},
            "https://bedrock-runtime-fips.us-gov-west-1.amazonaws.com",
            "us-gov-west-1",
        ),
        (
            {"base_url": "https://vpce-1a-2b.bedrock-runtime.us-east-1.vpce.amazonaws.com"},
            "https://vpce-1a-2b.bedrock-runtime.us-east-1.vpce.amazonaws.com",
            "us-east-1",
        ),
        ({"base_url": "https://proxy.example", "region": "us-east-1"}, "https://proxy.example", "us-east-1"),
    ],
)
def test_of_bedrocks_address_and_region_each_tells_the_other(
    tmp_path: Path, api_key: str, keys: dict[str, str], base_url: str, region: str
) -> None:
    path = tmp_path / "t.toml"
    path.write_text(text_of("bedrock", api_key, **keys))
    (provider,) = load_settings(path, {}).providers
    assert (provider.base_url, provider.region) == (base_url, region)


def test_an_address_without_a_region_will_do_where_nothing_is_signed(tmp_path: Path) -> None:
    provider = load(tmp_path, text_of("bedrock", base_url="https://proxy.example"))
    assert (provider.base_url, provider.region) == ("https://proxy.example", None)
    said = refusal(tmp_path, text_of("bedrock", AWS_KEYS, base_url="https://proxy.example"))
    assert 'region: missing, expected an AWS region such as "us-east-1"' in said


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({}, "region: missing"),
        ({"region": "Europe"}, 'region: found "Europe", expected an AWS region'),
        ({"region": "eu-west-1.evil.example/"}, "expected an AWS region"),
        (
            {"base_url": RUNTIME, "region": "us-east-1"},
            'region: found "us-east-1", expected "eu-west-1", the region base_url is in',
        ),
        ({"base_url": "https://[x", "region": "us-east-1"}, "base_url: found"),
    ],
)
def test_a_region_that_is_none_is_named(tmp_path: Path, keys: dict[str, str], said: str) -> None:
    assert said in refusal(tmp_path, text_of("bedrock", **keys))


@pytest.mark.parametrize("api_key", [":hunter2", "AKID:", "AKID:hunter2:", "AKID:hunter2:t:x", "A-B:hunter2"])
def test_aws_keys_in_another_form_are_refused_and_not_repeated(tmp_path: Path, api_key: str) -> None:
    said = refusal(tmp_path, text_of("bedrock", api_key, region="us-east-1"))
    assert 'api_key: expected a Bedrock API key, or "ACCESS_KEY_ID:SECRET_ACCESS_KEY[:SESSION_TOKEN]"' in said


@pytest.mark.parametrize("kind", ["anthropic", "openai", "gemini", "sandbox"])
def test_a_region_belongs_to_bedrock_alone(tmp_path: Path, kind: str) -> None:
    api_key = None if kind == "sandbox" else "hunter2"
    said = refusal(tmp_path, text_of(kind, api_key, region="us-east-1"))
    assert f'region: only known to a provider of kind "bedrock"; this one is "{kind}"' in said


@pytest.mark.parametrize(
    ("api_key", "temporary"),
    [
        ("ABSKQmVkcm9ja0FQSUtleS1hunter2", False),
        (AWS_KEYS, False),
        (f"{AWS_KEYS}:token", True),
        ("bedrock-api-key-YmVkcm9jaw", True),
    ],
)
def test_a_person_is_told_that_temporary_credentials_end(
    tmp_path: Path, api_key: str, temporary: bool
) -> None:
    path = tmp_path / "t.toml"
    path.write_text(text_of("bedrock", api_key, region="us-east-1"))
    said = "\n".join(remarks(load_settings(path, {})))
    assert ('provider "p": its AWS credentials are temporary' in said) is temporary
    assert "not built yet" not in said and "hunter2" not in said
