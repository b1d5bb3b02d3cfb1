"""Mistakes in a configuration: each one is refused, with its place and what was expected."""

from pathlib import Path

import pytest

from triptych.settings import SettingsError, load_settings

PROVIDER = '[[providers]]\nname = "p"\nkind = "sandbox"\n'
MODEL = PROVIDER + '[[models]]\nid = "m"\nprovider = "p"\n'
ORG = (
    '[[orgs]]\nslug = "o"\n[[orgs.groups]]\nname = "g"\n[[orgs.users]]\nname = "u"\ngroups = ["g"]\n'
    '[[orgs.keys]]\nname = "k"\nuser = "u"\nsecret = "s1"\n'
)


def refusal(tmp_path: Path, text: str, environ: dict[str, str] | None = None) -> str:
    path = tmp_path / "t.toml"
    path.write_bytes(text.encode())
    with pytest.raises(SettingsError) as caught:
        load_settings(path, environ or {})
    lines = str(caught.value).splitlines()
    assert all(line.startswith(f"{path}: ") for line in lines)
    return "\n".join(line.removeprefix(f"{path}: ") for line in lines)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        # unknown keys
        ("[sever]\n", 'sever: unknown key; did you mean "server"?'),
        ("[server]\nprot = 1\n", 'server.prot: unknown key; did you mean "port"?'),
        ("[server]\nzzzz = 1\n", "server.zzzz: unknown key; known here: body_timeout_s, connect_timeout_s"),
        (MODEL + "priec = {}\n", 'models[0].priec: unknown key; did you mean "price"? (in model "m")'),
        (MODEL + "price = { inptu = 1 }\n", 'models[0].price.inptu: unknown key; did you mean "input"?'),
        (ORG + "rmp = 1\n", 'orgs[0].keys[0].rmp: unknown key; did you mean "rpm"? (in key "k")'),
        # types and ranges
        ("server = 1\n", "server: found 1, expected a table, [server]"),
        ('[server]\nport = "80"\n', 'server.port: found "80", expected an integer from 0 to 65535'),
        ("[server]\nport = 80.0\n", "server.port: found 80.0, expected an integer"),
        ("[server]\nport = true\n", "server.port: found true, expected an integer"),
        ("[server]\nport = -1\n", "server.port: found -1, expected an integer from 0 to 65535"),
        ("[server]\nmax_body_bytes = 0\n", "server.max_body_bytes: found 0, expected an integer from 1"),
        ("[server]\nrequest_timeout_s = 0\n", "found 0, expected a number of seconds, more than 0"),
        ("[server]\nrequest_timeout_s = 1e-400\n", "found 1E-400, expected a number of seconds, more than 0"),
        ("[server]\nrequest_timeout_s = nan\n", "found NaN, expected a number of seconds"),
        ("[server]\nrequest_timeout_s = inf\n", "found Infinity, expected a number of seconds"),
        ("[server]\nrequest_timeout_s = 1e999\n", "found 1E+999, expected a number of seconds"),
        ('[server]\nhost = ""\n', 'server.host: found "", expected a string that is not empty'),
        (
            '[server]\nenvironments = ["prod"]\n',
            'server.environments[0]: found "prod", expected one of "live"',
        ),
        ("[server]\nenvironments = []\n", "server.environments: found an array, expected at least one"),
        ('[server]\ntls_cert = "/nowhere.pem"\n', "server.tls_key: missing, expected the path of a PEM file"),
        (
            '[server]\ntls_cert = "/no.pem"\ntls_key = "/no"\n',
            'server.tls_cert: found "/no.pem", which is no file',
        ),
        ("[server]\nport = 90\nmetrics_port = 90\n", "server.metrics_port: found 90, expected another port"),
        (
            "[server]\nport = 91\nmetrics_port = 90\nworkers = 2\n",
            "server.metrics_port: found 90, so 90 to 91, expected another port than port",
        ),
        (
            "[server]\nmetrics_port = 65535\nworkers = 2\n",
            "server.metrics_port: found 65535, so 65535 to 65536, expected one that leaves 2 workers",
        ),
        ('[server]\nupstream_errors = "x"\n', 'found "x", expected one of "verbatim", "render"'),
        ('[ledger]\ndurability = "strikt"\n', 'did you mean "strict"?'),
        ("[breaker]\nfailure_ratio = 1.5\n", "breaker.failure_ratio: found 1.5, expected a number above 0"),
        ("[breaker]\nmin_calls = 0\n", "breaker.min_calls: found 0, expected an integer of at least 1"),
        ("[retries]\nattempts = -1\n", "retries.attempts: found -1, expected an integer from 0 to 10"),
        ("[retention]\nresponses_days = 0\n", "retention.responses_days: found 0, expected"),
        ("[emotion]\nstore_text = 1\n", "emotion.store_text: found 1, expected true or false"),
        ('[keys]\nprefix = "a_b"\n', 'keys.prefix: found "a_b", expected 1 to 16 letters'),
        # storage, limits, surfaces
        ('[storage]\nurl = "mysql://h/d"\n', 'storage.url: found "mysql://h/d", expected a URL: "sqlite:///'),
        ('[storage]\nurl = "sqlite://"\n', "storage.url: found"),
        ('[storage]\nurl = "sqlite:///:memory:"\n', "storage.url: found"),
        ('[storage]\nurl = "postgres://h/d"\n', 'found the scheme "postgres", expected "postgresql"'),
        (
            '[limits]\nurl = "memcached://h"\n',
            'limits.url: found "memcached://h", expected a URL: "memory://"',
        ),
        ('[limits]\nurl = "redis://h/main"\n', 'limits.url: found "redis://h/main", expected a URL'),
        ('[limits]\nurl = "rediss://h/0?ssl_cert_reqs=none"\n', "limits.url: found"),
        ('[limits]\nurl = "redis://h/0/1"\n', "limits.url: found"),
        ('[limits]\nurl = "redis://u:a@b@h"\n', "limits.url: found"),
        ("[server]\nworkers = 2\n", "server.workers: found 2 with limits.url"),
        (
            '[limits]\nurl = "redis://h/0"\n[server]\nworkers = 2\n',
            "server.workers: found 2 with a SQLite database, which one process serves",
        ),
        ('[surfaces]\nclinical = ""\n', '"clinical" at "" and "inference" at "" would both own /v1'),
        ('[surfaces]\ninference = "/clinical"\n', '"clinical" at "/clinical" and "inference" at "/clinical"'),
        ('[surfaces]\nclinical = "/v1"\n', "would both own /v1/v1"),
        ('[surfaces]\nclinical = "/console"\n', "but /console always stays at the root"),
        (
            '[surfaces]\nclinical = "clinical/"\n',
            'surfaces.clinical: found "clinical/", expected "" or a path',
        ),
        ('[surfaces]\nclinical = { hosts = ["http://x"] }\n', "surfaces.clinical.hosts[0]: found"),
        (
            '[surfaces]\ninference = { hosts = ["a.b"] }\nclinical = { hosts = ["a.b"] }\n',
            "would both own /v1",
        ),
        # providers and models
        ('[[providers]]\nkind = "sandbox"\n', "providers[0].name: missing, expected"),
        ('[[providers]]\nname = "p"\n', "providers[0].kind: missing, expected the kind of provider"),
        ('[[providers]]\nname = "p"\nkind = "antropic"\n', 'did you mean "anthropic"?'),
        (PROVIDER + PROVIDER, 'providers[1].name: found "p", which providers[0] has already'),
        (PROVIDER + 'api_key = "x"\n', "providers[0].api_key: not known to a provider of kind sandbox"),
        (PROVIDER + 'wire = "chat"\n', 'providers[0].wire: only known to a provider of kind "openai"'),
        (
            '[[providers]]\nname = "p"\nkind = "anthropic"\n',
            "providers[0].api_key: missing, expected the provider's",
        ),
        (
            '[[providers]]\nname = "p"\nkind = "anthropic"\napi_key = "k"\nbase_url = "ftp://x"\n',
            'providers[0].base_url: found "ftp://x", expected a URL',
        ),
        (
            '[[models]]\nid = "m"\n',
            "models[0].provider: missing, expected the name of a provider (or targets)",
        ),
        ('[[models]]\nprovider = "p"\n' + PROVIDER, "models[0].id: missing"),
        (
            MODEL + '[[models]]\nid = "n"\nprovider = "q"\n',
            'models[1].provider: found "q", expected the name',
        ),
        (
            MODEL + '[[models]]\nid = "m"\nprovider = "p"\n',
            'models[1].id: found "m", which models[0] has already',
        ),
        (MODEL + 'fallback = ["m"]\n', 'models[0].fallback[0]: found "m", expected another model'),
        (MODEL + 'fallback = ["x"]\n', 'models[0].fallback[0]: found "x", expected the id of a configured'),
        (MODEL + 'targets = [{ provider = "p" }]\n', "models[0].provider: cannot stand beside targets"),
        (
            PROVIDER + '[[models]]\nid = "m"\ntargets = []\n',
            "models[0].targets: found an array, expected at least",
        ),
        (
            PROVIDER + '[[models]]\nid = "m"\ntargets = [{ provider = "p", weight = 0 }]\n',
            "models[0].targets[0].weight: found 0, expected an integer from 1",
        ),
        (
            PROVIDER + '[[models]]\nid = "m"\ntargets = [{ provider = "p" }, { provider = "p" }]\n',
            "models[0].targets[1].provider: found",
        ),
        (
            MODEL + "price = { input = -1 }\n",
            "models[0].price.input: found -1, expected USD per million tokens",
        ),
        (MODEL + "price = { input = nan }\n", "models[0].price.input: found NaN"),
        (MODEL + "price = {}\n", "models[0].price: found no price in it"),
        (MODEL + "price = 3\n", "models[0].price: found 3, expected a table"),
        (MODEL + "credit_ratio = -0.1\n", "models[0].credit_ratio: found -0.1, expected a number from 0"),
        (MODEL + 'tier = "opus"\n', 'models[0].tier: found "opus", expected one of "standard", "premium"'),
        (MODEL + 'retires_at = "soon"\n', 'models[0].retires_at: found "soon", expected a date'),
        (
            MODEL + "retires_at = 9999-12-31T23:59:59-05:00\n",
            "models[0].retires_at: found 9999-12-31T23:59:59",
        ),
        (
            MODEL + "retires_at = 2027-06-01T00:00:00\n",
            "models[0].retires_at: found 2027-06-01T00:00:00, expected",
        ),
        (MODEL + "max_output_tokens = 0\n", "models[0].max_output_tokens: found 0, expected"),
        # orgs
        ("[[orgs]]\n", "orgs[0].slug: missing"),
        ('[[orgs]]\nslug = "a b"\n', 'orgs[0].slug: found "a b", expected up to 64 letters'),
        (ORG + ORG, 'orgs[1].slug: found "o", which orgs[0] has already'),
        ('[[orgs]]\nslug = "o"\nplan = "gold"\n', 'orgs[0].plan: found "gold", expected one of "evaluation"'),
        ('[[orgs]]\nslug = "o"\ncompliance = "hippa"\n', 'did you mean "hipaa"?'),
        ('[[orgs]]\nslug = "o"\nbaa = "yes"\n', 'orgs[0].baa: found "yes", expected one of "none", "active"'),
        (
            '[[orgs]]\nslug = "o"\nphi_mode = "off"\n',
            'orgs[0].phi_mode: found "off", expected one of "redact"',
        ),
        ('[[orgs]]\nslug = "o"\nfeatures = ["web"]\n', 'orgs[0].features[0]: found "web", expected one of'),
        ('[[orgs]]\nslug = "o"\nspend_cap_usd = -1\n', "orgs[0].spend_cap_usd: found -1, expected an amount"),
        (
            '[[orgs]]\nslug = "o"\ncredits = -1\n',
            "orgs[0].credits: found -1, expected an integer of at least 0",
        ),
        ('[[orgs]]\nslug = "o"\nrpm = 0\n', "orgs[0].rpm: found 0, expected an integer of at least 1"),
        (
            '[[orgs]]\nslug = "o"\ndlp_filters = [{ name = "x", kind = "regex", pattern = "a(" }]\n',
            'orgs[0].dlp_filters[0].pattern: filter "x": missing ): a(',
        ),
        (
            '[[orgs]]\nslug = "o"\ndlp_filters = ["y", { name = "x", kind = "regex", pattern = "(?=a)" }]\n',
            'orgs[0].dlp_filters[1].pattern: filter "x": invalid perl operator: (?=',
        ),
        ('[[models]]\nid = "m"\nprovider = "sandbox"\nphi_mode = "off"\n', 'models[0].phi_mode: found "off"'),
        ('[[orgs]]\nslug = "o"\ndlp_filters = [1]\n', "orgs[0].dlp_filters[0]: found 1, expected a text, or"),
        (
            ORG.replace('["g"]', '["h"]'),
            'orgs[0].users[0].groups[0]: found "h", expected the name of a group',
        ),
        (
            ORG.replace('user = "u"', 'user = "v"'),
            'orgs[0].keys[0].user: found "v", expected the name of a user',
        ),
        (ORG.replace('secret = "s1"\n', ""), "orgs[0].keys[0].secret: missing, expected the key's text"),
        (ORG + 'scopes = ["ai:cat"]\n', 'did you mean "ai:chat"?'),
        (ORG + 'environment = "prod"\n', 'found "prod", expected one of "live", "test"'),
        (
            ORG + '[[orgs.keys]]\nname = "k"\nuser = "u"\nsecret = "s2"\n',
            'orgs[0].keys[1].name: found "k", which orgs[0].keys[0] has already',
        ),
    ],
)
def test_a_mistake_is_refused_with_its_place_and_what_was_expected(
    tmp_path: Path, text: str, said: str
) -> None:
    assert said in refusal(tmp_path, text)


