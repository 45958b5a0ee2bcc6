"""The page of a comparison, section by section, from `report.json` alone."""
