"""What ``ansambl knowledge show``, ``remove``, ``forget`` and ``watch`` find, take away, list and follow."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansambl.cli.knowledge_adding import INTERRUPTED, is_address
from ansambl.cli.knowledge_progress import Interrupts
from ansambl.cli.knowledge_tables import one_line, print_documents, print_refused
from ansambl.cli.output import ask_yes, note, print_json, print_table, say
from ansambl.domain.errors import AnsamblError, NotFoundError, UsageError
from ansambl.domain.text import text
from ansambl.foundation.locales import speak
from ansambl.foundation.paths import expanded

if TYPE_CHECKING:
    from ansambl.cli.knowledge_access import KnowledgeAccess, StoppedKnowledge
    from ansambl.knowledge.contract import Report

Document = dict[str, Any]

_PAGE = 1000
_SHOWN = 10
_LONGEST_TEXT = 200
_LARGEST = 2**63 - 1


def number_of(wanted: str) -> int | None:
    """The number of a document where that is what is written; None for anything else."""
    is_number = wanted.isascii() and wanted.isdigit() and 0 < len(wanted) < 20
    return int(wanted) if is_number and 0 < int(wanted) <= _LARGEST else None


def find_shown(access: KnowledgeAccess, wanted: str, *, passages: bool) -> Document:
    """A document by its number, with its text and perhaps its passages, else a conversation (with ``turns``).

    Raises:
        NotFoundError: there is neither.
    """
    number = number_of(wanted)
    if number is None:
        return access.conversation(wanted)
    try:
        whole = access.document(number)
    except AnsamblError as error:
        if error.status != 404:
            raise
        # The ids of some programs are numbers, too.
        try:
            return access.conversation(wanted)
        except AnsamblError:
            raise error from None
    return {**whole, "passages": access.passages(number)} if passages else whole


@dataclass(slots=True)
class Removal:
    """What shall be removed: documents, whole collections, and folders that are kept in step no more."""

    documents: list[Document] = field(default_factory=list)
    collections: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    within: int = 0

    @classmethod
    def of(cls, access: KnowledgeAccess, wanted: Sequence[str], collection: str | None) -> Removal:
        """What a user names: numbers, names of collections, paths and addresses.

        Raises:
            NotFoundError: one of them is none of these.
        """
        found = cls()
        known = {one["name"]: one for one in access.collections()}
        seen: set[int] = set()
        for one in wanted:
            number = number_of(one)
            if number is not None:
                documents = [access.document(number)["document"]]
            elif one in known:
                found.collections.append(one)
                found.within += known[one]["documents"]
                continue
            else:
                documents = found._below(access, one, known, collection)
            found.documents += [each for each in documents if each["id"] not in seen]
            seen.update(each["id"] for each in documents)
        return found

    def _below(
        self, access: KnowledgeAccess, wanted: str, known: dict[str, Document], collection: str | None
    ) -> list[Document]:
        """The documents of a path or an address, those inside a folder or a container too."""
        from ansambl.knowledge.reading.roots import place_of

        places = {wanted, wanted if is_address(wanted) else place_of(expanded(wanted).absolute())}
        folders = [one for one in places if any(one in each["folders"] for each in known.values())]
        self.folders += folders
        documents = [
            one
            for place in sorted(places)
            for one in _all_documents(access, place, collection)
            if one["place"] == place or one["place"].startswith((place.rstrip("/") + "/", place + "!"))
        ]
        if not documents and not folders:
            raise NotFoundError(
                text("'{name}' is no document, folder or collection that was added; see: ansambl knowledge list",
                     name=wanted[:300])
            )  # fmt: skip
        return documents

    def perform(self, access: KnowledgeAccess) -> int:
        """Remove it; how many documents it were."""
        removed = 0
        for folder in self.folders:
            # First, or it would be read again; what left by itself meanwhile is no mistake.
            with contextlib.suppress(NotFoundError):
                access.leave(folder, None)
        for name in self.collections:
            removed += access.remove_collection(name)
        for one in self.documents:
            if one["collection"] not in self.collections:
                access.remove_document(one["id"])
                removed += 1
        return removed


def _all_documents(access: KnowledgeAccess, place: str, collection: str | None) -> list[Document]:
    found: list[Document] = []
    after: int | None = 0
    while after is not None:
        page = access.documents(collection, text=place[:_LONGEST_TEXT], after=after, limit=_PAGE)
        found += page["documents"]
        after = page["next"]
    return found


def told_removal(removal: Removal) -> list[str]:
    """What would be removed, a line each."""
    lines = [
        speak("The collection {name}; documents in it: {count}").format(name=one, count=f"{removal.within:,}")
        if len(removal.collections) == 1
        else speak("The collection {name} with all its documents").format(name=one)
        for one in removal.collections
    ]
    lines += [
        speak("Document {number}: {title} ({place})").format(
            number=one["id"], title=one_line(one["title"]), place=one_line(one["place"], 200)
        )
        for one in removal.documents[:_SHOWN]
    ]
    if len(removal.documents) > _SHOWN:
        lines.append(speak("and more documents: {count}").format(count=f"{len(removal.documents) - _SHOWN:,}"))
    lines += [speak("The folder {path} is kept in step no more.").format(path=one) for one in removal.folders]
    return lines


# --- folders that are kept in step ------------------------------------------------------------------------------------


def leave_folder(config: Path | None, folder: str | None, collection: str | None, *, as_json: bool) -> None:
    """Keep a folder in step no more.

    Raises:
        UsageError: none was named.
        NotFoundError: it is not kept in step.
    """
    from ansambl.cli.knowledge_access import knowledge_access
    from ansambl.knowledge.reading.roots import place_of

    if folder is None:
        raise UsageError(text("say which folder; see: ansambl knowledge watch --list"))
    with knowledge_access(config, changes=True) as reached:
        kept = {one["path"] for one in reached.state()["folders"]}
        place = folder if folder in kept else place_of(expanded(folder).absolute())
        reached.leave(place, collection)
        if as_json:
            print_json({"folders": reached.state()["folders"]})
            return
    say(speak("The folder {path} is kept in step no more; its documents stay.").format(path=place))


def list_folders(config: Path | None, *, as_json: bool, reached: KnowledgeAccess | None = None) -> None:
    """List the folders that are kept in step."""
    from ansambl.cli.knowledge_access import knowledge_access

    if reached is None:
        with knowledge_access(config, changes=False) as found:
            list_folders(config, as_json=as_json, reached=found)
        return
    folders = reached.state()["folders"]
    if as_json:
        print_json({"folders": folders})
    elif not folders:
        say(speak("No folder is kept in step; begin with: ansambl knowledge watch FOLDER"))
    else:
        print_table(
            speak("Kept in step"), (speak("Folder"), speak("Collection")),
            [(one["path"], one["collection"]) for one in folders],
        )  # fmt: skip


def follow_folders(access: StoppedKnowledge) -> int:
    """Keep all of them in step until Ctrl-C; returns the exit code.

    Raises:
        UsageError: there is none.
    """
    from ansambl.knowledge.watching import follow

    folders = access.state()["folders"]
    if not folders:
        raise UsageError(text("no folder is kept in step; begin with: ansambl knowledge watch FOLDER"))
    say(speak("Folders that are kept in step: {count}. Ctrl-C ends it.").format(count=len(folders)))

    def told(folder: str, report: Report) -> None:
        from ansambl.app.knowledge.documents import report_document

        found = report_document(report, speak).model_dump()
        if report.added or report.updated or report.removed:
            say(speak("{folder}: {added} added, {updated} updated, {removed} removed").format(
                folder=folder, added=report.added, updated=report.updated, removed=report.removed))  # fmt: skip
        print_refused(found["refused"], found["refused_count"])

    with Interrupts() as interrupts:
        follow(access.knowledge, stopped=interrupts.stopped, told=told)
    return INTERRUPTED if interrupts.stopped() else 0


# --- memory -----------------------------------------------------------------------------------------------------------


def forget_memory(
    config: Path | None, numbers: Sequence[int], owner: str | None, *, everything: bool, yes: bool, as_json: bool
) -> int:
    """List what is remembered, or forget what is named; returns the exit code.

    Raises:
        UsageError: the wishes contradict each other.
        NotFoundError: a number is not remembered.
    """
    from ansambl.cli.knowledge_access import knowledge_access

    if sum((bool(numbers), owner is not None, everything)) > 1:
        raise UsageError(text("name conversations, one API key or --all, not several of them"))
    with knowledge_access(config, changes=False) as reached:
        remembered = reached.memory(owner)
    if not numbers and owner is None and not everything:
        _list_memory(remembered, as_json=as_json)
        return 0
    wanted = _numbered(remembered, numbers) if numbers else remembered
    if wanted:
        note(speak("Conversations that will be forgotten: {count}").format(count=f"{len(wanted):,}"))
        if not ask_yes(speak("Forget them? This cannot be undone."), yes=yes):
            return 1
        with knowledge_access(config, changes=True) as reached:
            _forget(reached, wanted, whole=not numbers)
    if as_json:
        print_json({"removed": len(wanted)})
    else:
        say(speak("Conversations forgotten: {count}").format(count=f"{len(wanted):,}"))
    return 0


def _list_memory(remembered: Sequence[Document], *, as_json: bool) -> None:
    if as_json:
        print_json({"documents": remembered})
    elif remembered:
        print_documents(speak("Remembered conversations"), remembered, owners=True)
    else:
        say(speak("Nothing is remembered."))


def _numbered(remembered: Sequence[Document], numbers: Sequence[int]) -> list[Document]:
    by_number = {one["id"]: one for one in remembered}
    for number in numbers:
        if number not in by_number:
            raise NotFoundError(
                text("nothing is remembered under the number {number}; see: ansambl knowledge forget", number=number)
            )
    return [by_number[number] for number in dict.fromkeys(numbers)]


def _forget(access: KnowledgeAccess, wanted: Sequence[Document], *, whole: bool) -> None:
    if whole:
        for owner in sorted({one["owner"] for one in wanted}):
            access.forget(owner)
    else:
        for one in wanted:
            access.remove_document(one["id"])
