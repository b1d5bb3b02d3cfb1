"""The configuration contract: what is accepted, and what the tree then says."""

import re
from decimal import Decimal
from pathlib import Path

import pytest

from triptych.core.usage import Price
from triptych.settings import (
    SettingsError,
    config_path,
    default_settings,
    effective_toml,
    init_template,
    load_settings,
    remarks,
    tree,
    with_server,
)
from triptych.settings.moment import spelled
from triptych.settings.secret import Secret, without_password
from triptych.settings.tree import Settings

# The example of the configuration contract, whole, with every key of every table.
CONTRACT = """
[server]
host = "127.0.0.1"
port = 8081
workers = 1
environments = ["live", "test"]
metrics_port = 9100
max_body_bytes = 52428800
max_header_bytes = 65536
request_timeout_s = 600
connect_timeout_s = 5
first_byte_timeout_s = 300
idle_stream_timeout_s = 120.5
header_timeout_s = 10
body_timeout_s = 60
drain_timeout_s = 30
upstream_errors = "verbatim"
[surfaces]
inference = ""
clinical = "/clinical"
emotion = ""
[storage]
url = "sqlite:///triptych.db"
[limits]
url = "memory://"
on_unavailable = "refuse"
unpriced = "flag"
[secrets]
master_key = "env:MASTER"
[keys]
prefix = "trp"
[breaker]
window_s = 30
min_calls = 20
failure_ratio = 0.5
open_s = 5
[retries]
attempts = 2
max_wait_s = 2
[ledger]
durability = "process"
hold_lease_s = 30
[retention]
responses_days = 30
outcomes_days = 400
[emotion]
context_ttl_s = 86400
store_text = false
monthly_quota = 0
[compliance]
signing_url = "https://example.com/baa"
docs_url = "https://example.com/models"

[[providers]]
name = "claude"
kind = "anthropic"
base_url = "https://api.anthropic.com/"
api_key = "env:ANTHROPIC_API_KEY"
baa = "acme_anthropic_2026"
[[providers]]
name = "gpt"
kind = "openai"
base_url = "https://api.openai.com/v1"
api_key = "env:OPENAI_API_KEY"
wire = "responses"
[[providers]]
name = "sandbox"
kind = "sandbox"

[[models]]
id = "claude-sonnet-4-6"
provider = "claude"
upstream_id = "claude-sonnet-4-6-20260101"
tier = "premium"
credit_ratio = 0.33
price = { input = 3.0, output = 15.0, cache_read = 0.3, cache_write = 3.75 }
fallback = ["claude-haiku-4-5"]
groups = ["everyone"]
retires_at = "2027-06-01"
replacement = "claude-sonnet-5"
max_output_tokens = 64000
context_window = 200000
[[models]]
id = "claude-haiku-4-5"
price = { input = 1, output = 5 }
targets = [
  { provider = "gpt", upstream_id = "second", priority = 2 },
  { provider = "claude", weight = 3, priority = 1 },
]

[[orgs]]
slug = "acme"
plan = "growth"
compliance = "hipaa"
baa = "active"
spend_cap_usd = 100.5
credits = 1000000
opus_enabled = true
features = ["web_search", "files"]
dlp_filters = ["Project Orion", { name = "ticket", kind = "regex", pattern = "T-[0-9]+" }]
rpm = 10
[[orgs.groups]]
name = "everyone"
models = ["*"]
api_key_access = true
tpm = 1000
[[orgs.users]]
name = "ana"
groups = ["everyone"]
concurrency = 3
[[orgs.keys]]
name = "ci"
user = "ana"
secret = "env:ACME_KEY"
scopes = ["ai:chat", "control:read"]
environment = "test"
rpm = 500
rpd = 5000
phi_mode = "block"
"""
ENVIRON = {
    "MASTER": "bWFzdGVyIGtleSBvZiAxNg",
    "ANTHROPIC_API_KEY": "sk-ant-canary",
    "OPENAI_API_KEY": "sk-oai-canary",
    "ACME_KEY": "acme-canary",
}


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "triptych.toml"
    path.write_text(text, encoding="utf-8")
    return path


