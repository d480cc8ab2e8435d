"""Fixtures that several suites share."""

from pathlib import Path

import pytest

from ansambl.model_catalog import embedded

BUILD = Path(__file__).resolve().parent.parent / ".build"


@pytest.fixture(scope="session")
def embedded_model_folder():
    """A models folder that holds the embedded model, pulled once into the checkout by the product's own `pull`."""
    folder = BUILD / "models"
    embedded.pull(folder, lambda _done, _total: None)
    return folder
