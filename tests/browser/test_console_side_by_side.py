"""One question to several roles, to ensembles, with knowledge: the chat in a real Chromium."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import axe_playwright_python
import pytest
from playwright.sync_api import Page, expect
from product import wait_for

pytestmark = pytest.mark.browser

AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
RUN_AXE = """async () => (await axe.run(document, { resultTypes: ["violations"] })).violations
    .map((one) => [one.impact, one.id, ...one.nodes.slice(0, 3).map((node) => node.target.join(" "))])"""
NASTY = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>'


def enter(page: Page) -> None:
    """Send what stands in the box, once it stands there and somebody can be asked."""
    expect(page.locator("#send")).to_be_enabled()
    page.locator("#message").press("Enter")


def chat(fake, query: str = "") -> str:
    return f"{fake.address}/console/chat{query}"


def send(page: Page, message: str) -> None:
    page.locator("#message").fill(message)
    enter(page)


def fits(page: Page) -> bool:
    return page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def ended(page: Page, count: int) -> None:
    expect(page.locator(".figures:visible")).to_have_count(count)


def asked(fake, name: str, message: str) -> list[dict[str, str]]:
    """The messages of the last request of this question to a name."""
    found = [one["messages"] for one in fake.requests if one["model"] == name]
    return next(one for one in reversed(found) if one[-1]["content"] == message)


@pytest.mark.parametrize("language", ["en", "ru"])
def test_four_columns_stand_side_by_side_with_their_own_figures(open_page, fake, screenshot, language):
    page = open_page(chat(fake), language=language).page
    page.locator("#compare").check()
    for at in range(1, 4):
        page.locator("#chips label").nth(at).click()
    expect(page.locator("#chips :checked")).to_have_count(4)
    # A fifth cannot be chosen, and one is always chosen.
    expect(page.locator("#chips input").nth(4)).to_be_disabled()
    page.locator("#message").fill("showcase")
    enter(page)
    ended(page, 4)
    boxes = [one.bounding_box() for one in page.locator("article.answer").all()]
    assert all(left["x"] + left["width"] <= right["x"] for left, right in pairwise(boxes))
    assert len({round(one["y"]) for one in boxes}) == 1
    first = page.locator("article.answer").first
    expect(first.locator(".queued")).to_contain_text("1" + ("." if language == "en" else ",") + "25")
    expect(first.locator(".swaps")).to_contain_text("1")
    expect(first.locator(".share")).to_have_attribute("aria-label", page.locator(".share").first.get_attribute("title"))
    expect(first.locator("h2 small")).to_have_text("big")
    assert sorted(one["model"] for one in fake.requests) == ["brief", "coder", "philosopher", "reasoner"]
    assert fits(page)
    screenshot(page, f"chat-four-light-{language}")
    for at in range(4):
        page.locator("#chips label").nth(at).click()
    expect(page.locator("#chips :checked")).to_have_count(1)


def test_each_column_reads_its_own_answers_until_one_becomes_the_conversation(open_page, fake):
    page = open_page(chat(fake, "?to=coder,reasoner&q=first")).page
    enter(page)
    ended(page, 2)
    send(page, "second")
    ended(page, 4)
    for name in ("coder", "reasoner"):
        said = [one["content"] for one in asked(fake, name, "second")]
        assert said == ["first", f"{name} read 1 messages.", "second"]
    # One of them becomes the conversation; the others are folded, not lost.
    page.get_by_role("button", name="Continue with this one").nth(1).click()
    expect(page.locator("article.answer:visible h2 span:not(.badge)")).to_have_text(["reasoner", "reasoner"])
    expect(page.locator("details.rest").first).to_contain_text("Other answers: 1")
    page.locator("#chips label", has_text="brief").click()
    send(page, "third")
    ended(page, 3)
    assert [one["content"] for one in asked(fake, "brief", "third")] == [
        "first", "reasoner read 1 messages.", "second", "reasoner read 3 messages.", "third",
    ]  # fmt: skip
    page.reload()
    expect(page.locator("details.rest")).to_have_count(2)


def test_going_on_with_one_is_undone(open_page, fake):
    page = open_page(chat(fake, "?to=coder,reasoner&q=first")).page
    enter(page)
    ended(page, 2)
    page.get_by_role("button", name="Continue with this one").first.click()
    expect(page.locator("#told")).to_contain_text("The conversation goes on with coder.")
    expect(page.locator("#chips :checked")).to_have_value("coder")
    page.get_by_role("button", name="Undo").click()
    expect(page.locator("article.answer:visible")).to_have_count(2)
    expect(page.locator("#chips :checked")).to_have_count(2)


def test_one_column_is_stopped_and_tried_again_while_the_others_go_on(open_page, fake):
    page = open_page(chat(fake, "?to=coder,reasoner,brief&q=slow")).page
    enter(page)
    columns = page.locator("article.answer")
    for at in range(3):
        expect(columns.nth(at)).to_contain_text("word word")
    page.get_by_role("button", name="Stop reasoner").click()
    wait_for(lambda: fake.asking == {"coder", "brief"}, "only the stopped one has left", 10)
    expect(columns.nth(1)).to_contain_text("Stopped.")
    columns.nth(1).get_by_role("button", name="Retry").click()
    wait_for(lambda: fake.asking == {"coder", "brief", "reasoner"}, "it is asked again", 10)
    expect(columns.nth(1)).not_to_contain_text("Stopped.")
    page.get_by_role("button", name="Stop all").click()
    wait_for(lambda: not fake.asking, "all have left", 10)
    expect(page.get_by_role("button", name="Send")).to_be_visible()
    for at in range(3):
        expect(columns.nth(at)).to_contain_text("Stopped.")


def test_a_column_that_fails_leaves_the_others_alone(open_page, fake):
    watched = open_page(chat(fake, "?to=coder,reasoner&q=refuse"))
    watched.expected = ("Failed to load resource",)
    page = watched.page
    enter(page)
    expect(page.locator("article.answer .error:visible")).to_have_count(1)
    ended(page, 1)
    page.locator(".error .retry:visible").click()
    ended(page, 2)
    expect(page.locator("article.answer .error:visible")).to_have_count(0)


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_a_phone_swipes_from_answer_to_answer(open_page, fake, screenshot, colours):
    page = open_page(
        chat(fake, "?to=coder,reasoner,brief&q=showcase"), width=390, height=844, color_scheme=colours, has_touch=True
    ).page
    expect(page.locator("#send")).to_be_enabled()
    page.locator("#send").tap()
    ended(page, 3)
    assert fits(page)
    screenshot(page, f"chat-three-phone-{colours}-en")
    row = page.locator(".answers").first
    assert row.evaluate("(one) => one.scrollWidth > one.clientWidth")
    row.evaluate("(one) => one.scrollTo({ left: one.scrollWidth })")
    expect(page.locator("article.answer").nth(2)).to_be_in_viewport()
    # The row is reached and moved by the keyboard, too.
    expect(row).to_have_attribute("tabindex", "0")


@pytest.mark.parametrize("language", ["en", "ru"])
def test_an_ensemble_shows_who_is_answering_and_folds_afterwards(open_page, fake, screenshot, language):
    page = open_page(chat(fake, "?to=council&q=parts"), language=language).page
    enter(page)
    work = page.locator("details.thinking")
    second = {"en": "reasoner", "ru": "мыслитель"}[language]
    expect(work).to_have_attribute("open", "")
    expect(work.locator("summary")).to_contain_text(second)
    expect(work.locator(".part")).to_have_count(2)
    expect(work.locator(".part.current")).to_contain_text("Prove it.")
    screenshot(page, f"chat-council-light-{language}")
    fake.release.set()
    expect(page.locator("article.answer")).to_contain_text("council read 1 messages.")
    expect(work).not_to_have_attribute("open", "")
    work.locator("summary").click()
    expect(work.locator(".part small").first).to_contain_text("40")
    expect(work.locator(".part.current")).to_have_count(0)
    # What the roles said is not sent with the next question.
    send(page, "next")
    ended(page, 2)
    assert "Prove it." not in json.dumps(asked(fake, "council", "next"))


def test_who_was_chosen_and_why_is_said(open_page, fake):
    page = open_page(chat(fake, "?to=auto&q=route")).page
    enter(page)
    expect(page.locator(".route")).to_have_text("reasoner answers – it asks <b>why</b>")
    ended(page, 1)
    expect(page.locator("details.thinking")).to_be_hidden()


def test_what_an_answer_waits_for_is_said(open_page, fake, screenshot):
    big, other = fake.state["instances"]
    page = open_page(chat(fake, "?q=queue")).page
    enter(page)
    waiting = page.locator(".waiting")
    # In the gateway's words first, then as the machine shows it.
    expect(waiting).to_contain_text("'big' is loaded: 3 of 60 GiB")
    other.update(state="ready", residency="draining", wanted="big", message=None)
    expect(waiting).to_contain_text("remote finishes its answers, then makes room for big")
    other.update(residency="leaving", state="stopping")
    big.update(state="starting")
    expect(waiting).to_contain_text("Loading big (was remote)…")
    screenshot(page, "chat-waiting-light-en")
    fake.release.set()
    ended(page, 1)
    expect(page.locator(".queued")).to_have_text("queued 8.25 s")


def test_citations_are_chips_that_show_their_passages(open_page, fake, screenshot):
    page = open_page(chat(fake, "?q=cite")).page
    enter(page)
    ended(page, 1)
    chips = page.locator(".text button.mark")
    expect(chips).to_have_text(["1", "2", "1"])
    # What is no mark of a source stays what it was.
    expect(page.locator(".text").last).to_contain_text("Not [1], nor [9], nor 2.")
    source = page.locator(".source").first
    expect(source.locator("blockquote")).to_be_hidden()
    chips.first.click()
    expect(source.locator("blockquote")).to_have_text("<script>window.hacked=1</script> the passage")
    expect(source.locator("summary")).to_be_focused()
    expect(source.locator("summary")).to_contain_text("page 12")
    expect(source.locator("a")).to_have_attribute("href", f"{fake.address}/console/knowledge/documents/5?passage=3")
    # An address that would run something is none.
    expect(page.locator(".source").nth(1).locator("a")).to_have_count(0)
    expect(page.locator(".sources .others > summary")).to_have_text("Passages that it did not cite: 1")
    screenshot(page, "chat-citations-light-en")


def test_a_limit_says_when_to_try_again(open_page, fake):
    watched = open_page(chat(fake, "?q=limit"))
    watched.expected = ("Failed to load resource",)
    enter(watched.page)
    expect(watched.page.locator(".error")).to_contain_text("Too many requests. It may work in 7 s.")


def test_the_last_question_is_edited_and_asked_again(open_page, fake):
    page = open_page(chat(fake)).page
    send(page, "first")
    ended(page, 1)
    send(page, "secnd")
    ended(page, 2)
    page.locator("#message").fill("a draft")
    page.get_by_role("button", name="Edit").last.click()
    expect(page.locator("#message")).to_have_value("secnd")
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("#message")).to_have_value("a draft")
    page.get_by_role("button", name="Edit").last.click()
    send(page, "second")
    ended(page, 2)
    expect(page.locator(".question p")).to_have_text(["first", "second"])
    assert [one["content"] for one in fake.requests[-1]["messages"]] == ["first", "coder read 1 messages.", "second"]


def test_all_columns_are_exported(open_page, fake):
    page = open_page(chat(fake, "?to=coder,reasoner&q=first")).page
    enter(page)
    ended(page, 2)
    page.locator("#export summary").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="As JSON").click()
    (exported,) = json.loads(download.value.path().read_text(encoding="utf-8"))["conversations"]
    messages = exported["messages"]
    assert [(one["role"], one.get("name")) for one in messages] == [
        ("user", None), ("assistant", "coder"), ("assistant", "reasoner"),
    ]  # fmt: skip
    assert messages[1]["usage"]["prompt_tokens_details"]["cached_tokens"] == 1873
    page.locator("#export summary").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="As Markdown").click()
    assert download.value.path().read_text(encoding="utf-8") == (
        "# first\n\n## You\n\nfirst\n\n## coder\n\ncoder read 1 messages.\n\n## reasoner\n\nreasoner read 1 messages.\n"
    )


def test_a_link_chooses_and_fills_but_never_sends(open_page, fake):
    page = open_page(chat(fake, "?to=reasoner,nobody,%3Cb%3E&q=Is%20it%20so%3F&lang=en")).page
    expect(page.locator("#message")).to_have_value("Is it so?")
    expect(page.locator("#chips :checked")).to_have_value("reasoner")
    expect(page.locator("#told")).to_have_text("There is no role or model nobody, <b> here.")
    assert page.url == chat(fake, "?lang=en")
    assert fake.requests == []


def test_a_conversation_of_the_knowledge_is_gone_on_with(open_page, fake):
    page = open_page(chat(fake, "?continue=12")).page
    expect(page.locator(".question p")).to_have_text("An old question")
    expect(page.locator("article.answer strong")).to_have_text("answer")
    expect(page.locator("#told")).to_contain_text("<img src=x")
    send(page, "go on")
    ended(page, 1)
    assert [one["content"] for one in fake.requests[0]["messages"]] == [
        "An old question", "An old **answer**", "go on",
    ]  # fmt: skip


def test_sampling_is_the_roles_own_until_it_is_changed(open_page, fake):
    page = open_page(chat(fake)).page
    send(page, "first")
    ended(page, 1)
    page.locator("#sampling summary").click()
    expect(page.locator("#temperature")).to_be_disabled()
    page.locator("#temperature-own").check()
    page.locator("#temperature").fill("0.2")
    page.locator("#limit-own").check()
    page.locator("#limit").fill("8")
    expect(page.locator("#limit-shown")).to_have_text("256")
    send(page, "second")
    ended(page, 2)
    plain, changed = fake.requests
    assert not {"temperature", "max_tokens"} & set(plain)
    assert (changed["temperature"], changed["max_tokens"]) == (0.2, 256)


def test_a_key_that_is_asked_for_later_brings_the_sign_in_and_loses_nothing(open_page, fake):
    watched = open_page(chat(fake))
    watched.expected = ("Failed to load resource",)
    page = watched.page
    expect(page.locator("#chips label").first).to_be_visible()
    fake.needs_key = True
    send(page, "first")
    expect(page.locator(".sign-in #key")).to_be_focused()
    expect(page.locator("article.answer .error")).to_contain_text("An API key is needed.")
    fake.needs_key = False
    page.reload()
    expect(page.locator(".question p")).to_have_text("first")
    expect(page.locator(".sign-in")).to_have_count(0)


@pytest.mark.parametrize("colours", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_everybody_can_use_it(open_page, fake, width, colours):
    fake.release.set()
    page = open_page(chat(fake, "?to=council,auto&q=parts"), width=width, color_scheme=colours).page
    enter(page)
    ended(page, 2)
    page.locator("details.thinking summary").first.click()
    send(page, "cite")
    ended(page, 4)
    page.locator("#message").fill("break")
    enter(page)
    expect(page.locator(".error:visible")).not_to_have_count(0)
    page.locator(".text button.mark").first.click()
    page.locator("#sampling summary").click()
    page.evaluate(AXE)
    assert page.evaluate(RUN_AXE) == []


def test_names_that_are_long_or_markup_are_text_in_every_column(open_page, fake, screenshot):
    long = "x" * 300
    fake.extra_models = [
        {"id": name, "name": name, "description": name, "kind": "role", "aliases": [name], "models": [NASTY]}
        for name in (NASTY, long)
    ]
    fake.state["instances"][0].update(model=NASTY, state="starting")
    page = open_page(chat(fake), width=390, height=844).page
    page.locator("#compare").check()
    for name in (NASTY, long):
        page.locator("#chips label", has_text=name[:30]).click()
    page.locator("#message").fill("queue")
    enter(page)
    expect(page.locator(".waiting").nth(1)).to_contain_text(f"Loading {NASTY}")
    fake.release.set()
    ended(page, 3)
    expect(page.locator("article.answer h2 > span:not(.badge)")).to_have_text(["coder", NASTY, long])
    page.get_by_role("button", name="Continue with this one").nth(1).click()
    expect(page.locator("#told")).to_contain_text(NASTY)
    assert page.locator("#chat :is(script, b, iframe), #chat img[src='x'], .dock :is(script, img, b)").count() == 0
    assert fits(page)
    screenshot(page, "chat-hostile-names-phone-light-en")


def test_models_of_vectors_are_not_offered(open_page, fake):
    page = open_page(chat(fake)).page
    expect(page.locator("#plain-model option")).to_have_text(["A plain model…", "big"])


def test_a_growing_answer_keeps_the_elements_that_did_not_change(open_page, fake):
    page = open_page(chat(fake)).page
    address = page.locator('script[type="module"]').evaluate("(one) => new URL('./markdown.js', one.src).href")
    blocks = page.evaluate(
        """async (address) => {
          const { Markdown } = await import(address);
          const made = document.createElement("div");
          const markdown = new Markdown(made);
          let text = "";
          for (let at = 0; at < 400; at += 1) {
            text += `Paragraph ${at} with **words**.\\n\\n`;
            markdown.update(text);
          }
          const first = made.firstChild;
          markdown.update(text + "end");
          return [made.childElementCount, made.firstChild === first];
        }""",
        address,
    )
    assert blocks == [401, True]
