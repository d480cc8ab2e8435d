"""What stands before all faces: connections with limits, who is at the other end, which web pages may ask."""