def test_one_mistake_makes_one_message(tmp_path: Path) -> None:
    for text in (
        "[server]\nprot = 1\n",
        '[[providers]]\nname = "p"\nkind = "antropic"\napi_key = "k"\n',
        MODEL + "price = { input = -1 }\n",
        '[surfaces]\nclinical = ""\n',
        "[server]\nhost = 1\n",
    ):
        assert len(refusal(tmp_path, text).splitlines()) == 1


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    said = refusal(tmp_path, '[server]\nport = "x"\nprot = 1\n' + MODEL + 'tier = "gold"\nfallback = ["z"]\n')
    assert len(said.splitlines()) == 4


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ('[secrets]\nmaster_key = "env:GONE"\n', "secrets.master_key"),
        ('[[providers]]\nname = "p"\nkind = "anthropic"\napi_key = "env:GONE"\n', "providers[0].api_key"),
        (ORG.replace('"s1"', '"env:GONE"'), "orgs[0].keys[0].secret"),
        ('[storage]\nurl = "env:GONE"\n', "storage.url"),
    ],
)
def test_a_missing_variable_is_named_with_its_key(tmp_path: Path, text: str, where: str) -> None:
    said = refusal(tmp_path, text)
    assert said.startswith(f"{where}: the environment variable GONE is not set")
    assert len(said.splitlines()) == 1


