"""What is on disk: complete files or none (``files.py``), lines of records, run folders, traces. Knows no model.

``records.py`` and ``runs.py`` make a run folder that survives being killed; ``traces.py`` is the record of one search.
"""
