"""The page Roles in a real Chromium, on the real product with a configuration file that has one role."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import quote

import axe_playwright_python
import pytest
from playwright.sync_api import Page, expect
from product import wait_for

pytestmark = [pytest.mark.browser, pytest.mark.engine]

CONFIGURATION = """
[roles.poet]
description = "Answers in verse"
instruction = "Rhyme always."
temperature = 0.5
aliases = ["bard"]
"""
ANSWER_LIMIT = 90_000
SCRIPT = '<script>window.hacked=1</script>"><img src=x onerror=window.hacked=1>'
AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
RUN_AXE = """async () => (await axe.run(document, { resultTypes: ["violations"] })).violations
    .map((one) => [one.impact, one.id, ...one.nodes.slice(0, 3).map((node) => node.target.join(" "))])"""
SIZES = {"desktop": (1280, 800), "phone": (390, 844)}


@pytest.fixture(scope="module")
def configuration():
    return CONFIGURATION


@pytest.fixture
def admin(product):
    """Asks the admin API as the owner's commands do."""

    def ask(method, path, status=200, **more):
        answer = product.client.request(
            method, f"/admin/api/{path}", headers={"authorization": f"Bearer {product.token}"}, **more
        )
        assert answer.status_code == status, answer.text
        return answer.json()

    return ask


def editor(product, name, kind="roles", key="name"):
    return f"{product.address}/console/roles/edit?kind={kind}&{key}={quote(name, safe='')}"


def save(page: Page) -> None:
    page.get_by_role("button", name="Save", exact=True).click()


def saved(page: Page, version: int) -> None:
    expect(page.locator("#dirty")).to_contain_text(f"version {version}")


def ready(page: Page) -> None:
    expect(page.locator("body")).to_have_attribute("data-ready", "yes")


def fits(page: Page) -> bool:
    return page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_name_that_would_be_another_address_is_refused_in_words(open_page, product, admin):
    page = open_page(f"{product.address}/console/roles/edit?kind=roles&lang=en").page
    ready(page)
    for name in ("a/versions", "..", ".", "/"):
        page.locator("#f-name").fill(name)
        save(page)
        expect(page.get_by_text("A name cannot hold '/', nor be '.' or '..'")).to_be_visible()
    # All other signs that mean something in addresses are letters of a name.
    for name in ("a?b=1&c", "#top", "100%25", "...", "..a"):
        page.goto(f"{product.address}/console/roles/edit?kind=roles&lang=en")
        ready(page)
        page.locator("#f-name").fill(name)
        save(page)
        page.wait_for_url("**saved=1*")
        expect(page.get_by_role("heading", level=1)).to_have_text(name)
        admin("DELETE", f"roles/{quote(name, safe='')}")
    # What is read below a role is no role.
    headers = {"sec-fetch-site": "same-origin"}
    found = page.request.get(
        f"{product.address}/console/roles/edit?kind=roles&lang=en&name=coder%2Fversions", headers=headers
    )
    assert (found.status, "Nothing here is called &#39;coder/versions&#39;." in found.text()) == (404, True)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("language", ["en", "ru"])
def test_the_list_shows_where_roles_come_from_and_who_shares_a_prefix(open_page, product, screenshot, language, size):
    width, height = SIZES[size]
    page = open_page(f"{product.address}/console/roles", width=width, height=height, language=language).page
    ready(page)
    expect(page.locator("html")).to_have_attribute("lang", language)
    group = page.locator("[data-model=embedded] ul.prefix li", has_text="coder")
    expect(group).to_contain_text("poet")
    expect(group.locator(".letter")).to_have_text("A")
    poet = page.locator("article[data-kind=roles][data-name=poet]")
    expect(poet.locator(".origin")).to_have_class("pill origin configuration")
    expect(poet).to_contain_text("bard")
    expect(page.locator("article[data-name=coder] .origin")).to_have_class("pill origin shipped")
    expect(page.locator("article[data-kind=ensembles][data-name=council]")).to_contain_text("philosopher")
    assert fits(page)
    screenshot(page, f"roles-{size}-{language}")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("language", ["en", "ru"])
