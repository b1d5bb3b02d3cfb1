"""``triptych check``: is this configuration right, and what does it mean?"""

import os

from triptych.cli.terminal import ConfigOption, say, warn


def check(config: ConfigOption = None) -> None:
    """Check a configuration and print its effective settings, secrets masked."""
    from triptych.settings import config_path, effective_toml, load_settings, remarks

    settings = load_settings(config_path(config, os.environ), os.environ)
    for remark in remarks(settings):
        warn(remark)
    say(effective_toml(settings).rstrip("\n"))
