"""The words that go with the figures of a comparison, with the report's own numbers."""
