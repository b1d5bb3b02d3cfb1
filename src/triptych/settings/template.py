"""The commented file that ``triptych init`` writes."""

from importlib.resources import files


def init_template() -> str:
    """Text of a configuration that loads as it is, without any environment variable."""
    return files("triptych.settings").joinpath("template.toml").read_text(encoding="utf-8")
