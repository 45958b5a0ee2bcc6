"""Lines on stdout and stderr that never end a run: in any encoding, without a reader, closed, or on a full disk.

Only the standard library is imported: the command lines use this before anything else.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import shutil
import sys
import textwrap
import threading
import time
from typing import Any

_HIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_told: set[str] = set()
_open: list[Stage] = []  # the innermost last
CONTINUED = "      "  # before what goes on from the line above
BEAT, SILENCE, THINNED = 1.0, 2.0, 1.2  # seconds, seconds, ratio of the times of two lines far into a step


def printable(text: str) -> str:
    r"""A name from outside, such as a file's, as text that can be shown and stored anywhere.

    Control characters, those that turn the direction of writing, and surrogates become escapes: ``\n``, ``\x1b``,
    ``\u202e``. A byte of a file name that is not UTF-8 is ``\xe9``.
    """
    return _HIDDEN.sub(_escape, text)


def printable_lines(text: str) -> str:
    """`printable` for a text of several lines."""
    return "\n".join(map(printable, text.split("\n")))


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    if 0xDC80 <= code <= 0xDCFF:  # how Python keeps a byte that it cannot decode
        code -= 0xDC00
    short = {9: r"\t", 10: r"\n", 13: r"\r"}.get(code)
    return short or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")


def terminal_width() -> int:
    """Columns of the terminal; 80 where there is none, COLUMNS where that is set."""
    return max(shutil.get_terminal_size((80, 24)).columns, 20)


def folded(line: str, width: int, indent: str = CONTINUED) -> list[str]:
    """A line as lines of at most `width` columns; words such as paths and options stay whole, whatever their length."""
    if len(line) <= width:
        return [line]
    return textwrap.wrap(
        line, width, subsequent_indent=indent, expand_tabs=False, replace_whitespace=False,
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip


def say(text: object = "", *, whole: bool = False) -> None:
    """A line, or several, on stdout at once, above a progress bar where one is shown.

    Lines wider than the terminal go on below, indented; `whole` ones, such as rows of a table, stay as they are.
    """
    if not whole:
        width = terminal_width()
        lines = printable_lines(str(text)).split("\n")
        text = "\n".join(part for line in lines for part in folded(line, width))
    bars = getattr(sys.modules.get("tqdm"), "tqdm", None)
    with contextlib.nullcontext() if bars is None or sys.stdout is None else bars.external_write_mode(file=sys.stdout):
        _put("stdout", text)


def say_compilation() -> None:
    """From here on a line says when a backend begins to compile kernels (the logger "umwelt.kernels")."""
    import logging

    class Line(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            say(record.getMessage())

    logger = logging.getLogger("umwelt.kernels")
    logger.setLevel(logging.INFO)
    logger.handlers = [Line()]


def complain(text: object) -> None:
    """A line on stderr."""
    _put("stderr", text)


class Stage:
    """A step that takes time, as a ``with`` block that shows that it goes on, at least every 2 s.

    Where stderr is a terminal: a progress bar there, with the time since the step began. In a notebook that has
    ipywidgets: a bar of the notebook. Elsewhere lines on stdout: at 2, 4, 6, 8 and 10 s, and then each time a fifth
    more has passed. Of steps inside each other the inner one speaks.

    total  of `unit`s to come, None where nobody knows
    """

    def __init__(self, what: str, total: int | None = None, unit: str = "", done: int = 0) -> None:
        self._what, self._total, self._unit, self._done = what, total, unit, done
        self._bar: Any = None
        self._ended = threading.Event()
        self._told = 0.0

    def __enter__(self) -> Stage:
        self._begun = time.monotonic()
        if _terminal(sys.stderr) or _notebook():
            from tqdm.auto import tqdm

            self._bar = tqdm(
                total=self._total, desc=self._what, unit=self._unit or "step", initial=self._done, leave=False
            )
        _open.append(self)
        self._thread = threading.Thread(target=self._beat, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        _open.remove(self)
        if self._bar is not None:
            self._bar.close()

    def update(self, count: int = 1) -> None:
        """So many units more are done."""
        self.reach(self._done + count)

    def reach(self, done: int) -> None:
        """So many units are done in all."""
        self._done = done
        if self._bar is not None:
            self._bar.n = done
            self._bar.update(0)

    def _beat(self) -> None:
        while not self._ended.wait(BEAT):
            if _open[-1:] == [self]:
                self._show(time.monotonic() - self._begun)

    def _show(self, seconds: float) -> None:
        if self._bar is not None:
            self._bar.refresh()
        elif seconds >= max(self._told + SILENCE, THINNED * self._told) - BEAT / 2:
            self._told = seconds
            say(f"      {self._what}: {self._progress()}{seconds:.0f} s")

    def _progress(self) -> str:
        if not self._unit:
            return ""
        return f"{self._done:,}{'' if self._total is None else f' of {self._total:,}'} {self._unit}, "


def _terminal(stream: Any) -> bool:
    try:
        return bool(stream is not None and stream.isatty())
    except (OSError, ValueError):  # closed
        return False


def _notebook() -> bool:
    """Whether a Jupyter kernel runs this, and can show widgets: tqdm warns, and shows nothing, without ipywidgets."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return "IPKernelApp" in getattr(shell, "config", ()) and importlib.util.find_spec("ipywidgets") is not None


def _put(name: str, text: object) -> None:
    stream = getattr(sys, name)
    if stream is None:  # closed before Python began
        return
    line = printable_lines(str(text)) + "\n"
    try:
        stream.write(_encodable(line, stream))
        stream.flush()
    except (OSError, ValueError) as error:  # ValueError: closed since
        _give_up(name, stream, error)


def _encodable(text: str, stream: Any) -> str:
    """The text with what the stream's encoding lacks as escapes."""
    try:
        encoding = getattr(stream, "encoding", None) or "utf-8"
        return text.encode(encoding, "backslashreplace").decode(encoding)
    except (LookupError, TypeError):
        return text.encode("ascii", "backslashreplace").decode("ascii")


def _give_up(name: str, stream: Any, error: Exception) -> None:
    """What cannot be written is left out from here on, and that is said once on the other stream."""
    with contextlib.suppress(OSError, ValueError):
        # What waits in its buffer would otherwise fail again as Python ends, with another exit status.
        if stream.fileno() in (1, 2):
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, stream.fileno())
            os.close(null)
    if name == "stdout" and name not in _told:
        _told.add(name)
        reason = getattr(error, "strerror", None) or str(error)
        complain(f"stdout cannot be written ({reason}): the run goes on without it")


def fill_closed_descriptors() -> None:
    """Open the null device where stdin, stdout or stderr was closed.

    A file of the run would take its number otherwise, and what a library prints would land in that file.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the system gives the lowest free number
