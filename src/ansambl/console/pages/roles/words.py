"""The sentences that the scripts of the pages of roles say, by key."""

from __future__ import annotations

from ansambl.console.words import Speak, answer_words


def list_words(speak: Speak) -> dict[str, str]:
    """The sentences of the list."""
    return {
        "too_large": speak("The file is larger than a configuration file may be (1 MB)."),
        "would": speak("This would create {created}, change {changed} and leave {unchanged} as they are."),
        "imported": speak("Imported: {created} created, {changed} changed, {unchanged} left as they are."),
        "nothing": speak("none"),
    }


def editor_words(speak: Speak) -> dict[str, str]:
    """The sentences of the editor."""
    return {
        **answer_words(speak),
        "saved": speak("Saved as version {version}. It is in effect from the next request on."),
        "unsaved": speak("Unsaved changes"),
        "draft_back": speak("Your unsaved changes from before are back."),
        "name_needed": speak("Give it a name."),
        "name_of_address": speak("A name cannot hold '/', nor be '.' or '..'; such a name can be an alias."),
        "name_taken": speak(
            "There is a role or an ensemble of this name already; edit that one, or choose another name."
        ),
        "shipped_value": speak("As shipped: {value}"),
        "no_value": speak("nothing"),
        "language": speak("Language, such as ru"),
        "instruction_in": speak("Instruction in this language"),
        "add_language": speak("Add a language"),
        "take_out": speak("Take out"),
        "take_out_of": speak("Take {name} out"),
        "up": speak("Move {name} up"),
        "add_member": speak("Add a member"),
        "choose": speak("choose…"),
        "add_rule": speak("Add a rule"),
        "rule": speak("Rule {number}"),
        "rule_role": speak("Who answers"),
        "rule_words": speak("One of these words, with commas between"),
        "rule_pattern": speak("Regular expression"),
        "rule_language": speak("Language of the message"),
        "rule_has": speak("The request has"),
        "rule_longer": speak("Longer than (letters)"),
        "rule_shorter": speak("Shorter than (letters)"),
        "has_code": speak("code"),
        "has_image": speak("an image"),
        "has_tools": speak("tools"),
        "any": speak("anything"),
        "not_there": speak("not there now"),
        "no_collections": speak("There are no collections yet; see the page Knowledge."),
        "model_default": speak("the default model ({model})"),
        "no_model": speak("none"),
        "none_lora": speak("none"),
        "first_member": speak("the first member"),
        "tools_all": speak("all of them"),
        "tools_some": speak("only these"),
        "tools_none": speak("none of them"),
        "tools_names": speak("Names of tools, one a line"),
        "version": speak("Version {number}"),
        "in_effect": speak("In effect now"),
        "draft": speak("Draft"),
        "ask": speak("Ask"),
        "ask_both": speak("Ask both"),
        "file_version": speak("{name}, as it is in effect"),
        "created": speak("created"),
        "changed": speak("changed"),
        "removed": speak("removed"),
        "restored_version": speak("restored"),
        "renamed": speak("renamed"),
        "imported_version": speak("imported"),
        "fields_changed": speak("Changed: {fields}"),
        "nothing_changed": speak("Nothing in it changed"),
        "restore": speak("Restore"),
        "restore_version": speak("Restore version {number}"),
        "save_first": speak("Save or discard your changes first."),
        "removed_text": speak("removed:"),
        "added_text": speak("added:"),
        "theirs": speak("Theirs"),
        "mine": speak("Mine"),
        "diff_legend": speak("Struck out: only theirs. Underlined: only mine."),
        "same_now": speak("Both say the same."),
        "they_removed": speak("It was removed by somebody else."),
        "took_theirs": speak("You see theirs now. Yours is put aside."),
        "waiting_for_it": speak("Waiting…"),
        "stopped": speak("Stopped"),
        "tokens_cached": speak("{cached} of {prompt} prompt tokens from the cache"),
        "tokens_made": speak("{tokens} tokens in {seconds} s"),
        "first_after": speak("first word after {seconds} s"),
        "question_needed": speak("Write a question."),
        "thinking": speak("Thinking"),
        "try_again": speak("The draft cannot be tried: {reason}"),
    }
