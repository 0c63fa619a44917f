"""Methods that choose a rank for each matrix, one a file (`svdrift.ranks.search`)."""
