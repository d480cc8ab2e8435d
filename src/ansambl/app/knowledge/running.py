"""The knowledge of the running product: its models are asked through the coordinator."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ansambl.app.configuration.knowledge_settings import KnowledgeSettings
from ansambl.app.configuration.settings import Settings
from ansambl.app.configuration.settings_file import LoadedSettings
from ansambl.app.knowledge.asking import Asks, RuntimeModel
from ansambl.app.knowledge.shared import Opened, SharedKnowledge
from ansambl.foundation.paths import DataPaths
from ansambl.runtime.coordinator import Coordinator

_OPENED_WITH = (
    "embedder", "rerank", "index", "address", "address_env", "passage_tokens", "overlap", "allow_private_addresses",
    "max_file", "max_page", "page_timeout",
)  # fmt: skip
"""The settings that are read when it is opened; the others are read when they are needed."""


class RunningKnowledge(SharedKnowledge):
    """`SharedKnowledge` of a product. Made on its event loop."""

    def __init__(self, loaded: LoadedSettings, paths: DataPaths, coordinator: Coordinator) -> None:
        self._paths, self._coordinator, self._loop = paths, coordinator, asyncio.get_running_loop()
        self.loaded = loaded
        super().__init__(self._opening(loaded), paths.knowledge)

    def _asking(self, model: str) -> Asks:
        return RuntimeModel(self._coordinator, self._loop, model)

    def _opening(self, loaded: LoadedSettings) -> Callable[[], Opened]:
        def opening() -> Opened:
            # What opens it brings numpy along, which an Ansambl without knowledge starts sooner without.
            from ansambl.app.knowledge.opening import opened

            return opened(loaded, self._paths, self._asking)

        return opening

    @property
    def settings(self) -> KnowledgeSettings:
        """Those in effect."""
        return self.loaded.settings.knowledge

    def follow(self, loaded: LoadedSettings) -> bool:
        """Take other settings; returns whether it is opened anew, because what it was opened with has changed."""
        changed = _relevant(self.loaded.settings) != _relevant(loaded.settings)
        self.loaded = loaded
        if changed:
            self.use(self._opening(loaded))
        return changed


def _relevant(settings: Settings) -> object:
    models = [
        (name, one.checkpoint, one.address, one.name, one.key, one.key_env) for name, one in settings.models.items()
    ]
    return [getattr(settings.knowledge, key) for key in _OPENED_WITH], models
