"""May this caller do that at all? Agreement, scope, API access, model."""

from triptych.core.failure import Failure, FailureKind
from triptych.core.principal import Principal
from triptych.core.target import Model

GATED = "ai:"
"""How the scopes begin whose calls need an agreement; the control plane, where it is signed, needs none."""


def authorize_call(principal: Principal, scope: str) -> None:
    """Raises Failure BAA_REQUIRED, INSUFFICIENT_SCOPE, API_KEY_ACCESS_DENIED."""
    policy = principal.policy
    if policy.lacks_baa and scope.startswith(GATED):
        raise Failure(
            FailureKind.BAA_REQUIRED,
            "No active Business Associate Agreement on the org. An administrator signs one at Settings > "
            "Compliance, or with `triptych baa sign`.",
            details={"baa_url": policy.baa_url, "baa_status": policy.baa},
        )
    if scope not in principal.scopes:
        raise Failure(
            FailureKind.INSUFFICIENT_SCOPE,
            f"The API key lacks the scope '{scope}'.",
            details={"required_scope": scope},
        )
    if not principal.api_key_access:
        raise Failure(FailureKind.API_KEY_ACCESS_DENIED)


def authorize_model(principal: Principal, model: Model) -> None:
    """Raises Failure MODEL_ACCESS_DENIED, PREMIUM_NOT_ENABLED."""
    if not grants(principal, model):
        raise Failure(
            FailureKind.MODEL_ACCESS_DENIED,
            f"Your groups do not grant access to the model '{model.id}'.",
            param="model",
        )
    if not _enabled(principal, model):
        raise Failure(
            FailureKind.PREMIUM_NOT_ENABLED,
            f"The premium model '{model.id}' is not enabled for this org.",
            param="model",
            details={"model": model.id},
        )


def may_use(principal: Principal, model: Model) -> bool:
    """Whether :func:`authorize_model` would let the principal pass."""
    return grants(principal, model) and _enabled(principal, model)


def _enabled(principal: Principal, model: Model) -> bool:
    return model.tier != "premium" or principal.policy.premium_enabled


def grants(principal: Principal, model: Model) -> bool:
    """A group must name the model, and the model must name that group."""
    for group in principal.groups:
        if ("*" in group.models or model.id in group.models) and (
            model.groups is None or group.name in model.groups
        ):
            return True
    return False
