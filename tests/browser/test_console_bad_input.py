"""What nobody should type or send: the pages stay usable, nothing of it runs, and what is wrong is said in words."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

import pytest
from fake_admin import FakeAdmin
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.browser

PAGES = (
    "/", "/console/plan", "/console/chat", "/console/roles", "/console/knowledge", "/console/knowledge/documents",
    "/console/models", "/console/traffic?by=name", "/console/logs", "/console/keys",
)  # fmt: skip
LISTEN = """
window.blocked = [];
document.addEventListener("securitypolicyviolation", (event) => window.blocked.push(event.violatedDirective));
"""
RUNS = "window.hacked=1"
MARKUP = f'"><script>{RUNS}</script><img src=x onerror={RUNS}><svg onload="{RUNS}">' + "{{7*7}}${7*7}"
ATTRIBUTES = f'"x-data="x"x-init="{RUNS}"hx-get="x"onmouseover="{RUNS}'.replace("/", "")
NAMES = (ATTRIBUTES, "{{7*7}}", "__proto__", "constructor", "toString", "n#f?x=1&y=%2e%2e", "n" * 100, "e\u0301" * 40,
         "\U0001f469\u200d\U0001f4bb", "role';--")  # fmt: skip
"""Names of roles, as far as one can be: no blank, no slash, at most 100 characters."""


def opened(open_page, address: str, **options):
    """A page that also notes what its policy had to stop: nothing may come so far."""
    watched = open_page(address, **options)
    watched.page.add_init_script(LISTEN)
    return watched


def harmless(page: Page) -> None:
    assert page.evaluate("[window.hacked ?? null, window.blocked]") == [None, []]
    assert (
        page.locator("script:not([src]):not([type='application/json']), [onload], [onerror], [onmouseover]").count()
        == 0
    )
    assert "49" not in page.locator("h1").inner_text()


@pytest.mark.engine
def test_names_that_are_code_are_names_on_every_page(open_page, product):
    client, token = product.client, {"authorization": f"Bearer {product.token}"}
    made = []
    for name in NAMES:
        answer = client.put(
            f"/admin/api/roles/{quote(name, safe='')}", headers=token,
            json={"fields": {"instruction": MARKUP, "description": MARKUP}},
        )  # fmt: skip
        if answer.status_code == 200:
            made.append(name)
        else:
            assert answer.status_code == 400, (name, answer.text)
    assert {ATTRIBUTES, "{{7*7}}", "__proto__", "constructor", "n" * 100} <= set(made)
    for name in (f"<script>{RUNS}</script>.md", "\u202egpj.md", f"{MARKUP}.txt".replace("/", "")):
        answer = client.post(
            "/admin/api/knowledge/uploads", params={"name": name, "collection": MARKUP[:60]}, headers=token,
            content=f"# {MARKUP}\n\nabout maples {MARKUP}\n".encode(),
        )  # fmt: skip
        assert answer.status_code in (202, 400), answer.text
    # A name that nobody has: it is told of in the traffic, the log and the newest requests.
    assert product.chat(MARKUP, "x").status_code == 404
    watched = opened(open_page, product.address)
    page = watched.page
    for language in ("en", "ru"):
        for path in PAGES:
            page.goto(f"{product.address}{path}{'&' if '?' in path else '?'}lang={language}")
            page.wait_for_function("() => document.body.dataset.ready === 'yes'")
            expect(page.locator("h1").first).to_be_visible()
            harmless(page)
            assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), path
    for name in made:
        page.goto(f"{product.address}/console/roles/edit?kind=roles&lang=en&name={quote(name, safe='')}")
        page.wait_for_function("() => document.body.dataset.ready === 'yes'")
        expect(page.locator("#f-instruction")).to_have_value(MARKUP)
        harmless(page)
        assert client.delete(f"/admin/api/roles/{quote(name, safe='')}", headers=token).status_code in (200, 204)
    page.goto(f"{product.address}/console/knowledge?q=maples&lang=en")
    harmless(page)


@pytest.mark.engine
@pytest.mark.parametrize("language", ["en", "ru"])
def test_a_plan_that_cannot_be_is_answered_in_words(open_page, product, language):
    machines = (
        "described:;0;", "described:nothing*99;64;", "described:;9999999;", "described:rtx-4090*0;0;x",
        "described:;-5;", "described:;NaN;", "described:;1e400;", "described:;\u0661\u0662;", "nowhere", MARKUP,
        "x" * 3000,
    )  # fmt: skip
    numbers = ("0", "1", "999999999", "-1", "NaN", "1e400", "\u0663", "9" * 400)
    watched = opened(open_page, f"{product.address}/console/plan?lang={language}", language=language)
    page = watched.page
    for number, machine in enumerate(machines):
        size = numbers[number % len(numbers)]
        page.goto(
            f"{product.address}/console/plan?lang={language}&machine={quote(machine)}&context={quote(size)}"
            f"&parallel={quote(size)}&only={quote(MARKUP)}&role={quote(MARKUP)}&model={quote('no such model')}"
        )  # fmt: skip
        expect(page.locator("#fit")).not_to_be_empty()
        expect(page.locator("#options")).not_to_be_empty()
        said = page.locator("#fit").inner_text() + page.locator("#options").inner_text()
        assert "constrained" not in said
        assert "Input should" not in said
        assert "Internal Server Error" not in said
        harmless(page)
    page.goto(f"{product.address}/console/plan?lang={language}&machine={quote('described:;0;')}&model=embedded")
    expect(page.locator("#fit")).to_contain_text("body.machine.ram")
    # The question is still there to be put right.
    expect(page.locator("main form").first).to_be_visible()


LARGE = {
    "one word": "a" * 1_000_000,
    "marks that close": "*a* " * 250_000,
    "links within addresses": "[a](http://x" * 80_000,
    "addresses": "http://" * 140_000,
    "an address that ends in brackets": "http://a" + ")" * 1_000_000,
    "an address that ends in stops": "see http://a" + "." * 1_000_000,
    "fences": "```\n" * 250_000,
    "runs of backticks": " ".join("`" * length for length in range(1, 1400)),
    "quotes by lines": "> a\n" * 200_000,
    "items": "- a\n" * 250_000,
    "ten thousand levels": "\n".join(" " * depth + "- a" for depth in range(10_000))[:1_000_000],
    "a wide head": "|" + "a|" * 5_000 + "\n|" + "-|" * 5_000 + "\n" + "|a\n" * 300_000,
    "comments": "<!--" * 250_000,
    "a data address": "![x](data:text/html;base64," + "QUJD" * 250_000 + ")",
    "directions": "\u202e" * 300_000,
}
RENDER = """async ([address, text]) => {
  const { Markdown } = await import(address);
  const made = document.createElement("div");
  const markdown = new Markdown(made);
  markdown.update(text);
  markdown.update(`${text}\\nthe end`);
  const bare = (one) => one.replace(/[^a-z]/g, "");
  return [made.querySelectorAll("*").length, bare(made.textContent).endsWith("theend")];
}"""


@pytest.mark.timeout(240)
def test_a_text_of_a_megabyte_is_shown_whole_and_the_page_goes_on(open_page, fake):
    """Work that grows with the square of a text would take hours here. A length is what a page can bear."""
    page = open_page(f"{fake.address}/console/chat").page
    address = page.locator('script[type="module"]').evaluate("(one) => new URL('./markdown.js', one.src).href")
    for name, text in LARGE.items():
        elements, is_whole = page.evaluate(RENDER, [address, text])
        assert is_whole, name
        assert elements < 400_000, name
    assert page.evaluate("1 + 1") == 2


@pytest.fixture
def admin() -> Iterator[FakeAdmin]:
    one = FakeAdmin()
    one.start()
    yield one
    one.stop()


def test_tabs_opened_behind_another_take_no_connection(open_page, admin):
    """A browser has six connections for all tabs of an address: six streams, and no page could be read any more."""
    watched = open_page(admin.address)
    expect(watched.page.locator("[data-online=true]")).to_be_visible()
    assert len(admin.opened) == 1
    behind = []
    for _ in range(7):
        tab = watched.context.new_page()
        tab.add_init_script("Object.defineProperty(document, 'hidden', { configurable: true, get: () => true })")
        tab.goto(admin.address)
        tab.wait_for_function("() => document.body.dataset.ready === 'yes'")
        behind.append(tab)
    assert len(admin.opened) == 1
    # It begins when somebody looks at it.
    behind[-1].evaluate(
        """() => {
          Object.defineProperty(document, "hidden", { configurable: true, get: () => false });
          document.dispatchEvent(new Event("visibilitychange"));
        }"""
    )
    expect(behind[-1].locator("#connection")).to_be_hidden()
    for _ in range(100):
        if len(admin.opened) == 2:
            break
        behind[-1].wait_for_timeout(50)
    assert len(admin.opened) == 2
