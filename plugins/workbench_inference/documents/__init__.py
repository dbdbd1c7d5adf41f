"""Documents that questions are answered from: reading, importing, indexing, and a synthetic corpus."""
