"""The figures of a comparison, drawn from the numbers of its report alone."""
