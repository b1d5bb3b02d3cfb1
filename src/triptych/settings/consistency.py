"""What no single table can say: names that must exist, be unique, or not get in each other's way.

Each function is given the tree as read and says what is wrong with it; names that could not be
read (empty ones, already noted) are passed over.
"""

import os
from collections.abc import Iterable, Iterator
from itertools import combinations
from typing import Final

from triptych.settings.problem import Problem
from triptych.settings.sections import LARGEST_PORT
from triptych.settings.shown import found, nearest
from triptych.settings.tree import OrgSettings, ServerSettings, Settings, SurfaceSettings

# The first segments under which each surface has routes; at one place only one may own them.
_OWNED: Final = {"inference": "/v1", "clinical": "/v1", "emotion": "/v2"}
_ROOT_ONLY: Final = ("/healthz", "/readyz", "/metrics", "/openapi.json", "/.well-known", "/console")


def inconsistencies(settings: Settings) -> Iterator[Problem]:
    yield from _server(settings)
    yield from _surfaces(settings)
    yield from _catalogue(settings)
    yield from _orgs(settings)


def _server(settings: Settings) -> Iterator[Problem]:
    workers = settings.server.workers
    yield from _metrics_ports(settings.server)
    if workers > 1 and settings.limits.in_memory:
        yield Problem(
            "server.workers",
            f'found {workers} with limits.url = "memory://", which counts requests in one process only; '
            'expected 1, or limits.url = "redis://..."',
        )
    elif workers > 1 and settings.storage.sqlite_path is not None:
        yield Problem(
            "server.workers",
            f"found {workers} with a SQLite database, which one process serves; expected 1, or "
            'storage.url = "postgresql://..."',
        )
    for key, path in (("tls_cert", settings.server.tls_cert), ("tls_key", settings.server.tls_key)):
        if path is not None and not os.path.isfile(path):
            # Who puts a key itself here must not read it in a log.
            shown = "a PEM text" if "-----BEGIN" in path else found(path)
            yield Problem(
                f"server.{key}", f"found {shown}, which is no file; expected the path of a PEM file"
            )


def _metrics_ports(server: ServerSettings) -> Iterator[Problem]:
    """Each worker has its own, one after the other. Beyond the last port the system begins again at 0."""
    first, last = server.metrics_port, server.metrics_port + server.workers - 1
    if first and first <= server.port <= last:
        expected = "another port than port, or 0 for the same"
        yield Problem("server.metrics_port", f"found {_range(first, last)}, expected {expected}")
    if last > LARGEST_PORT:
        expected = f"one that leaves {server.workers} workers a port each, up to {LARGEST_PORT}"
        yield Problem("server.metrics_port", f"found {_range(first, last)}, expected {expected}")


def _range(first: int, last: int) -> str:
    return str(first) if first == last else f"{first}, so {first} to {last}"


def _surfaces(settings: Settings) -> Iterator[Problem]:
    mounted = [(name, getattr(settings.surfaces, name)) for name in _OWNED]
    for name, surface in mounted:
        taken = next((path for path in _ROOT_ONLY if _within(surface.prefix, path)), None)
        if taken:
            yield Problem(
                f"surfaces.{name}", f'found "{surface.prefix}", but {taken} always stays at the root'
            )
    for (name, one), (other_name, other) in combinations(mounted, 2):
        owned, other_owned = one.prefix + _OWNED[name], other.prefix + _OWNED[other_name]
        shorter, longer = sorted((owned, other_owned), key=len)
        if _within(longer, shorter) and not _apart(one, other):
            yield Problem(
                f"surfaces.{other_name}",
                f'"{other_name}" at "{other.prefix}" and "{name}" at "{one.prefix}" would both own '
                f"{longer}; give one another prefix, or a host of its own",
            )


def _within(path: str, prefix: str) -> bool:
    return path == prefix or path.startswith(prefix + "/")


def _apart(one: SurfaceSettings, other: SurfaceSettings) -> bool:
    """Whether hosts keep two surfaces apart: a surface that names hosts goes before one that doesn't."""
    if not one.hosts and not other.hosts:
        return False
    return set(one.hosts).isdisjoint(other.hosts)


def _catalogue(settings: Settings) -> Iterator[Problem]:
    yield from _doubled("providers", "name", (provider.name for provider in settings.providers))
    yield from _doubled("models", "id", (model.id for model in settings.models))
    models = {model.id for model in settings.models}
    for index, model in enumerate(settings.models):
        for place, id in enumerate(model.fallback):
            where = f"models[{index}].fallback[{place}]"
            if id == model.id:
                yield Problem(where, f"found {found(id)}, expected another model than itself")
            elif id not in models:
                yield _unknown(where, id, "the id of a configured model", models)


def _orgs(settings: Settings) -> Iterator[Problem]:
    yield from _doubled("orgs", "slug", (org.slug for org in settings.orgs))
    owners: dict[str, str] = {}
    for index, org in enumerate(settings.orgs):
        where = f"orgs[{index}]"
        yield from _members(where, org)
        for place, key in enumerate(org.keys):
            secret = key.secret.reveal()
            owner = owners.setdefault(secret, f"{where}.keys[{place}]")
            if secret and owner != f"{where}.keys[{place}]":
                yield Problem(
                    f"{where}.keys[{place}].secret", f"the same secret as {owner}, expected its own"
                )


def _members(where: str, org: OrgSettings) -> Iterator[Problem]:
    yield from _doubled(f"{where}.groups", "name", (group.name for group in org.groups))
    yield from _doubled(f"{where}.users", "name", (user.name for user in org.users))
    yield from _doubled(f"{where}.keys", "name", (key.name for key in org.keys))
    groups = {group.name for group in org.groups}
    users = {user.name for user in org.users}
    for index, user in enumerate(org.users):
        for place, name in enumerate(user.groups):
            if name not in groups:
                path = f"{where}.users[{index}].groups[{place}]"
                yield _unknown(path, name, "the name of a group of this org", groups)
    for index, key in enumerate(org.keys):
        if key.user and key.user not in users:
            yield _unknown(f"{where}.keys[{index}].user", key.user, "the name of a user of this org", users)


def _doubled(where: str, key: str, names: Iterable[str]) -> Iterator[Problem]:
    first: dict[str, int] = {}
    for index, name in enumerate(names):
        if name and first.setdefault(name, index) != index:
            text = f"found {found(name)}, which {where}[{first[name]}] has already; expected each once"
            yield Problem(f"{where}[{index}].{key}", text)


def _unknown(where: str, name: str, expected: str, known: Iterable[str]) -> Problem:
    return Problem(where, f"found {found(name)}, expected {expected}{nearest(name, known)}")
