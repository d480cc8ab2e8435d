"""How roles and ensembles look on the terminal."""

from __future__ import annotations

import string
import time
from collections.abc import Mapping, Sequence
from typing import Any

from ansambl.cli.output import console, note, print_pairs, print_table, say
from ansambl.foundation.locales import speak
from ansambl.foundation.toml_writer import write_toml

Document = Mapping[str, Any]


def group_letter(number: int | None) -> str:
    """A prefix group's letter; a dash for a role that has none."""
    if number is None:
        return "—"
    return string.ascii_uppercase[number - 1] if number <= len(string.ascii_uppercase) else str(number)


def origin_words(entry: Document) -> str:
    """Where a role or an ensemble comes from, and whether what is saved is hidden by the file."""
    words = {"shipped": speak("shipped"), "configuration": "ansambl.toml", "saved": speak("saved")}[entry["origin"]]
    if entry["version"] is not None and not entry["hidden"]:
        words = speak("saved, version {number}").format(number=entry["version"])
    if entry["hidden"] and entry["read_only"]:
        return speak("{origin} (hides a saved one)").format(origin=words)
    return speak("saved, not in effect") if entry["hidden"] else words


def print_list(roles: Sequence[Document], ensembles: Sequence[Document]) -> None:
    """The tables of ``roles list``, and which roles share no prefix."""
    print_table(
        speak("Roles"),
        (speak("Name"), speak("From"), speak("Model"), speak("Layout"), speak("Group"), speak("Description")),
        [
            (one["name"], origin_words(one), one["model"] or "—", one["layout"] or "—",
             group_letter(one["prefix_group"]), one["description"])
            for one in roles
        ],
    )  # fmt: skip
    print_table(
        speak("Ensembles"),
        (speak("Name"), speak("From"), speak("Pattern"), speak("Members"), speak("Description")),
        [
            (one["name"], origin_words(one), str(one["fields"].get("pattern", "council")),
             ", ".join(one["fields"].get("roles", [])), one["description"])
            for one in ensembles
        ],
    )  # fmt: skip
    out = console()
    out.print()
    out.print(speak("Roles of one group share their prefix: a change between them prefills the last message alone."))
    for one in roles:
        if one["not_shared"]:
            out.print(speak("{role} shares with no other role: {reason}").format(
                role=one["name"], reason=one["not_shared"]))  # fmt: skip
    for one in (*roles, *ensembles):
        if one["hidden"]:
            note(speak("{name}, as saved, is not in effect: {reason}").format(name=one["name"], reason=one["hidden"]))


def print_entry(kind: str, entry: Document) -> None:
    """``roles show``: what is in effect, as a table that can be pasted, each key with its origin."""
    pairs = [
        (speak("From"), origin_words(entry)), (speak("Aliases"), ", ".join(entry["aliases"])),
        (speak("Model"), entry["model"] or ""),
        (speak("Group"), group_letter(entry["prefix_group"]) if entry["layout"] else ""),
        (speak("Not in effect"), entry["hidden"] or ""),
    ]  # fmt: skip
    print_pairs([(name, value) for name, value in pairs if value])
    say("")
    say(write_toml({kind: {entry["name"]: entry["fields"]}}).rstrip())
    if entry["origins"]:
        say("")
        by_origin: dict[str, list[str]] = {}
        for key, origin in entry["origins"].items():
            by_origin.setdefault(origin, []).append(key)
        for origin, keys in by_origin.items():
            say(f"# {origin}: {', '.join(keys)}")


def print_versions(versions: Sequence[Document]) -> None:
    """``roles history``: one line for each version, the newest last."""
    actions = {
        "created": speak("created"), "changed": speak("changed"), "removed": speak("removed"),
        "restored": speak("restored"), "renamed": speak("renamed"), "imported": speak("imported"),
    }  # fmt: skip
    print_table(
        speak("Versions"),
        (speak("Version"), speak("Time"), speak("What"), speak("Keys")),
        [
            (str(one["number"]), time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(one["time"])),
             actions.get(str(one["action"]), ""), ", ".join(one["changed"]))
            for one in versions
        ],
    )  # fmt: skip
