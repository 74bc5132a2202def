"""Sets of problems: what a benchmark is, where its rows come from, and one file or table row each."""
