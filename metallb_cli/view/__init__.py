"""The terminal: tables, progress and problems. The only package that imports rich."""
