from dataclasses import dataclass

import pytest
from msgspec.structs import replace
from sqlalchemy import select

from triptych.core.admission import RequestLimits
from triptych.core.clock import now_us
from triptych.core.cycle import cycle_of, day_of
from triptych.core.policy import Filter, Policy
from triptych.core.principal import SCOPES, Principal
from triptych.storage.database import Database
from triptych.storage.directory import (
    GroupSpec,
    KeyEntry,
    KeySpec,
    OrgSpec,
    UserSpec,
    apply_orgs,
    create_key,
    load_snapshot,
    read_version,
    revoke_key,
)
from triptych.storage.errors import StorageError
from triptych.storage.secrets import KeyHasher
from triptych.storage.tables import api_keys, groups

SECRET = "acme-secret-0123456789"
CI = KeySpec(name="ci", user="ana", secret=SECRET, scopes=("ai:chat", "control:read"), rpm=100)
ACME = OrgSpec(
    slug="acme",
    plan="growth",
    compliance="hipaa",
    baa="active",
    phi_mode="redact",
    features=("web_search",),
    rpd=40_000,
    groups=(
        GroupSpec(name="everyone", models=("*",), api_key_access=True, rpm=300),
        GroupSpec(name="research", models=("claude-opus-4-1",), phi_mode="block"),
    ),
    users=(UserSpec(name="ana", groups=("everyone", "research"), rpm=400, rpd=9_000), UserSpec(name="bob")),
    keys=(CI,),
)


@dataclass
class Directory:
    """The database, as a person at the command line sees it."""

    database: Database
    hasher: KeyHasher

    def apply(self, *specs: OrgSpec, remove_missing: bool = False) -> bool:
        return apply_orgs(self.database, self.hasher, specs, remove_missing=remove_missing)

    def entry(self, secret: str = SECRET) -> KeyEntry | None:
        return load_snapshot(self.database).by_hash.get(self.hasher.hash(secret.encode()))

    def principal(self, secret: str = SECRET) -> Principal:
        entry = self.entry(secret)
        assert entry is not None
        return entry.principal

    def works(self, secret: str = SECRET) -> bool:
        entry = self.entry(secret)
        return entry is not None and entry.revoked_us is None


@pytest.fixture
def directory(database: Database, hasher: KeyHasher) -> Directory:
    return Directory(database, hasher)


def test_applying_twice_changes_nothing_and_keeps_the_version(directory: Directory) -> None:
    assert directory.apply(ACME) is True
    first, version = load_snapshot(directory.database), read_version(directory.database)
    assert directory.apply(ACME) is False
    assert read_version(directory.database) == version
    assert load_snapshot(directory.database) == first


def test_a_principal_is_the_strictest_of_all_levels(directory: Directory) -> None:
    directory.apply(ACME)
    principal = directory.principal()
    assert principal.scopes == {"ai:chat", "control:read"}
    assert principal.key_limits == RequestLimits(100, 50_000)  # own rpm, the plan's rpd
    assert principal.user_limits == RequestLimits(300, 9_000)  # the group's rpm, own rpd
    assert principal.org_limits == RequestLimits(2_500, 40_000, 500_000)  # the plan's rpm and tpm
    assert principal.budgets == ()
    assert [(group.name, group.api_key_access) for group in principal.groups] == [
        ("everyone", True),
        ("research", False),
    ]
    assert principal.policy == Policy(
        compliance="hipaa", baa="active", phi_mode="block", features=frozenset({"web_search"})
    )
    assert (principal.org_slug, principal.environment, principal.sandbox_models) == ("acme", "live", False)


