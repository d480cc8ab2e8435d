"""Earlier conversations, which the browser keeps: a real Chromium with its real IndexedDB."""

from __future__ import annotations

import json
from pathlib import Path

import axe_playwright_python
import pytest
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.browser

AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
RUN_AXE = """async () => (await axe.run(document, { resultTypes: ["violations"] })).violations
    .map((one) => [one.impact, one.id, ...one.nodes.slice(0, 3).map((node) => node.target.join(" "))])"""
PHONE = {"width": 360, "height": 740}
NASTY = '<img src=x onerror="window.hacked=1">'
KEPT = """async () => {
  const base = await new Promise((done) => {
    const opening = indexedDB.open("ansambl.chat");
    opening.onsuccess = () => done(opening.result);
  });
  const all = (name) => new Promise((done) => {
    const found = base.transaction(name).objectStore(name).getAll();
    found.onsuccess = () => done(found.result);
  });
  const found = [await all("heads"), await all("turns")];
  base.close();
  return found;
}"""


def chat(fake) -> str:
    return f"{fake.address}/console/chat"


def send(page: Page, message: str) -> None:
    page.locator("#message").fill(message)
    expect(page.locator("#send")).to_be_enabled()
    page.locator("#send").click()


def answered(page: Page, message: str, count: int = 1) -> None:
    send(page, message)
    expect(page.locator("article.answer .figures:visible")).to_have_count(count)


def new(page: Page) -> None:
    page.locator("#new").click()
    expect(page.locator("article.answer")).to_have_count(0)


def show(page: Page) -> None:
    page.get_by_role("button", name="Conversations", exact=True).click()
    expect(page.locator("#past")).to_be_visible()


def titles(page: Page):
    return page.locator("#past-list .open")


def test_conversations_are_listed_opened_and_survive_what_happens_to_a_page(open_page, served, screenshot):
    fake = served.fake
    watched = open_page(chat(fake))
    watched.expected = ("Failed to load resource",)
    page = watched.page
    answered(page, "First line of the first\nand a second one")
    new(page)
    answered(page, "Вторая беседа")
    show(page)
    expect(titles(page)).to_have_text(["Вторая беседа", "First line of the first"])
    expect(titles(page).first).to_have_attribute("aria-current", "true")
    screenshot(page, "chat-past-light-en")
    titles(page).nth(1).click()
    expect(page.locator("#past")).to_be_hidden()
    expect(page.locator(".question p")).to_have_text("First line of the first\nand a second one")

    # Opened again it goes on, and is one conversation still.
    answered(page, "more", 2)
    page.reload()
    expect(page.locator(".question p")).to_have_text(["First line of the first\nand a second one", "more"])
    page.get_by_role("link", name="RU", exact=True).click()
    expect(page.locator("html")).to_have_attribute("lang", "ru")
    expect(page.locator(".question p")).to_have_count(2)
    page.goto(f"{fake.address}/console/")
    served.stop()
    served.start()
    page.goto(f"{chat(fake)}?lang=en")
    expect(page.locator(".question p")).to_have_count(2)
    show(page)
    expect(titles(page)).to_have_text(["First line of the first", "Вторая беседа"])
    # Another visit of the same browser, in a new tab: nothing of the tab's own, and the same list.
    other = watched.context.new_page()
    other.goto(chat(fake))
    expect(other.locator("#welcome")).to_be_visible()
    show(other)
    expect(titles(other)).to_have_count(2)
    assert not any("Вторая" in json.dumps(one, ensure_ascii=False) for one in fake.requests[2:])


