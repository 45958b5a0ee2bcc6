"""Forward and backward passes: gates, output, losses, risk and its gradient."""