def load(tmp_path: Path, text: str, environ: dict[str, str] | None = None) -> Settings:
    return load_settings(write(tmp_path, text), ENVIRON if environ is None else environ)


def test_the_whole_contract_is_accepted(tmp_path: Path) -> None:
    settings = load(tmp_path, CONTRACT)
    assert settings.server.port == 8081
    assert settings.server.idle_stream_timeout_s == 120.5
    assert settings.secrets.master_key is not None
    assert settings.secrets.master_key.reveal() == "bWFzdGVyIGtleSBvZiAxNg"
    claude, gpt, sandbox = settings.providers
    assert claude.base_url == "https://api.anthropic.com"
    assert claude.api_key is not None
    assert claude.api_key.reveal() == "sk-ant-canary"
    assert gpt.wire == "responses"
    assert gpt.built
    assert sandbox.api_key is None


def test_prices_become_nano_usd_per_million_tokens_and_absent_cache_prices_the_input_price(
    tmp_path: Path,
) -> None:
    sonnet, haiku = load(tmp_path, CONTRACT).models
    assert sonnet.price == Price(3_000_000_000, 15_000_000_000, 300_000_000, 3_750_000_000)
    assert haiku.price == Price(1_000_000_000, 5_000_000_000, 1_000_000_000, 1_000_000_000)
    assert sonnet.credit_ratio == Decimal("0.33")


def test_targets_are_ordered_by_priority_and_default_to_the_models_own_id(tmp_path: Path) -> None:
    sonnet, haiku = load(tmp_path, CONTRACT).models
    assert [(t.provider, t.upstream_id, t.weight) for t in haiku.targets] == [
        ("claude", "claude-haiku-4-5", 3),
        ("gpt", "second", 1),
    ]
    assert [(t.provider, t.upstream_id) for t in sonnet.targets] == [("claude", "claude-sonnet-4-6-20260101")]


@pytest.mark.parametrize(
    "spelling",
    [
        '"2027-06-01"',
        "2027-06-01",
        '"2027-06-01T00:00:00Z"',
        '"2027-06-01T02:00:00+02:00"',
        "2027-06-01T00:00:00Z",
    ],
)
def test_a_retirement_is_a_date_at_midnight_utc_or_a_time_with_an_offset(
    tmp_path: Path, spelling: str
) -> None:
    settings = load(tmp_path, CONTRACT.replace('"2027-06-01"', spelling))
    assert settings.models[0].retires_at_us == 1_811_808_000_000_000


def test_orgs_keep_what_the_file_says_with_the_defaults_of_the_contract(tmp_path: Path) -> None:
    (org,) = load(tmp_path, CONTRACT).orgs
    assert (org.spend_cap_nusd, org.credits, org.rpm) == (100_500_000_000, 1_000_000, 10)
    assert org.phi_mode == "redact"
    assert org.keys[0].phi_mode == "block"
    assert org.keys[0].scopes == ("ai:chat", "control:read")
    assert org.keys[0].secret.reveal() == "acme-canary"
    assert [(f.kind, f.pattern) for f in org.dlp_filters] == [
        ("literal", "Project Orion"),
        ("regex", "T-[0-9]+"),
    ]
    (bare,) = load(tmp_path, '[[orgs]]\nslug = "x"\n').orgs
    assert (bare.plan, bare.compliance, bare.baa, bare.phi_mode) == ("developer", "none", "none", None)
    assert (bare.spend_cap_nusd, bare.credits, bare.opus_enabled) == (None, None, False)


def test_an_empty_file_means_the_defaults_without_any_org(tmp_path: Path) -> None:
    settings = load(tmp_path, "")
    assert settings.storage.url.reveal() == "sqlite:///triptych.db"
    assert settings.storage.sqlite_path == "triptych.db"
    assert settings.limits.in_memory
    assert (settings.providers, settings.models, settings.orgs) == ((), (), ())