def test_an_answer_that_was_left_unfinished_is_in_the_list_with_what_had_come(open_page, fake):
    watched = open_page(chat(fake))
    # The address without a page has no picture for the tab.
    watched.expected = ("Failed to load resource",)
    page = watched.page
    send(page, "slow")
    expect(page.locator("article.answer")).to_contain_text("word word")
    page.goto(f"{fake.address}/v1/models")
    assert fake.left.wait(10)
    page.goto(chat(fake))
    expect(page.locator("article.answer")).to_contain_text("word word")
    # Another tab reads what this one brought into the archive when it came back.
    page.wait_for_function(f"async () => (await ({KEPT})())[1][0]?.turns[0].answers[0].content.includes('word word')")
    other = watched.context.new_page()
    other.goto(chat(fake))
    show(other)
    titles(other).first.click()
    expect(other.locator("article.answer")).to_contain_text("word word")
    expect(other.locator("article.answer")).to_contain_text("Stopped.")


def test_an_answer_that_is_left_for_another_conversation_keeps_what_had_come(open_page, fake):
    page = open_page(chat(fake)).page
    answered(page, "first")
    new(page)
    send(page, "slow")
    expect(page.locator("article.answer")).to_contain_text("word word")
    show(page)
    titles(page).nth(1).click()
    assert fake.left.wait(10)
    expect(page.locator(".question p")).to_have_text("first")
    expect(page.locator("#send")).to_be_visible()
    show(page)
    titles(page).filter(has_text="slow").click()
    expect(page.locator("article.answer")).to_contain_text("word word")
    expect(page.locator("article.answer")).to_contain_text("Stopped.")


def test_a_conversation_is_renamed_deleted_and_brought_back_by_keyboard_alone(open_page, fake):
    page = open_page(chat(fake)).page
    answered(page, "first")
    new(page)
    answered(page, "second")
    page.get_by_role("button", name="Conversations", exact=True).focus()
    page.keyboard.press("Enter")
    expect(page.locator("#past-new")).to_be_focused()
    # The list comes from the browser's disk; before it is there, Tab leads elsewhere.
    expect(titles(page)).to_have_text(["second", "first"])
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    expect(titles(page).first).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect(titles(page).nth(1)).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    field = page.get_by_label("New name")
    expect(field).to_be_focused()
    # Escape leaves the name as it is, and the list open.
    page.keyboard.type("nothing")
    page.keyboard.press("Escape")
    expect(titles(page).nth(1)).to_have_text("first")
    expect(titles(page).nth(1)).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.keyboard.type(NASTY)
    page.keyboard.press("Enter")
    expect(titles(page).nth(1)).to_have_text(NASTY)
    expect(titles(page).nth(1)).to_be_focused()
    # The name stays when the conversation goes on.
    page.keyboard.press("Enter")
    answered(page, "more", 2)
    page.reload()
    show(page)
    expect(titles(page)).to_have_text([NASTY, "second"])

    page.get_by_role("button", name=f"Delete “{NASTY}”").press("Enter")
    expect(titles(page)).to_have_text(["second"])
    expect(page.locator("article.answer")).to_have_count(0)
    expect(page.get_by_role("button", name="Undo")).to_be_focused()
    page.keyboard.press("Enter")
    expect(titles(page)).to_have_text([NASTY, "second"])
    expect(page.locator(".question p")).to_have_text(["first", "more"])
    page.keyboard.press("Escape")
    expect(page.locator("#past")).to_be_hidden()


def test_all_are_exported_found_and_deleted(open_page, fake):
    page = open_page(chat(fake)).page
    answered(page, "Tea or coffee?")
    new(page)
    answered(page, "Cats or dogs?")
    show(page)
    page.locator("#past-find").fill("TEA")
    expect(titles(page)).to_have_text(["Tea or coffee?"])
    page.locator("#past-find").fill("zebra")
    expect(page.locator("#past-none")).to_be_visible()
    page.locator("#past-find").fill("")
    with page.expect_download() as download:
        page.locator("#past-json").click()
    found = json.loads(download.value.path().read_text(encoding="utf-8"))["conversations"]
    assert [one["title"] for one in found] == ["Cats or dogs?", "Tea or coffee?"]
    assert [one["content"] for one in found[1]["messages"]] == ["Tea or coffee?", "coder read 1 messages."]
    with page.expect_download() as download:
        page.locator("#past-markdown").click()
    text = download.value.path().read_text(encoding="utf-8")
    assert text.index("# Cats or dogs?") < text.index("# Tea or coffee?")
    page.get_by_role("button", name="Delete all").click()
    expect(titles(page)).to_have_count(0)
    expect(page.locator("article.answer")).to_have_count(0)
    assert page.evaluate(KEPT) == [[], []]
    page.get_by_role("button", name="Undo").click()
    expect(titles(page)).to_have_count(2)
    page.get_by_role("button", name="Delete all").click()
    expect(titles(page)).to_have_count(0)
    page.reload()
    expect(page.locator("#welcome")).to_be_visible()
    assert page.evaluate(KEPT) == [[], []]