def test_a_master_key_that_no_start_would_take_is_refused_without_showing_it(tmp_path: Path) -> None:
    said = refusal(tmp_path, '[secrets]\nmaster_key = "env:K"\n', {"K": "canary-of-15-ch"})
    assert said.startswith("secrets.master_key: the variable K has 15 characters, expected at least 16")
    assert "canary" not in said
    assert "has 5 characters" in refusal(tmp_path, '[secrets]\nmaster_key = "short"\n')


@pytest.mark.parametrize("secret", ["", "canary ", "can\nary", "canaré", " canary"])
def test_a_secret_no_header_can_carry_is_refused_without_showing_it(tmp_path: Path, secret: str) -> None:
    said = refusal(tmp_path, ORG.replace('"s1"', '"env:K"'), {"K": secret})
    assert "orgs[0].keys[0].secret: the variable K is empty, or has spaces" in said
    assert "can" not in said.replace("can carry", "")


def test_two_keys_with_one_secret_are_refused_without_showing_it(tmp_path: Path) -> None:
    other = ORG.replace('"o"', '"o2"').replace('"s1"', '"env:K"')
    said = refusal(tmp_path, ORG.replace("s1", "canary") + other, {"K": "canary"})
    assert "orgs[1].keys[0].secret: the same secret as orgs[0].keys[0]" in said
    assert "canary" not in said


