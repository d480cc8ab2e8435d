"""A browser shows every page by the trimmed Pico as by the whole one: no element's style differs."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import expect

from ansambl.console.pages import PAGES

pytestmark = [pytest.mark.browser, pytest.mark.engine]

WHOLE = Path(__file__).resolve().parents[2] / "tools" / "data" / "pico-2.1.1.min.css"
STILL = """() => {
    // A copy that nothing live changes; what is folded is looked at, too.
    const copy = document.body.cloneNode(true);
    copy.setAttribute("x-ignore", "");
    document.body.replaceWith(copy);
    for (const one of copy.querySelectorAll("details")) one.open = true;
}"""
STYLES = """() => {
    const PARTS = ["", "::before", "::after"];
    const styleOf = (one, part) => {
        const style = getComputedStyle(one, part || null);
        const found = [];
        // A part without contents is not there. Variables are no properties.
        if (part && style.content === "none") return found;
        for (let at = 0; at < style.length; at += 1) {
            if (!style[at].startsWith("--")) found.push(`${style[at]}:${style.getPropertyValue(style[at])}`);
        }
        return found;
    };
    const all = [...document.querySelectorAll("body, body *")];
    window.looks = () => all.map((one) => PARTS.map((part) => styleOf(one, part)));
    window.before = window.looks();
    window.names = all.map((one) => one.outerHTML.slice(0, 80));
    return [all.length, Math.min(...window.before.map(([own]) => own.length))];
}"""
SWAP = """() => new Promise((done, failed) => {
    const link = document.querySelector("link[href*='vendor/pico-']");
    const whole = link.cloneNode();
    whole.addEventListener("load", () => { link.remove(); done(); });
    whole.addEventListener("error", () => failed(new Error("no whole Pico")));
    whole.href = link.href + "?whole";
    link.after(whole);
})"""
DIFFERENCES = """() => window.looks().flatMap((parts, at) => parts.flatMap((now, part) => {
    const said = new Set(window.before[at][part]);
    return now.filter((each) => !said.has(each)).map((each) => `${window.names[at]} ${part} ${each}`);
})).slice(0, 12)"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("page_of", PAGES, ids=[one.key for one in PAGES])
def test_nothing_that_is_shown_was_trimmed_away(open_page, product, page_of, scheme):
    page = open_page(product.address + page_of.path, color_scheme=scheme, reduced_motion="reduce").page
    expect(page.locator("body")).to_have_attribute("data-ready", "yes")
    page.wait_for_load_state("load")
    # What is asked for looks otherwise until it comes.
    expect(page.locator(".htmx-request")).to_have_count(0, timeout=30_000)
    page.route("**/vendor/pico-*?whole", lambda one: one.fulfill(body=WHOLE.read_bytes(), content_type="text/css"))
    page.evaluate(STILL)
    elements, properties = page.evaluate(STYLES)
    assert elements > 50
    assert properties > 200
    page.evaluate(SWAP)
    assert page.evaluate(DIFFERENCES) == []
