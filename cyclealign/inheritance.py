"""What processes of ours inherit: everything but other people's keys."""

import os


def environment_without_keys() -> dict[str, str]:
    """This process's environment without the variables whose names say that they hold an API key.

    A model server or a training process needs no judge's key, and could leave it in a log or a crash report.
    """
    return {name: value for name, value in os.environ.items() if "API_KEY" not in name.upper()}
