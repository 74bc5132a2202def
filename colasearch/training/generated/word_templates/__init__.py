"""Word problems made from templates with drawn numbers."""
