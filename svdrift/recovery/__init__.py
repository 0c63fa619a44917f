"""Giving one checkpoint the singular directions of another, and evaluating what comes back."""
