"""What the tables of a study say about the claims: statements, estimates, verdicts."""