def test_two_tabs_lose_nothing_of_each_other(open_page, fake):
    watched = open_page(chat(fake))
    first = watched.page
    answered(first, "common")
    second = watched.context.new_page()
    second.goto(chat(fake))
    show(second)
    titles(second).first.click()
    expect(second.locator(".question p")).to_have_text("common")
    # Both go on with the same one: it becomes two.
    answered(first, "by the first", 2)
    answered(second, "by the second", 2)
    expect(second.locator("#told")).to_contain_text("Another tab went on with this conversation")
    answered(first, "again by the first", 3)
    show(second)
    expect(titles(second)).to_have_count(2)
    _, turns = second.evaluate(KEPT)
    said = sorted([turn["question"] for turn in one["turns"]] for one in turns)
    assert said == [["common", "by the first", "again by the first"], ["common", "by the second"]]
    # The list follows what another tab does, and what is deleted there is shown nowhere.
    first.locator("#new").click()
    answered(first, "a third")
    expect(titles(second)).to_have_text(["a third", "common", "common"])
    second.get_by_role("button", name="Delete all").click()
    expect(first.locator("article.answer")).to_have_count(0)
    assert first.evaluate("sessionStorage.getItem('ansambl.chat')") is None


def test_a_conversation_that_is_only_read_again_stays_as_it_was(open_page, fake):
    watched = open_page(chat(fake))
    first = watched.page
    answered(first, "read")
    second = watched.context.new_page()
    second.goto(chat(fake))
    show(second)
    titles(second).first.click()
    expect(second.locator(".question p")).to_have_text("read")
    before, _ = second.evaluate(KEPT)
    first.reload()
    expect(first.locator(".question p")).to_have_text("read")
    after, _ = second.evaluate(KEPT)
    assert after == before
    # Nobody went on with it but this tab.
    answered(second, "more", 2)
    expect(second.locator("#told")).to_be_hidden()
    show(second)
    expect(titles(second)).to_have_count(1)


def test_an_earlier_question_asked_anew_leaves_the_conversation_as_it_was(open_page, fake):
    page = open_page(chat(fake)).page
    answered(page, "one")
    answered(page, "two", 2)
    page.get_by_role("button", name="Edit").first.click()
    expect(page.locator("#message")).to_have_value("one")
    expect(page.locator("#told")).to_contain_text("stays in the list")
    answered(page, "another one")
    expect(page.locator(".question p")).to_have_text("another one")
    assert [one["content"] for one in fake.requests[-1]["messages"]] == ["another one"]
    show(page)
    expect(titles(page)).to_have_text(["another one", "one"])
    titles(page).nth(1).click()
    expect(page.locator(".question p")).to_have_text(["one", "two"])


def test_what_the_browser_has_no_room_for_is_told(open_page, fake):
    page = open_page(chat(fake)).page
    answered(page, "first")
    # As a browser says it. Chromium's own limit cannot be lowered so far that so little goes over it.
    page.evaluate("""() => {
      window.put = IDBObjectStore.prototype.put;
      IDBObjectStore.prototype.put = () => { throw new DOMException("full", "QuotaExceededError"); };
    }""")
    answered(page, "second", 2)
    expect(page.locator("#told")).to_contain_text("has no room left")
    # It is so for the next question, too.
    answered(page, "third", 3)
    expect(page.locator("#told")).to_contain_text("has no room left")
    page.evaluate("() => { IDBObjectStore.prototype.put = window.put; }")
    answered(page, "fourth", 4)
    expect(page.locator("#told")).to_be_hidden()
    new(page)
    show(page)
    titles(page).first.click()
    expect(page.locator(".question p")).to_have_count(4)


