"""Episodes and frames of a bag: marks, gaps, commands, and what an export is told about them."""
