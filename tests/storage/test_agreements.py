"""What is signed holds for the next snapshot, and every act leaves a row that nobody can change."""

import pytest
from msgspec.structs import replace
from sqlalchemy import delete, select, text, update

from triptych.core.clock import now_us
from triptych.core.ids import is_ulid
from triptych.storage import admin_actions as noting
from triptych.storage.admin_actions import CLI, Actor, admin_actions_of
from triptych.storage.agreements import (
    add_template,
    agreements,
    end,
    ensure_template,
    find_acceptance,
    list_templates,
    shipped_text,
    sign,
    template_text,
)
from triptych.storage.apply import apply_orgs
from triptych.storage.budgets import BudgetChange, change_budget, read_budget
from triptych.storage.database import Database
from triptych.storage.directory import KeyEntry, load_snapshot
from triptych.storage.errors import StorageError
from triptych.storage.keys import create_key, revoke_key
from triptych.storage.secrets import KeyHasher
from triptych.storage.specs import GroupSpec, KeySpec, OrgSpec, UserSpec
from triptych.storage.tables import admin_actions, orgs

ME = Actor(CLI, name="ana")
NAMES = {"name": "Ana Abreu", "title": "CEO", "email": "ana@example.org"}


def org(slug: str, **facts: object) -> OrgSpec:
    return OrgSpec(
        slug=slug,
        groups=(GroupSpec(name="all", models=("*",), api_key_access=True),),
        users=(UserSpec(name="ana", groups=("all",)),),
        keys=(KeySpec(name="k", user="ana", secret=f"secret-of-{slug}-0000000000"),),
        **{"compliance": "hipaa", **facts},  # type: ignore[arg-type]
    )


def entry(database: Database, hasher: KeyHasher, slug: str) -> KeyEntry:
    return load_snapshot(database).by_hash[hasher.hash(f"secret-of-{slug}-0000000000".encode())]


def state(database: Database, hasher: KeyHasher, slug: str) -> str:
    return entry(database, hasher, slug).principal.policy.baa


def test_signing_lifts_the_gate_for_one_org_and_ending_closes_it(
    database: Database, hasher: KeyHasher
) -> None:
    apply_orgs(database, hasher, [org("acme"), org("zeta")])
    signed = sign(database, ME, "acme", **NAMES)
    assert (state(database, hasher, "acme"), state(database, hasher, "zeta")) == ("active", "none")
    assert find_acceptance(database, signed.org_id, signed.id) == signed
    zeta = entry(database, hasher, "zeta").principal.org_id
    assert find_acceptance(database, zeta, signed.id) is None
    # A file that says nothing of it, applied again, changes nothing.
    apply_orgs(database, hasher, [org("acme"), org("zeta")])
    assert state(database, hasher, "acme") == "active"
    assert [one.id for one in end(database, ME, "acme")] == [signed.id]
    assert state(database, hasher, "acme") == "expired"
    assert end(database, ME, "acme") == []


def test_an_agreement_ends_by_itself_at_its_time(database: Database, hasher: KeyHasher) -> None:
    apply_orgs(database, hasher, [org("acme", phi_mode="allow")])
    until_us = now_us() + 60_000_000
    sign(database, ME, "acme", expires_us=until_us, **NAMES)
    found = entry(database, hasher, "acme")
    assert (found.principal.policy.baa, found.principal.policy.phi_mode) == ("active", "allow")
    assert found.until_us == until_us
    assert found.afterwards is not None
    after = found.afterwards.policy
    assert (after.baa, after.phi_mode, after.lacks_baa) == ("expired", "block", True)


def test_a_newer_template_supersedes_what_was_signed(database: Database, hasher: KeyHasher) -> None:
    apply_orgs(database, hasher, [org("acme")])
    sign(database, ME, "acme", **NAMES)
    later_us = now_us() + 60_000_000
    add_template(database, ME, "v2", "Another text.\r\n", effective_us=later_us)
    found = entry(database, hasher, "acme")
    assert (found.principal.policy.baa, found.until_us) == ("active", later_us)
    assert found.afterwards is not None
    assert found.afterwards.policy.baa == "superseded"
    # Signed ahead, it holds on.
    sign(database, ME, "acme", version="v2", **NAMES)
    assert entry(database, hasher, "acme").until_us is None
    add_template(database, ME, "v3", "A third text.", effective_us=later_us + 1)
    assert entry(database, hasher, "acme").until_us == later_us + 1


