"""Which targets are asked for a model, and in which order.

The model's own targets by priority, within one priority by chance in proportion to their weights;
then those of its fallback models. Left out are targets whose circuit is open. Last come those whose
provider asked for time. Within a priority, what is far slower than its peers comes after them.
"""

import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from time import monotonic
from typing import Generic, TypeVar

import msgspec

from triptych.core.breaker import BreakerRule, Circuit
from triptych.core.failure import Blame, Failure, FailureKind
from triptych.core.principal import Principal
from triptych.core.target import Model, Target
from triptych.stages.authorize import may_use
from triptych.stages.resolve import SANDBOX

SLOW_FACTOR = 3.0
"""A target is slow when its pace is so many times that of the fastest of its peers ..."""
SLOW_BY_S = 1.0
"""... and at least so much more."""

DepartureT = TypeVar("DepartureT")


class Leg(msgspec.Struct, frozen=True):
    """One target to ask, and for which model."""

    model: Model
    target: Target
    circuit: Circuit | None
    """None: its failures are meant (the sandbox's own models)."""


class RouteCall:
    """All targets of the catalogue with their circuits, and the choice among them."""

    def __init__(
        self,
        models: Mapping[str, Model],
        rule: BreakerRule,
        chance: Callable[[], float] = random.random,
        clock: Callable[[], float] = monotonic,
        *,
        refuse_unpriced: bool = False,
    ) -> None:
        """``chance`` returns numbers from 0 up to 1, which is left out. ``refuse_unpriced``: live keys
        get no models without a price, neither asked for nor as a fallback."""
        self._models = models
        self._refuse_unpriced = refuse_unpriced
        self._clock = clock
        self._chance = chance
        self._rule = rule
        self._legs = {model.id: _legs_of(model, rule, {}) for model in models.values()}

    def replace(self, models: Mapping[str, Model], rule: BreakerRule, changed: frozenset[str]) -> None:
        """The catalogue of a new configuration. What is known of a target stays known, unless its
        provider is among the ``changed``; what is under way goes on as it began."""
        known: dict[tuple[str, str, str], Circuit] = {}
        if rule == self._rule:
            known = {
                (leg.model.id, leg.target.provider, leg.target.upstream_model): leg.circuit
                for leg in self.circuits()
                if leg.circuit is not None and leg.target.provider not in changed
            }
        self._models, self._rule = models, rule
        self._legs = {model.id: _legs_of(model, rule, known) for model in models.values()}

    def circuits(self) -> Iterator[Leg]:
        """Every target that has a circuit."""
        for legs in self._legs.values():
            yield from (leg for leg in legs if leg.circuit is not None)

    def legs(
        self, principal: Principal, model: Model, target: Target, stream: bool, now_us: int
    ) -> Sequence[Leg]:
        """At least one leg. ``target`` is what the model resolved to.

        Raises Failure MODEL_ACCESS_DENIED (no price, where those are refused), BAA_REQUIRED (no target is
        covered by an agreement the org needs), SERVICE_UNAVAILABLE (every circuit is open).
        """
        own = self._legs.get(model.id)
        if own is None or principal.environment == "test":
            return (Leg(model, target, None),)
        if self._refuse_unpriced and model.price_at(now_us) is None:
            raise _unpriced(model)
        needs_cover = principal.policy.compliance == "hipaa"
        if len(own) == 1 and not model.fallback and not needs_cover:
            circuit = own[0].circuit
            if circuit is None or circuit.closed or circuit.permits(self._clock()):
                return own
            raise closed(own, self._clock())
        now_s = self._clock()
        legs = [own, *self._fallbacks(principal, model, now_us)]
        if needs_cover:
            legs = [[leg for leg in some if _covered(leg.target)] for some in legs]
        if not any(legs):
            raise _uncovered(principal, model)
        order = [leg for some in legs for leg in self._ordered(some, stream, now_s)]
        if not order:
            raise closed([leg for some in legs for leg in some], now_s)
        # Stable: those that may be asked keep their order, those that wait come by when they may.
        order.sort(key=lambda leg: _rests_until_s(leg, now_s))
        if len(order) == 1 and order[0].circuit is not None:
            order[0].circuit.permits(now_s)
        return order

    def authorize(self, principal: Principal, model: Model, now_us: int) -> None:
        """Raises Failure MODEL_ACCESS_DENIED, BAA_REQUIRED as ``legs`` would, whatever the circuits say."""
        known = model.id in self._legs and principal.environment != "test"
        if known and self._refuse_unpriced and model.price_at(now_us) is None:
            raise _unpriced(model)
        if not self.covers(principal, model, now_us):
            raise _uncovered(principal, model)

    def covers(self, principal: Principal, model: Model, now_us: int) -> bool:
        """Whether a call of the model has a target that the principal's agreement covers, or needs none."""
        own = self._legs.get(model.id)
        if own is None or principal.environment == "test" or principal.policy.compliance != "hipaa":
            return True
        legs = chain(own, *self._fallbacks(principal, model, now_us))
        return any(_covered(leg.target) for leg in legs)

    def _fallbacks(self, principal: Principal, model: Model, now_us: int) -> Iterator[Sequence[Leg]]:
        """Of the models that the caller could have named himself."""
        for id in model.fallback:
            other = self._models.get(id)
            if other is None or (other.retires_at_us is not None and other.retires_at_us <= now_us):
                continue
            if self._refuse_unpriced and other.price_at(now_us) is None:
                continue
            if may_use(principal, other):
                yield self._legs[id]

    def _ordered(self, legs: Sequence[Leg], stream: bool, now_s: float) -> list[Leg]:
        open_to_calls = [leg for leg in legs if leg.circuit is None or leg.circuit.available(now_s)]
        if len(open_to_calls) < 2:
            return open_to_calls
        drawn = {id(leg): self._drawn(leg.target.weight) for leg in open_to_calls}
        slow = slow_ones(open_to_calls, stream, now_s)
        return sorted(open_to_calls, key=lambda leg: (leg.target.priority, id(leg) in slow, drawn[id(leg)]))

    def _drawn(self, weight: int) -> float:
        """A sort key that draws by weight (Efraimidis and Spirakis, "Weighted random sampling with a
        reservoir", 2006)."""
        return -math.log(1.0 - self._chance()) / weight


