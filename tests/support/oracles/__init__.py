"""What tests compare with: the same quantities by their definitions, one index at a time."""
