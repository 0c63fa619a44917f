"""One module per figure, one style. Each reads tables and draws; none computes results."""