def test_the_editor_stands_on_every_size_in_both_languages(open_page, product, screenshot, language, size):
    width, height = SIZES[size]
    for kind, name in (("roles", "coder"), ("ensembles", "auto")):
        page = open_page(editor(product, name, kind), width=width, height=height, language=language).page
        ready(page)
        expect(page.locator("h1")).to_have_text(name)
        expect(page.locator("#save")).to_be_visible()
        for group in page.locator("details.group").all():
            group.evaluate("one => { one.open = true; }")
        assert fits(page)
        # Every control has a name for those who hear the page.
        nameless = page.evaluate(
            "[...document.querySelectorAll('main :is(input, select, textarea)')]"
            ".filter((one) => !one.labels.length && !one.ariaLabel).map((one) => one.outerHTML)"
        )
        assert nameless == []
        # As a browser shows what others saved: a conflict, long values, all that is folded.
        page.evaluate("document.getElementById('conflict').hidden = false")
        page.evaluate(AXE)
        assert page.evaluate(RUN_AXE) == []
        page.evaluate("document.getElementById('conflict').hidden = true")
        screenshot(page, f"roles-editor-{kind}-{size}-{language}")


def test_what_is_saved_answers_the_next_chat(open_page, product, admin):
    page = open_page(editor(product, "brief")).page
    page.get_by_label("Longest answer, in tokens").fill("3")
    page.get_by_label("Instruction", exact=True).fill("Answer as a parrot would.")
    expect(page.locator("#dirty")).to_have_text("Unsaved changes")
    save(page)
    saved(page, 1)
    body = {"model": "brief", "messages": [{"role": "user", "content": "Say a long story."}], "temperature": 0}
    answer = product.client.post("/v1/chat/completions", json=body).json()
    assert answer["usage"]["completion_tokens"] <= 3
    explained = json.dumps(admin("POST", "explain", json=body))
    assert "Answer as a parrot would." in explained
    # Only what differs from what is shipped is kept, and the shipped instruction in Russian with it.
    entry = admin("GET", "roles/brief")
    assert entry["saved"].keys() == {"max_tokens", "instruction", "instructions"}
    assert entry["saved"]["instructions"] == entry["shipped"]["instructions"]
    expect(page.locator("[data-key=max_tokens] .shipped")).to_have_text("As shipped: 512")
    # Back to what is shipped.
    page.get_by_role("button", name="Back to how it was shipped").click()
    page.get_by_role("button", name="Remove", exact=True).click()
    expect(page.locator("h1")).to_have_text("Roles")
    assert admin("GET", "roles/brief")["origin"] == "shipped"


def test_what_cannot_be_is_said_beside_its_field_and_nothing_typed_is_lost(open_page, product):
    watched = open_page(editor(product, "reasoner"))
    watched.expected = ("Failed to load resource",)
    page = watched.page
    page.get_by_label("Instruction", exact=True).fill("Think twice.")
    for label, key, wrong in (("Temperature", "temperature", "9"), ("Longest answer, in tokens", "max_tokens", "-1")):
        field = page.locator(f"#f-{key}")
        before = field.input_value()
        field.fill(wrong)
        save(page)
        expect(page.locator(f"#e-{key}")).to_contain_text(key)
        expect(field).to_be_focused()
        expect(field).to_have_attribute("aria-invalid", "true")
        assert page.get_by_label(label, exact=True).first.input_value() == wrong
        field.fill(before)
    page.get_by_label("Aliases").fill("bard")
    save(page)
    expect(page.locator("#e-aliases")).to_contain_text("Two things answer to 'bard'")
    # In a folded part, too.
    page.locator("#f-aliases").fill("мыслитель")
    page.get_by_text("Prompt, thinking and tools").click()
    page.get_by_label("Thinks in").fill("Klingonish")
    page.get_by_text("Prompt, thinking and tools").click()
    save(page)
    expect(page.locator("#e-thinking_language")).to_contain_text("Klingonish")
    expect(page.get_by_label("Instruction", exact=True)).to_have_value("Think twice.")
    page.get_by_role("button", name="Discard changes").click()
    expect(page.locator("#dirty")).to_be_empty()
    expect(page.locator("#f-thinking_language")).to_have_value("")


