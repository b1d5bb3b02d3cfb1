"""What a configuration says of models and providers, as the values and objects that requests use."""

from collections.abc import Iterator, Mapping

import msgspec

from triptych.core.breaker import BreakerRule
from triptych.core.call import Upstream
from triptych.core.target import Model, Target
from triptych.core.usage import FREE, Ratio
from triptych.settings import Settings
from triptych.settings.tree import ModelSettings
from triptych.stages.resolve import SANDBOX
from triptych.storage.retirements import Retirement, Stated
from triptych.upstreams.anthropic import AnthropicUpstream
from triptych.upstreams.azure_openai import AzureOpenAIUpstream
from triptych.upstreams.bedrock import BedrockUpstream
from triptych.upstreams.gemini import GeminiUpstream
from triptych.upstreams.openai import OPENAI_WIRES, OpenAIUpstream
from triptych.upstreams.sandbox import SandboxUpstream
from triptych.upstreams.transport import HttpTransport


def stated_retirements(settings: Settings) -> Iterator[Stated]:
    for model in settings.models:
        if model.retires_at_us is not None:
            yield Stated(model.id, model.retires_at_us, model.replacement)


def catalogue(settings: Settings, retirements: Mapping[str, Retirement]) -> Mapping[str, Model]:
    """The configured models by id, with what was announced of them."""
    sandboxes = {provider.name for provider in settings.providers if provider.kind == "sandbox"}
    agreements = {provider.name: provider.baa for provider in settings.providers if provider.baa}
    covered = sandboxes | agreements.keys()

    def from_sandbox(model: ModelSettings) -> bool:
        return all(target.provider in sandboxes for target in model.targets)

    models = (
        Model(
            id=model.id,
            targets=tuple(
                Target(
                    SANDBOX if target.provider in sandboxes else target.provider,
                    target.upstream_id,
                    weight=target.weight,
                    priority=target.priority,
                    covered=target.provider in covered,
                    agreement=agreements.get(target.provider),
                )
                for target in model.targets
            ),
            tier=model.tier,
            price=FREE if model.price is None and from_sandbox(model) else model.price,
            later_prices=tuple((dated.from_us, dated.price) for dated in model.prices),
            credit_ratio=Ratio(*model.credit_ratio.as_integer_ratio()),
            groups=model.groups,
            replacement=model.replacement,
            max_output_tokens=model.max_output_tokens,
            context_window=model.context_window,
            fallback=model.fallback,
            phi_mode=model.phi_mode,
        )
        for model in settings.models
    )
    return {model.id: _announced(model, retirements.get(model.id)) for model in models}


def _announced(model: Model, retirement: Retirement | None) -> Model:
    if retirement is None:
        return model
    return msgspec.structs.replace(
        model,
        retires_at_us=retirement.retires_us,
        announced_us=retirement.announced_us,
        replacement=retirement.replacement or model.replacement,
    )


def breaker_rule(settings: Settings) -> BreakerRule:
    breaker = settings.breaker
    return BreakerRule(breaker.window_s, breaker.min_calls, breaker.failure_ratio, breaker.open_s)


def upstreams(settings: Settings, transport: HttpTransport) -> Mapping[str, Upstream]:
    built: dict[str, Upstream] = {
        SANDBOX: SandboxUpstream(idle_timeout_s=settings.server.idle_stream_timeout_s)
    }
    for provider in settings.providers:
        if not provider.built or provider.base_url is None:
            continue
        name, kind, base_url = provider.name, provider.kind, provider.base_url
        api_key = provider.api_key.reveal() if provider.api_key else ""
        wires = OPENAI_WIRES if provider.wire == "auto" else frozenset({f"openai-{provider.wire}"})
        if kind == "anthropic":
            built[name] = AnthropicUpstream(transport, base_url=base_url, api_key=api_key)
        elif kind == "openai":
            built[name] = OpenAIUpstream(transport, base_url=base_url, api_key=api_key, wires=wires)
        elif kind == "azure-openai":
            built[name] = AzureOpenAIUpstream(transport, base_url=base_url, api_key=api_key, wires=wires)
        elif kind == "gemini":
            built[name] = GeminiUpstream(transport, base_url=base_url, api_key=api_key)
        elif kind == "bedrock":
            built[name] = BedrockUpstream(
                transport, base_url=base_url, api_key=api_key, region=provider.region
            )
    return built
