"""The command `umwelt`: ``umwelt compare ...`` is ``python -m validation.compare ...``, and so for its siblings."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

from umwelt_dnn import __version__

HOME = Path(__file__).absolute().parents[1]
USAGE = 2


def commands() -> list[str]:
    """The commands that there are: packages of `validation` that can be started."""
    found = importlib.util.find_spec("validation")
    places = [Path(place) for place in (found.submodule_search_locations if found else None) or ()]
    return sorted(file.parent.name for place in places for file in place.glob("*/__main__.py"))


def main(arguments: list[str] | None = None) -> int:
    """Run a command in a process of its own, by ``python -m``; its exit status, 2 for a command that is unknown."""
    words = sys.argv[1:] if arguments is None else arguments
    known = commands()
    usage = f"usage: umwelt {{{','.join(known)}}} [options]"
    if words[:1] == ["--version"]:
        print(f"umwelt {__version__}")
        return 0
    if words[:1] in (["-h"], ["--help"]):
        print(f"{usage}\n\numwelt COMMAND --help lists the options of a command; umwelt --version the version.")
        return 0
    if not words or words[0] not in known:
        said = f"command {words[0]!r} is unknown" if words else "no command was given"
        print(f"umwelt: {said}: {usage}", file=sys.stderr)
        return USAGE
    # Not the working folder first, where a file of the user's may have the name of a package.
    safely = [] if Path.cwd() == HOME else ["-P"]
    return _replaced_by([sys.executable, *safely, "-m", f"validation.{words[0]}", *words[1:]])


def _replaced_by(command: list[str]) -> int:
    """Interrupts and exit statuses are those of the command itself; Windows has no such call."""
    if os.name == "posix":
        sys.stdout.flush()
        sys.stderr.flush()
        os.execv(command[0], command)
    return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
