"""Words into terms that every index can compare: lemmas of Russian, stems of English, likeness of passages."""
