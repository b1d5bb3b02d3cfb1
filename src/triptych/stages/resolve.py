"""Which model is meant, and what serves it?"""

from collections.abc import Iterator, Mapping

from triptych.core.clock import MICROSECONDS_PER_S, rfc3339
from triptych.core.failure import Failure, FailureKind
from triptych.core.principal import Principal
from triptych.core.target import Model, Target
from triptych.core.usage import FREE

SANDBOX = "sandbox"
"""Provider name under which the built-in sandbox answers test keys and its own model ids."""


class Resolve:
    """Model id to model and target, from the catalogue in memory."""

    def __init__(
        self,
        models: Mapping[str, Model],
        sandbox_model_ids: frozenset[str],
        docs_url: str | None = None,
    ) -> None:
        """``docs_url``: where a caller of a retired model is sent."""
        self._models = models
        self._docs_url = docs_url
        self._sandbox = {
            model_id: Model(id=model_id, targets=(Target(SANDBOX, model_id),), price=FREE)
            for model_id in sandbox_model_ids
        }

    def replace(self, models: Mapping[str, Model]) -> None:
        """The catalogue of a new configuration."""
        self._models = models

    def __call__(self, principal: Principal, model_id: str, now_us: int) -> tuple[Model, Target]:
        """Raises Failure MODEL_NOT_FOUND, MODEL_RETIRED."""
        model = self._models.get(model_id)
        if model is None and principal.sandbox_models:
            model = self._sandbox.get(model_id)
        if model is None:
            raise Failure(FailureKind.MODEL_NOT_FOUND, f"Model '{model_id}' not found.", param="model")
        if model.retires_at_us is not None and model.retires_at_us <= now_us:
            raise Failure(
                FailureKind.MODEL_RETIRED,
                f"Model '{model_id}' not found.",
                param="model",
                details={
                    "retired_at": rfc3339(model.retires_at_us // MICROSECONDS_PER_S),
                    "recommended_replacement": model.replacement,
                    "docs_url": self._docs_url,
                },
            )
        if principal.environment == "test":
            return model, Target(SANDBOX, model_id)
        return model, model.targets[0]

    def offered(self, principal: Principal, now_us: int) -> Iterator[Model]:
        """Every model that a call of this principal would find: the catalogue in its order, then
        the sandbox's own."""
        for model in self._models.values():
            if model.retires_at_us is None or model.retires_at_us > now_us:
                yield model
        if principal.sandbox_models:
            for model_id in sorted(self._sandbox.keys() - self._models.keys()):
                yield self._sandbox[model_id]
