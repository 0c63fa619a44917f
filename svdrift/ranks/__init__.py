"""A rank for each matrix: methods that choose it, and the model that they are judged by."""
