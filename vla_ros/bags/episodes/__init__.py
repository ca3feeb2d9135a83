"""Episodes and frames of a bag: marks, gaps, commands, and the report that an export gives about them."""