def test_tokens_are_limited_where_it_is_said_and_concurrency_by_key(directory: Directory) -> None:
    everyone = replace(ACME.groups[0], tpm=700, concurrency=3)
    ana = replace(ACME.users[0], tpm=900, concurrency=5)
    key = replace(CI, tpm=80, concurrency=4)
    acme = replace(ACME, tpm=400_000, concurrency=9, groups=(everyone, ACME.groups[1]))
    directory.apply(replace(acme, users=(ana, ACME.users[1]), keys=(key,)))
    principal = directory.principal()
    assert (principal.key_limits.tpm, principal.key_limits.concurrency) == (80, 3)
    assert (principal.user_limits.tpm, principal.user_limits.concurrency) == (700, None)
    assert (principal.org_limits.tpm, principal.org_limits.concurrency) == (400_000, None)


def test_one_cap_anywhere_makes_all_levels_of_the_org_count_what_they_spend(directory: Directory) -> None:
    bobs = KeySpec(name="bobs", user="bob", secret="acme-secret-of-bob-0000")
    research = replace(ACME.groups[1], spend_cap_nusd=7_000, credits=9)
    directory.apply(replace(ACME, groups=(ACME.groups[0], research), keys=(CI, bobs)))
    snapshot = load_snapshot(directory.database)
    ana, bob = directory.principal(), directory.principal("acme-secret-of-bob-0000")
    assert snapshot.metering.metered == {ana.org_id}
    assert [(level.kind, level.cap_nusd, level.credits) for level in ana.budgets] == [
        ("key", None, None),
        ("user", None, None),
        ("group", None, None),
        ("group", 7_000, 9),
        ("org", None, None),
    ]
    assert [level.id for level in (ana.budgets[0], ana.budgets[1], ana.budgets[-1])] == [
        ana.key_id,
        ana.user_id,
        ana.org_id,
    ]
    assert [level.kind for level in bob.budgets] == ["key", "user", "org"]
    assert (ana.policy.metered, bob.policy.metered) == (True, False)


def test_a_budget_is_of_the_cycle_that_runs(directory: Directory) -> None:
    directory.apply(replace(ACME, spend_cap_nusd=1))
    principal = directory.principal()
    assert principal.cycle_anchor_day == day_of(now_us())
    assert principal.budgets[-1].cycle == principal.cycle_anchor_day
    assert principal.budgets_at(now_us()) is principal.budgets
    later = principal.budgets_at(now_us() + 40 * 86_400_000_000)
    assert {level.cycle for level in later} == {cycle_of(principal.cycle_anchor_day, day_of(now_us()))[1]}


def test_a_keys_limit_above_the_plan_does_not_lift_it(directory: Directory) -> None:
    directory.apply(replace(ACME, keys=(replace(CI, rpm=10_000),)))
    assert directory.principal().key_limits.rpm == 500


def test_absent_scopes_are_all_scopes(directory: Directory) -> None:
    directory.apply(replace(ACME, keys=(replace(CI, scopes=None),)))
    assert directory.principal().scopes == SCOPES
    directory.apply(replace(ACME, keys=(replace(CI, scopes=()),)))
    assert directory.principal().scopes == frozenset()


@pytest.mark.parametrize(
    ("org", "key", "expected"),
    [
        (ACME, CI, False),
        (ACME, replace(CI, environment="test"), True),
        (replace(ACME, demo=True), CI, True),
    ],
)
def test_test_keys_and_the_demo_org_may_name_sandbox_models(
    directory: Directory, org: OrgSpec, key: KeySpec, expected: bool
) -> None:
    directory.apply(replace(org, keys=(key,)))
    assert directory.principal().sandbox_models is expected


@pytest.mark.parametrize(
    "metered",
    [
        replace(ACME, spend_cap_nusd=0),
        replace(ACME, credits=5),
        replace(ACME, users=(replace(ACME.users[0], credits=0), ACME.users[1])),
        replace(ACME, groups=(replace(ACME.groups[0], spend_cap_nusd=1), ACME.groups[1])),
        replace(ACME, keys=(replace(CI, spend_cap_nusd=1),)),
    ],
)
def test_a_cap_at_any_level_makes_the_principal_metered(directory: Directory, metered: OrgSpec) -> None:
    directory.apply(ACME)
    assert directory.principal().policy.metered is False
    directory.apply(metered)
    assert directory.principal().policy.metered is True


