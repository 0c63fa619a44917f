"""The card game with a trace before the formula: steps, dead ends, and returns from them."""
