"""``/v1/provider-status``: how the providers of the caller's models are doing, from the circuit
breakers of this node."""

from collections.abc import Iterable
from time import monotonic

from triptych.core.clock import now_us
from triptych.core.exchange import Exchange
from triptych.core.response import Response
from triptych.stages.authorize import may_use
from triptych.stages.resolve import Resolve
from triptych.stages.route import Leg, RouteCall
from triptych.stages.settle import Dialect
from triptych.surfaces.clinical.control import answer, moment

OPERATIONAL, DEGRADED, DOWN = "operational", "degraded", "down"


class ProviderStatus:
    def __init__(self, resolve: Resolve, route: RouteCall) -> None:
        self._resolve = resolve
        self._route = route

    async def list(self, exchange: Exchange, parameters: tuple[bytes, ...], dialect: Dialect) -> Response:
        """Of providers that serve a model the caller may use, and of no others: who else is served, and
        by whom, is nobody's business."""
        principal, moment_us = exchange.principal, now_us()
        usable = [model for model in self._resolve.offered(principal, moment_us) if may_use(principal, model)]
        ids = {model.id for model in usable}
        providers = {target.provider for model in usable for target in model.targets}
        legs: dict[str, list[Leg]] = {provider: [] for provider in providers}
        for leg in self._route.circuits():
            if leg.model.id in ids:
                legs[leg.target.provider].append(leg)
        data = [
            {"provider": provider, **judged(legs[provider], monotonic())} for provider in sorted(providers)
        ]
        return answer(exchange, dialect, data, checked_at=moment(moment_us))


def judged(legs: Iterable[Leg], now_s: float) -> dict[str, object]:
    """``down``: no target of the provider is asked; ``degraded``: some are not, or it asked for time;
    and the models concerned."""
    counted = 0
    broken: list[str] = []
    resting: list[str] = []
    for leg in legs:
        circuit = leg.circuit
        if circuit is None:
            continue
        counted += 1
        if not circuit.closed:
            broken.append(leg.model.id)
        elif circuit.rests_until_s > now_s:
            resting.append(leg.model.id)
    status = OPERATIONAL
    if broken or resting:
        status = DOWN if counted == len(broken) else DEGRADED
    return {"status": status, "affected_models": sorted({*broken, *resting})}
