"""The public API contracts. Surfaces do not know each other."""
