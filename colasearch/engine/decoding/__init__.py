"""Rows: texts decoded together. ``row.py`` is one text and its rules, ``decoder.py`` the batch, ``draws.py`` the draws.

Nothing here knows what a row is for: no trees, problems or answers. What a row decodes depends on the row alone.
"""
