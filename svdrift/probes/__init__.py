"""What is measured on a checkpoint without training it."""
