"""Knowledge: documents and past conversations, read, divided into passages, found again and cited.

`reading` and `importing` make `Material` of files, pages and exports; `passages` divides it; `analysis` turns words
into terms; `store` keeps the truth in SQLite; `index` finds; `ingest` brings all of it together; `base` is the front of
the whole. Nothing here knows the runtime: vectors come through `embedding.Embedder`.
"""
