"""Where an exception was raised, without what it says: that may quote content or keys."""

_FRAMES = 6


def origin(error: BaseException) -> str:
    """The innermost places in the code: ``stages/relay.py:120 > wires/sse.py:41``."""
    frames: list[str] = []
    trace = error.__traceback__
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        frames.append(f"{file.rpartition('/triptych/')[2]}:{trace.tb_lineno}")
        trace = trace.tb_next
    return " > ".join(frames[-_FRAMES:])
