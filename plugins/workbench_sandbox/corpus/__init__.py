"""Documents, their passages and embeddings as one file, and the search in it; pure but for the embedder."""
