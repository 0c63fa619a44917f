"""Pretraining of a tiny model from nothing."""
