"""Triptych: a self-hosted, governed AI gateway. Importing this package does nothing."""

__version__ = "0.1.0"
