"""Episodes of a model on saved problems; accuracies with intervals and paired comparisons."""