def test_a_superseded_template_cannot_be_signed(database: Database, hasher: KeyHasher) -> None:
    apply_orgs(database, hasher, [org("acme")])
    add_template(database, ME, "v2", "Another text.")
    sign(database, ME, "acme", version="v2", **NAMES)
    add_template(database, ME, "v3", "A third text.")
    assert state(database, hasher, "acme") == "superseded"
    with pytest.raises(StorageError, match="superseded: sign v3"):
        sign(database, ME, "acme", version="v2", **NAMES)
    sign(database, ME, "acme", **NAMES)
    assert state(database, hasher, "acme") == "active"


def test_the_last_word_holds_file_or_signature(database: Database, hasher: KeyHasher) -> None:
    apply_orgs(database, hasher, [org("acme", baa="expired")])
    assert state(database, hasher, "acme") == "expired"
    sign(database, ME, "acme", **NAMES)
    apply_orgs(database, hasher, [org("acme", baa="expired")])
    assert state(database, hasher, "acme") == "active"
    apply_orgs(database, hasher, [org("acme", baa="superseded")])
    assert state(database, hasher, "acme") == "superseded"


def test_a_templates_text_never_changes(database: Database) -> None:
    ensure_template(database)
    (first,) = list_templates(database)
    assert template_text(database, first.version) == shipped_text().strip() + "\n"
    assert add_template(database, ME, first.version, shipped_text()) == first
    with pytest.raises(StorageError, match="another text"):
        add_template(database, ME, first.version, "Something else.")
    for version, words in (("", "Text."), ("a b", "Text."), ("v2", " \n")):
        with pytest.raises(StorageError):
            add_template(database, ME, version, words)


@pytest.mark.parametrize(
    "names",
    [{"name": " "}, {"name": "a\nb"}, {"title": ""}, {"email": "ana"}, {"email": "a b@example.org"}],
)
def test_a_signer_is_named(database: Database, hasher: KeyHasher, names: dict[str, str]) -> None:
    apply_orgs(database, hasher, [org("acme")])
    with pytest.raises(StorageError):
        sign(database, ME, "acme", **{**NAMES, **names})
    assert state(database, hasher, "acme") == "none"


def test_every_act_is_noted_in_its_org(database: Database, hasher: KeyHasher) -> None:
    apply_orgs(database, hasher, [org("acme", features=("files",)), org("zeta")])
    found = {one.org_slug: one.org_id for one in agreements(database)[0]}
    sign(database, ME, "acme", **NAMES)
    issued = create_key(database, hasher, "acme", "ana", "laptop", ["ai:chat"])
    revoke_key(database, issued.id)
    change_budget(database, found["acme"], BudgetChange(spend_cap_nusd=5_000_000_000), ME)
    apply_orgs(
        database, hasher, [org("acme", features=("web_search",), dlp_filters=("s3cr3t",)), org("zeta")]
    )
    rows = admin_actions_of(database, found["acme"])
    assert [(row.action, row.via, row.entity_type) for row in rows] == [
        ("admin.org_updated", "file", "org"),
        ("admin.feature_enabled", "file", "org"),
        ("api_key.created", "file", "api_key"),
        ("baa.accepted", "cli", "baa_acceptance"),
        ("api_key.created", "cli", "api_key"),
        ("api_key.revoked", "cli", "api_key"),
        ("budget.updated", "cli", "org"),
        ("admin.org_updated", "file", "org"),
        ("admin.feature_enabled", "file", "org"),
        ("admin.feature_disabled", "file", "org"),
    ]
    assert rows[3].metadata["signer_email"] == "ana@example.org"
    assert rows[3].metadata["login"] == "ana"
    assert rows[5].entity_id == issued.id
    assert rows[6].metadata["spend_cap_usd"] == [None, 5.0]
    assert rows[7].metadata == {"dlp_filters": "changed"}
    assert [row.metadata["feature"] for row in rows[8:]] == ["web_search", "files"]
    assert [row.action for row in admin_actions_of(database, found["zeta"])] == [
        "admin.org_updated",
        "api_key.created",
    ]