def test_the_second_of_two_browsers_is_told(open_page, product, admin, screenshot):
    admin("PUT", "roles/shared", json={"fields": {"instruction": "First words.", "temperature": 0.1}})
    second = open_page(editor(product, "shared"))
    second.expected = ("Failed to load resource",)
    watched = open_page(editor(product, "shared"))
    watched.expected = second.expected
    first = watched.page
    theirs, mine = "Words of the first browser. " * 4, "Words of the second browser. " * 4
    first.get_by_label("Instruction", exact=True).fill(theirs)
    save(first)
    saved(first, 2)
    page = second.page
    page.get_by_label("Instruction", exact=True).fill(mine)
    page.get_by_label("Temperature").first.fill("0.9")
    save(page)
    box = page.locator("#conflict")
    expect(box).to_be_visible()
    expect(box).to_contain_text("it is at version 2, your change began at version 1")
    expect(box.locator("del").first).to_contain_text("first")
    expect(box.locator("ins").first).to_contain_text("second")
    expect(box.locator(".change", has_text="Temperature")).to_contain_text("0.9")
    screenshot(page, "roles-conflict")
    # Going on loses nothing, and the next save tells again.
    page.get_by_role("button", name="Go on editing mine").click()
    expect(page.get_by_label("Instruction", exact=True)).to_have_value(mine)
    assert admin("GET", "roles/shared")["version"] == 2
    save(page)
    page.get_by_role("button", name="Take theirs").click()
    expect(page.get_by_label("Instruction", exact=True)).to_have_value(theirs)
    page.locator("#draft-note").get_by_role("button", name="Mine").click()
    expect(page.get_by_label("Instruction", exact=True)).to_have_value(mine)
    save(page)
    saved(page, 3)
    # The other one now saves over it, knowing.
    first.get_by_label("Top-p").first.fill("0.5")
    save(first)
    first.get_by_role("button", name="Save mine over it").click()
    saved(first, 4)
    fields = admin("GET", "roles/shared")["saved"]
    assert (fields["instruction"], fields["top_p"], fields["temperature"]) == (theirs, 0.5, 0.1)


def test_what_somebody_removed_can_still_be_saved(open_page, product, admin):
    admin("PUT", "roles/gone", json={"fields": {"instruction": "Here."}})
    watched = open_page(editor(product, "gone"))
    watched.expected = ("Failed to load resource",)
    page = watched.page
    page.get_by_label("Instruction", exact=True).fill("Still here.")
    admin("DELETE", "roles/gone")
    save(page)
    expect(page.locator("#conflict")).to_contain_text("removed by somebody else")
    page.get_by_role("button", name="Save mine over it").click()
    saved(page, 3)
    assert admin("GET", "roles/gone")["saved"]["instruction"] == "Still here."


def test_a_role_of_the_file_is_read_here_and_copied_to_edit(open_page, product, admin, screenshot):
    page = open_page(f"{product.address}/console/roles").page
    card = page.locator("article[data-name=poet]")
    card.get_by_role("button", name="View").click()
    expect(page.locator(".note").first).to_contain_text("ansambl.toml:")
    expect(page.get_by_label("Instruction", exact=True)).to_be_disabled()
    expect(page.get_by_label("Instruction", exact=True)).to_have_value("Rhyme always.")
    expect(page.locator("#save")).to_have_count(0)
    screenshot(page, "roles-read-only")
    page.get_by_role("button", name="Copy to edit").click()
    expect(page.locator(".note").first).to_contain_text("stays in effect as it is")
    save(page)
    expect(page.locator("#e-name")).to_have_text("Give it a name.")
    page.get_by_label("Name", exact=True).fill("poet")
    save(page)
    expect(page.locator("#e-name")).to_contain_text("already")
    page.get_by_label("Name", exact=True).fill("skald")
    page.get_by_label("Instruction", exact=True).fill("Rhyme seldom.")
    save(page)
    expect(page.locator("h1")).to_have_text("skald")
    saved(page, 1)
    copy, original = admin("GET", "roles/skald"), admin("GET", "roles/poet")
    assert copy["saved"] == {"description": "Answers in verse", "instruction": "Rhyme seldom.", "temperature": 0.5}
    assert (original["read_only"], original["fields"]["instruction"]) == (True, "Rhyme always.")


