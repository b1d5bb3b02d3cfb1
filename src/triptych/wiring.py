"""The one composition root: settings in, a running gateway out. Everything is opened here, in
order, and closed here, in reverse."""

import asyncio
import gc
import logging
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from triptych.catalogue import breaker_rule, catalogue, stated_retirements, upstreams
from triptych.edge.allocator import use_huge_pages
from triptych.edge.apart import Apart
from triptych.edge.app import Gateway, Route, Surface
from triptych.edge.protocol import EdgeLimits
from triptych.edge.server import Server
from triptych.emotion_engines import emotion_engines
from triptych.engines.phi.guard import Guard
from triptych.pipeline import Pipeline
from triptych.renewal import ConfigurationFile, Renewal
from triptych.settings import Settings
from triptych.settings.certificate import tls_context
from triptych.stages.ask import RetryRule
from triptych.stages.authenticate import Authenticate, presented_api_key
from triptych.stages.book import Book
from triptych.stages.confirm import Confirm
from triptych.stages.read import Read
from triptych.stages.relay import Relay
from triptych.stages.reserve import Reserve
from triptych.stages.resolve import Resolve
from triptych.stages.route import RouteCall
from triptych.stages.screen import Screen
from triptych.stages.throttle import Throttle
from triptych.storage.agreements import ensure_template
from triptych.storage.chats import Chats
from triptych.storage.database import Database, open_database
from triptych.storage.directory import apply_orgs, org_ids
from triptych.storage.errors import reason
from triptych.storage.idempotency import IdempotencyKeys
from triptych.storage.keyring import KeyRing
from triptych.storage.ledger import Ledger
from triptych.storage.limits.seeded import SeededMemoryIndex
from triptych.storage.nodes import (
    Node,
    Orphan,
    give_up_lease,
    register_node,
    require_alone,
    settle_the_dead,
)
from triptych.storage.outcomes import Outcomes
from triptych.storage.pruning import Pruning
from triptych.storage.responses import StoredResponses
from triptych.storage.retirements import known_retirements
from triptych.storage.sealing import OrgKeys
from triptych.storage.seeds import SeedReader
from triptych.surfaces.clinical.chat import CreateChat
from triptych.surfaces.clinical.compliance import BAA_PATH, Compliance
from triptych.surfaces.clinical.control_routes import MODELS_PATH, Control, control_routes
from triptych.surfaces.clinical.keys import Keys
from triptych.surfaces.clinical.models import Catalogue
from triptych.surfaces.clinical.provider_status import ProviderStatus
from triptych.surfaces.clinical.records import Records
from triptych.surfaces.clinical.routes import Assistant, ClinicalSurface, assistant_routes
from triptych.surfaces.clinical.usage import Usage
from triptych.surfaces.emotion.body import check_size
from triptych.surfaces.emotion.dialect import guard as emotion_guard
from triptych.surfaces.emotion.models import ModelList
from triptych.surfaces.emotion.routes import EmotionSurface
from triptych.surfaces.idempotent import Idempotency
from triptych.surfaces.inference.conversations import Conversations
from triptych.surfaces.inference.keeping import Memory
from triptych.surfaces.inference.models import Models
from triptych.surfaces.inference.routes import InferenceSurface, State
from triptych.surfaces.inference.runs import Runs
from triptych.surfaces.inference.stored_responses import StoredResponsesEndpoints
from triptych.surfaces.lookup import Lookup
from triptych.surfaces.operations import Check, OperationsSurface, greet
from triptych.telemetry import Telemetry
from triptych.upstreams.sandbox import sandbox_model_ids
from triptych.upstreams.transport import HttpTransport
from triptych.vault import Vault, org_specs

if TYPE_CHECKING:
    from triptych.storage.limits.redis_index import RedisIndex

# New containers between two collections. Hardly anything here is part of a cycle; at Python's 700, the
# exchanges under way were walked through again and again, with nothing to be found.
_COLLECTED_AFTER = 10_000

logger = logging.getLogger("triptych")

MAX_HEADERS = 128


class Running(msgspec.Struct, frozen=True):
    """A gateway that accepts requests."""

    server: Server
    gateway: Gateway
    runs: Runs
    renewal: Renewal
    port: int
    metrics_port: int | None
    refresh_keys: Callable[[], None]
    """Makes keys that were just made known at once, not with the next look at the database."""


