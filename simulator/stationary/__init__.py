"""Points where the gradient of the risk vanishes: the search for them, and the kinks near them."""
