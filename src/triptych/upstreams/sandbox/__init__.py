"""A provider inside the process: deterministic, offline, free. The default upstream, and every
client developer's test double: its model ids make each row of the error tables happen."""

from triptych.upstreams.sandbox.scenarios import sandbox_model_ids
from triptych.upstreams.sandbox.upstream import SandboxUpstream

__all__ = ["SandboxUpstream", "sandbox_model_ids"]
