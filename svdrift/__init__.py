"""What SFT forgets and RL restores, seen in the singular vectors of a model's weights."""

__version__ = "0.1.0"
