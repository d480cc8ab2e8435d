"""The console's chat in a real Chromium."""

from __future__ import annotations

import json
import re

import pytest
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.browser


def chat(fake) -> str:
    return f"{fake.address}/console/chat"


def send(page: Page, message: str) -> None:
    box = page.get_by_label("Message", exact=True)
    box.fill(message)
    box.press("Enter")


def choose(page: Page, name: str) -> None:
    page.locator("#chips label", has_text=name).click()


def test_an_answer_streams_and_shows_its_figures(open_page, fake, screenshot):
    page = open_page(chat(fake)).page
    send(page, "showcase")
    answer = page.locator("article.answer")
    expect(answer.locator("pre")).to_contain_text("def duplicates")
    expect(answer.locator(".figures")).to_contain_text("cached 1,873")
    expect(answer.locator(".figures")).to_contain_text("prefilled 31")
    expect(answer.locator(".figures")).to_contain_text("answer 142")
    expect(answer.locator(".figures")).to_contain_text("first word")
    expect(answer.locator("h2 > span:not(.badge)")).to_have_text("coder")
    expect(answer.locator("h2 small")).to_have_text("big")
    expect(answer.locator("table td.right").first).to_have_text("0.4 s")
    expect(answer.locator("ol > li")).to_have_count(2)
    expect(answer.locator("ol ul > li")).to_have_count(2)
    asked = fake.requests[0]
    assert asked["model"] == "coder"
    assert asked["stream"] is True
    assert asked["stream_options"] == {"include_usage": True}
    screenshot(page, "chat-answer-light-en")


def test_the_role_changes_and_the_conversation_stays(open_page, fake):
    page = open_page(chat(fake)).page
    send(page, "first")
    expect(page.locator("article.answer").nth(0)).to_contain_text("coder read 1 messages.")
    choose(page, "philosopher")
    send(page, "second")
    expect(page.locator("article.answer").nth(1)).to_contain_text("philosopher read 3 messages.")
    page.get_by_label("Model", exact=True).select_option("big")
    send(page, "third")
    expect(page.locator("article.answer").nth(2)).to_contain_text("big read 5 messages.")
    expect(page.locator("article.answer h2 > span:not(.badge)")).to_have_text(["coder", "philosopher", "big"])
    assert [one["role"] for one in fake.requests[2]["messages"]] == ["user", "assistant", "user", "assistant", "user"]
    assert fake.requests[2]["messages"][:2] == [
        {"role": "user", "content": "first"},
        {"role": "assistant", "content": "coder read 1 messages."},
    ]
    page.reload()
    expect(page.locator("article.answer h2 > span:not(.badge)")).to_have_text(["coder", "philosopher", "big"])


def test_roles_are_chosen_with_the_keyboard_alone(open_page, fake):
    page = open_page(chat(fake)).page
    page.locator("#chips input").first.wait_for(state="attached")
    box = page.get_by_label("Message", exact=True)
    expect(box).to_be_focused()
    page.locator("#chips input:checked").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#chips input:checked")).to_have_value("reasoner")
    box.focus()
    page.keyboard.type("one")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("two")
    page.keyboard.press("Enter")
    expect(page.locator("article.answer")).to_contain_text("reasoner read 1 messages.")
    assert fake.requests[0]["messages"] == [{"role": "user", "content": "one\ntwo"}]


def test_who_is_quicker_than_the_list_of_roles_need_not_press_again(open_page, fake):
    page = open_page(chat(fake)).page
    page.route("**/v1/models", lambda _: None)
    page.reload()
    send(page, "first")
    expect(page.locator("article.answer")).to_have_count(0)
    page.unroute("**/v1/models")
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(page.locator("article.answer")).to_contain_text("coder read 1 messages.")


def test_thinking_is_open_while_it_streams_and_folds_afterwards(open_page, fake, screenshot):
    page = open_page(chat(fake)).page
    choose(page, "reasoner")
    send(page, "think")
    thinking = page.locator("details.thinking")
    expect(thinking.locator("em")).to_have_text("both")
    expect(thinking).to_have_attribute("open", "")
    expect(thinking.locator("summary")).to_have_text("Thinking…")
    screenshot(page, "chat-thinking-light-en")
    fake.release.set()
    expect(page.locator("article.answer")).to_contain_text("reasoner read 1 messages.")
    expect(thinking).not_to_have_attribute("open", "")
    expect(thinking.locator("summary")).to_have_text(re.compile(r"It thought for \d+\.\d+ s"))
    send(page, "next")
    expect(page.locator("article.answer").nth(1)).to_contain_text("reasoner read 3 messages.")
    assert "First I look" not in json.dumps(fake.requests[1])