def test_without_a_file_there_is_a_sandbox_and_a_demo_org_without_keys() -> None:
    settings = load_settings(None, {})
    assert settings == default_settings({})
    assert [(p.name, p.kind) for p in settings.providers] == [("sandbox", "sandbox")]
    (org,) = settings.orgs
    assert org.demo
    assert (org.slug, org.plan, org.keys) == ("demo", "developer", ())
    assert org.groups[0].api_key_access
    assert org.users[0].groups == ("everyone",)


def test_the_master_key_variable_is_used_without_being_named(tmp_path: Path) -> None:
    settings = load(tmp_path, "", {"TRIPTYCH_MASTER_KEY": "abcdefghijklmnop"})
    assert settings.secrets.master_key is not None
    assert settings.secrets.master_key.reveal() == "abcdefghijklmnop"


def test_a_url_may_come_from_the_environment(tmp_path: Path) -> None:
    settings = load(tmp_path, '[storage]\nurl = "env:DB"\n', {"DB": "postgresql://u:canary@h/d"})
    assert settings.storage.url.reveal() == "postgresql://u:canary@h/d"
    assert settings.storage.sqlite_path is None


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///relative.db", "relative.db"),
        ("sqlite:////abs/x.db", "/abs/x.db"),
        ("postgresql://h/d", None),
    ],
)
def test_storage_urls_of_the_contract_are_accepted(tmp_path: Path, url: str, path: str | None) -> None:
    assert load(tmp_path, f'[storage]\nurl = "{url}"\n').storage.sqlite_path == path


def test_a_surface_may_have_hosts_instead_of_a_prefix(tmp_path: Path) -> None:
    surfaces = load(tmp_path, '[surfaces]\nclinical = { hosts = ["Care.example.com"] }\n').surfaces
    assert (surfaces.clinical.prefix, surfaces.clinical.hosts) == ("", ("care.example.com",))


def test_a_byte_order_mark_is_dropped(tmp_path: Path) -> None:
    assert load(tmp_path, "\ufeff[server]\nport = 1\n").server.port == 1


def test_the_option_goes_before_the_variable_and_neither_means_the_defaults(tmp_path: Path) -> None:
    environ = {"TRIPTYCH_CONFIG": "/etc/triptych.toml"}
    assert config_path(tmp_path, environ) == tmp_path
    assert config_path(None, environ) == Path("/etc/triptych.toml")
    assert config_path(None, {}) is None
    assert config_path(None, {"TRIPTYCH_CONFIG": ""}) is None


def test_the_template_of_init_loads_without_any_variable_and_causes_no_warning(tmp_path: Path) -> None:
    settings = load(tmp_path, init_template(), {})
    assert settings.orgs[0].demo
    assert remarks(settings) == ()


def test_the_template_uncommented_is_accepted_too(tmp_path: Path) -> None:
    """Every commented key is spelled right and shows its default: the template cannot rot."""
    lines = []
    for line in init_template().splitlines():
        bare = line.removeprefix("# ")
        commented_setting = re.match(r"# ([a-z_]+ = |\[\[)", line)
        lines.append(bare if commented_setting and not line.startswith(("# targets", "# tls_")) else line)
    text = re.sub(r'\n(wire = "auto"|region = "us-east-1")', "\n", "\n".join(lines))
    settings = load(tmp_path, text, ENVIRON | {"TRIPTYCH_MASTER_KEY": "k" * 16, "DEMO_KEY": "d"})
    defaults = load(tmp_path, "", {})
    for table in (
        "server",
        "surfaces",
        "limits",
        "keys",
        "breaker",
        "retries",
        "ledger",
        "retention",
        "emotion",
    ):
        assert getattr(settings, table) == getattr(defaults, table)
    assert [model.id for model in settings.models] == ["sandbox-echo", "claude-sonnet-4-6"]
    assert settings.orgs[0].keys[0].name == "ci"


