"""``ansambl knowledge``: documents and past conversations that roles read, searched with citations."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ansambl.cli.options import Config, Json, Yes
from ansambl.foundation.locales import speak

Collection = Annotated[
    str | None, typer.Option("--collection", "-c", metavar="NAME", help=speak("The collection that it is about."))
]
NoEmbed = Annotated[
    bool, typer.Option("--no-embed", help=speak("Make no vectors now: what is added is found by its words alone."))
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help=speak("Documents and past conversations: searched, cited, and read by roles."))
    group.command("add", help=speak("Take in files, folders and web pages."))(add)
    group.command("import-chats", help=speak("Take in conversations that ChatGPT, Claude or others exported."))(
        import_chats
    )
    group.command("search", help=speak("Find passages by words and by meaning."))(search)
    group.command("list", help=speak("List the collections, or the documents of one."))(list_knowledge)
    group.command("show", help=speak("Show a document or a conversation."))(show)
    group.command("remove", help=speak("Remove documents, folders or collections. Your files stay."))(remove)
    group.command("watch", help=speak("Keep folders in step: what changes in them is read again."))(watch)
    group.command("embed", help=speak("Give vectors to what has none, so that it is found by its meaning."))(embed)
    group.command("forget", help=speak("Show what is remembered of new conversations, or forget it."))(forget)
    app.add_typer(group, name="knowledge")


def add(
    places: Annotated[
        list[str], typer.Argument(metavar="PATH|URL…", help=speak("Files, folders, or addresses of web pages."))
    ],
    collection: Collection = None,
    include: Annotated[
        list[str] | None,
        typer.Option("--include", metavar="PATTERN", help=speak(
            "Of folders only files like this, such as '*.md'. May be repeated.")),
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option("--exclude", metavar="PATTERN", help=speak(
            "Of folders no files like this, as in .gitignore. May be repeated.")),
    ] = None,
    keep: Annotated[
        bool, typer.Option("--watch", help=speak("Keep folders in step from now on, while Ansambl runs."))
    ] = False,
    no_embed: NoEmbed = False,
    config: Config = None,
    yes: Yes = False,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Take in files, folders and web pages."""
    from ansambl.cli.knowledge_access import knowledge_access
    from ansambl.cli.knowledge_adding import Adding, place_for

    wanted = [
        {
            "place": place_for(one, keep=keep), "collection": collection or "documents",
            "include": include or [], "exclude": exclude or [], "watch": keep,
        }
        for one in places
    ]  # fmt: skip
    with knowledge_access(config, changes=True) as reached:
        adding = Adding(reached, chats=False, as_json=as_json, yes=yes)
        raise typer.Exit(adding.run(wanted, embed=not no_embed))


