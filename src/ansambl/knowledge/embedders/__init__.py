"""Models of embeddings that come with the package."""
