"""Training: pretraining, SFT and RL, each one file in the order in which it happens."""
