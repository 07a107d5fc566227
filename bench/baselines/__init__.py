"""What the product is compared with: servers that do less, and one that does it as one would at first."""
