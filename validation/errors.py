"""The exceptions that a user meets: one sentence names the value, what was expected and what to do."""

from __future__ import annotations


class OptionError(ValueError):
    """An option that cannot be used; the message names the value and what would be accepted."""


class DataError(ValueError):
    """Data that cannot be used as asked; one sentence says what was expected and what to do."""


class WeightsError(ValueError):
    """A weight file that cannot be used; one sentence names the file, what was expected and what to do."""


class StorageError(ValueError):
    """A folder or file of a run that cannot be used; the message names it and what to do."""


class ClusterError(ValueError):
    """No Dask, no cluster at an address, or a task lost again and again; the message says what to do."""


class StoppedError(RuntimeError):
    """The time of --stop-after has passed; what was reached is on disk."""


class InsufficientMemoryError(MemoryError):
    """A step that would not fit; the message says what it takes, what there is, and what to reduce."""
