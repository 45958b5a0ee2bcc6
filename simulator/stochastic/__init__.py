"""The stochastic network: averages over gates drawn at a temperature, each with its standard error."""