def test_who_becomes_an_administrator_or_is_removed_is_noted(database: Database, hasher: KeyHasher) -> None:
    ana, bob = UserSpec(name="ana"), UserSpec(name="bob", admin=True)
    for users in (
        (ana,),
        (replace(ana, admin=True), bob),
        (replace(ana, admin=True), bob),
        (ana,),
        (ana, bob),
    ):
        apply_orgs(database, hasher, [OrgSpec(slug="acme", users=users)])
    with database.read() as connection:
        org_id = connection.execute(select(orgs.c.id)).scalar()
    told = [row for row in admin_actions_of(database, org_id) if row.action == "admin.user_updated"]
    assert [(row.entity_type, row.via, row.metadata) for row in told] == [
        ("user", "file", {"name": "ana", "admin": [False, True]}),
        ("user", "file", {"name": "bob", "admin": [False, True]}),
        ("user", "file", {"name": "ana", "admin": [True, False]}),
        ("user", "file", {"name": "bob", "removed": [False, True]}),
        ("user", "file", {"name": "bob", "removed": [True, False]}),
    ]


def test_acts_of_one_moment_and_of_a_clock_set_back_stay_in_their_order(
    database: Database, hasher: KeyHasher, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply_orgs(database, hasher, [org("acme")])
    (found,), _ = agreements(database)
    moment_us = now_us() + 10_000_000
    for step in range(4):
        monkeypatch.setattr(noting, "now_us", lambda step=step: moment_us - 3_600_000_000 * (step // 2))
        with database.write() as connection:
            entities = [(("thing", f"{step}.{place:02}"), {}) for place in range(20)]
            noting.note_all(connection, ME, "admin.tried", org_id=found.org_id, entities=entities)
            noting.note(connection, ME, "admin.tried", org_id=found.org_id, entity=("thing", f"{step}.x"))
    tried = [row for row in admin_actions_of(database, found.org_id) if row.action == "admin.tried"]
    assert [row.entity_id for row in tried] == sorted(row.entity_id for row in tried)
    assert len({row.id for row in tried}) == 4 * 21
    # Where the clock goes on, the id tells the moment.
    assert tried[0].created_us // 1000 == moment_us // 1000
    assert all(is_ulid(row.id) for row in tried)


# As SQLite has it: by the key, and by the number that every row has besides.
REPLACING = (
    text("INSERT OR REPLACE INTO admin_actions SELECT * FROM admin_actions LIMIT 1"),
    text(
        "INSERT OR REPLACE INTO admin_actions "
        "(rowid, id, action, entity_type, entity_id, via, metadata, created_us) "
        "SELECT rowid, 'forged', action, entity_type, entity_id, via, metadata, created_us FROM admin_actions"
    ),
)


def test_noted_acts_cannot_be_changed_or_deleted(database: Database, hasher: KeyHasher) -> None:
    apply_orgs(database, hasher, [org("acme")])
    for statement in (
        update(admin_actions).values(action="nothing.happened"),
        delete(admin_actions),
        *((text("TRUNCATE admin_actions"),) if database.dialect_name == "postgresql" else REPLACING),
    ):
        with pytest.raises(StorageError, match="never changed"), database.write() as connection:
            connection.execute(statement)
    (found,), _ = agreements(database)
    assert len(admin_actions_of(database, found.org_id)) == 2


def test_an_orgs_own_budget_holds_until_the_file_says_something_new(
    database: Database, hasher: KeyHasher
) -> None:
    filed = org("acme", spend_cap_nusd=100, alert_thresholds=(50,))
    apply_orgs(database, hasher, [filed])
    (found,), _ = agreements(database)
    change = BudgetChange(spend_cap_nusd=None, alert_thresholds=(80, 90), opus_enabled=True)
    assert change_budget(database, found.org_id, change, ME)
    assert not change_budget(database, found.org_id, change, ME)
    assert not apply_orgs(database, hasher, [filed])
    budget = read_budget(database, found.org_id)
    assert (budget.spend_cap_nusd, budget.alert_thresholds, budget.opus_enabled) == (None, (80, 90), True)
    apply_orgs(database, hasher, [org("acme", spend_cap_nusd=70, alert_thresholds=(50,))])
    budget = read_budget(database, found.org_id)
    assert (budget.spend_cap_nusd, budget.alert_thresholds, budget.opus_enabled) == (70, (80, 90), True)
