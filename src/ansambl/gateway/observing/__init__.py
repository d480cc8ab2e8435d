"""What is told of requests afterwards: metrics, one line each in a log, the newest in memory."""
