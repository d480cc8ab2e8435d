"""The page Plan on the real product: sizes that follow the sliders, the options, and a plan put into effect."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import axe_playwright_python
import pytest
from playwright.sync_api import expect
from product import alive, running_product, start_product, wait_for

pytestmark = [pytest.mark.browser, pytest.mark.engine]

WRITTEN = """# My own words about it.
[prompt]
common_instruction = "Be kind."  # they stay

# The model that I had.
[models.mine]
checkpoint = "embedded"
context = 2048
"""
TYPED = "described:rtx-3090*2;64;"
AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
RUN_AXE = """async () => (await axe.run(document, { resultTypes: ["violations"] })).violations
    .map((one) => `${one.impact} ${one.id}: ${one.nodes.map((node) => node.html.slice(0, 120)).join(" | ")}`)"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("plan")


@pytest.fixture(scope="module")
def product(folder, embedded_model_folder):
    with running_product(folder, embedded_model_folder, WRITTEN, "--offline") as started:
        (folder / "ansambl.toml").chmod(0o640)
        yield started


def weights(page, part="weights"):
    return int(page.locator(f"#fit [data-part={part}]").first.get_attribute("data-bytes"))


def leaves_nobody_out(page):
    page.evaluate(AXE)
    assert page.evaluate(RUN_AXE) == []


def shown(page, fit, model):
    expect(page.locator("#fit .verdict")).to_have_attribute("data-fits", fit)
    expect(page.locator("#fit .verdict")).to_contain_text(model)


def test_the_bars_and_speeds_follow_the_sliders(open_page, product, screenshot):
    page = open_page(f"{product.address}/console/plan?machine=rtx-4090-64g&model=qwen3-8b&quantization=Q4_K_M").page
    shown(page, "yes", "Q4_K_M")
    before = weights(page, "kv_cache")
    with page.expect_response(lambda one: "/console/plan/fit" in one.url):
        page.locator("#context-slider").press("ArrowRight")
    expect(page.locator("#context")).to_have_value("16384")
    # The KV cache of a transformer grows with its context, and twice the conversations need twice as much.
    wait_for(lambda: 1.8 < weights(page, "kv_cache") / before < 2.2, "the KV cache of twice the context", 10)
    page.locator("#parallel").fill("2")
    wait_for(lambda: 3.6 < weights(page, "kv_cache") / before < 4.4, "of two conversations", 10)
    # The search only filters; what is chosen stays.
    page.locator("#search").fill("glm")
    expect(page.locator(".model[data-words*=qwen3-8b]").first).to_be_hidden()
    expect(page.locator(".model[data-words*=glm]").first).to_be_visible()
    page.locator("#kv").select_option("q8_0")
    wait_for(lambda: 1.8 < weights(page, "kv_cache") / before < 2.4, "in 8 bits", 10)
    size = weights(page)
    page.locator("#quantization").select_option("Q8_0")
    wait_for(lambda: 1.5 < weights(page) / size < 2.2, "the weights in 8 bits", 10)
    expect(page.locator("#decode")).to_contain_text("–")
    screenshot(page, "plan-fit-light-en")
    # Another model: any of its quantizations, and they are its own.
    before = page.locator("#quantization option").all_inner_texts()
    page.locator("#search").fill("gpt-oss-20b")
    page.locator("input[name=model][value=gpt-oss-20b]").check()
    expect(page.locator("#quantization")).to_have_value("")
    wait_for(lambda: page.locator("#quantization option").all_inner_texts() != before, "the other model's", 10)
    expect(page.locator("#fit .verdict")).to_contain_text("gpt-oss")
    assert parse_qs(urlsplit(page.url).query, keep_blank_values=True)["quantization"] == [""]


