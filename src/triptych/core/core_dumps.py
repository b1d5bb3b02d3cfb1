"""What a process leaves behind when it crashes: nothing of what it was told."""

import resource


def leave_no_core_dump() -> None:
    """Memory holds prompts, values that were redacted, and keys of providers; a core file would keep them.
    For this process, and for those it starts.

    A limit of one byte stops files as a limit of none does, and unlike that dumps that are piped to a
    collector (systemd-coredump, apport) too: see core(5), and ``cprm.limit`` in Linux' fs/coredump.c.
    """
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    limit = 0 if most == 0 else 1
    resource.setrlimit(resource.RLIMIT_CORE, (limit, limit))
