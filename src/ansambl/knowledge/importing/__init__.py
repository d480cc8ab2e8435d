"""Past conversations from the exports of others, repaired where they were decoded wrongly."""
