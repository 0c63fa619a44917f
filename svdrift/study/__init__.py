"""A study: the settings of all rooms composed, the graph of its stages, and its story.

`settings` is the single source of defaults; the JSON schema (`workflow/schemas/`) and the reference
page (`docs/configuration.md`) are written from it by `make docs`. Importing this package is quick,
because the Snakefile does it on every start.
"""