def test_stop_ends_the_request_and_keeps_what_was_said(open_page, fake):
    page = open_page(chat(fake)).page
    send(page, "slow")
    expect(page.locator("article.answer")).to_contain_text("word word")
    page.get_by_role("button", name="Stop", exact=True).click()
    assert fake.left.wait(10), "the server did not see that the client left"
    expect(page.locator("article.answer")).to_contain_text("Stopped.")
    expect(page.get_by_role("button", name="Send")).to_be_visible()
    send(page, "after")
    expect(page.locator("article.answer").nth(1)).to_contain_text("coder read 3 messages.")


def test_an_answer_that_a_reload_cut_off_stays(open_page, fake):
    page = open_page(chat(fake)).page
    send(page, "slow")
    expect(page.locator("article.answer")).to_contain_text("word word")
    page.reload()
    assert fake.left.wait(10), "the server did not see that the client left"
    expect(page.locator("article.answer")).to_contain_text("word word")
    expect(page.locator("article.answer")).to_contain_text("Stopped.")
    expect(page.get_by_role("button", name="Stop", exact=True)).to_be_hidden()


def test_an_error_in_the_middle_is_one_line_with_retry(open_page, fake, screenshot):
    page = open_page(chat(fake)).page
    send(page, "break")
    error = page.locator("article.answer").get_by_role("alert")
    expect(error).to_contain_text("The engine of 'big' stopped: out of memory.")
    expect(page.locator("article.answer")).to_contain_text("The beginning of")
    screenshot(page, "chat-error-light-en")
    page.get_by_role("button", name="Retry").click()
    expect(page.locator("article.answer")).to_contain_text("coder read 1 messages.")
    expect(page.locator("article.answer").get_by_role("alert")).to_have_count(0)


def test_a_refusal_and_a_broken_connection_say_so(open_page, fake):
    watched = open_page(chat(fake))
    watched.expected = ("Failed to load resource",)
    page = watched.page
    send(page, "refuse")
    expect(page.locator("article.answer").get_by_role("alert")).to_contain_text(
        "The model 'big' is not ready; it is loading."
    )
    page.get_by_role("button", name="Retry").click()
    expect(page.locator("article.answer")).to_contain_text("coder read 1 messages.")
    send(page, "vanish")
    expect(page.locator("article.answer").get_by_role("alert")).to_contain_text(
        "The connection broke in the middle of the answer."
    )


def test_nothing_from_a_model_runs(open_page, fake, screenshot):
    fake.extra_models = [
        {"id": NASTY_NAME, "name": NASTY_NAME, "description": NASTY_NAME, "kind": "role", "aliases": [NASTY_NAME]},
        {"id": "x" * 300, "name": "x" * 300, "description": "long", "kind": "role", "aliases": []},
    ]
    page = open_page(chat(fake), width=360, height=740).page
    choose(page, NASTY_NAME[:20])
    send(page, "markup")
    answer = page.locator("article.answer")
    expect(answer.locator(".figures")).to_be_visible()
    expect(answer.locator("h2")).to_contain_text(NASTY_NAME)
    addresses = answer.locator("a").evaluate_all("links => links.map((one) => one.href)")
    assert addresses == [
        "http://example.com/pixel.png",
        "https://example.com/a_(b)",
        "https://example.com/auto",
    ]
    relations = answer.locator("a").evaluate_all("links => links.map((one) => one.rel)")
    assert all("noopener" in one for one in relations)
    assert page.locator("article.answer :is(script, img, svg, b, iframe)").count() == 0
    attributes = page.evaluate(
        "[...document.querySelectorAll('*')].flatMap((one) => one.getAttributeNames().filter((at) => /^on/.test(at)))"
    )
    assert attributes == []
    assert fits(page)
    screenshot(page, "chat-markup-phone-light-en")


