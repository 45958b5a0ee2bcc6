"""What is measured of a network, apart from the spectrum itself: laws, moments, signals, exact facts."""