def import_chats(
    paths: Annotated[
        list[str],
        typer.Argument(metavar="FILE|FOLDER…", help=speak("Exports as they were downloaded, or a folder of notes.")),
    ],
    collection: Collection = None,
    day_first: Annotated[
        bool | None, typer.Option("--day-first/--month-first", help=speak(
            "How dates such as 07/08/2025 are meant in notes that do not tell."), show_default=False),
    ] = None,
    no_embed: NoEmbed = False,
    config: Config = None,
    yes: Yes = False,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Take in exported conversations."""
    from ansambl.cli.knowledge_access import knowledge_access
    from ansambl.cli.knowledge_adding import Adding, path_for

    wanted = [
        {"path": path_for(one), "collection": collection or "chats", "day_first": day_first} for one in paths
    ]  # fmt: skip
    with knowledge_access(config, changes=True) as reached:
        adding = Adding(reached, chats=True, as_json=as_json, yes=yes)
        raise typer.Exit(adding.run(wanted, embed=not no_embed))


def search(
    words: Annotated[list[str], typer.Argument(metavar="TEXT", help=speak("A question, or words."))],
    collection: Annotated[
        list[str] | None,
        typer.Option("--collection", "-c", metavar="NAME", help=speak("Only in this collection. May be repeated.")),
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", "-n", metavar="N", min=1, max=100, help=speak("How many passages at most."))
    ] = 10,
    since: Annotated[
        str | None, typer.Option("--since", metavar="DATE", help=speak("Not older than this day, such as 2025-08-07."))
    ] = None,
    until: Annotated[
        str | None, typer.Option("--until", metavar="DATE", help=speak("Not younger than this day."))
    ] = None,
    language: Annotated[
        list[str] | None,
        typer.Option("--language", metavar="LANGUAGE", help=speak("Only in this language, such as ru.")),
    ] = None,
    author: Annotated[
        list[str] | None, typer.Option("--author", metavar="NAME", help=speak("Only what this person or model wrote."))
    ] = None,
    role: Annotated[
        list[str] | None,
        typer.Option("--role", metavar="ROLE", help=speak(
            "Of conversations only what this side said: user or assistant.")),
    ] = None,
    source: Annotated[
        list[str] | None,
        typer.Option("--source", metavar="SOURCE", help=speak("Only from there, such as chatgpt, claude or file.")),
    ] = None,
    words_only: Annotated[
        bool, typer.Option("--words-only", help=speak("Search by words alone, without a model of embeddings."))
    ] = False,
    config: Config = None,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Find passages."""
    from ansambl.cli.knowledge_access import knowledge_access
    from ansambl.cli.knowledge_adding import moment_of
    from ansambl.cli.knowledge_tables import print_hits
    from ansambl.cli.output import print_json
    from ansambl.domain.languages import language_code

    query = " ".join(words)
    wanted: dict[str, Any] = {
        "query": query, "collections": collection or None, "limit": limit, "words_only": words_only,
        "since": None if since is None else moment_of(since), "authors": author or None, "roles": role or None,
        "until": None if until is None else moment_of(until, after=True), "sources": source or None,
        "languages": [language_code(one) for one in language] if language else None,
    }  # fmt: skip
    with knowledge_access(config, changes=False) as reached:
        found = reached.search(wanted)
    if as_json:
        print_json(found)
    else:
        print_hits(found, query)


def list_knowledge(
    collection: Collection = None,
    text: Annotated[
        str, typer.Option("--text", metavar="TEXT", help=speak("Only documents with this in their title or place."))
    ] = "",
    limit: Annotated[
        int, typer.Option("--limit", "-n", metavar="N", min=1, max=1000, help=speak("How many documents at most."))
    ] = 100,
    after: Annotated[
        int, typer.Option("--after", metavar="NUMBER", min=0, help=speak("Only documents behind this number."))
    ] = 0,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """List collections, or documents."""
    from ansambl.cli.knowledge_access import knowledge_access
    from ansambl.cli.knowledge_tables import print_collections, print_documents
    from ansambl.cli.output import note, print_json, say

    with knowledge_access(config, changes=False) as reached:
        if collection is None and not text:
            collections, state = reached.collections(), reached.state()
            if as_json:
                print_json({"collections": collections, "state": state})
            else:
                print_collections(collections, state)
            return
        found = reached.documents(collection, text=text, after=after, limit=limit)
    if as_json:
        print_json(found)
    elif not found["documents"]:
        say(speak("There is no such document."))
    else:
        print_documents(speak("Documents"), found["documents"])
        if found["next"] is not None:
            note(speak("There are more; go on with: --after {number}").format(number=found["next"]))


def show(
    wanted: Annotated[
        str, typer.Argument(metavar="NUMBER|ID", help=speak("A document's number, or a conversation's id or title."))
    ],
    passages: Annotated[
        bool, typer.Option("--passages", help=speak("Show the passages that are searched, not the whole text."))
    ] = False,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Show a document or a conversation."""
    from ansambl.cli.knowledge_access import knowledge_access
    from ansambl.cli.knowledge_removing import find_shown
    from ansambl.cli.knowledge_tables import print_conversation, print_document, print_passages
    from ansambl.cli.output import print_json

    with knowledge_access(config, changes=False) as reached:
        found = find_shown(reached, wanted, passages=passages or as_json)
    if "turns" in found:
        if as_json:
            print_json(found)
        else:
            print_conversation(found)
        return
    if as_json:
        print_json(found)
    elif passages:
        print_passages(found["passages"])
    else:
        print_document(found["document"], found["text"])


def remove(
    wanted: Annotated[
        list[str],
        typer.Argument(metavar="NUMBER|PATH|COLLECTION…", help=speak(
            "Documents by number, path or address, folders, or whole collections.")),
    ],
    collection: Collection = None,
    config: Config = None,
    yes: Yes = False,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Remove documents, folders or collections."""
    from ansambl.cli.knowledge_access import knowledge_access
    from ansambl.cli.knowledge_removing import Removal, told_removal
    from ansambl.cli.output import ask_yes, note, print_json, say

    with knowledge_access(config, changes=False) as reached:
        removal = Removal.of(reached, wanted, collection)
    for line in told_removal(removal):
        note(line)
    if not ask_yes(speak("Remove it? Your files stay."), yes=yes):
        raise typer.Exit(1)
    with knowledge_access(config, changes=True) as reached:
        removed = removal.perform(reached)
    if as_json:
        print_json({"removed": removed, "collections": removal.collections, "folders": removal.folders})
    else:
        say(speak("Documents removed: {count}").format(count=f"{removed:,}"))


def watch(
    folder: Annotated[
        str | None, typer.Argument(metavar="[FOLDER]", help=speak("A folder to keep in step from now on."))
    ] = None,
    collection: Collection = None,
    leave: Annotated[
        bool, typer.Option("--remove", help=speak("Keep the folder in step no more; its documents stay."))
    ] = False,
    only_list: Annotated[bool, typer.Option("--list", help=speak("List the folders that are kept in step."))] = False,
    config: Config = None,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Keep folders in step."""
    from ansambl.cli.knowledge_access import StoppedKnowledge, knowledge_access
    from ansambl.cli.knowledge_adding import Adding, place_for
    from ansambl.cli.knowledge_removing import follow_folders, leave_folder, list_folders

    if leave:
        leave_folder(config, folder, collection, as_json=as_json)
        return
    if folder is None and only_list:
        list_folders(config, as_json=as_json)
        return
    place = None if folder is None else place_for(folder, keep=True)
    code = 0
    with knowledge_access(config, changes=place is not None) as reached:
        if place is not None:
            wanted = {"place": place, "collection": collection or "documents", "watch": True}
            code = Adding(reached, chats=False, as_json=as_json, yes=yes).run([wanted], embed=True)
        if code == 0 and isinstance(reached, StoppedKnowledge) and not only_list:
            code = follow_folders(reached)
        elif place is None:
            list_folders(config, as_json=as_json, reached=reached)
    raise typer.Exit(code)


def embed(config: Config = None, yes: Yes = False, as_json: Json = False) -> None:
    """Give vectors to what has none."""
    from ansambl.cli.knowledge_access import knowledge_access
    from ansambl.cli.knowledge_adding import Adding

    with knowledge_access(config, changes=True) as reached:
        raise typer.Exit(Adding(reached, chats=False, as_json=as_json, yes=yes).run_embedding())


def forget(
    numbers: Annotated[
        list[int] | None, typer.Argument(metavar="[NUMBER…]", help=speak("Conversations by their numbers."))
    ] = None,
    owner: Annotated[
        str | None, typer.Option("--key", metavar="ID", help=speak("All that is remembered for this API key."))
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help=speak("All that is remembered for anybody."))] = False,
    config: Config = None,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Show what is remembered, or forget it."""
    from ansambl.cli.knowledge_removing import forget_memory

    raise typer.Exit(forget_memory(
        config, numbers or [], owner, everything=everything, yes=yes, as_json=as_json
    ))  # fmt: skip