@asynccontextmanager
async def running(
    settings: Settings, vault: Vault, source: ConfigurationFile | None = None
) -> AsyncIterator[Running]:
    """Serve until the block ends. ``source`` is what the settings were read from.

    Raises StorageError, OSError (address), SettingsError."""
    loop = asyncio.get_running_loop()
    async with AsyncExitStack() as stack:
        database = vault.database
        apply_orgs(database, vault.key_hasher, org_specs(settings))
        node = register_node(database)
        exclusive = database.dialect_name == "sqlite"
        upkeep = database
        if not exclusive:
            # Requests that wait for each other's rows may have every connection. What keeps this node alive,
            # its lease, keys and ledger, must not wait behind them: others would take it for dead.
            upkeep = open_database(
                settings.storage.url.reveal(), durability=settings.ledger.durability, connections=3
            )
            stack.callback(upkeep.close)
            stack.callback(_leave, upkeep, node)
            if settings.limits.in_memory:
                await asyncio.to_thread(require_alone, database, node)
        ensure_template(database)
        clinical_prefix = settings.surfaces.clinical.prefix
        keys = KeyRing(
            upkeep,
            node,
            exclusive=exclusive,
            baa_url=settings.compliance.signing_url or clinical_prefix + BAA_PATH,
            metered=lambda metering: _in_loop(loop, index.keep, metering),
            orphaned=lambda orphan: _in_loop(loop, give_back, orphan),
            changed=lambda: _in_loop(loop, lambda _: renewal.ask(), None),
        )

        def catch_up() -> None:
            keys.refresh()
            asyncio.run_coroutine_threadsafe(ledger.flush(), loop).result()

        index = await _index(settings, database, node, keys, catch_up, stack)
        give_back = partial(_give_back, index)
        told = None if isinstance(index, SeededMemoryIndex) else give_back
        interrupted = settle_the_dead(database, node, exclusive=exclusive, told=told)
        if interrupted:
            logger.warning("settled %d exchanges that a stopped gateway left open", interrupted)
        if exclusive and not isinstance(index, SeededMemoryIndex):
            # Nobody else counts there, and all that began is over: the database knows everything.
            index.forget(org_ids(database))
        telemetry = Telemetry(loop)
        stack.callback(telemetry.flush)
        ledger = Ledger(
            upkeep,
            node.id,
            node.epoch,
            durability=settings.ledger.durability,
            loop=loop,
            unbooked=index.recount,
        )
        ledger.start()
        stack.push_async_callback(ledger.close)
        transport = _transport(settings)
        stack.callback(transport.close)

        apart = Apart()
        stack.callback(apart.close)
        server_settings = settings.server
        throttle = Throttle(index, slots=True)
        retirements = known_retirements(database, stated_retirements(settings))
        models = catalogue(settings, retirements)
        resolve = Resolve(
            models,
            frozenset(sandbox_model_ids()),
            settings.compliance.docs_url or clinical_prefix + MODELS_PATH,
        )
        refuse_unpriced = settings.limits.unpriced == "refuse"
        route = RouteCall(models, breaker_rule(settings), refuse_unpriced=refuse_unpriced)
        guard = Guard()
        stack.push_async_callback(guard.close)
        pipeline = Pipeline(
            throttle=throttle,
            reserve=Reserve(index),
            index=index,
            read=Read(apart),
            resolve=resolve,
            route=route,
            screen=Screen(guard),
            relay=Relay(
                RetryRule(settings.retries.attempts, settings.retries.max_wait_s),
                render_errors=server_settings.upstream_errors == "render",
            ),
            upstreams=upstreams(settings, transport),
            ledger=ledger,
            report=telemetry.report,
            user_hasher=vault.user_hasher,
            request_timeout_s=server_settings.request_timeout_s,
            confirm=_confirm(exclusive, keys, index),
            book=Book(index, keys.budgets),
        )
        renewal = Renewal(settings, source, database, models, resolve, route, pipeline, transport)
        renewal.start()
        stack.push_async_callback(renewal.close)
        keys.start()
        stack.callback(keys.close)
        authenticate = Authenticate(keys, vault.key_hasher)
        org_keys = OrgKeys(database, vault.data_key_wrapper)
        stored = StoredResponses(database, org_keys, retention_days=settings.retention.responses_days)
        idempotency_keys = IdempotencyKeys(
            database,
            node,
            org_keys,
            vault.request_hasher,
            longest_run_s=server_settings.request_timeout_s + server_settings.body_timeout_s,
        )
        idempotency = Idempotency(idempotency_keys, ledger, telemetry.report, index)
        chats = Chats(database, org_keys, retention_days=settings.retention.responses_days)
        outcomes = Outcomes(database, retention_days=settings.retention.rows_days)
        pruning = Pruning(stored, chats, idempotency_keys, outcomes)
        pruning.start()
        stack.callback(pruning.close)
        runs = Runs(stored)
        stack.push_async_callback(runs.close)
        state = State(
            memory=Memory(stored, org_keys, ledger, server_settings.max_body_bytes),
            runs=runs,
            responses=StoredResponsesEndpoints(stored, runs),
            conversations=Conversations(stored),
        )
        inference = InferenceSurface(
            settings.surfaces.inference.prefix,
            pipeline,
            Lookup("inference", throttle, ledger, telemetry.report, index),
            Models(resolve, route),
            state,
            authenticate,
            server_settings.max_body_bytes,
            settings.surfaces.inference.hosts,
        )
        clinical_lookup = Lookup("clinical", throttle, ledger, telemetry.report, index)
        assistant = Assistant(
            pipeline,
            clinical_lookup,
            CreateChat(server_settings.max_body_bytes, resolve, route, chats, org_keys),
            Records(chats),
            Catalogue(resolve),
            server_settings.max_body_bytes,
        )
        control = Control(
            Keys(database, vault.key_hasher, settings.keys.prefix, keys.refresh),
            Usage(database, keys.refresh),
            Compliance(database, settings.compliance.signing_url),
            ProviderStatus(resolve, route),
        )
        clinical = ClinicalSurface(
            clinical_prefix,
            settings.surfaces.clinical.hosts,
            assistant_routes(assistant, idempotency, authenticate),
            control_routes(control, clinical_lookup, idempotency, authenticate),
        )
        own_metrics_port = server_settings.metrics_port != 0
        checks: dict[str, Check] = {
            "database": lambda: None if keys.fresh else "the database does not answer",
            "ledger": lambda: None if ledger.healthy else "the ledger cannot write",
            "limits": lambda: None if _counts(settings, index) else "the limits' Redis does not answer",
            "guard": lambda: _unguarded(guard),
            "gateway": lambda: "draining" if gateway.draining else None,
        }

        emotion = EmotionSurface(
            settings.surfaces.emotion.prefix,
            settings.surfaces.emotion.hosts,
            pipeline,
            Lookup("emotion", throttle, ledger, telemetry.report, index, check_size),
            emotion_guard(
                Authenticate(keys, vault.key_hasher, presented_api_key),
                frozenset(server_settings.environments),
            ),
            emotion_engines(settings, database, org_keys, stack),
            idempotency,
            ModelList(resolve, route),
            checks,
        )

        def description() -> bytes:
            # Most gateways are never asked what they serve.
            from triptych.surfaces.clinical.described_control import CLINICAL_WHOLE
            from triptych.surfaces.emotion.described import EMOTION
            from triptych.surfaces.openapi import INFERENCE, describe

            said = (INFERENCE, CLINICAL_WHOLE, EMOTION, INFERENCE)
            return describe(
                (surface.prefix.decode(), surface.routes, described)
                for surface, described in zip(surfaces, said, strict=True)
            )

        operations = OperationsSurface(
            checks,
            None if own_metrics_port else telemetry.exposition,
            description,
            inference.refuse,
            root=Route(greet, always=True) if inference.prefix else None,
        )
        surfaces: tuple[Surface, ...] = (inference, clinical, emotion, operations)
        gateway = Gateway(surfaces, server_settings.max_body_bytes, telemetry.count_refusal)
        limits = EdgeLimits(
            max_header_bytes=server_settings.max_header_bytes,
            max_headers=MAX_HEADERS,
            max_body_bytes=server_settings.max_body_bytes,
            header_timeout_s=server_settings.header_timeout_s,
            body_timeout_s=server_settings.body_timeout_s,
        )
        server = Server(gateway, limits, loop)
        telemetry.gauge(
            "triptych_open_connections", "Client connections.", lambda: float(server.open_connections)
        )
        telemetry.gauge(
            "triptych_running_exchanges", "Requests being answered.", lambda: float(server.running_exchanges)
        )
        telemetry.targets(route.circuits)
        if not isinstance(index, SeededMemoryIndex):
            _gauge_index(telemetry, index)
        telemetry.gauge("triptych_ledger_queue", "Rows not yet durable.", lambda: float(ledger.pending))
        port = await server.listen(
            server_settings.host,
            server_settings.port,
            tls_context(settings),
            shared=server_settings.workers > 1,
        )
        stack.push_async_callback(server.close)
        if keys.guarded or any(model.phi_mode is not None for model in settings.models):
            # Loaded beside the first requests: those that need it are told to come again.
            guard.start()
        metrics_port = None
        if own_metrics_port:
            metrics = OperationsSurface(checks, telemetry.exposition, description, inference.refuse)
            side = Server(Gateway((metrics,), 0, telemetry.count_refusal), limits, loop)
            metrics_port = await side.listen(server_settings.host, server_settings.metrics_port, None)
            stack.push_async_callback(side.close)
        yield Running(server, gateway, runs, renewal, port, metrics_port, keys.refresh)


