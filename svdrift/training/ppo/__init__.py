"""Proximal policy optimisation with the verifier's reward."""
