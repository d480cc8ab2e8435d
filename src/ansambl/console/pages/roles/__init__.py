"""The page Roles: the list with its prefix groups, and the editor of one role or ensemble."""

from __future__ import annotations

import json
import tomllib
from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ansambl.console.admin_client import AdminError
from ansambl.console.page import Frame, Page
from ansambl.console.pages.roles.form import groups_of
from ansambl.console.pages.roles.words import editor_words, list_words
from ansambl.console.words import Speak
from ansambl.foundation.toml_writer import write_toml

_KINDS = ("roles", "ensembles")
_LARGEST_SET = 1_000_000
"""Bytes of a set to import; the admin API takes no more, and a configuration file may not be larger either."""

_LONGEST_TOLD = 200


def _name(speak: Speak) -> str:
    return speak("Roles")


def _routes(frame: Frame) -> list[Route]:
    async def get(request: Request) -> Response:
        admin = frame.admin(request)
        roles, ensembles = await admin.get("roles"), await admin.get("ensembles")
        state = await admin.get("state")
        return frame.page(
            request, PAGE, "roles/page.html", roles=roles["entries"], ensembles=ensembles["entries"],
            groups=_by_model(roles["prefix_groups"], state), letters=letters_of(roles["prefix_groups"]),
            removed=[(kind, one) for kind, found in (("roles", roles), ("ensembles", ensembles))
                     for one in found["removed"]],
            edit=_edit_address,
        )  # fmt: skip

    async def edit(request: Request) -> Response:
        query = request.query_params
        kind = query.get("kind", "roles") if query.get("kind", "roles") in _KINDS else "roles"
        name, source = query.get("name"), query.get("from")
        for one in (name, source):
            if one is not None and "/" in one:
                # No role has such a name, and below the address of one stand other things.
                message = frame.speak(request)("Nothing here is called '{name}'.").format(name=one[:_LONGEST_TOLD])
                raise AdminError(404, message, "model_not_found", "name")
        admin = frame.admin(request)
        entry = await admin.get(kind, name) if name else None
        copied = await admin.get(kind, source) if source and not name else None
        versions: list[Any] = []
        if entry is not None and entry["version"] is not None:
            versions = (await admin.get(kind, entry["name"], "versions"))["versions"]
        data = {
            "kind": kind, "name": name, "entry": entry, "copied": copied, "versions": versions,
            "options": await _options(frame, request),
        }  # fmt: skip
        return frame.page(
            request, EDITOR, "roles/edit.html", kind=kind, entry=entry, copied=copied, data=data,
            groups=groups_of(kind, frame.speak(request)), edit=_edit_address,
        )  # fmt: skip

    async def export(request: Request) -> Response:
        names = request.query_params.getlist("name") or None
        found = await frame.admin(request).post("roles", "export", document={"names": names})
        written = write_toml({kind: found[kind] for kind in _KINDS if found.get(kind)})
        file = f"{names[0]}.toml" if names and len(names) == 1 else "ansambl-roles.toml"
        disposition = f"attachment; filename=\"ansambl-roles.toml\"; filename*=UTF-8''{quote(file, safe='')}"
        return Response(
            written, media_type="application/toml",
            headers={"content-disposition": disposition, "cache-control": "no-store"},
        )  # fmt: skip

    async def take(request: Request) -> Response:
        speak = frame.speak(request)
        wanted = await _body(request)
        if wanted is None:
            return _refusal(413, speak("The file is larger than a configuration file may be (1 MB)."))
        try:
            document = read_set(wanted)
        except ValueError as error:
            reason = str(error)[:300]
            return _refusal(400, speak("The file is neither TOML nor JSON: {reason}").format(reason=reason))
        dry_run = request.query_params.get("dry_run") == "yes"
        try:
            done = await frame.admin(request).post(
                "roles", "import", document={"document": document, "dry_run": dry_run}
            )
        except AdminError as error:
            # The script shows it beside the file that was chosen.
            return _refusal(error.status, error.message, error.code, error.param)
        return JSONResponse(done)

    return [
        Route(PAGE.path, get), Route(EDITOR.path, edit), Route("/console/roles/export", export),
        Route("/console/roles/import", take, methods=["POST"]),
    ]  # fmt: skip


def read_set(written: bytes) -> dict[str, Any]:
    """The tables of a file of roles, which is TOML or JSON.

    Raises:
        ValueError: it is neither, or no table.
    """
    source = written.decode("utf-8-sig")
    try:
        found = json.loads(source) if source.lstrip().startswith("{") else tomllib.loads(source)
        # What JSON cannot say, such as a date, is no value of a role either, nor is half a character.
        return dict(json.loads(json.dumps(found, allow_nan=False, ensure_ascii=False).encode()))
    except (RecursionError, TypeError) as error:
        raise ValueError(str(error)) from None


def letters_of(groups: list[dict[str, Any]]) -> dict[int, str]:
    """A letter for each group whose roles share, by its number; as in ``ansambl roles list``."""
    shared = [one["number"] for one in groups if one["shares"]]
    return {number: _letter(index) for index, number in enumerate(shared)}


def _letter(index: int) -> str:
    return chr(ord("A") + index) if index < 26 else f"A{index - 25}"


def _by_model(groups: list[dict[str, Any]], state: dict[str, Any]) -> list[dict[str, Any]]:
    """The groups below their models, with the state of each model; those that share come first."""
    states = {one["model"]: one["state"] for one in state["instances"]}
    models = dict.fromkeys(one["model"] for one in groups)
    return [
        {
            "model": model, "state": states.get(model), "is_default": model == state["default_model"],
            "groups": sorted((one for one in groups if one["model"] == model), key=lambda one: not one["shares"]),
        }
        for model in models
    ]  # fmt: skip


async def _options(frame: Frame, request: Request) -> dict[str, Any]:
    """What a form can offer: names of models, LoRA adapters, collections, roles and ensembles."""
    admin = frame.admin(request)
    state = await admin.get("state")
    instances = state["instances"]
    loras = {one: instance["model"] for instance in instances for one in instance.get("loras", ())}
    try:
        collections = [one["name"] for one in (await admin.get("knowledge", "collections"))["collections"]]
    except AdminError:
        # Roles can be edited where knowledge is not installed or not open yet.
        collections = []
    return {
        "models": [one["model"] for one in instances], "default_model": state["default_model"], "loras": loras,
        "collections": collections, "roles": [one["name"] for one in state["roles"]],
        "ensembles": [one["name"] for one in state["ensembles"]],
    }  # fmt: skip


async def _body(request: Request) -> bytes | None:
    """The body of a request; None where it is too large."""
    found = b""
    async for part in request.stream():
        found += part
        if len(found) > _LARGEST_SET:
            return None
    return found


def _refusal(status: int, message: str, code: str | None = None, param: str | None = None) -> Response:
    return JSONResponse({"error": {"message": message, "code": code, "param": param}}, status)


def _edit_address(kind: str, name: str, key: str = "name") -> str:
    return f"{EDITOR.path}?kind={kind}&{key}={quote(name, safe='')}"


PAGE = Page(
    key="roles", path="/console/roles", name=_name, routes=_routes, script="roles/page.js", words=list_words,
    styles=("pages/roles/page.css",),
)  # fmt: skip

EDITOR = Page(
    key="roles", path="/console/roles/edit", name=_name, routes=_routes, script="roles/editor.js", words=editor_words,
    styles=("pages/roles/page.css",),
)  # fmt: skip
"""The editor: a page of its own below the list, so that it has an address and survives a reload."""
