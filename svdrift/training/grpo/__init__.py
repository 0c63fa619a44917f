"""Group relative policy optimisation with the verifier's reward."""
