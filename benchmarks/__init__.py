"""Benchmarks: one file a benchmark, and what measures speed."""
