"""The business order of the product, one file each, readable from top to bottom."""
