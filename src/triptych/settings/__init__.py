"""Configuration: the only reader of TOML and of the environment."""

from triptych.settings.effective import effective_toml
from triptych.settings.loading import (
    CONFIG_VARIABLE,
    DEMO_SLUG,
    config_path,
    default_settings,
    load_settings,
    with_server,
)
from triptych.settings.problem import Problem, SettingsError
from triptych.settings.remarks import remarks
from triptych.settings.secret import Secret, SecretUrl
from triptych.settings.template import init_template
from triptych.settings.tree import BUILT_KINDS, KNOWN_KINDS, Settings

__all__ = [
    "BUILT_KINDS",
    "CONFIG_VARIABLE",
    "DEMO_SLUG",
    "KNOWN_KINDS",
    "Problem",
    "Secret",
    "SecretUrl",
    "Settings",
    "SettingsError",
    "config_path",
    "default_settings",
    "effective_toml",
    "init_template",
    "load_settings",
    "remarks",
    "with_server",
]
