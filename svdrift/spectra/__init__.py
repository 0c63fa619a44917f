"""What the weight matrices are made of: decompositions, rotations, and what noise would do."""