def test_a_browser_that_keeps_nothing_says_so_and_the_tab_goes_on(open_page, fake):
    watched = open_page(chat(fake))
    page = watched.page
    page.add_init_script("IDBFactory.prototype.open = () => { throw new DOMException('not here', 'SecurityError'); };")
    page.reload()
    answered(page, "first")
    expect(page.locator("#told")).to_contain_text("keeps no conversations: not here")
    page.reload()
    expect(page.locator(".question p")).to_have_text("first")
    show(page)
    expect(page.locator("#past-trouble")).to_contain_text("keeps no conversations")


def test_a_conversation_above_the_room_of_the_tab_comes_back_from_the_archive(open_page, fake):
    """The tab's own storage has 5 MiB; what does not fit there is read from the browser's."""
    page = open_page(chat(fake)).page
    page.evaluate("""() => {
      for (let room = 8 << 20; room > 2000; ) {
        try { sessionStorage.setItem("full", "x".repeat(room)); break; } catch { room = Math.floor(room * 0.999); }
      }
      for (let at = 0; at < 100; at += 1) {
        try { sessionStorage.setItem(`full${at}`, "x".repeat(200)); } catch { break; }
      }
      // Room for the name of a conversation, and not for what is said in it.
      for (let at = 0; at < 4; at += 1) sessionStorage.removeItem(`full${at}`);
    }""")
    answered(page, "long " * 2000)
    page.wait_for_function(f"async () => (await ({KEPT})())[1][0]?.turns[0].answers[0].content.length > 10")
    assert page.evaluate("JSON.parse(sessionStorage.getItem('ansambl.chat')).turns") is None
    page.reload()
    expect(page.locator("article.answer")).to_contain_text("coder read 1 messages.")
    answered(page, "more", 2)
    assert len(page.evaluate(KEPT)[0]) == 1


def test_whoever_signs_in_after_sees_nothing_of_it(open_page, fake):
    page = open_page(chat(fake)).page
    answered(page, "mine")
    # The page says whose list it is; the server writes the name of the key there.
    page.route("**/console/chat", _as_somebody_else)
    page.reload()
    expect(page.locator("#welcome")).to_be_visible()
    show(page)
    expect(titles(page)).to_have_count(0)
    page.keyboard.press("Escape")
    answered(page, "theirs")
    page.unroute("**/console/chat")
    page.reload()
    show(page)
    expect(titles(page)).to_have_text(["mine"])


def _as_somebody_else(route) -> None:
    answer = route.fetch()
    route.fulfill(response=answer, body=answer.text().replace('data-owner=""', 'data-owner="anna"'))


@pytest.mark.parametrize("language", ["en", "ru"])
def test_the_list_is_usable_on_a_phone(open_page, fake, screenshot, language):
    page = open_page(chat(fake), **PHONE, language=language, has_touch=True).page
    answered(page, "An earlier question that is quite long and goes on and on for more than the width of a phone")
    page.locator("#new").click()
    answered(page, "سؤال قديم")
    page.locator(".under > button").click()
    expect(page.locator("#past")).to_be_visible()
    expect(titles(page)).to_have_count(2)
    screenshot(page, f"chat-past-phone-{language}")
    box = page.locator("#past").bounding_box()
    assert box["width"] <= PHONE["width"]
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert page.evaluate("(one => one.scrollWidth <= one.clientWidth)(document.getElementById('past-list'))")
    page.evaluate(AXE)
    assert [one for one in page.evaluate(RUN_AXE) if one[0] in ("serious", "critical")] == []
    for one in page.locator("#past button").all():
        assert one.bounding_box()["height"] >= 24
    titles(page).nth(1).tap()
    expect(page.locator("#past")).to_be_hidden()
    expect(page.locator(".question p")).to_contain_text("An earlier question")
