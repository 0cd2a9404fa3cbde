"""The check that `recsdk doctor` runs in a child process for each plugin: `python -m recsdk.cli.probe PLUGIN`.

The plugin, and the answer on standard output, are JSON. The plugin's own output goes to standard error.
"""

from __future__ import annotations

import json
import os
import sys

from recsdk.errors import MissingExtra, RecsdkError
from recsdk.plugins import Plugin, build, hyperparameters, resolve


def examine(plugin: Plugin) -> dict[str, str]:
    """Imports a plugin and, unless it is a command or its hyper-parameters have no defaults, constructs it.

    Returns:
        `status`, "ok", "missing-extra" or "broken", and `detail`, one sentence or nothing.
    """
    try:
        found = resolve(plugin)
        if plugin.kind == "commands":  # constructing it would run it
            return {"status": "ok", "detail": ""}
        required = [name for name, is_required in hyperparameters(found).items() if is_required]
        if required:
            return {"status": "ok", "detail": f"The {plugin} was not constructed: it must be given {required}."}
        build(plugin)
    except MissingExtra as error:
        return {"status": "missing-extra", "detail": str(error)}
    except RecsdkError as error:
        return {"status": "broken", "detail": str(error)}
    except (ValueError, TypeError) as error:
        return {"status": "broken", "detail": f"The {plugin} refuses its own defaults: {type(error).__name__}: {error}"}
    return {"status": "ok", "detail": ""}


def main() -> None:
    """Answers for the plugin in the first argument."""
    with os.fdopen(os.dup(1), "w") as answer:
        os.dup2(2, 1)
        json.dump(examine(Plugin(*json.loads(sys.argv[1]))), answer)


if __name__ == "__main__":
    main()
