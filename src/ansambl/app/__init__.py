"""The one place that joins the parts: settings, wiring, the life of the program, its check of itself."""