def test_changed_values_are_updated_and_the_version_moves(directory: Directory) -> None:
    directory.apply(ACME)
    before, version = directory.principal(), read_version(directory.database)
    changed = replace(
        ACME,
        baa="expired",
        opus_enabled=True,
        dlp_filters=({"name": "x", "kind": "literal", "pattern": "y"},),
        users=(UserSpec(name="ana", groups=("everyone",)), UserSpec(name="bob")),
        keys=(replace(CI, rpm=7),),
    )
    assert directory.apply(changed) is True
    after = directory.principal()
    assert read_version(directory.database) == version + 1
    assert (after.policy.baa, after.policy.premium_enabled) == ("expired", True)
    assert after.policy.filters == (Filter("x", "literal", "y"),)
    assert [group.name for group in after.groups] == ["everyone"]
    assert after.key_limits.rpm == 7
    assert (after.org_id, after.user_id, after.key_id) == (before.org_id, before.user_id, before.key_id)


def test_a_key_that_left_the_file_is_revoked_and_comes_back_with_it(directory: Directory) -> None:
    directory.apply(ACME)
    directory.apply(replace(ACME, keys=()))
    assert not directory.works()
    assert directory.entry() is not None
    directory.apply(ACME)
    assert directory.works()


def test_a_key_a_person_revoked_stays_revoked(directory: Directory) -> None:
    directory.apply(ACME)
    revoke_key(directory.database, "ci")
    version = read_version(directory.database)
    assert directory.apply(ACME) is False
    assert not directory.works()
    assert read_version(directory.database) == version
    directory.apply(replace(ACME, keys=()))
    directory.apply(ACME)
    assert not directory.works()


def test_a_key_that_left_the_file_can_still_be_revoked_for_good(directory: Directory) -> None:
    directory.apply(ACME)
    directory.apply(replace(ACME, keys=()))
    revoke_key(directory.database, "ci")
    directory.apply(ACME)
    assert not directory.works()


def test_a_new_secret_under_the_same_name_replaces_the_key(directory: Directory) -> None:
    directory.apply(ACME)
    former = directory.principal().key_id
    directory.apply(replace(ACME, keys=(replace(CI, secret="another-secret-012345"),)))
    assert not directory.works()
    assert directory.works("another-secret-012345")
    assert directory.principal("another-secret-012345").key_id != former


def test_a_user_who_left_the_file_takes_every_key_along_until_coming_back(directory: Directory) -> None:
    directory.apply(ACME)
    issued = create_key(directory.database, directory.hasher, "acme", "ana", "laptop")
    without = replace(ACME, users=(UserSpec(name="bob"),), keys=())
    directory.apply(without)
    assert not directory.works(issued.plaintext)
    directory.apply(ACME)
    assert directory.works(issued.plaintext)


def test_a_group_that_left_the_file_grants_nothing(directory: Directory) -> None:
    directory.apply(ACME)
    directory.apply(replace(ACME, groups=(), users=(UserSpec(name="ana"),)))
    assert directory.principal().groups == ()
    with directory.database.read() as connection:
        assert connection.execute(select(groups)).all() == []


def test_keys_made_at_run_time_survive_every_application(directory: Directory) -> None:
    directory.apply(ACME)
    issued = create_key(directory.database, directory.hasher, "acme", "ana", "laptop")
    directory.apply(replace(ACME, keys=()))
    directory.apply(ACME)
    assert directory.works(issued.plaintext)


def test_orgs_missing_from_the_file_stay_unless_told_otherwise(directory: Directory) -> None:
    other = OrgSpec(slug="other")
    directory.apply(ACME, other)
    directory.apply(other)
    assert directory.works()
    assert directory.apply(other, remove_missing=True) is True
    assert not directory.works()
    assert directory.apply(other, remove_missing=True) is False
    directory.apply(ACME, other, remove_missing=True)
    assert directory.works()