def test_a_key_where_its_path_should_be_is_not_shown(tmp_path: Path) -> None:
    pem = "-----BEGIN PRIVATE KEY-----canary-----END PRIVATE KEY-----"
    message = refusal(tmp_path, f'[server]\ntls_cert = "{pem}"\ntls_key = "{pem}"\n')
    assert "server.tls_key: found a PEM text, which is no file; expected the path of a PEM file" in message
    assert "canary" not in message and "BEGIN" not in message


def test_a_password_in_a_refused_url_is_not_shown(tmp_path: Path) -> None:
    for url in ("mysql://u:canary@h/d", "u:canary@h", "postgres://u:canary@h/d", "http://u:canary@[x/"):
        assert "canary" not in refusal(tmp_path, f'[storage]\nurl = "{url}"\n')
        provider = f'[[providers]]\nname = "p"\nkind = "anthropic"\napi_key = "k"\nbase_url = "{url}"\n'
        assert "canary" not in refusal(tmp_path, provider)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"[server\n", "not valid TOML: Expected ']'"),
        (b"a = 1\na = 2\n", "not valid TOML: Cannot overwrite a value"),
        (b"a = \xff\n", "not UTF-8 at byte 4"),
        (b"a = " + b"9" * 5000, "not valid TOML"),
        (b"a = " + b"[" * 5000, "not valid TOML"),
    ],
)
def test_a_file_that_is_no_toml_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "t.toml"
    path.write_bytes(content)
    with pytest.raises(SettingsError) as caught:
        load_settings(path, {})
    assert str(caught.value).startswith(f"{path}: {said}")


def test_a_file_that_is_not_there_or_not_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r'gone\.toml: no such file; "triptych init" writes one'):
        load_settings(tmp_path / "gone.toml", {})
    with pytest.raises(SettingsError, match="cannot be read: Is a directory"):
        load_settings(tmp_path, {})
