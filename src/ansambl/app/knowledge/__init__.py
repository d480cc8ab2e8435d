"""Knowledge as the product uses it: opened, joined with models, worked on in the background, shown by the faces."""
