"""From a path to passages that are found: reading, dividing, keeping, indexing, embedding; resumable at any point."""