def test_an_unsaved_edit_survives_a_reload_and_leaving_warns(open_page, product):
    page = open_page(editor(product, "critic")).page
    box = page.get_by_label("Instruction", exact=True)
    before = box.input_value()
    box.click()
    box.press_sequentially("Be kind. ")
    changed = box.input_value()
    assert changed != before
    asked = []

    def leave(dialog):
        asked.append(dialog.type)
        dialog.accept()

    page.on("dialog", leave)
    page.reload()
    assert asked == ["beforeunload"]
    expect(page.locator("#draft-note")).to_contain_text("are back")
    expect(box).to_have_value(changed)
    expect(page.locator("#dirty")).to_have_text("Unsaved changes")
    # Another language takes it along, and asks nothing.
    page.locator("[data-language=ru]").click()
    expect(page.locator("html")).to_have_attribute("lang", "ru")
    expect(page.locator("#f-instruction")).to_have_value(changed)
    assert asked == ["beforeunload"]
    page.locator("#discard").click()
    expect(page.locator("#f-instruction")).to_have_value(before)
    page.goto(f"{product.address}/console/roles")
    assert asked == ["beforeunload"]


def test_a_draft_answers_beside_the_version_in_effect(open_page, product, admin, screenshot):
    fields = {"instruction": "Answer in one word.", "max_tokens": 24, "temperature": 0}
    admin("PUT", "roles/tried", json={"fields": fields})
    admin("PUT", "roles/tried", json={"fields": {**fields, "instruction": "Answer with a number."}})
    page = open_page(editor(product, "tried")).page
    page.get_by_label("Longest answer, in tokens").fill("2")
    page.get_by_label("Question", exact=True).fill("Name a colour.")
    page.get_by_role("button", name="Ask both").click()
    answers = page.locator("#answers article")
    expect(answers.locator(".figures").nth(1)).to_contain_text("from the cache", timeout=ANSWER_LIMIT)
    expect(answers.locator(".figures").nth(0)).to_contain_text("from the cache", timeout=ANSWER_LIMIT)
    expect(answers.nth(0).locator("h3")).to_have_text("Draft")
    expect(answers.nth(1).locator("h3")).to_have_text("In effect now")
    # The draft's own limit holds for the draft alone.
    expect(answers.nth(0).locator(".figures")).to_contain_text("2 tokens in")
    expect(answers.nth(1).locator(".text").last).not_to_be_empty()
    screenshot(page, "roles-trial")
    assert admin("GET", "roles/tried")["version"] == 2
    assert "trial" not in product.client.get("/v1/models").text
    names = [one["name"] for one in admin("GET", "requests")["requests"]]
    assert "tried (trial)" in names
    # Beside an earlier version.
    page.get_by_label("Beside").select_option(label="Version 1")
    page.get_by_role("button", name="Ask both").click()
    expect(answers.nth(1).locator("h3")).to_have_text("Version 1")
    expect(answers.locator(".figures").nth(1)).to_contain_text("from the cache", timeout=ANSWER_LIMIT)
    expect(page.locator("#ask")).to_be_enabled(timeout=ANSWER_LIMIT)


def test_the_question_of_a_trial_stays_when_the_first_save_loads_the_page_anew(open_page, product, admin):
    page = open_page(editor(product, "critic")).page
    question = page.get_by_label("Question", exact=True)
    question.fill("Is <b>this</b> right?")
    page.locator("#f-description").fill("Finds faults")
    save(page)
    saved(page, 1)
    expect(page.locator("#version-list li")).to_have_count(1)
    expect(question).to_have_value("Is <b>this</b> right?")
    # It is the question of this visit: another role's editor begins with none.
    page.goto(editor(product, "translator"))
    expect(page.locator("#ask")).to_have_text("Ask both")
    expect(question).to_have_value("")
    admin("DELETE", "roles/critic")


def test_a_trial_says_what_is_wrong_and_can_be_stopped(open_page, product):
    watched = open_page(editor(product, "philosopher"))
    watched.expected = ("Failed to load resource",)
    page = watched.page
    page.get_by_role("button", name="Ask both").click()
    expect(page.locator("#trial-problem")).to_have_text("Write a question.")
    page.get_by_label("Question", exact=True).fill("Describe the sea at length.")
    page.locator("#f-temperature").fill("7")
    page.get_by_role("button", name="Ask both").click()
    expect(page.locator("#e-temperature")).to_contain_text("temperature")
    page.locator("#f-temperature").fill("0.3")
    page.get_by_role("button", name="Ask both").click()
    expect(page.locator("#answers .text").last).not_to_be_empty(timeout=ANSWER_LIMIT)
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("#answers .figures").first).to_contain_text("Stopped")
    wait_for(lambda: product.instance()["running"] == 0, "the engine is free again", 20)


