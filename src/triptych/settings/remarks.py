"""What a configuration may say, but a person should know about it: warnings, not errors."""

from triptych.settings.tree import BUILT_SURFACES, Settings, SurfacesSettings


def remarks(settings: Settings) -> tuple[str, ...]:
    """One sentence each, safe to log and to print."""
    said = [
        f'provider "{provider.name}": kind "{provider.kind}" is not built yet; its models answer 503'
        for provider in settings.providers
        if not provider.built
    ]
    defaults = SurfacesSettings()
    said += [
        f'surface "{name}" is not built yet and has no routes'
        for name in ("inference", "clinical", "emotion")
        if name not in BUILT_SURFACES and getattr(settings.surfaces, name) != getattr(defaults, name)
    ]
    models = {model.id for model in settings.models}
    groups = {group.name for org in settings.orgs for group in org.groups}
    for model in settings.models:
        unknown = sorted((model.groups or frozenset()) - groups)
        said += [f'model "{model.id}": no org of this file has a group "{name}"' for name in unknown]
        if model.price is None and not _answered_by_sandbox(settings, model.id):
            said.append(f'model "{model.id}" has no price: its usage is recorded, its cost is not')
    for org in settings.orgs:
        for group in org.groups:
            unknown = sorted(set(group.models) - models - {"*"})
            said += [
                f'org "{org.slug}", group "{group.name}": "{name}" is no configured model'
                for name in unknown
                if not name.startswith("sandbox-")
            ]
    return tuple(said)


def _answered_by_sandbox(settings: Settings, id: str) -> bool:
    kinds = {provider.name: provider.kind for provider in settings.providers}
    return all(
        kinds.get(target.provider) == "sandbox"
        for model in settings.models
        if model.id == id
        for target in model.targets
    )
