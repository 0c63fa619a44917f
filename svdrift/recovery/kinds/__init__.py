"""Interventions, one kind a file: its record, and the pure function that repairs a matrix."""
