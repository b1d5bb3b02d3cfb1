"""``triptych check``: is this configuration right, and what does it mean?"""

import os

from triptych.cli.options import ConfigOption
from triptych.cli.terminal import say, warn


def check(config: ConfigOption = None) -> None:
    """Check a configuration and print its effective settings, secrets masked.

    Warnings follow on stderr; errors go there too, and then nothing is printed. Exit 2 on errors.
    """
    from triptych.settings import config_path, effective_toml, load_settings, remarks

    settings = load_settings(config_path(config, os.environ), os.environ)
    say(effective_toml(settings).rstrip("\n"))
    for remark in remarks(settings):
        warn(remark)