def test_versions_differ_readably_and_come_back(open_page, product, admin):
    for words in ("The quick brown fox jumps.", "The slow brown fox jumps high."):
        admin("PUT", "roles/fox", json={"fields": {"instruction": words}})
    page = open_page(editor(product, "fox")).page
    newest = page.locator("#version-list > li").first
    expect(newest).to_contain_text("Version 2")
    newest.locator("summary").click()
    assert [one.removeprefix("removed:") for one in newest.locator("del").all_text_contents()] == ["quick", "jumps."]
    assert newest.locator("ins").last.text_content().endswith("jumps high.")
    page.get_by_label("Description").fill("Draft")
    page.get_by_role("button", name="Restore version 1").click()
    expect(page.locator("#save-problem")).to_contain_text("Save or discard")
    page.get_by_role("button", name="Discard changes").click()
    page.get_by_role("button", name="Restore version 1").click()
    saved(page, 3)
    assert admin("GET", "roles/fox")["saved"] == {"instruction": "The quick brown fox jumps."}
    page.get_by_label("New name").fill("vixen")
    page.get_by_role("button", name="Rename").click()
    expect(page.locator("h1")).to_have_text("vixen")
    page.get_by_role("button", name="Remove", exact=True).click()
    page.locator("#sure-yes").click()
    expect(page.locator("details.removed summary")).to_be_visible()
    assert page.locator("article[data-name=vixen]").count() == 0
    page.locator("details.removed summary").click()
    page.get_by_role("button", name="Restore vixen").click()
    expect(page.locator("article[data-name=vixen]")).to_be_visible()


def test_what_is_typed_while_a_save_is_on_its_way_is_kept(open_page, product, admin):
    page = open_page(f"{product.address}/console/roles/edit?kind=roles").page
    held = []
    page.route("**/admin/api/roles/swift", lambda route: held.append(route) or None)
    for version, kept, typed in ((1, "Saved one.", "Typed since."), (2, "Saved two.", "Typed again.")):
        if version == 1:
            page.get_by_label("Name", exact=True).fill("swift")
        page.get_by_label("Instruction", exact=True).fill(kept)
        save(page)
        expect(page.locator("#save")).to_be_disabled()
        page.get_by_label("Instruction", exact=True).fill(typed)
        held.pop().continue_()
        expect(page.locator("h1")).to_have_text("swift")
        expect(page.locator("#version-list > li").first).to_contain_text(f"Version {version}")
        expect(page.get_by_label("Instruction", exact=True)).to_have_value(typed)
        expect(page.locator("#dirty")).to_have_text("Unsaved changes")
        assert admin("GET", "roles/swift")["saved"] == {"instruction": kept}
    page.get_by_role("button", name="Discard changes").click()
    expect(page.get_by_label("Instruction", exact=True)).to_have_value("Saved two.")


def test_collections_that_exist_are_offered(open_page, product, admin):
    admin("POST", "knowledge/collections", 201, json={"name": "handbook"})
    admin("PUT", "roles/reader", json={"fields": {"collections": ["old-shelf"]}})
    page = open_page(editor(product, "reader")).page
    expect(page.get_by_label("old-shelf (not there now)")).to_be_checked()
    page.get_by_label("handbook", exact=True).check()
    page.get_by_label("old-shelf (not there now)").uncheck()
    page.get_by_text("Prompt, thinking and tools").click()
    page.get_by_label("Tools", exact=True).select_option("none")
    page.get_by_label("Where the instruction stands").select_option("classic")
    save(page)
    saved(page, 2)
    assert admin("GET", "roles/reader")["saved"] == {"collections": ["handbook"], "tools": [], "layout": "classic"}
    page.goto(f"{product.address}/console/roles")
    card = page.locator("article[data-name=reader]")
    expect(card).to_contain_text("handbook")
    expect(card).to_contain_text("none of them")
    # Its instruction comes first, so it shares with nobody, and the page says why.
    expect(card).to_contain_text("of its own")
    expect(page.locator("ul.prefix li", has_text="reader")).to_contain_text("The layout is classic")


