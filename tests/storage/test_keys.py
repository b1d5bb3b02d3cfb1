import pytest

from triptych.core.clock import now_us
from triptych.storage.admin_actions import API, Actor
from triptych.storage.database import Database
from triptych.storage.directory import (
    Allowances,
    OrgSpec,
    UserSpec,
    apply_orgs,
    create_key,
    list_keys,
    load_snapshot,
    read_version,
    revoke_key,
)
from triptych.storage.errors import StorageError
from triptych.storage.keys import Delegate, IssuedKey, delegate_key
from triptych.storage.secrets import KeyHasher
from triptych.storage.versions import changing


@pytest.fixture(autouse=True)
def orgs(database: Database, hasher: KeyHasher) -> None:
    users = (UserSpec(name="ana"), UserSpec(name="bob"))
    apply_orgs(database, hasher, [OrgSpec(slug="acme", users=users), OrgSpec(slug="zeta", users=users)])


def test_an_issued_key_is_known_by_its_hash_from_then_on(database: Database, hasher: KeyHasher) -> None:
    version = read_version(database)
    expires_us = now_us() + 1_000_000
    issued = create_key(
        database,
        hasher,
        "acme",
        "ana",
        "laptop",
        ["ai:chat"],
        "test",
        "acme",
        expires_us=expires_us,
        limits=Allowances(rpm=3),
    )
    assert issued.plaintext.startswith("acme_test_")
    assert read_version(database) == version + 1
    entry = load_snapshot(database).by_hash[hasher.hash(issued.plaintext.encode())]
    assert (entry.revoked_us, entry.expires_us) == (None, expires_us)
    assert (entry.principal.key_id, entry.principal.scopes) == (issued.id, frozenset({"ai:chat"}))
    assert entry.principal.key_limits.rpm == 3
    assert entry.principal.sandbox_models


def test_the_list_shows_everything_but_the_secret(database: Database, hasher: KeyHasher) -> None:
    first = create_key(database, hasher, "acme", "ana", "one")
    second = create_key(database, hasher, "zeta", "bob", "two", ["control:read"])
    assert list_keys(database) == [first.record, second.record]
    assert list_keys(database, "zeta") == [second.record]
    assert list_keys(database, "nobody") == []
    shown = repr(list_keys(database)) + repr(first)
    assert first.plaintext not in shown
    assert (first.record.prefix, first.record.last_four) == ("trp_live_", first.plaintext[-4:])


@pytest.mark.parametrize("form", ["{id}", "key_{id}", "laptop"])
def test_a_key_is_revoked_by_id_or_name(database: Database, hasher: KeyHasher, form: str) -> None:
    issued = create_key(database, hasher, "acme", "ana", "laptop")
    version = read_version(database)
    revoked = revoke_key(database, form.format(id=issued.id), "acme")
    assert revoked.revoked_us is not None
    assert read_version(database) == version + 1
    assert load_snapshot(database).by_hash[hasher.hash(issued.plaintext.encode())].revoked_us is not None
    with pytest.raises(StorageError, match="revoked already"):
        revoke_key(database, form.format(id=issued.id))


def test_a_name_of_several_keys_is_not_guessed(database: Database, hasher: KeyHasher) -> None:
    keys = [create_key(database, hasher, org, "ana", "laptop") for org in ("acme", "zeta")]
    with pytest.raises(StorageError, match="2 keys are named 'laptop'") as caught:
        revoke_key(database, "laptop")
    assert all(f"key_{key.id}" in str(caught.value) for key in keys)
    assert revoke_key(database, "laptop", "zeta").id == keys[1].id
    assert revoke_key(database, "laptop").id == keys[0].id


def test_an_unknown_key_cannot_be_revoked(database: Database) -> None:
    with pytest.raises(StorageError, match="There is no key 'ghost' in org 'acme'"):
        revoke_key(database, "ghost", "acme")


@pytest.mark.parametrize(
    ("org", "user", "name", "scopes", "message"),
    [
        ("nobody", "ana", "k", None, 'no org "nobody". The orgs are: acme, zeta'),
        ("acme", "zoe", "k", None, 'no user "zoe" in org "acme". The users are: ana, bob'),
        ("acme", "ana", "", None, "1 to 100"),
        ("acme", "ana", "k" * 101, None, "1 to 100"),
        ("acme", "ana", "k", ["ai:magic"], "unknown scope 'ai:magic'"),
    ],
)
def test_a_key_for_nobody_is_not_issued(
    database: Database,
    hasher: KeyHasher,
    org: str,
    user: str,
    name: str,
    scopes: list[str] | None,
    message: str,
) -> None:
    with pytest.raises(StorageError, match=message):
        create_key(database, hasher, org, user, name, scopes)
    assert list_keys(database) == []


def test_a_key_makes_another_one_until_it_is_revoked_or_expires(
    database: Database, hasher: KeyHasher
) -> None:
    def heir(maker: IssuedKey) -> IssuedKey | None:
        principal = load_snapshot(database).by_hash[hasher.hash(maker.plaintext.encode())].principal
        delegate = Delegate(principal.org_id, "acme", principal.user_id, maker.id, admin=True)
        with changing(database) as change:
            return delegate_key(
                change, hasher, delegate, "heir", ["ai:chat"], "live", "trp", Actor(API, None, None, None)
            )

    living = create_key(database, hasher, "acme", "ana", "living")
    expired = create_key(database, hasher, "acme", "ana", "expired", expires_us=now_us() - 1)
    assert heir(living) is not None
    assert heir(expired) is None
    revoke_key(database, living.id)
    assert heir(living) is None


@pytest.mark.parametrize("admin", [False, True])
def test_a_key_hands_on_its_limits_and_its_end_unless_it_is_an_admins(
    database: Database, hasher: KeyHasher, admin: bool
) -> None:
    ends_us, limits = now_us() + 3_600_000_000, Allowances(rpm=7, credits=100, phi_mode="block")
    maker = create_key(database, hasher, "acme", "ana", "maker", expires_us=ends_us, limits=limits)
    principal = load_snapshot(database).by_hash[hasher.hash(maker.plaintext.encode())].principal
    delegate = Delegate(principal.org_id, "acme", principal.user_id, maker.id, admin=admin)
    with changing(database) as change:
        heir = delegate_key(
            change, hasher, delegate, "heir", ["ai:chat"], "live", "trp", Actor(API, None, None, None)
        )
    assert heir is not None
    known = load_snapshot(database).by_hash[hasher.hash(heir.plaintext.encode())]
    handed_on = (known.expires_us, known.principal.key_limits.rpm, known.principal.policy.phi_mode)
    of_the_plan = 60
    assert handed_on == ((None, of_the_plan, None) if admin else (ends_us, 7, "block"))
    assert heir.record.expires_us == known.expires_us