def slow_ones(legs: Sequence[Leg], stream: bool, now_s: float) -> set[int]:
    """The ``id()`` of each leg that is far slower than the fastest of its priority."""
    paces: dict[int, dict[int, float]] = {}
    for leg in legs:
        pace_s = None if leg.circuit is None else leg.circuit.pace_s(now_s, stream=stream)
        if pace_s is not None:
            paces.setdefault(leg.target.priority, {})[id(leg)] = pace_s
    slow: set[int] = set()
    for peers in paces.values():
        fastest_s = min(peers.values())
        limit_s = max(SLOW_FACTOR * fastest_s, fastest_s + SLOW_BY_S)
        slow |= {leg for leg, pace_s in peers.items() if pace_s > limit_s}
    return slow


def closed(legs: Sequence[Leg], now_s: float) -> Failure:
    """Every circuit is open."""
    until_s = min((leg.circuit.until_s for leg in legs if leg.circuit is not None), default=now_s)
    return Failure(
        FailureKind.SERVICE_UNAVAILABLE,
        f"The model '{legs[0].model.id}' is not available right now: its providers keep failing.",
        retry_after_s=max(1, math.ceil(until_s - now_s)),
    )


class Detours(Generic[DepartureT]):
    """The targets still to be asked for one exchange that has several."""

    __slots__ = ("_deadline_s", "_depart", "_legs", "_prepared", "_refusal", "at", "waited_s")

    def __init__(self, legs: Sequence[Leg], depart: Callable[[Leg], DepartureT], deadline_s: float) -> None:
        """``depart`` makes the call for a leg; it raises Failure where that cannot be done. After
        ``deadline_s`` (monotonic) there is nowhere to go."""
        self._legs = list(legs)
        self._depart = depart
        self._deadline_s = deadline_s
        self._prepared: DepartureT | None = None
        self._refusal: Failure | None = None
        self.at: Leg = legs[0]
        """The one that was taken last."""
        self.waited_s = 0.0
        """How long the exchange waited before tries, in all."""

    @property
    def last_of_model(self) -> bool:
        """Whether no other target of the same model is left."""
        return all(leg.model is not self.at.model for leg in self._legs)

    @property
    def over(self) -> bool:
        """Whether no target is left."""
        return not self._legs

    def begin(self, now_s: float) -> DepartureT:
        """The first call. Raises the Failure of the first target when none can be asked, or when only
        another model could answer what the caller asks."""
        first = self.at
        if not self.prepare(now_s):
            raise self._refusal or closed([first], now_s)
        refusal = self._refusal
        if refusal is not None and refusal.blame is Blame.CLIENT and self.at.model is not first.model:
            raise refusal
        return self.take()

    def prepare(self, now_s: float) -> bool:
        """Whether there is a further target; makes its call ready."""
        while self._prepared is None and self._legs and now_s < self._deadline_s:
            leg = self._legs.pop(0)
            circuit = leg.circuit
            if circuit is not None and not circuit.available(now_s):
                continue
            try:
                self._prepared = self._depart(leg)
            except Failure as failure:
                self._refusal = self._refusal or failure
                continue
            if circuit is not None:
                circuit.permits(now_s)
            self.at = leg
        return self._prepared is not None

    def take(self) -> DepartureT:
        """The call that was made ready."""
        prepared, self._prepared = self._prepared, None
        assert prepared is not None
        return prepared


def _legs_of(
    model: Model, rule: BreakerRule, known: Mapping[tuple[str, str, str], Circuit]
) -> tuple[Leg, ...]:
    """With the circuits that are ``known`` by model, provider and upstream model."""
    sole = len(model.targets) == 1
    if sole and model.targets[0].provider == SANDBOX:
        return (Leg(model, model.targets[0], None),)
    legs = []
    for target in model.targets:
        circuit = known.get((model.id, target.provider, target.upstream_model))
        if circuit is None:
            circuit = Circuit(rule, sole=sole)
        circuit.sole = sole
        legs.append(Leg(model, target, circuit))
    return tuple(legs)


def _covered(target: Target) -> bool:
    return target.covered or target.provider == SANDBOX


def _unpriced(model: Model) -> Failure:
    return Failure(
        FailureKind.MODEL_ACCESS_DENIED,
        f"The model '{model.id}' has no price on this gateway, which refuses models without one.",
        param="model",
    )


def _uncovered(principal: Principal, model: Model) -> Failure:
    return Failure(
        FailureKind.BAA_REQUIRED,
        f"No provider of the model '{model.id}' is covered by a Business Associate Agreement.",
        param="model",
        details={"baa_url": principal.policy.baa_url, "baa_status": principal.policy.baa},
    )


def _rests_until_s(leg: Leg, now_s: float) -> float:
    until_s = 0.0 if leg.circuit is None else leg.circuit.rests_until_s
    return until_s if until_s > now_s else 0.0
