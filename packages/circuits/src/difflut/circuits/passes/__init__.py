"""Circuit to circuit, the function kept: simplification, and tables split to the size of the hardware's."""
