"""The page Models and engines in a real browser, on the real product, with a hub of this machine's own."""

from __future__ import annotations

import json
import re
import threading
from pathlib import Path

import axe_playwright_python
import pytest
from model_files import write_gguf
from playwright.sync_api import expect
from product import running_product, wait_for

from ansambl.testing.fake_hub import FakeHub, Habits

pytestmark = [pytest.mark.browser, pytest.mark.engine]

AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
RUN_AXE = """async () => (await axe.run(document, { resultTypes: ["violations"] })).violations
    .map((one) => [one.impact, one.id, ...one.nodes.slice(0, 3).map((node) => node.target.join(" "))])"""

REFUSED = ("Failed to load resource: the server responded with a status of",)
"""What Chromium says of each answer that is an error; those are what is tested here."""
SLOW = 40_000
NASTY = '<img src=x onerror="window.hacked=1"> {{ 7 * 7 }} " x-text="window.hacked=1'
CONFIGURATION = """\
[models.embedded]
checkpoint = "embedded"
context = 512
parallel = 1

[models.later]
checkpoint = "own/later-GGUF:Q4_K_M"
aliases = ["soon"]
"""
FIELDS = {"general.architecture": "llama", "general.file_type": 15, "llama.block_count": 2}


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hub")
    with FakeHub() as found, pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_ENDPOINT", found.endpoint)
        patch.setenv("HF_HOME", str(folder / "hf"))
        patch.setenv("HOME", str(folder / "home"))
        for name in ("HF_TOKEN", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_CACHE", "OLLAMA_MODELS"):
            patch.delenv(name, raising=False)
        for name in ("en", "ru", "later", "stopped", "once"):
            found.add(f"own/{name}-GGUF", {f"{name}-Q4_K_M.gguf": gguf(folder)}, downloads=1234)
        found.add("own/closed-GGUF", {"m-Q4_K_M.gguf": gguf(folder, 64)}, licence="cc-by-nc-4.0")
        found.add("own/gated-GGUF", {"m-Q4_K_M.gguf": gguf(folder, 64)}, licence="other", gated=True)
        found.add("own/nasty-GGUF", {"m-Q4_K_M.gguf": gguf(folder, 64)}, licence=NASTY)
        yield found


def gguf(folder, rows=65536):
    path = folder / "made.gguf"
    write_gguf(path, FIELDS, {"token_embd.weight": ("F16", (64, rows))})
    return path.read_bytes()


@pytest.fixture(scope="module")
def product(tmp_path_factory, embedded_model_folder, hub):
    with running_product(tmp_path_factory.mktemp("models"), embedded_model_folder, CONFIGURATION) as started:
        yield started


@pytest.fixture
def gate(hub):
    """Has the bytes of files trickle after the first ones, until it is set."""
    go, seen = threading.Event(), []

    def wait():
        seen.append(1)
        if len(seen) > 20:
            go.wait(0.2)

    hub.habits = Habits(gate=wait)
    yield go
    go.set()
    hub.habits = Habits()


@pytest.fixture
def models(open_page, product):
    def open_one(query="", **options):
        watched = open_page(f"{product.address}/console/models{query}", **options)
        expect(watched.page.locator("body[data-ready=yes]")).to_have_count(1)
        expect(watched.page.locator("#configured")).to_be_visible(timeout=SLOW)
        return watched

    return open_one


def findings(page):
    """What axe-core finds serious."""
    page.evaluate(AXE)
    return page.evaluate(RUN_AXE)


def pull_of(page, reference):
    return page.locator("#pull-list .pull").filter(has_text=reference)


def fetch(page, reference):
    page.locator("#wanted").fill(reference)
    page.locator("#get form button.plain").click()
    expect(page.locator("#offer")).to_be_visible()


@pytest.mark.parametrize(("language", "width"), [("en", 1280), ("ru", 390)])
def test_a_model_is_found_announced_fetched_with_progress_and_deleted(models, gate, screenshot, language, width):
    watched = models(language=language, width=width, height=844)
    page, reference = watched.page, f"own/{language}-GGUF:Q4_K_M"
    page.locator("#wanted").fill(f"{language}-gguf")
    page.keyboard.press("Enter")
    row = page.locator("#found tbody tr").filter(has_text=f"own/{language}-GGUF")
    expect(row).to_contain_text("apache-2.0")
    row.get_by_role("button").click()
    offer = page.locator("#offer")
    expect(offer).to_contain_text(reference)
    expect(offer).to_contain_text("gguf Q4_K_M")
    expect(offer).to_be_focused()
    assert findings(page) == []
    screenshot(page, f"models-offer-{language}-{width}")
    page.locator("#fetch").click()
    pull = pull_of(page, reference)
    expect(pull).to_have_attribute("data-state", "running")
    bar = pull.locator("progress")
    wait_for(lambda: bar.evaluate("bar => bar.value > 0 && bar.value < bar.max"), "progress of the bar", 30)
    assert bar.get_attribute("aria-label").endswith(reference)
    # Who loads the page anew finds the pull as it stands, and asking for it once more is the same pull.
    page.reload()
    expect(pull).to_have_attribute("data-state", "running")
    fetch(page, reference)
    page.locator("#fetch").click()
    expect(page.locator("#offer")).to_have_count(0)
    expect(pull).to_have_count(1)
    screenshot(page, f"models-pull-{language}-{width}")
    gate.set()
    expect(pull).to_have_attribute("data-state", "done", timeout=SLOW)
    here = page.locator("#installed > li").filter(has_text=reference)
    expect(here).to_be_visible()
    here.locator("summary").first.click()
    expect(here.locator("pre")).to_contain_text(f'[models.{language}-gguf]\ncheckpoint = "{reference}"')
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    screenshot(page, f"models-here-{language}-{width}")
    here.locator("summary").last.click()
    here.locator("button.danger").click()
    expect(here).to_have_count(0)


def test_a_pull_is_stopped_and_goes_on_from_there(models, gate, product, hub):
    page = models().page
    fetch(page, "own/stopped-GGUF")
    page.locator("#fetch").click()
    pull = pull_of(page, "own/stopped-GGUF")
    wait_for(lambda: pull.locator("progress").evaluate("bar => bar.value > 0"), "some bytes", 30)
    pull.get_by_role("button", name="Stop fetching own/stopped-GGUF:Q4_K_M").click()
    gate.set()
    expect(pull).to_have_attribute("data-state", "stopped", timeout=SLOW)
    pull.get_by_role("button", name="Go on…").click()
    expect(page.locator("#offer")).to_contain_text("Left from before")
    hub.habits = Habits()
    page.locator("#fetch").click()
    expect(pull.and_(page.locator("[data-state=done]"))).to_have_count(1, timeout=SLOW)


def test_licences_are_accepted_first_and_gated_ones_say_what_to_do(models, hub):
    watched = models()
    watched.expected = REFUSED
    page = watched.page
    fetch(page, "own/closed-GGUF")
    expect(page.locator("#fetch")).to_be_disabled()
    page.locator("#accept").check()
    page.locator("#fetch").click()
    expect(pull_of(page, "own/closed-GGUF")).to_have_attribute("data-state", "done", timeout=SLOW)
    fetch(page, "own/gated-GGUF")
    expect(page.locator("#offer")).to_contain_text("HF_TOKEN")
    page.locator("#accept").check()
    page.locator("#fetch").click()
    failed = pull_of(page, "own/gated-GGUF")
    expect(failed).to_have_attribute("data-state", "failed", timeout=SLOW)
    expect(failed.locator(".problem")).to_contain_text("HF_TOKEN")
    # What a stranger wrote into a licence is text.
    fetch(page, "own/nasty-GGUF")
    expect(page.locator("#offer")).to_contain_text("<img src=x")
    # Names that are none, and a hub that does not answer, are one line each.
    for wrong in ("nothing like this", NASTY, "own/nothing-here"):
        page.locator("#wanted").fill(wrong)
        page.locator("#get form button.plain").click()
        expect(page.locator("#get-problem")).not_to_be_empty()
    page.route(
        "**/admin/api/models/find",
        lambda route: route.fulfill(
            status=503, content_type="application/json", body=json.dumps({"error": {"message": "--offline says so"}})
        ),
    )
    page.locator("#wanted").fill("qwen3-8b")
    page.get_by_role("button", name="Search").click()
    expect(page.locator("#get-problem")).to_have_text("--offline says so")
    expect(page.locator("#found")).to_contain_text("Qwen3")
    # Who was refused was told why, not that there is no such model; that is said where the hub answered.
    page.locator("#wanted").fill("zzz no such words")
    page.get_by_role("button", name="Search").click()
    expect(page.locator("#found")).to_have_count(0)
    expect(page.locator("#get-problem")).to_have_text("--offline says so")
    expect(page.locator("#nothing-found")).to_be_hidden()
    page.unroute("**/admin/api/models/find")
    page.get_by_role("button", name="Search").click()
    expect(page.locator("#nothing-found")).to_contain_text("Nothing of that name")
    expect(page.locator("#get-problem")).to_be_hidden()


def test_what_a_model_of_the_configuration_uses_is_not_deleted(models, product):
    page = models().page
    row = page.locator("#configured tr").filter(has_text="later")
    expect(row).to_contain_text("soon")
    expect(row.locator("td .problem").first).to_contain_text("ansambl models pull own/later-GGUF:Q4_K_M")
    fetch(page, "own/later-GGUF")
    page.locator("#fetch").click()
    here = page.locator("#installed > li").filter(has_text="own/later-GGUF:Q4_K_M")
    expect(here).to_contain_text("Used by later.", timeout=SLOW)
    expect(here.locator("button.danger")).to_have_count(0)
    expect(row).to_contain_text("Q4_K_M")
    headers = {"authorization": f"Bearer {product.token}"}
    answer = product.client.delete("/admin/api/models?model=own/later-GGUF:Q4_K_M", headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "in_use")


def test_configured_models_are_unloaded_loaded_and_pinned_live(models, product, screenshot):
    page = models().page
    row = page.locator("#configured tr").filter(has_text="embedded")
    word = row.locator(".word")
    expect(word).to_have_text("ready", timeout=SLOW)
    expect(row).to_contain_text("llama.cpp")
    row.get_by_role("button", name="Unload embedded").click()
    expect(word).to_have_text(re.compile("not loaded|asleep"), timeout=SLOW)
    row.get_by_role("button", name="Pin embedded").click()
    expect(word).to_have_text("ready", timeout=SLOW)
    expect(row).to_contain_text("stays in memory until the next start")
    screenshot(page, "models-configured-en-1280")
    row.get_by_role("button", name="Unpin embedded").click()
    expect(row.get_by_role("button", name="Pin embedded")).to_be_visible()
    assert product.instance()["pinned"] is False


@pytest.mark.parametrize(("language", "width"), [("en", 1280), ("ru", 390)])
def test_what_works_engines_and_checks_with_reasons(models, screenshot, language, width):
    page = models("?model=qwen3-8b&ui=open-webui#compat", language=language, width=width).page
    expect(page.locator("#engine-list article")).not_to_have_count(0, timeout=SLOW)
    bundled = page.locator("#engine-list article").first
    expect(bundled.locator(".pill")).to_have_class(re.compile("ready"))
    expect(page.locator("#engine-list code").filter(has_text="ansambl engines install llama.cpp")).to_be_visible()
    expect(page.locator("#checks-list li.ok")).not_to_have_count(0, timeout=SLOW)
    page.locator("#asking button[type=submit]").click()
    rows = page.locator("#compat-table tbody tr")
    expect(rows.first.locator(".verdict")).to_have_class(re.compile("yes"), timeout=SLOW)
    verdicts = rows.locator(".verdict").evaluate_all("all => all.map((one) => one.className.split(' ')[1])")
    assert "no" in verdicts
    assert verdicts.index("no") > verdicts.index("yes")
    expect(rows.first.locator(".reasons")).not_to_be_empty()
    assert findings(page) == []
    if width == 390:
        cell = page.locator("#configured td.number").first
        assert "Контекст" in cell.evaluate("(one) => getComputedStyle(one, '::before').content")
        cell.scroll_into_view_if_needed()
        screenshot(page, f"models-here-{language}-{width}")
    page.locator("#review").click()
    expect(page.locator("#judged .findings li")).not_to_have_count(0, timeout=SLOW)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert findings(page) == []
    screenshot(page, f"models-review-{language}-{width}")


def test_a_question_about_what_is_not_known_is_one_line(models):
    watched = models("?model=no-such-model-at-all")
    watched.expected = (*REFUSED, "Response Status Error Code")
    page = watched.page
    page.locator("#asking button[type=submit]").click()
    expect(page.locator("#problem")).to_contain_text("no-such-model-at-all")
