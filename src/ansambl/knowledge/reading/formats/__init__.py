"""One module for each format that documents come in; `registry` lists them. None imports another of them."""