def test_the_conversation_is_exported_left_and_brought_back(open_page, fake):
    page = open_page(chat(fake)).page
    send(page, "first")
    expect(page.locator(".figures")).to_be_visible()
    page.get_by_text("Export", exact=True).click()
    with page.expect_download() as download:
        page.get_by_role("button", name="As JSON").click()
    found = json.loads(download.value.path().read_text(encoding="utf-8"))
    (one,) = found["conversations"]
    assert one["title"] == "first"
    assert [message["content"] for message in one["messages"]] == ["first", "coder read 1 messages."]
    assert one["messages"][1]["name"] == "coder"
    page.get_by_text("Export", exact=True).click()
    with page.expect_download() as download:
        page.get_by_role("button", name="As Markdown").click()
    assert download.value.suggested_filename.endswith(".md")
    assert download.value.path().read_text(encoding="utf-8") == (
        "# first\n\n## You\n\nfirst\n\n## coder\n\ncoder read 1 messages.\n"
    )
    page.locator("#new").click()
    expect(page.locator("article.answer")).to_have_count(0)
    page.get_by_role("button", name="Undo").click()
    expect(page.locator("article.answer")).to_contain_text("coder read 1 messages.")
    page.locator("#new").click()
    page.reload()
    expect(page.get_by_role("heading", name="One model, many minds")).to_be_visible()


def test_code_is_copied(open_page, fake):
    watched = open_page(chat(fake), permissions=["clipboard-read", "clipboard-write"])
    page = watched.page
    send(page, "showcase")
    expect(page.locator(".figures")).to_be_visible()
    page.get_by_role("button", name="Copy", exact=True).click()
    expect(page.locator(".code button.copy")).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()").startswith("def duplicates")
    page.get_by_role("button", name="Copy the answer").click()
    expect(page.locator(".answer-tools .copy")).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()").startswith("Here is a **compact** way")


def fits(page: Page) -> bool:
    return page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


NASTY_NAME = '<img src=x onerror="window.hacked=1"><b>role</b>'


HOSTILE = {
    "stars": "*a **b " * 4000,
    "underscores": "_" * 20_000,
    "brackets": "[" * 20_000,
    "links": "[a](" * 8000,
    "nested links": "[[a](b" * 5000,
    "backticks": "` `` ``` " * 3000,
    "quotes": ">" * 20_000,
    "lists": "\n".join("  " * depth + "- x" for depth in range(400)),
    "rules": "-" * 20_000 + "x",
    "pipes": "|" * 20_000 + "\n" + "|-" * 10_000,
    "divider": "a|b\n" + "- " * 10_000,
    "hashes": "# " + "# " * 10_000 + "x",
    "spaces": "x" + " " * 20_000 + "x",
    "addresses": "https://" * 4000,
    "tildes": "~~x" * 8000,
    "open fence": "```python\n" + "x\n" * 5000,
    "nothing": "\0\ud800\u202e\r\n\r",
}


RENDERED = {
    "a *b* **c** ***d*** `e`": "<p>a <em>b</em> <strong>c</strong> <strong><em>d</em></strong> <code>e</code></p>",
    "snake_case_name and 2 * 3 * 4": "<p>snake_case_name and 2 * 3 * 4</p>",
    "*a **b** c* and _d_": "<p><em>a <strong>b</strong> c</em> and <em>d</em></p>",
    r"\*not\* `a\*b` ``c`d``": r"<p>*not* <code>a\*b</code> <code>c`d</code></p>",
    "**not closed": "<p>**not closed</p>",
    "# Title #\n\ntext": "<h3>Title</h3><p>text</p>",
    "- a\n  - b\n- c": "<ul><li>a<ul><li>b</li></ul></li><li>c</li></ul>",
    "3. a\n\n   more\n4. b": '<ol start="3"><li><p>a</p><p>more</p></li><li>b</li></ol>',
    "text:\n- a\n\n> q": "<p>text:</p><ul><li>a</li></ul><blockquote><p>q</p></blockquote>",
    "one\ntwo\n\n---": "<p>one<br>two</p><hr>",
    "In\n1986. A year": "<p>In<br>1986. A year</p>",
    "&amp; <b>": "<p>&amp;amp; &lt;b&gt;</p>",
}


def render(page: Page, text: str) -> str:
    """The markup that the console's own module makes of a text."""
    address = page.locator('script[type="module"]').evaluate("(one) => new URL('./markdown.js', one.src).href")
    return page.evaluate(
        """async ([address, text]) => {
          const { Markdown } = await import(address);
          const made = document.createElement("div");
          new Markdown(made).update(text);
          return made.innerHTML;
        }""",
        [address, text],
    )


def test_markdown_is_rendered_as_its_writers_mean_it(open_page, fake):
    page = open_page(chat(fake)).page
    assert {text: render(page, text) for text in RENDERED} == RENDERED


@pytest.mark.timeout(60)
def test_hostile_markdown_does_not_stall_the_page(open_page, fake):
    # Quadratic work would take minutes here; all take milliseconds.
    page = open_page(chat(fake)).page
    assert [name for name, text in HOSTILE.items() if not render(page, text)] == []
