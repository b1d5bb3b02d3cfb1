"""What a configuration may say, but a person should know about it: warnings, not errors."""

from triptych.settings.tree import BUILT_SURFACES, ProviderSettings, Settings, SurfacesSettings


def remarks(settings: Settings) -> tuple[str, ...]:
    """One sentence each, safe to log and to print."""
    said = [
        f'provider "{provider.name}": kind "{provider.kind}" is not built yet; its models answer 503'
        for provider in settings.providers
        if not provider.built
    ]
    said += [
        f'provider "{provider.name}": its AWS credentials are temporary; once they ended its calls are '
        "refused, until a restart with new ones"
        for provider in settings.providers
        if _temporary(provider)
    ]
    defaults = SurfacesSettings()
    said += [
        f'surface "{name}" is not built yet and has no routes'
        for name in ("inference", "clinical", "emotion")
        if name not in BUILT_SURFACES and getattr(settings.surfaces, name) != getattr(defaults, name)
    ]
    retention = settings.retention
    if retention.outcomes_days < retention.rows_days:
        said.append(
            f"[retention] outcomes_days: rows of the ledger are kept for {retention.rows_days} days, for as "
            "long as responses_days, and as a billing cycle may run"
        )
    models = {model.id for model in settings.models}
    groups = {group.name for org in settings.orgs for group in org.groups}
    for model in settings.models:
        unknown = sorted((model.groups or frozenset()) - groups)
        said += [f'model "{model.id}": no org of this file has a group "{name}"' for name in unknown]
        if model.price is None and not model.prices and not _answered_by_sandbox(settings, model.id):
            refused = settings.limits.unpriced == "refuse"
            told = "it is refused" if refused else "its usage is recorded, its cost is not"
            said.append(f'model "{model.id}" has no price: {told}')
    for org in settings.orgs:
        for group in org.groups:
            unknown = sorted(set(group.models) - models - {"*"})
            said += [
                f'org "{org.slug}", group "{group.name}": "{name}" is no configured model'
                for name in unknown
                if not name.startswith("sandbox-")
            ]
    return tuple(said)


def _temporary(provider: ProviderSettings) -> bool:
    """AWS keys with a session token, or a short-term key of Bedrock, known by its beginning."""
    if provider.kind != "bedrock" or provider.api_key is None:
        return False
    key = provider.api_key.reveal()
    return key.count(":") == 2 or key.startswith("bedrock-api-key-")


def _answered_by_sandbox(settings: Settings, id: str) -> bool:
    kinds = {provider.name: provider.kind for provider in settings.providers}
    return all(
        kinds.get(target.provider) == "sandbox"
        for model in settings.models
        if model.id == id
        for target in model.targets
    )
