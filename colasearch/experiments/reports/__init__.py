"""What an experiment found: results read from its stages' folders, tables, charts, pages."""
