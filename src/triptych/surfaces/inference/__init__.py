"""Surface ``inference``: the standard model wires at one base URL."""
