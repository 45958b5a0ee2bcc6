"""The network: its layers and its random initialisation."""
