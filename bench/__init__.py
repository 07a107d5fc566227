"""Load, faults and comparisons: what drives the product from outside."""
