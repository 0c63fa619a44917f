"""Navigation by written directions, one step a problem; after V-IRL-L (arXiv 2501.17161)."""
