"""What the benchmarks share: the engines, their clock, their oracles, and what is told."""
