"""How it is shown: pages, drawings, files, and a report's numbers as arrays."""
