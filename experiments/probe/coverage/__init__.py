"""How often the probe's 95 % intervals contain the truth, by simulation."""