def test_what_cannot_be_says_why_and_what_to_change(open_page, product):
    page = open_page(
        f"{product.address}/console/plan?machine=described:;20;&model=qwen3-32b&quantization=Q4_K_M&context=8192"
    ).page
    shown(page, "no", "Q4_K_M")
    expect(page.locator("#fit svg.over").first).to_be_visible()
    expect(page.locator("#fit details[open] .reasons li").first).not_to_be_empty()
    page.locator("#instead button").first.click()
    expect(page.locator("#fit .verdict")).to_have_attribute("data-fits", "yes")

    # A context that no model was made for, and a machine that nothing fits on.
    page.locator("#context").fill("90000000")
    expect(page.locator("#fit .problem")).to_contain_text("90000000")
    page.goto(f"{product.address}/console/plan?machine=described:;1;&only=qwen3-32b&context=4096")
    expect(page.locator("#nothing-fits")).to_be_visible()
    expect(page.locator("#rejected li").first).to_be_visible()
    expect(page.locator("[hx-post='/console/plan/preview']")).to_have_count(0)


def test_the_address_asks_the_same_again_and_the_file_opens_offline(open_page, product, screenshot, folder, chromium):
    watched = open_page(f"{product.address}/console/plan")
    page = watched.page
    page.locator("select.which").select_option("described")
    page.locator(".described select").first.select_option("rtx-3090")
    page.get_by_label("How many GPUs").fill("2")
    page.locator("#goal").select_option("depth")
    page.locator("#context").fill("16384")
    expect(page.locator("#as-file")).to_have_attribute("href", re.compile("goal=depth"))
    expect(page.locator(".option.recommended")).to_contain_text("RTX 3090", timeout=30_000)
    wait_for(lambda: "16,384" in page.locator(".option.recommended .placement").first.inner_text(), "the context", 20)
    fields = parse_qs(urlsplit(page.url).query)
    assert fields["machine"] == [TYPED]
    assert (fields["goal"], fields["context"]) == (["depth"], ["16384"])
    told = page.locator("#options").inner_text()

    again = open_page(page.url).page
    expect(again.locator(".option.recommended")).to_be_visible(timeout=30_000)
    assert again.locator("#options").inner_text() == told
    expect(again.locator("select.which")).to_have_value("described")
    expect(again.get_by_label("How many GPUs")).to_have_value("2")
    assert again.locator("[data-option]").count() >= 3

    with page.expect_download() as waiting:
        page.locator("#as-file").click()
    file = folder / "plan.html"
    waiting.value.save_as(file)
    context = chromium.new_context(offline=True)
    asked: list[str] = []
    alone = context.new_page()
    alone.on("request", lambda one: asked.append(one.url))
    alone.goto(file.as_uri())
    expect(alone.locator("section.recommended")).to_be_visible()
    assert asked == [file.as_uri()]
    context.close()
    screenshot(page, "plan-options-light-en")


@pytest.mark.parametrize(("language", "width", "height"), [("en", 390, 844), ("ru", 1280, 900), ("ru", 390, 844)])
def test_it_works_in_both_languages_at_both_sizes(open_page, product, screenshot, language, width, height):
    page = open_page(
        f"{product.address}/console/plan?machine=dual-3090-64g", language=language, width=width, height=height,
        color_scheme="dark",
    ).page  # fmt: skip
    expect(page.locator("#fit .verdict")).to_be_visible()
    expect(page.locator(".option.recommended")).to_be_visible(timeout=30_000)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    leaves_nobody_out(page)
    screenshot(page, f"plan-dark-{language}-{width}")


@pytest.mark.parametrize(("language", "width"), [("en", 1280), ("ru", 390)])
def test_what_is_not_computed_yet_says_so_where_it_will_stand(open_page, product, screenshot, language, width):
    page = open_page(f"{product.address}/console/traffic", language=language, width=width, height=900).page
    held, released = [], False

    def hold(route):
        if released:
            route.continue_()
        else:
            held.append(route)

    page.route("**/console/plan/options?*", hold)
    with page.expect_request("**/console/plan/options?*"):
        page.goto(f"{product.address}/console/plan?machine=rtx-4090-64g")
    expect(page.locator("#fit .verdict")).to_be_visible()
    options = page.locator("#options")
    expect(options).to_have_text("Computing…" if language == "en" else re.compile("…"))
    top = options.bounding_box()["y"]
    options.scroll_into_view_if_needed()
    screenshot(page, f"plan-computing-{language}-{width}")
    page.evaluate("scrollTo(0, 0)")
    released = True
    for one in held:
        one.continue_()
    expect(page.locator(".option.recommended")).to_be_visible(timeout=30_000)
    assert options.bounding_box()["y"] == top
    expect(options).not_to_contain_text("Computing…")


