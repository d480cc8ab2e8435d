"""Joins what the admin API needs beside the instances, the roles and the keys, and ends it when Ansambl stops."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ansambl.access.key_door import KeyDoor
from ansambl.app.admin.desk import Desk
from ansambl.app.admin.event_board import EventBoard
from ansambl.app.admin.installing import ProductInstalling
from ansambl.app.admin.knowledge import ProductKnowledge
from ansambl.app.admin.knowledge_work import ProductKnowledgeWork
from ansambl.app.admin.models import ProductModels
from ansambl.app.admin.plan_applying import PlanApplying
from ansambl.app.admin.planning import ProductPlanning
from ansambl.app.admin.reading import ProductReading
from ansambl.app.admin.watching import ProductWatching
from ansambl.app.configuration.settings_file import LoadedSettings
from ansambl.app.controls import ProductControls
from ansambl.app.installing.desk import InstallDesk
from ansambl.app.instance_controls import ProductInstances
from ansambl.app.keys.controls import ProductKeys
from ansambl.app.pulls.desk import PullDesk
from ansambl.app.roles.controls import ProductRoles
from ansambl.app.web import App
from ansambl.app.wiring import Product
from ansambl.foundation.paths import DataPaths
from ansambl.foundation.sqlite import Database
from ansambl.gateway.front.own_user import is_own_user
from ansambl.gateway.front.peers import is_local

SEARCHES: Final = 4
"""Questions about knowledge worked on at once: a search holds the interpreter for a part of its time alone."""
WAITING_SEARCHES: Final = 200
"""Fifty clients that ask at once, and some more, wait for a moment in place of being sent away."""
_IN_SNAPSHOT = ("version", "started", "default_model", "instances", "devices", "requests")


class AdminSide:
    """The parts behind the admin API's routes; `loaded` gives the settings, `offline` forbids to fetch models."""

    def __init__(
        self, product: Product, controls: ProductControls, loaded: Callable[[], LoadedSettings], paths: DataPaths,
        database: Database, *, offline: bool = False,
    ) -> None:  # fmt: skip
        self.pulls = PullDesk(paths, offline=offline)
        self._installs = InstallDesk(paths, loaded, offline=offline)
        self._desk = Desk()
        self._product, self._controls = product, controls
        board = EventBoard(
            product, lambda translate: controls.state(translate).model_dump(include=set(_IN_SNAPSHOT))
        )  # fmt: skip
        self._applying = PlanApplying(self.pulls)
        self.planning = ProductPlanning(self._desk, loaded, paths, self._applying)
        self.watching = ProductWatching(product, paths.logs, board)
        self.reading = ProductReading(product, self._desk, loaded, paths, database)
        self.installing = ProductInstalling(self._desk, self._installs)
        self.models = ProductModels(self._desk, self.pulls, loaded, paths)
        self._searches = Desk(at_once=SEARCHES, waiting=WAITING_SEARCHES)
        self.knowledge = ProductKnowledge(product.knowledge, self._searches, loaded, product.service.forget_documents)
        self.knowledge_work = ProductKnowledgeWork(
            product.knowledge, product.knowledge_jobs, self._searches, loaded, paths
        )
        product.knowledge_jobs.watcher = board.job
        self.pulls.watcher = board.pull
        self._installs.watcher = board.install

    def api(self, roles: ProductRoles, door: KeyDoor, keys: ProductKeys) -> App:
        """The admin API; takes a few tenths of a second and some memory, which no client of a model waits for."""
        from ansambl.api.routes import make_admin_api

        self._applying.reload = roles.reload_file
        return make_admin_api(
            self._controls, roles, door, ProductInstances(self._product), keys=keys, is_local=is_local,
            is_own_user=is_own_user,
            planning=self.planning, watching=self.watching, reading=self.reading, knowledge=self.knowledge,
            knowledge_work=self.knowledge_work, models=self.models, installing=self.installing,
        )  # fmt: skip

    def close(self) -> None:
        """End all streams, and answer no more questions."""
        self._product.knowledge_jobs.watcher = self.pulls.watcher = self._installs.watcher = None
        self._applying.close()
        self.pulls.begin_to_close()
        self._installs.begin_to_close()
        self.models.close()
        self.watching.close()
        self._desk.close()
        self._searches.close()

    def finish(self) -> None:
        """Wait a moment for pulls and installations to end; what they have by then stays. Blocks."""
        self.pulls.close()
        self._installs.close()
