"""How runs, datasets, examples and curves are shown; nothing here decides about a number."""
