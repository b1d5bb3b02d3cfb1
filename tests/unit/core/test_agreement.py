import pytest

from triptych.core.agreement import Acceptance, Agreement, Template, agreement_of, in_effect, status_of

FIRST, SECOND = Template("1", "aa", 0), Template("2", "bb", 100)


def signed(
    at_us: int, *, version: str = "1", expires_us: int | None = None, ended_us: int | None = None
) -> Acceptance:
    return Acceptance(
        id=f"{at_us:026d}",
        org_id="ORG",
        template_version=version,
        template_sha256="aa",
        signer_name="Ana",
        signer_title="CEO",
        signer_email="ana@example.org",
        ip_address=None,
        accepted_us=at_us,
        expires_us=expires_us,
        ended_us=ended_us,
    )


@pytest.mark.parametrize("stated", ["none", "active", "expired", "superseded"])
def test_without_an_acceptance_the_configuration_says_it(stated: str) -> None:
    assert agreement_of(stated, 5, [], [FIRST], 10) == Agreement(stated)


def test_an_acceptance_lifts_what_was_stated_before_it_and_yields_to_what_is_stated_after() -> None:
    acceptance = signed(50)
    assert agreement_of("expired", 49, [acceptance], [FIRST], 60).status == "active"
    assert agreement_of("none", 99, [acceptance], [FIRST], 60).status == "active"
    assert agreement_of("expired", 51, [acceptance], [FIRST], 60) == Agreement("expired")
    assert agreement_of("active", 51, [signed(50, ended_us=52)], [FIRST], 60).status == "active"


def test_of_several_acceptances_the_newest_holds() -> None:
    assert agreement_of("none", 0, [signed(50), signed(60, ended_us=70)], [FIRST], 80).status == "expired"
    assert agreement_of("none", 0, [signed(50, ended_us=55), signed(60)], [FIRST], 80).status == "active"


@pytest.mark.parametrize(
    ("acceptance", "moment_us", "status", "until_us"),
    [
        (signed(10), 50, "active", 100),
        (signed(10), 100, "superseded", None),
        (signed(10, version="2"), 150, "active", None),
        (signed(10, expires_us=60), 59, "active", 60),
        (signed(10, expires_us=60), 60, "expired", None),
        (signed(10, expires_us=60), 150, "expired", None),
        (signed(10, expires_us=300), 150, "superseded", None),
        (signed(10, expires_us=60, ended_us=40), 40, "expired", None),
        (signed(10, version="gone"), 150, "active", None),
    ],
)
def test_an_acceptance_is_good_until_the_first_of_its_ends(
    acceptance: Acceptance, moment_us: int, status: str, until_us: int | None
) -> None:
    assert status_of(acceptance, [FIRST, SECOND], moment_us) == (status, until_us)


def test_the_template_to_sign_is_the_one_that_took_effect_last() -> None:
    assert in_effect([SECOND, FIRST], 99) is FIRST
    assert in_effect([SECOND, FIRST], 100) is SECOND
    assert in_effect([SECOND], 99) is None
