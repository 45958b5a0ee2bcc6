"""What is predicted of a network's spectrum: one rung of the ladder, or all of them at a recorded epoch."""
