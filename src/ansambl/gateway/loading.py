"""Models that clients want in memory, or out of it, by the names of what runs on them."""

from __future__ import annotations

from ansambl.domain.access import Caller, Endpoint
from ansambl.domain.errors import NotSupportedError, UnavailableError
from ansambl.domain.instance import InstanceState
from ansambl.domain.scheduling import Standing
from ansambl.domain.text import text
from ansambl.roles.availability import models_of
from ansambl.roles.records import Target
from ansambl.roles.service import RoleService
from ansambl.runtime.coordinator import Coordinator
from ansambl.runtime.wishes import Wish


class Loading:
    """Loads and unloads what a name runs on.

    Who may ask a model may load it, because a request does the same. To unload is the owner's: it takes the model from
    others, too. What runs is answered to its end first.
    """

    def __init__(self, service: RoleService, coordinator: Coordinator) -> None:
        self._service = service
        self._coordinator = coordinator

    async def load(self, target: Target, standing: Standing) -> None:
        """Have all models of `target` resident, one after another; return when they are.

        Raises:
            AnsamblError: one cannot be made ready.
        """
        for model in self._models(target):
            await self._coordinator.wake(model, standing=standing)

    def begin_load(self, target: Target) -> None:
        """Begin to load all models of `target`; what goes wrong is shown by their state.

        Raises:
            AnsamblError: there is no model.
        """
        for model in self._models(target):
            if self._coordinator.instance(model).status().state is not InstanceState.READY:
                self._coordinator.wishes.begin(model, Wish.LOAD)

    def begin_unload(self, target: Target, caller: Caller) -> None:
        """Begin to unload all models of `target`, each as soon as nobody uses it.

        Raises:
            ForbiddenError: the caller may not.
            NotSupportedError: none of them is Ansambl's to stop.
            AnsamblError: there is no model.
        """
        caller.require(Endpoint.ADMIN)
        models = self._models(target)
        ours = [one for one in models if not self._coordinator.instance(one).status().attached]
        if not ours:
            raise NotSupportedError(
                text("'{model}' is not Ansambl's to stop; whoever runs that server can do it.", model=models[0])
            )
        for model in ours:
            self._coordinator.wishes.begin(model, Wish.UNLOAD)

    def _models(self, target: Target) -> list[str]:
        models = models_of(target, self._service.catalog)
        if not models:
            raise UnavailableError(
                text("'{name}' has no model to run on; add a table [models.…] to ansambl.toml.", name=target.name),
                retry_after=None,
            )
        return models
