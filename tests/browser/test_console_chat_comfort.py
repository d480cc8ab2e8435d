"""What people of other chats expect of one, in a real Chromium: keys, scrolling, long texts, text from the right."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.browser

PHONE = {"width": 360, "height": 740}


def chat(fake, query: str = "") -> str:
    return f"{fake.address}/console/chat{query}"


def send(page: Page, message: str) -> None:
    page.locator("#message").fill(message)
    expect(page.locator("#send")).to_be_enabled()
    page.locator("#send").click()


def render(page: Page, text: str) -> None:
    """Show what an answer of this text looks like, in the place of the newest answer."""
    address = page.locator('script[type="module"]').evaluate("(one) => new URL('./markdown.js', one.src).href")
    page.evaluate(
        """async ([address, text]) => {
          const { Markdown } = await import(address);
          const body = document.querySelector("article.answer > .text");
          body.replaceChildren();
          new Markdown(body).update(text);
        }""",
        [address, text],
    )


def test_enter_that_ends_the_composing_of_a_word_sends_nothing(open_page, fake):
    watched = open_page(chat(fake))
    page = watched.page
    expect(page.locator("#chips label").first).to_be_visible()
    page.locator("#message").focus()
    session = watched.context.new_cdp_session(page)
    session.send("Input.imeSetComposition", {"text": "にほん", "selectionStart": 3, "selectionEnd": 3})
    expect(page.locator("#message")).to_have_value("にほん")
    page.keyboard.press("Enter")
    # Safari tells of the key only after the word: by its number alone it is known.
    page.locator("#message").evaluate(
        """(box) => box.dispatchEvent(new KeyboardEvent("keydown", {
          key: "Enter", keyCode: 229, bubbles: true, cancelable: true }))"""
    )
    session.send("Input.insertText", {"text": "日本"})
    # The key itself reaches the box here, which an input method would have kept for itself.
    expect(page.locator("#message")).to_have_value(re.compile("日本\n?"))
    assert fake.requests == []
    page.keyboard.press("Enter")
    expect(page.locator("article.answer")).to_contain_text("coder read 1 messages.")
    assert fake.requests[0]["messages"] == [{"role": "user", "content": "日本"}]


def test_a_long_text_is_pasted_and_does_not_push_all_else_away(open_page, fake):
    watched = open_page(chat(fake), permissions=["clipboard-read", "clipboard-write"])
    page = watched.page
    text = "\n".join(f"line {at}: " + "слово " * 8 for at in range(1700))
    assert len(text.encode()) > 100_000
    page.evaluate("(text) => navigator.clipboard.writeText(text)", text)
    page.locator("#message").focus()
    page.keyboard.press("ControlOrMeta+V")
    page.keyboard.press("Enter")
    expect(page.locator("article.answer")).to_contain_text("coder read 1 messages.")
    assert fake.requests[0]["messages"][0]["content"] == text.strip()
    question = page.locator(".question p")
    assert question.bounding_box()["height"] < 500
    assert question.evaluate("(one) => one.tabIndex") == 0
    page.reload()
    expect(page.locator(".question p")).to_contain_text("line 1699")


def test_who_scrolls_up_a_little_stays_there_while_the_answer_grows(open_page, fake):
    page = open_page(chat(fake), width=500, height=420).page
    send(page, "showcase")
    expect(page.locator(".figures")).to_be_visible()
    send(page, "slow")
    page.wait_for_function("() => document.scrollingElement.scrollHeight > innerHeight + 300")
    page.wait_for_function(
        "() => (one => one.scrollHeight - one.scrollTop - one.clientHeight < 2)(document.scrollingElement)"
    )
    page.mouse.move(200, 150)
    page.mouse.wheel(0, -40)
    page.wait_for_function(
        "() => (one => one.scrollHeight - one.scrollTop - one.clientHeight > 20)(document.scrollingElement)"
    )
    before = page.evaluate("[document.scrollingElement.scrollTop, document.scrollingElement.scrollHeight]")
    page.wait_for_function("(height) => document.scrollingElement.scrollHeight > height + 60", arg=before[1])
    assert page.evaluate("document.scrollingElement.scrollTop") == before[0]
    page.locator("#newest").click()
    page.wait_for_function(
        "() => (one => one.scrollHeight - one.scrollTop - one.clientHeight < 2)(document.scrollingElement)"
    )
    page.locator("#stop").click()
    assert fake.left.wait(10)


def test_escape_stops_from_anywhere_and_closes_what_is_open_first(open_page, fake):
    page = open_page(chat(fake)).page
    send(page, "slow")
    expect(page.locator("article.answer")).to_contain_text("word word")
    page.locator("#sampling summary").click()
    page.keyboard.press("Escape")
    expect(page.locator("#sampling")).not_to_have_attribute("open", "")
    page.get_by_role("button", name="Conversations", exact=True).click()
    page.keyboard.press("Escape")
    expect(page.locator("#past")).to_be_hidden()
    assert not fake.left.is_set()
    page.locator("h1").evaluate("(one) => document.activeElement.blur()")
    page.keyboard.press("Escape")
    assert fake.left.wait(10)
    expect(page.locator("article.answer")).to_contain_text("Stopped.")


def test_text_from_the_right_code_without_a_name_and_tables_wider_than_a_phone(open_page, fake, screenshot):
    page = open_page(chat(fake), **PHONE).page
    send(page, "سؤال بالعربية")
    expect(page.locator(".figures")).to_be_visible()
    assert page.locator(".question p").evaluate("(one) => getComputedStyle(one).direction") == "rtl"
    wide = "| " + " | ".join(f"column{at}" for at in range(12)) + " |\n" + "|---" * 12 + "|\n" + "| cell " * 12 + "|"
    render(page, f"هذا جواب.\n\nПо-русски тоже.\n\n```\nno name\n```\n\n{wide}\n\n[link](https://example.com/)")
    sides = page.locator("article.answer > .text > p").evaluate_all("""(all) => all.map((one) => {
      const range = document.createRange();
      range.selectNodeContents(one);
      const [words, block] = [range.getBoundingClientRect(), one.getBoundingClientRect()];
      return block.right - words.right < words.left - block.left ? "right" : "left";
    })""")
    assert sides[:2] == ["right", "left"]
    code = page.locator("article.answer .code")
    assert code.locator("code").evaluate("(one) => getComputedStyle(one).direction") == "ltr"
    expect(code.locator(".bar button")).to_have_text("Copy")
    expect(code.locator(".bar span")).to_have_text("")
    table = page.locator("article.answer .wide")
    assert table.evaluate("(one) => one.scrollWidth > one.clientWidth && one.tabIndex === 0")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    link = page.locator("article.answer a")
    expect(link).to_have_attribute("target", "_blank")
    expect(link).to_have_attribute("rel", "noopener noreferrer")
    screenshot(page, "chat-right-to-left-phone")


def test_where_there_is_no_clipboard_copying_works_all_the_same(open_page, fake):
    """Pages of another machine without TLS have none, and that is how a phone asks."""
    watched = open_page(chat(fake), permissions=["clipboard-read", "clipboard-write"])
    page = watched.page
    page.add_init_script("""
      window.clipboard = navigator.clipboard;
      Object.defineProperty(navigator, "clipboard", { value: undefined });
    """)
    page.reload()
    send(page, "showcase")
    expect(page.locator(".figures")).to_be_visible()
    page.get_by_role("button", name="Copy the answer").click()
    expect(page.locator(".answer-tools .copy")).to_have_text("Copied")
    assert page.evaluate("window.clipboard.readText()").startswith("Here is a **compact** way")
    expect(page.locator(".answer-tools .copy")).to_be_focused()


THINKING = [
    (["<think>", "hm", " so</th", "ink>\n\nYes", "."], "hm so", "Yes."),
    (["  <thi", "nk>a</think>", "b <think>c"], "a", "b <think>c"),
    (["I <think>", "not</think>"], "", "I <think>not</think>"),
    (["<b", ">x"], "", "<b>x"),
    (["<think>", "cut at its lim", "it, and no more of it"], "cut at its limit, and no more of it", ""),
    # What could become a mark and was the end.
    (["<"], "", "<"),
    ([" <th"], "", " <th"),
    (["<think>hm", " </th"], "hm </th", ""),
]


def test_thinking_that_an_engine_leaves_in_the_answer_is_told_from_it(open_page, fake):
    page = open_page(chat(fake)).page
    address = page.locator('script[type="module"]').evaluate("(one) => new URL('./thinking.js', one.src).href")
    for pieces, thinking, content in THINKING:
        found = page.evaluate(
            """async ([address, pieces]) => {
              const { splitter } = await import(address);
              const split = splitter();
              const found = [...pieces.map((one) => split(one)), split()];
              return ["thinking", "content"].map((key) => found.map((one) => one[key]).join(""));
            }""",
            [address, pieces],
        )
        assert found == [thinking, content]


def test_an_answer_is_read_out_once_at_its_end(open_page, fake):
    page = open_page(chat(fake)).page
    page.evaluate("""() => {
      window.spoken = [];
      new MutationObserver(() => window.spoken.push(document.getElementById("spoken").textContent))
        .observe(document.getElementById("spoken"), { childList: true });
    }""")
    send(page, "showcase")
    expect(page.locator(".figures")).to_be_visible()
    said = page.evaluate("window.spoken")
    assert said[0] == "coder is answering"
    assert said[1].startswith("coder has answered Here is a compact way")
    assert len(said) == 2
    assert len(said[1]) < 500
    # Nothing else is announced while it grows.
    assert page.locator("#log").evaluate("(one) => one.closest('[aria-live], [role=log], [role=status]')") is None
    assert page.locator("#log [aria-live]").count() == 0


def test_a_wait_is_told_only_where_there_was_one(open_page, fake):
    page = open_page(chat(fake)).page
    send(page, "first")
    expect(page.locator(".figures")).to_contain_text("queued 1.25 s")
    page.route("**/v1/chat/completions", _unqueued)
    send(page, "second")
    expect(page.locator(".figures")).to_have_count(2)
    expect(page.locator(".figures").nth(1)).to_contain_text("first word")
    expect(page.locator(".figures").nth(1)).not_to_contain_text("queued")


def _unqueued(route) -> None:
    answer = route.fetch()
    route.fulfill(response=answer, headers={**answer.headers, "x-ansambl-queued-ms": "3"})


def test_an_ensembles_first_word_is_that_of_its_answer(open_page, fake):
    page = open_page(chat(fake, "?to=council")).page
    send(page, "parts")
    parts = page.locator(".parts .part")
    expect(parts).to_have_count(2)
    expect(parts.nth(1)).to_contain_text("Prove it.")
    # The heading and what its members say came long ago; the answer has not begun.
    page.wait_for_function("() => performance.now() > 1500")
    fake.release.set()
    figures = page.locator(".figures")
    expect(figures).to_contain_text("first word")
    shown = figures.locator(".first").inner_text()
    seconds = float(shown.split()[2])
    whole = page.evaluate("JSON.parse(sessionStorage.getItem('ansambl.chat')).turns[0].answers[0].seconds")
    # It is shown in hundredths.
    assert 0.02 < seconds <= whole + 0.005
    page.locator("details.thinking > summary").click()
    expect(parts.first.locator("small")).to_contain_text("first word 0.31 s")


def test_on_a_phone_enter_begins_a_line_and_the_button_sends(chromium, fake):
    context = chromium.new_context(viewport=PHONE, has_touch=True, is_mobile=True, locale="en-GB")
    page = context.new_page()
    page.goto(chat(fake))
    expect(page.locator("#chips label").first).to_be_visible()
    page.locator("#message").focus()
    page.keyboard.type("one")
    page.keyboard.press("Enter")
    page.keyboard.type("two")
    expect(page.locator("#message")).to_have_value("one\ntwo")
    assert fake.requests == []
    page.locator("#send").tap()
    expect(page.locator("article.answer")).to_contain_text("coder read 1 messages.")
    context.close()
