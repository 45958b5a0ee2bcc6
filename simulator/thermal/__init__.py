"""Gates at a temperature: their laws, energies and entropies, max-pools that choose, and the most probable gates."""
