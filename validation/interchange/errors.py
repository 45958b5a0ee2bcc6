"""The one exception of this package."""


class WeightsError(ValueError):
    """A weight file that cannot be used; one sentence names the file, what was expected and what to do."""
