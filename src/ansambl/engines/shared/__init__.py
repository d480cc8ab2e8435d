"""What several engine adapters use."""
