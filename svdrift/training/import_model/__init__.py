"""Starting from a model that exists."""
