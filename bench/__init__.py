"""A reproducible benchmark of the gateway beside its peers: run it with `python -m bench`."""
