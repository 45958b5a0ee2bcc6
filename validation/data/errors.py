"""The one exception of this package."""


class DataError(ValueError):
    """Data that cannot be used as asked; one sentence says what was expected and what to do."""
