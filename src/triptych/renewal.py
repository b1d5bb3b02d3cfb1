"""A new configuration for a gateway that runs: models, providers and the breaker's rule, in one step.

What runs goes on with what it began with. Everything else of the file needs a restart, but for orgs,
which ``triptych apply`` brings to all nodes: a file that is half written must not revoke keys.
"""

import asyncio
import logging
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

import msgspec

from triptych.catalogue import breaker_rule, catalogue, stated_retirements, upstreams
from triptych.core.target import Model
from triptych.pipeline import Pipeline
from triptych.settings import Problem, Settings, SettingsError, remarks
from triptych.stages.resolve import Resolve
from triptych.stages.route import RouteCall
from triptych.storage.database import Database
from triptych.storage.errors import StorageError
from triptych.storage.retirements import known_retirements
from triptych.upstreams.transport import HttpTransport

logger = logging.getLogger("triptych.configuration")

POLL_S: Final = 0.5
_RENEWED: Final = frozenset({"source", "providers", "models", "breaker"})

_BARE: Final = (
    "names no provider and no model: it is taken for one that is being written; a restart takes it as it is"
)

Stamp = tuple[int, int, int] | None
"""What changes when a file does."""


class ConfigurationFile(msgspec.Struct, frozen=True):
    path: Path
    read: Callable[[], Settings]
    """The settings as a start would have them. Raises SettingsError, OSError."""

    def stamp(self) -> Stamp:
        """None while it cannot be seen, or is empty: replaced a moment ago, most likely, or cut off by a
        full disk."""
        try:
            found = os.stat(self.path)
        except OSError:
            return None
        if not found.st_size:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino


class Renewal:
    """All methods are for the event loop's thread."""

    def __init__(
        self,
        settings: Settings,
        file: ConfigurationFile | None,
        database: Database,
        models: Mapping[str, Model],
        resolve: Resolve,
        route: RouteCall,
        pipeline: Pipeline,
        transport: HttpTransport,
    ) -> None:
        self._settings = settings
        self._started = settings
        self._file = file
        self._database = database
        self._models = models
        self._resolve = resolve
        self._route = route
        self._pipeline = pipeline
        self._transport = transport
        self._asked = asyncio.Event()
        self._forced = False
        # What was read at the start may have been written anew before this was made: read it once more.
        self._read_stamp: Stamp = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._watch())

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def ask(self, *, forced: bool = False) -> None:
        """Look whether anything is new; ``forced``: read the file even if it looks the same."""
        self._forced = self._forced or forced
        self._asked.set()

    async def _watch(self) -> None:
        seen: Stamp = None
        stale = False
        while True:
            asked = await self._pause()
            forced, self._forced = self._forced, False
            stamp = None if self._file is None else self._file.stamp()
            # A file that was just touched may be half written: it must look the same twice.
            settled = stamp is not None and stamp == seen and stamp != self._read_stamp
            seen = stamp
            if not (asked or settled or stale):
                continue
            try:
                stale = not await self._renew(read=settled or forced, told=forced, stamp=stamp)
            except Exception as error:  # a bug here must not end the watching
                logger.exception("could not renew the configuration: %s", type(error).__name__)

    async def _pause(self) -> bool:
        """Whether somebody asked."""
        try:
            async with asyncio.timeout(POLL_S):
                await self._asked.wait()
        except TimeoutError:
            return False
        self._asked.clear()
        return True

    async def _renew(self, *, read: bool, told: bool, stamp: Stamp) -> bool:
        """False: to be tried again, because the database is away."""
        settings = self._settings
        if read and self._file is not None:
            self._read_stamp = stamp
            try:
                settings = await asyncio.to_thread(self._file.read)
                if _bare(settings) and not _bare(self._settings):
                    raise SettingsError(settings.source, [Problem("", _BARE)])
            except (SettingsError, OSError) as error:
                logger.error("the configuration stays as it was: %s", "; ".join(str(error).splitlines()))
                settings = self._settings
                told = False
        try:
            stated = tuple(stated_retirements(settings))
            retirements = await asyncio.to_thread(known_retirements, self._database, stated)
        except StorageError as error:
            logger.warning("could not read which models retire: %s", error)
            self._read_stamp = None
            return False
        self._put_in_force(settings, catalogue(settings, retirements), told=told)
        return True

    def _put_in_force(self, settings: Settings, models: Mapping[str, Model], *, told: bool) -> None:
        before, self._settings = self._settings, settings
        providers = {provider.name: provider for provider in settings.providers}
        old_providers = {provider.name: provider for provider in before.providers}
        changed = frozenset(_different(old_providers, providers))
        if models == self._models and not changed and settings.breaker == before.breaker:
            if told:
                logger.warning("the configuration was read again: nothing is new")
        else:
            logger.warning(
                "a new configuration is in force: models %s; providers %s",
                _summary(self._models, models),
                _summary(old_providers, providers),
            )
            self._route.replace(models, breaker_rule(settings), changed)
            if changed:
                self._pipeline.replace_upstreams(upstreams(settings, self._transport))
            self._resolve.replace(models)
            self._models = models
        if settings is not before:
            self._remark(before, settings)

    def _remark(self, before: Settings, settings: Settings) -> None:
        known = remarks(before)
        for remark in remarks(settings):
            if remark not in known:
                logger.warning("%s", remark)
        fixed = [
            f"[{name}]"
            for name in Settings.__struct_fields__
            if name not in _RENEWED | {"orgs"} and getattr(settings, name) != getattr(self._started, name)
        ]
        if fixed:
            logger.warning("%s changed too, and takes a restart", ", ".join(fixed))
        if settings.orgs != before.orgs:
            logger.warning("[[orgs]] changed too: triptych apply %s", settings.source)


def _bare(settings: Settings) -> bool:
    """Whether nothing could be asked with it."""
    return not settings.providers and not settings.models


def _different(before: Mapping[str, object], after: Mapping[str, object]) -> Iterable[str]:
    return (name for name in {*before, *after} if before.get(name) != after.get(name))


def _summary(before: Mapping[str, object], after: Mapping[str, object]) -> str:
    """``+new -gone ~changed``."""
    told = [f"+{name}" for name in sorted(after.keys() - before.keys())]
    told += [f"-{name}" for name in sorted(before.keys() - after.keys())]
    told += [f"~{name}" for name in sorted(before.keys() & after.keys()) if before[name] != after[name]]
    return " ".join(told) or "as before"
