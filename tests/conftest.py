"""What holds for all tests."""

from hypothesis import settings

# A busy machine takes its time over an example; what is tested is what it says.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")
