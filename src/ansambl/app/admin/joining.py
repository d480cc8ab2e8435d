"""Joins what the admin API needs beside the instances, the roles and the keys, and ends it when Ansambl stops."""

from __future__ import annotations

from collections.abc import Callable

from ansambl.app.admin.desk import Desk
from ansambl.app.admin.event_board import EventBoard
from ansambl.app.admin.planning import ProductPlanning
from ansambl.app.admin.reading import ProductReading
from ansambl.app.admin.watching import ProductWatching
from ansambl.app.configuration.settings_file import LoadedSettings
from ansambl.app.controls import ProductControls
from ansambl.app.wiring import Product
from ansambl.foundation.paths import DataPaths
from ansambl.foundation.sqlite import Database

_IN_SNAPSHOT = ("version", "started", "default_model", "instances", "devices", "requests")


class AdminSide:
    """The parts behind the admin API's routes for planning, watching and reading; `loaded` gives the settings."""

    def __init__(
        self, product: Product, controls: ProductControls, loaded: Callable[[], LoadedSettings], paths: DataPaths,
        database: Database,
    ) -> None:  # fmt: skip
        self._desk = Desk()
        board = EventBoard(
            product, lambda translate: controls.state(translate).model_dump(include=set(_IN_SNAPSHOT))
        )  # fmt: skip
        self.planning = ProductPlanning(self._desk, loaded)
        self.watching = ProductWatching(product, paths.logs, board)
        self.reading = ProductReading(product, self._desk, loaded, paths, database)

    def close(self) -> None:
        """End all streams, and answer no more questions."""
        self.watching.close()
        self._desk.close()
