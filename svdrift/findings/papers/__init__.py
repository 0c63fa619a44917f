"""Claims of related papers, one file each: statements about what a study has measured."""
