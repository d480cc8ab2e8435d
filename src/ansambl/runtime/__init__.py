"""What is running now: instances, their life, and the way requests reach them."""