def test_the_effective_tree_loads_again_to_the_same_settings(tmp_path: Path) -> None:
    settings = load(tmp_path, CONTRACT)
    again = load(tmp_path, effective_toml(settings))
    assert again == settings


@pytest.mark.parametrize("render", [effective_toml, repr, str])
def test_no_secret_is_ever_shown(tmp_path: Path, render: object) -> None:
    text = CONTRACT.replace('"env:ACME_KEY"', '"literal-canary"').replace(
        '"sqlite:///triptych.db"', '"postgresql://user:pw-canary@host/db?password=pw-canary"'
    )
    shown = render(load(tmp_path, text))  # type: ignore[operator]
    assert "canary" not in shown
    assert "bWFzdGVyIGtleSBvZiAxNg" not in shown


def test_a_masked_url_keeps_everything_but_the_password(tmp_path: Path) -> None:
    text = '[storage]\nurl = "postgresql://user:pw@host:5432/db"\n'
    assert 'url = "postgresql://user:********@host:5432/db"' in effective_toml(load(tmp_path, text))
    assert 'url = "sqlite:////var/x.db"' in effective_toml(
        load(tmp_path, '[storage]\nurl="sqlite:////var/x.db"')
    )


@pytest.mark.parametrize("password", ["pa/canary", "pa#canary", "pa?canary", "p@a/canary", "p@ss/w?canary"])
@pytest.mark.parametrize("url", ["postgresql://user:{}@host:1/x", "redis://user:{}@host:1/x"])
def test_a_password_that_breaks_its_url_is_not_shown(url: str, password: str) -> None:
    shown = str(Secret(url.format(password))) + without_password(url.format(password))
    assert "canary" not in shown and shown.endswith("://user:********@host:1/x")


def test_a_password_with_a_bare_at_sign_is_refused_and_not_shown(tmp_path: Path) -> None:
    # The driver would take what follows the first "@" for the host, and name it.
    with pytest.raises(
        SettingsError, match=r'storage\.url: found more than one "@", expected "%40"'
    ) as refused:
        load(tmp_path, '[storage]\nurl = "postgresql://user:pass@canary@host/db"\n')
    assert "canary" not in str(refused.value)


def test_what_the_command_line_says_goes_before_the_file(tmp_path: Path) -> None:
    settings = load(tmp_path, "")
    changed = with_server(settings, host="0.0.0.0", port=0)
    assert (changed.server.host, changed.server.port, changed.server.workers) == ("0.0.0.0", 0, 1)
    with pytest.raises(SettingsError, match=r"--port: found 70000, expected 0 to 65535"):
        with_server(settings, port=70_000)
    with pytest.raises(SettingsError, match=r"server\.workers: found 2 with limits\.url"):
        with_server(settings, workers=2)
    with pytest.raises(SettingsError, match=r"server\.metrics_port: found 90, expected another port"):
        with_server(load(tmp_path, "[server]\nmetrics_port = 90\n"), port=90)


def test_a_person_is_told_what_is_accepted_but_not_there_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tree, "BUILT_KINDS", tree.BUILT_KINDS - {"gemini"})
    text = CONTRACT.replace('groups = ["everyone"]\nretires', 'groups = ["nobody"]\nretires')
    text += '[[providers]]\nname = "later"\nkind = "gemini"\napi_key = "k"\n'
    said = "\n".join(remarks(load(tmp_path, text)))
    assert 'provider "later": kind "gemini" is not built yet' in said
    assert 'no org of this file has a group "nobody"' in said
    assert "sandbox" not in said


