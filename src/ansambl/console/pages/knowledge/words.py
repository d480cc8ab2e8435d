"""The sentences that the scripts of the page Knowledge say, by key."""

from __future__ import annotations

from ansambl.console.words import Speak


def knowledge_words(speak: Speak) -> dict[str, str]:
    """The sentences in the language of `speak`."""
    return {**_sending(speak), **_work(speak), **_removal(speak)}


def _sending(speak: Speak) -> dict[str, str]:
    return {
        "summary": speak("{taken} of {chosen} files taken in, {sent} sent"),
        "share": speak("{part} of {whole}"),
        "sending_file": speak("Sending {name}"),
        "checking": speak("looking what it is"),
        "waiting": speak("waits until Ansambl has read what came before"),
        "skipped": speak("Passed over: {count} hidden files and files of tools"),
        "problems": speak("Not taken in: {count}"),
        "too_large_upload": speak(
            "It is larger than {limit}; add it on Ansambl's machine (ansambl knowledge add), or raise 'max_upload' in "
            "[knowledge]."
        ),
        "too_large_file": speak("It is larger than {limit}, the most that is read; raise 'max_file' in [knowledge]."),
        "unreadable_here": speak("The browser cannot read it; is it still there?"),
        "stopped_here": speak("Stopped before it was sent."),
        "unread": speak("Ansambl ended before it was read; send it again."),
        "as_chats": speak("an export of chats"),
        "nothing_found": speak("Nothing was found in the documents"),
    }


def _work(speak: Speak) -> dict[str, str]:
    return {
        "job_embed": speak("Giving passages their vectors"),
        "job_waiting": speak("waits"),
        "job_running": speak("in progress"),
        "job_done": speak("done"),
        "job_nothing": speak("not taken in"),
        "job_stopped": speak("stopped"),
        "job_failed": speak("failed"),
        "stage_reading": speak("Reading: {done}"),
        "stage_reading_of": speak("Reading: {done} of {total}"),
        "stage_embedding": speak("Vectors: {done}"),
        "stage_embedding_of": speak("Vectors: {done} of {total}"),
        "stage_indexing": speak("Index: {done}"),
        "stage_indexing_of": speak("Index: {done} of {total}"),
        "left": speak("{seconds} s left"),
        "minutes_left": speak("{minutes} min left"),
        "report": speak(
            "New: {added}, changed: {updated}, as before: {unchanged}, removed: {removed}; passages: {passages}"
        ),
        "report_embed": speak("Passages with vectors: {embedded}"),
        "report_turns": speak("messages: {turns}"),
        "refused": speak("Not taken in: {count}"),
        "passed_over": speak("Passed over: {count}"),
        "stop_job": speak("Stop: {name}"),
        "jobs_hidden": speak("Older ones are not shown: {count}"),
    }


def _removal(speak: Speak) -> dict[str, str]:
    return {
        "remove": speak("Remove"),
        "forget": speak("Forget"),
        "leave": speak("Leave"),
        "remove_collection": speak("Remove the collection '{name}'?"),
        "remove_collection_lost": speak(
            "Its {documents} documents and {passages} passages are found no more. The files that they were read from "
            "stay."
        ),
        "remove_document": speak("Remove '{name}'?"),
        "remove_document_lost": speak(
            "The document and its {passages} passages are found no more. The file that it was read from stays."
        ),
        "remove_folder": speak("Keep '{name}' in step no more?"),
        "remove_folder_lost": speak("Its documents stay in '{collection}' as they are now."),
        "remove_memory": speak("Forget '{name}'?"),
        "remove_memory_lost": speak("No role remembers this conversation any more. It cannot be undone."),
        "remove_owner": speak("Forget all that is remembered for '{name}'?"),
        "remove_owner_lost": speak("All its remembered conversations are removed. It cannot be undone."),
    }
