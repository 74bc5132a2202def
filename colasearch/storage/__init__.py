"""What is on disk: atomic files, records, run folders, traces of searches; knows no model."""
