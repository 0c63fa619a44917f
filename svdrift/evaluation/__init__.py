"""Episodes of a model on saved hands; accuracies with intervals and paired comparisons."""