@pytest.mark.parametrize(
    ("text", "kept_days"),
    [
        ("outcomes_days = 1", 32),
        ("outcomes_days = 40\nresponses_days = 90", 90),
        ("outcomes_days = 90\nresponses_days = 40", 90),
        ("", 400),
    ],
)
def test_rows_of_a_running_cycle_and_of_stored_words_are_kept_all_the_same(
    tmp_path: Path, text: str, kept_days: int
) -> None:
    settings = load(tmp_path, f"[retention]\n{text}\n")
    assert settings.retention.rows_days == kept_days
    told = f"rows of the ledger are kept for {kept_days} days" in "\n".join(remarks(settings))
    assert told == (settings.retention.outcomes_days < kept_days)


def test_prices_may_change_on_a_day_and_reasoning_may_have_its_own(tmp_path: Path) -> None:
    text = (
        '[[providers]]\nname = "s"\nkind = "sandbox"\n[[models]]\nid = "m"\nprovider = "s"\n'
        "credit_ratio = 0.33\nprice = { input = 3.0, output = 15.0, reasoning = 20 }\n"
        'prices = [{ from = "2028-01-01", input = 1, output = 2 }, '
        "{ from = 2027-01-01, input = 2, output = 4 }]\n"
    )
    (model,) = load(tmp_path, text).models
    assert model.price == Price(3 * 10**9, 15 * 10**9, 3 * 10**9, 3 * 10**9, 20 * 10**9)
    assert [(spelled(one.from_us), one.price.output) for one in model.prices] == [
        ("2027-01-01T00:00:00Z", 4 * 10**9),
        ("2028-01-01T00:00:00Z", 2 * 10**9),
    ]
    again = load(tmp_path, effective_toml(load(tmp_path, text)))
    assert again.models == (model,)


@pytest.mark.parametrize(
    ("prices", "said"),
    [
        ("[{ input = 1 }]", "models[0].prices[0].from"),
        ('[{ from = "soon", input = 1 }]', "a date"),
        ('[{ from = "2027-01-01" }]', "at least input and output"),
        (
            '[{ from = "2027-01-01", input = 1 }, { from = "2027-01-01T00:00:00Z", input = 2 }]',
            "begin at the same moment",
        ),
        ('[{ from = "2027-01-01", inptu = 1 }]', "unknown key"),
    ],
)
def test_a_price_that_cannot_be_dated_is_refused(tmp_path: Path, prices: str, said: str) -> None:
    text = '[[providers]]\nname = "s"\nkind = "sandbox"\n[[models]]\nid = "m"\nprovider = "s"\n'
    text += f"prices = {prices}\n"
    with pytest.raises(SettingsError, match=re.escape(said)):
        load(tmp_path, text)


@pytest.mark.parametrize("thresholds", ["[0]", "[100]", "[50, 50]", "[1, 2, 3, 4]", '["a"]', "50", "[1.5]"])
def test_alert_thresholds_are_up_to_three_percents(tmp_path: Path, thresholds: str) -> None:
    with pytest.raises(SettingsError, match="from 1 to 99"):
        load(tmp_path, f'[[orgs]]\nslug = "o"\nalert_thresholds = {thresholds}\n')
    (org,) = load(tmp_path, '[[orgs]]\nslug = "o"\nalert_thresholds = [80, 50]\n').orgs
    assert org.alert_thresholds == (50, 80)


def test_orgs_may_remember_for_longer_or_more_than_the_gateway_does(tmp_path: Path) -> None:
    text = """
[server]
environments = ["live"]
[emotion]
context_ttl_s = 60.5
store_text = true
monthly_quota = 7
[[orgs]]
slug = "a"
context_ttl_s = 3600
store_text = false
[[orgs]]
slug = "b"
"""
    settings = load(tmp_path, text)
    assert not [said for said in remarks(settings) if "emotion" in said or "environments" in said]
    assert (settings.emotion.context_ttl_s, settings.emotion.store_text) == (60.5, True)
    assert settings.emotion.monthly_quota == 7
    assert [(org.context_ttl_s, org.store_text) for org in settings.orgs] == [(3600, False), (None, None)]