@pytest.mark.parametrize("width", [1280, 390])
def test_the_words_of_a_switch_stay_beside_it(open_page, product, screenshot, width):
    page = open_page(f"{product.address}/console/plan?machine=rtx-4090-64g", language="ru", width=width).page
    for name in ("helpers", "fetchable"):
        edge, lines = page.locator(f"#{name}").evaluate(
            """(one) => {
                // As with larger letters: the words need two lines.
                one.parentElement.style.width = "12rem";
                const words = document.createRange();
                words.selectNodeContents(one.parentElement);
                words.setStartAfter(one);
                return [one.getBoundingClientRect().right, [...words.getClientRects()].map((line) => line.left)];
            }"""
        )
        assert len(lines) > 1
        assert all(left >= edge for left in lines)


def test_another_machines_plan_is_offered_as_text(open_page, product):
    page = open_page(f"{product.address}/console/plan?machine=rtx-4090-64g").page
    page.locator(".option.recommended button[name=option]").click(timeout=30_000)
    expect(page.locator("#cannot")).to_contain_text("another machine")
    expect(page.locator("#apply-now")).to_have_count(0)
    assert tomllib.loads(page.locator("#tables").inner_text())["models"]
    page.locator("#cancel-apply").click()
    expect(page.locator("#preview")).to_have_count(0)


def test_what_is_missing_is_not_fetched_offline(open_page, product):
    page = open_page(f"{product.address}/console/plan?context=2048").page
    page.locator(".option.recommended button[name=option]").click(timeout=30_000)
    expect(page.locator("#cannot")).to_contain_text("offline")
    expect(page.locator("#apply-now")).to_have_count(0)


def test_a_plan_is_put_into_effect_once_agreed_to_and_stays(
    open_page, product, folder, embedded_model_folder, screenshot
):
    config = folder / "ansambl.toml"
    page = open_page(
        f"{product.address}/console/plan?only=embedded&role=coder&role=reasoner&context=4096&helpers=no"
    ).page
    page.locator(".option.recommended button[name=option]").click(timeout=30_000)
    expect(page.locator("#starts")).to_have_text("embedded")
    expect(page.locator("#stops")).to_have_text("mine")
    expect(page.locator("#file")).to_contain_text(str(config))
    assert config.read_text(encoding="utf-8") == WRITTEN
    leaves_nobody_out(page)
    screenshot(page, "plan-apply-light-en")
    page.locator("#apply-now").click()
    expect(page.locator("#applied")).to_contain_text(str(config), timeout=30_000)

    made = config.read_text(encoding="utf-8")
    found = tomllib.loads(made)
    assert found["models"]["embedded"]["context"] == 4096
    assert "mine" not in found["models"]
    assert found["prompt"] == {"common_instruction": "Be kind."}
    for line in ("# My own words about it.", 'common_instruction = "Be kind."  # they stay', "# The model that I had.",
                 "# [models.mine]", "# context = 2048"):  # fmt: skip
        assert line in made.splitlines()
    assert config.stat().st_mode & 0o777 == 0o640
    backups = list(folder.glob("ansambl.toml.*.bak"))
    assert [one.read_text(encoding="utf-8") for one in backups] == [WRITTEN]
    wait_for(lambda: [one["model"] for one in product.state()["instances"]] == ["embedded"], "the plan's model", 60)
    answer = product.chat("coder", "Say yes.")
    assert answer.status_code == 200

    # What was agreed to is no longer what would happen: the file is as the plan left it.
    product.stop()
    again = start_product(product.data, config, folder / "again.log", "--offline")
    try:
        instance = again.instance("embedded")
        assert instance["context"] == 4096
        assert [one["model"] for one in again.state()["instances"]] == ["embedded"]
    finally:
        again.end()
    wait_for(lambda: not alive(again.seen), "no process left", 15)