def test_a_draft_of_an_ensemble_is_tried(open_page, product, admin):
    page = open_page(editor(product, "careful", "ensembles")).page
    page.get_by_label("Longest answer of each role, in tokens").fill("4")
    page.get_by_label("Longest merged answer, in tokens").fill("4")
    page.get_by_label("Beside").select_option("")
    page.get_by_label("Question", exact=True).fill("Name a colour.")
    # There is nobody beside it: one is asked.
    page.get_by_role("button", name="Ask", exact=True).click()
    expect(page.locator("#answers article")).to_have_count(1)
    expect(page.locator("#answers .figures")).to_contain_text("from the cache", timeout=ANSWER_LIMIT)
    expect(page.locator("#answers .problem")).to_be_empty()
    assert admin("GET", "ensembles/careful")["origin"] == "shipped"


def test_differences_lose_no_word(open_page, product):
    page = open_page(editor(product, "coder")).page
    module = page.evaluate("document.querySelector('script[type=module]').src.replace('editor.js', 'diff.js')")
    pairs = [
        ("", ""), ("", "a b"), ("a b", ""), ("a b c", "a c"), ("a  b\nc", "a b\n c"), ("x", "y"),
        ("one two three two one", "two one three one two"), ("a\n" * 3000, "a\n" * 2999 + "b\n"),
        ("w\n" * 3000, "v\n" * 3000),
    ]  # fmt: skip
    found = page.evaluate(
        "async ([module, pairs]) => { const { changes } = await import(module);"
        "return pairs.map(([before, after]) => changes(before, after)); }",
        [module, pairs],
    )
    for (before, after), parts in zip(pairs, found, strict=True):
        assert "".join(text for kind, text in parts if kind != "ins") == before
        assert "".join(text for kind, text in parts if kind != "del") == after
        same = sum(len(text.split()) for kind, text in parts if kind == "same")
        assert same >= (1 if set(before.split()) & set(after.split()) else 0)


def test_an_ensemble_is_made_and_changed(open_page, product, admin):
    watched = open_page(f"{product.address}/console/roles/edit?kind=ensembles")
    watched.expected = ("Failed to load resource",)
    page = watched.page
    page.get_by_label("Name", exact=True).fill("trio")
    page.get_by_label("Pattern").select_option("route")
    for name in ("coder", "poet", "brief"):
        page.get_by_label("Add a member").select_option(name)
    page.get_by_role("button", name="Move brief up").click()
    page.get_by_label("Conductor", exact=True).select_option("poet")
    page.get_by_label("Time limit").fill("2m")
    page.get_by_text("How a route chooses").click()
    page.get_by_role("button", name="Add a rule").click()
    page.get_by_label("Who answers", exact=True).select_option("coder")
    page.get_by_label("One of these words").fill("code, bug")
    page.get_by_label("Who answers when nothing decides").focus()
    page.get_by_label("Who answers when nothing decides").select_option("brief")
    save(page)
    expect(page.locator("h1")).to_have_text("trio")
    saved(page, 1)
    fields = admin("GET", "ensembles/trio")["saved"]
    assert fields == {
        "pattern": "route", "roles": ["coder", "brief", "poet"], "conductor": "poet", "seconds": "2m",
        "rules": [{"role": "coder", "words": ["code", "bug"]}], "default": "brief",
    }  # fmt: skip
    page.get_by_role("button", name="Take coder out").click()
    save(page)
    expect(page.locator("#e-rules")).to_contain_text("coder")


NAMES = ['"><svg><script>window.hacked=1', "стихи✍", "q?x=1&y#z%2F", "n" * 100]


