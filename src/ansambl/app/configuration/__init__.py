"""The configuration: every setting with its meaning, the file that it is read from, and the records made of it."""
