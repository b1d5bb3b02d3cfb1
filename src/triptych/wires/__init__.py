"""The grammars on the wire: pure functions and state machines over bytes, no I/O, no clock."""