async def serve_until_signal(
    settings: Settings,
    vault: Vault,
    announce: Callable[[Running], None],
    source: ConfigurationFile | None = None,
    alive_fd: int | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT, or until ``alive_fd`` ends, then drain: new requests get 503,
    running ones finish within ``drain_timeout_s``, the ledger is flushed. SIGHUP reads the
    configuration again."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    if alive_fd is not None:
        loop.add_reader(alive_fd, _ended, loop, alive_fd, stop)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    # Nothing to renew yet; but the system's answer to this signal would be to end the process.
    loop.add_signal_handler(signal.SIGHUP, lambda: None)
    async with running(settings, vault, source) as node:
        loop.add_signal_handler(signal.SIGHUP, partial(node.renewal.ask, forced=True))
        announce(node)
        # What lives as long as the process need not be looked at by every collection.
        gc.collect()
        gc.freeze()
        gc.set_threshold(_COLLECTED_AFTER)
        if alive_fd is None:  # of several workers, each would get a copy of what they share
            use_huge_pages()
        await stop.wait()
        node.gateway.draining = True
        logger.info("draining: at most %g s", settings.server.drain_timeout_s)
        limit_s = loop.time() + settings.server.drain_timeout_s
        cut = await node.server.drain(settings.server.drain_timeout_s)
        cut += await node.runs.drain(limit_s - loop.time())
        if cut:
            logger.warning("%d exchanges were cut off at the drain limit", cut)


def _ended(loop: asyncio.AbstractEventLoop, fd: int, stop: asyncio.Event) -> None:
    loop.remove_reader(fd)
    stop.set()


def _leave(database: Database, node: Node) -> None:
    """The next node need not wait for this one's lease; without a database, it lapses by itself."""
    try:
        give_up_lease(database, node)
    except Exception as error:  # noqa: BLE001 - drivers have many classes; all mean "not now"
        logger.warning("could not give up the node's lease: %s", reason(error))


def _in_loop(loop: asyncio.AbstractEventLoop, call: Callable[[Any], object], told: object) -> None:
    """From a thread; at the very end nobody is left to be told."""
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(call, told)


async def _index(
    settings: Settings,
    database: Database,
    node: Node,
    keys: KeyRing,
    catch_up: Callable[[], None],
    stack: AsyncExitStack,
) -> "SeededMemoryIndex | RedisIndex":
    """What counts: this process alone, or Redis for all of them."""
    if settings.limits.in_memory:
        return SeededMemoryIndex(SeedReader(database, only=node, caught_up=catch_up))
    from triptych.storage.limits.redis_index import RedisIndex

    index = RedisIndex(
        settings.limits.url.reveal(),
        SeedReader(database, caught_up=catch_up),
        hold_lease_s=settings.ledger.hold_lease_s,
        local=settings.limits.on_unavailable == "local",
        known_nodes=lambda: keys.known_nodes,
        version=lambda: keys.version,
    )
    await index.start()
    stack.push_async_callback(index.close)
    return index


def _confirm(exclusive: bool, keys: KeyRing, index: "SeededMemoryIndex | RedisIndex") -> Confirm | None:
    """None: alone, with all in its own memory, nobody else can give away what an exchange holds."""
    if not isinstance(index, SeededMemoryIndex):
        return Confirm(lambda: keys.lease, index.stands)
    return None if exclusive else Confirm(lambda: keys.lease, lambda exchange_id: True)


def _unguarded(guard: Guard) -> str | None:
    return "the PHI/DLP guard is not ready" if guard.started and not guard.ready else None


def _gauge_index(telemetry: Telemetry, index: "RedisIndex") -> None:
    telemetry.gauge(
        "triptych_limits_round_trips", "To Redis, since the start.", lambda: float(index.round_trips)
    )
    telemetry.gauge(
        "triptych_limits_undelivered", "Settlements that wait for Redis.", lambda: float(index.undelivered)
    )
    telemetry.gauge("triptych_limits_available", "1: Redis answers.", lambda: float(index.healthy))


def _counts(settings: Settings, index: "SeededMemoryIndex | RedisIndex") -> bool:
    """Whether requests can be admitted."""
    return isinstance(index, SeededMemoryIndex) or index.healthy or settings.limits.on_unavailable == "local"


def _give_back(index: "SeededMemoryIndex | RedisIndex", orphan: Orphan) -> None:
    if orphan.booked:
        index.settle(orphan.exchange_id, orphan.tokens, orphan.nusd, orphan.credits, orphan.org_id)
    else:
        index.recount(orphan.org_id)


def _transport(settings: Settings) -> HttpTransport:
    server = settings.server
    return HttpTransport(
        connect_timeout_s=server.connect_timeout_s,
        first_byte_timeout_s=server.first_byte_timeout_s,
        idle_timeout_s=server.idle_stream_timeout_s,
    )
