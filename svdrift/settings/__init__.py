"""Every setting of a study: its type, default and meaning. The single source of all three.

`config.yaml` and the overlays in `experiments/` name only what differs from these defaults.
The JSON schema (`workflow/schemas/`) and the reference page (`docs/configuration.md`) are
written from these modules by `make docs`; a test fails when they drift.

Sections are frozen and refuse unknown keys. Importing them is cheap, because the Snakefile does
it on every start.
"""