@pytest.mark.parametrize("name", NAMES, ids=["script", "unicode", "address", "long"])
def test_any_name_that_is_taken_works_and_runs_nothing(open_page, product, admin, name):
    watched = open_page(f"{product.address}/console/roles/edit?kind=roles", width=390)
    page = watched.page
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_label("Description").fill(SCRIPT)
    page.get_by_label("Instruction", exact=True).fill(f"{SCRIPT}\n${{7*7}} {{{{7*7}}}} </script>")
    save(page)
    expect(page.locator("h1")).to_have_text(name)
    saved(page, 1)
    assert fits(page)
    assert page.get_by_label("Instruction", exact=True).input_value().startswith(SCRIPT)
    page.locator("#version-list summary").click()
    expect(page.locator("#version-list ins").first).to_contain_text(SCRIPT)
    page.goto(f"{product.address}/console/roles")
    card = page.locator("article[data-kind=roles]").filter(has=page.get_by_role("heading", name=name, exact=True))
    expect(card).to_contain_text(SCRIPT)
    assert fits(page)
    card.get_by_role("button", name=f"Edit {name}", exact=True).click()
    expect(page.locator("h1")).to_have_text(name)
    # What is put away is no trap for the next test.
    page.get_by_role("button", name="Remove", exact=True).click()
    page.locator("#sure-yes").click()
    expect(page.locator("article[data-name=coder]")).to_be_visible()
    assert name not in [one["name"] for one in admin("GET", "roles")["entries"]]


REFUSED = {
    "brackets": "[x]",
    "shipped": "coder",
    "alias": "bard",
    "too long": "n" * 300,
    "slash": "a/b",
    "markup": SCRIPT,
}


@pytest.mark.parametrize("name", REFUSED.values(), ids=REFUSED)
def test_a_name_that_cannot_be_is_refused_in_its_place(open_page, product, admin, name):
    before = admin("GET", "roles")["entries"]
    watched = open_page(f"{product.address}/console/roles/edit?kind=roles")
    watched.expected = ("Failed to load resource",)
    page = watched.page
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_label("Instruction", exact=True).fill("Kept.")
    save(page)
    expect(page.locator("#e-name")).not_to_be_empty()
    expect(page.locator("#f-name")).to_be_focused()
    expect(page.locator("#f-name")).to_have_value(name)
    expect(page.get_by_label("Instruction", exact=True)).to_have_value("Kept.")
    assert admin("GET", "roles")["entries"] == before


def test_an_empty_instruction_and_an_unknown_role(open_page, product, admin):
    page = open_page(f"{product.address}/console/roles/edit?kind=roles").page
    page.get_by_label("Name", exact=True).fill("plain")
    save(page)
    saved(page, 1)
    assert admin("GET", "roles/plain")["saved"] == {}
    watched = open_page(editor(product, "nobody"))
    watched.expected = ("Failed to load resource",)
    expect(watched.page.locator("main")).to_contain_text("There is no 'nobody' here")


def test_sets_go_out_and_come_in_after_a_look(open_page, product, admin, tmp_path: Path):
    admin("PUT", "roles/packed", json={"fields": {"instruction": "Travel.", "stop": ["END"]}})
    watched = open_page(f"{product.address}/console/roles")
    watched.expected = ("Failed to load resource",)
    page = watched.page
    with page.expect_download() as caught:
        page.get_by_role("link", name="Download packed").click()
    file = tmp_path / caught.value.suggested_filename
    caught.value.save_as(file)
    assert file.name == "packed.toml"
    assert file.read_text(encoding="utf-8") == '[roles.packed]\ninstruction = "Travel."\nstop = ["END"]\n'
    file.write_text(file.read_text().replace("Travel.", "Arrive.") + '\n[roles.guest]\ninstruction = "Knock."\n')
    page.get_by_label("Import a file").set_input_files(file)
    expect(page.locator("#set-plan")).to_contain_text("create guest, change packed and leave none as they are")
    assert "guest" not in [one["name"] for one in admin("GET", "roles")["entries"]]
    page.get_by_role("button", name="Import", exact=True).click()
    expect(page.locator("article[data-name=guest]")).to_be_visible()
    assert admin("GET", "roles/packed")["saved"]["instruction"] == "Arrive."
    # The same file by the command, and files that are none.
    assert "guest" in product.command("roles", "list").stdout
    for content, said in ((b"[roles", "neither TOML nor JSON"), (b"\xff\xfe", "neither TOML nor JSON"),
                          (b"[roles.x]\ntempo = 1\n", "tempo"), (b"#" * 1_000_001, "1 MB")):  # fmt: skip
        file.write_bytes(content)
        page.get_by_label("Import a file").set_input_files(file)
        expect(page.locator("#set-problem")).to_contain_text(said)
        expect(page.locator("#set-plan")).to_be_hidden()
        page.get_by_label("Import a file").set_input_files([])
