"""May this request use what it uses beyond text? Health-care orgs have an allowlist, empty at first."""

from collections.abc import Iterable

from triptych.core.exchange import Exchange
from triptych.core.failure import Failure, FailureKind
from triptych.wires.features import UNINSPECTABLE, Use
from triptych.wires.slots import shown


def permit_features(exchange: Exchange, used: Iterable[Use]) -> None:
    """``used`` is looked at for orgs with ``compliance = "hipaa"`` only: others may use whatever their
    providers offer.

    Raises Failure FEATURE_NOT_ALLOWED, UNINSPECTABLE_CONTENT.
    """
    policy = exchange.principal.policy
    if policy.compliance != "hipaa":
        return
    allowed = policy.features
    for use in used:
        feature = use.feature
        if feature in allowed:
            continue
        place = shown(use.path)
        uninspectable = feature == UNINSPECTABLE
        raise Failure(
            FailureKind.UNINSPECTABLE_CONTENT if uninspectable else FailureKind.FEATURE_NOT_ALLOWED,
            f"The feature '{feature}' ({place}) is not enabled for this org. An administrator enables it in "
            "the org's list of features.",
            param=place,
            details={"feature": feature},
        )
