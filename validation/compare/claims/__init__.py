"""From recorded epochs to verdicts: the paper's claims, the exact facts, entries, and the theorems."""