def test_no_secret_is_stored_anywhere(directory: Directory) -> None:
    directory.apply(ACME)
    with directory.database.read() as connection:
        stored = str(connection.execute(select(api_keys)).all())
    assert SECRET not in stored
    assert SECRET[:10] not in stored
    assert repr(CI).count(SECRET) == 0


def test_a_short_imported_secret_shows_no_part_of_itself(directory: Directory) -> None:
    directory.apply(replace(ACME, keys=(replace(CI, secret="hunter2hunter2"),)))
    with directory.database.read() as connection:
        row = connection.execute(select(api_keys)).one()
    assert (row.prefix, row.last_four) == ("", "")


ROGUE = OrgSpec(slug="rogue", users=(UserSpec(name="eve"),), keys=(replace(CI, name="k", user="eve"),))


@pytest.mark.parametrize(
    ("specs", "message"),
    [
        ((replace(ACME, keys=(CI, replace(CI, name="copy"))),), "have the same secret"),
        ((ACME, ROGUE), 'key "k" of org "rogue" and the key "ci" of org "acme" have the same secret'),
        ((replace(ACME, keys=(replace(CI, user="zoe"),)),), 'the user "zoe", who does not exist'),
        (
            (replace(ACME, users=(UserSpec(name="ana", groups=("staff",)),)),),
            'group "staff", which does not exist',
        ),
        ((replace(ACME, plan="gold"),), "unknown plan 'gold'"),
        ((replace(ACME, keys=(replace(CI, scopes=("ai:everything",)),)),), "unknown scope 'ai:everything'"),
        ((replace(ACME, keys=(replace(CI, environment="prod"),)),), "live or test"),
        ((replace(ACME, keys=(replace(CI, secret=""),)),), "no request could carry it"),
        ((replace(ACME, keys=(replace(CI, secret=" padded "),)),), "no request could carry it"),
        ((replace(ACME, keys=(CI, replace(CI, secret="x" * 20))),), 'two keys named "ci"'),
        ((replace(ACME, users=(*ACME.users, UserSpec(name="bob"))),), 'two users named "bob"'),
        ((ACME, ACME), 'two orgs named "acme"'),
    ],
)
def test_a_contradiction_is_refused_whole_and_without_secrets(
    directory: Directory, specs: tuple[OrgSpec, ...], message: str
) -> None:
    version = read_version(directory.database)
    with pytest.raises(StorageError, match=message) as caught:
        directory.apply(*specs)
    assert SECRET not in str(caught.value)
    assert load_snapshot(directory.database).by_hash == {}
    assert read_version(directory.database) == version


def test_a_secret_of_another_orgs_key_is_refused(directory: Directory) -> None:
    directory.apply(ACME)
    with pytest.raises(StorageError, match="already belongs to a key of another org") as caught:
        directory.apply(ROGUE)
    assert SECRET not in str(caught.value)
    assert directory.principal().org_slug == "acme"


def test_keys_share_what_they_have_in_common(directory: Directory) -> None:
    """Ten thousand keys of one org are not ten thousand copies of its limits."""
    other = KeySpec(name="other", user="ana", secret="acme-secret-9876543210", rpm=100)
    directory.apply(replace(ACME, keys=(CI, other), spend_cap_nusd=10**9))
    first, second = (entry.principal for entry in load_snapshot(directory.database).by_hash.values())
    assert first.key_id != second.key_id
    for name in ("key_limits", "user_limits", "org_limits", "policy", "groups"):
        assert getattr(first, name) is getattr(second, name), name
    assert first.budgets[0] != second.budgets[0]
    assert all(one is two for one, two in zip(first.budgets[1:], second.budgets[1:], strict=True))
