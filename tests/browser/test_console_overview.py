"""The page Overview in a real Chromium: what the machine holds and does, live, in states nobody can provoke."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import pytest
from fake_admin import STARTED, FakeAdmin, instance, request_of, role
from playwright.sync_api import Page, expect
from product import wait_for

pytestmark = pytest.mark.browser

PHONE = {"width": 390, "height": 844}
NASTY = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>'


@pytest.fixture
def fake() -> Iterator[FakeAdmin]:
    one = FakeAdmin()
    one.start()
    yield one
    one.stop()


def fits(page: Page) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"))


def card(page: Page, model: str):
    return page.locator(".instance", has=page.get_by_role("heading", name=model, exact=True))


def online(page: Page) -> None:
    expect(page.locator("[data-online=true]")).to_be_visible()


def test_what_runs_and_what_happened(open_page, fake, screenshot):
    page = open_page(fake.address).page
    big, remote = card(page, "big"), card(page, "remote")
    expect(big).to_contain_text("ready")
    expect(big).to_contain_text("llama.cpp")
    expect(big).to_contain_text("61.5 GiB")
    expect(big).to_contain_text("131,072 tokens")
    expect(big).to_contain_text("1 running, 0 waiting")
    expect(big.locator(".roles")).to_contain_text("coder, reasoner, philosopher, council")
    expect(remote).to_contain_text("unreachable")
    expect(remote).to_contain_text("Nothing answers at http://127.0.0.1:11434.")
    expect(remote).to_contain_text("attached, not started by Ansambl")
    # What somebody else runs is not ours to load.
    expect(remote.get_by_role("button")).to_have_count(0)
    # And its log is theirs.
    expect(remote.get_by_role("link")).to_have_count(0)
    expect(big.get_by_role("link", name="Log")).to_have_attribute("href", "/console/logs?model=big")
    expect(page.locator("#roles tbody tr")).to_have_count(4)
    expect(page.locator("#roles tr", has_text="council")).to_contain_text("big (council: coder, reasoner, philosopher)")
    expect(page.locator("#events li").first).to_contain_text("It answers again after 3.1 s.")
    for name, count in (("answered", "12"), ("failed", "1"), ("waiting", "2")):
        expect(page.locator(f"#{name}")).to_have_text(count)
    expect(page.locator(".embedded")).to_have_count(0)
    newest = page.locator("#requests tbody tr")
    expect(newest).to_have_count(2)
    expect(newest.first).to_contain_text("503 x")
    expect(newest.last).to_contain_text("1,873 of 1,904")
    # What changes on the machine changes here without a reload.
    online(page)
    fake.change("big", state="restarting")
    expect(big.locator(".word")).to_have_text("restarting")
    screenshot(page, "overview-desktop-en")


def test_memory_is_shown_by_part_and_live(open_page, fake):
    page = open_page(fake.address).page
    ram, gpu = page.locator(".device").all()
    expect(ram).to_contain_text("8.0 GiB of 128.0 GiB in use")
    expect(gpu.locator("h3")).to_have_text("GPU 0")
    expect(gpu.locator(".legend")).to_contain_text("weights 55.9 GiB")
    expect(gpu.locator(".legend")).to_contain_text("KV cache 4.7 GiB")
    expect(gpu.locator(".legend")).to_contain_text("other programs 1.0 GiB")
    expect(gpu).to_contain_text("61.5 GiB, measured")
    expect(gpu.get_by_role("img")).to_have_attribute("aria-label", re.compile("GPU 0: weights 55.9 GiB, KV cache"))
    widths = {
        kind: float(gpu.locator(f"rect.{kind}").get_attribute("width")) for kind in ("weights", "kv_cache", "other")
    }
    assert widths == {"weights": pytest.approx(698.5, abs=0.1), "kv_cache": pytest.approx(58.2, abs=0.1), "other": 12.5}
    online(page)
    fake.push(
        "devices", {"devices": [{"device": "gpu0", "capacity": 80 * 2**30, "reserved": 0, "foreign": 40 * 2**30}]}
    )
    fake.change("big", state="stopped", residency="out", reserved={}, parts={})
    expect(page.locator(".device")).to_have_count(1)
    expect(page.locator(".device rect.weights")).to_have_attribute("width", "0.0")
    expect(page.locator(".device rect.other")).to_have_attribute("width", "500.0")
    # Where nobody knows what is what, it is shown as a whole, and as a forecast.
    fake.change("big", state="starting", residency="loading", measured=False, reserved={"gpu0": 20 * 2**30})
    expect(page.locator(".device")).to_contain_text("20.0 GiB, forecast")
    expect(page.locator(".device rect.undivided")).to_have_attribute("width", "250.0")
    expect(page.locator(".device .legend")).to_contain_text("reserved 20.0 GiB")


def test_it_says_how_a_swap_goes_and_who_waits(open_page, fake):
    fake.state["instances"] = [
        instance("big", residency="draining", wanted="small", running=1),
        instance(
            "small", state="asleep", residency="asleep", waiting=3, waiting_by_class={"interactive": 2, "task": 1}
        ),
    ]
    page = open_page(fake.address).page
    big, small = card(page, "big"), card(page, "small")
    expect(big).to_contain_text("finishes its answers, then makes room for small")
    expect(big.locator(".word")).to_have_text("draining")
    expect(small).not_to_contain_text("makes room")
    expect(small).to_contain_text("2 interactive, 1 task")
    # What sleeps has not failed.
    expect(small.locator(".word")).to_have_text("asleep")
    expect(small.locator(".pill")).to_have_class("pill stopped")
    online(page)
    fake.change("big", residency="leaving", state="stopping")
    expect(big.locator(".word")).to_have_text("stopping")
    expect(big).to_contain_text("makes room for small")
    expect(big).not_to_contain_text("finishes its answers")
    fake.change("big", residency="draining", state="ready", wanted=None)
    expect(big).to_contain_text("finishes its answers, then rests")
    fake.change("big", residency="loading", state="stopped")
    expect(big.locator(".word")).to_have_text("loading")


def test_an_engine_that_starts_and_starts_is_told_with_where_to_look(open_page, fake):
    now = time.time()
    fake.state["instances"] = [
        instance("old", state="starting", started=now - 185), instance("new", state="starting", started=now - 5),
    ]  # fmt: skip
    page = open_page(fake.address).page
    online(page)
    expect(card(page, "old")).to_contain_text("It has been starting for 3 min and does not answer yet.")
    expect(card(page, "old").get_by_role("link", name="Log")).to_be_visible()
    expect(card(page, "new")).to_contain_text("starting")
    expect(card(page, "new")).not_to_contain_text("does not answer yet")
    # As soon as it answers nothing is said of it.
    fake.change("old", state="ready")
    expect(card(page, "old").locator(".word")).to_have_text("ready")
    expect(card(page, "old")).not_to_contain_text("does not answer yet")


def test_the_embedded_model_is_called_a_demonstration(open_page, fake, screenshot):
    fake.state["default_model"] = "embedded"
    page = open_page(fake.address, language="ru", **PHONE).page
    note = page.locator(".embedded")
    expect(note).to_be_visible()
    assert page.evaluate("document.documentElement.lang") == "ru"
    assert {one.get_attribute("href") for one in note.get_by_role("link").all()} == {"/console/chat", "/console/plan"}
    assert fits(page)
    screenshot(page, "overview-embedded-phone-ru")


@pytest.mark.parametrize("language", ["en", "ru"])
def test_engines_that_are_all_down_are_said_with_what_to_do(open_page, fake, language, screenshot):
    fake.state["instances"] = [
        instance("big", state="failed", residency="out", message="It needs 70 GiB; 40 GiB are free."),
        instance("remote", state="unreachable", attached=True, message="Nothing answers at http://127.0.0.1:9."),
    ]
    page = open_page(fake.address, language=language).page
    down = page.locator("#down")
    expect(down).to_contain_text("It needs 70 GiB; 40 GiB are free.")
    expect(down).to_contain_text("Nothing answers at http://127.0.0.1:9.")
    if language == "en":
        expect(down.get_by_role("heading")).to_have_text("No model can answer now.")
        expect(down).to_contain_text("Read its log, correct the cause, then load it again.")
        expect(down).to_contain_text("Start that server, or correct its address in ansambl.toml")
    screenshot(page, f"overview-down-{language}")
    card(page, "big").locator("[data-action=again]").click()
    wait_for(lambda: fake.posted == ["instances/big/load?wait=false"], "what was done")
    # It is back as soon as it is, and the others are still named.
    fake.change("big", state="ready", residency="in", message=None)
    expect(down.locator("div")).to_have_count(1)
    fake.change("remote", state="ready", message=None)
    expect(down).to_have_count(0)


def test_a_machine_without_models_shows_the_way(open_page, fake):
    fake.state.update(instances=[], devices=[], roles=[], ensembles=[])
    page = open_page(fake.address).page
    expect(page.locator("#nothing")).to_contain_text("No model is set up")
    expect(page.locator("#nothing").get_by_role("link", name="Plan what fits this machine")).to_be_visible()


def test_a_lost_stream_is_told_goes_on_behind_the_last_event_and_doubles_nothing(open_page, fake, screenshot):
    watched = open_page(fake.address)
    watched.expected = ("Failed to load resource",)
    page = watched.page
    online(page)
    ended = request_of(3)
    sums = {"running": 2, "answered": 12, "failed": 1, "left_out": 0}
    fake.push("requests", {"begun": [request_of(3, status=None)], "ended": [], **sums})
    row = page.locator("#requests tr[data-number='3']")
    expect(row).to_contain_text("running")
    before = len(fake.opened)
    fake.stop()
    notice = page.locator("#connection")
    expect(notice).to_have_text("Ansambl does not answer. Trying again…")
    screenshot(page, "overview-gone-en")
    # What happens meanwhile is in the ring of the same run.
    fake.push("requests", {"begun": [], "ended": [ended], "running": 1, "answered": 13, "failed": 1, "left_out": 0})
    fake.push("event", {"time": STARTED + 950, "model": "big", "kind": "x", "message": "meanwhile"})
    fake.requests.append(ended)
    fake.start()
    expect(page.locator("#answered")).to_have_text("13", timeout=20_000)
    expect(notice).to_be_hidden()
    expect(row).to_have_count(1)
    expect(row).to_contain_text("200")
    expect(page.locator("#events li", has_text="meanwhile")).to_have_count(1)
    # It went on where it broke off.
    assert fake.opened[before:]
    assert all(one == f"{STARTED:.0f}-1" for one in fake.opened[before:])
    fake.cut_streams()
    fake.push("event", {"time": STARTED + 960, "model": "big", "kind": "x", "message": "after the cut"})
    expect(page.locator("#events li", has_text="after the cut")).to_have_count(1, timeout=20_000)
    expect(page.locator("#events li", has_text="meanwhile")).to_have_count(1)


HIDE = """(hidden) => {
  Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
  document.dispatchEvent(new Event("visibilitychange"));
}"""


def test_a_page_that_nobody_sees_lets_go_of_its_stream_and_catches_up_when_it_is_seen(open_page, fake):
    page = open_page(fake.address).page
    online(page)
    fake.push("event", {"time": STARTED + 950, "model": "big", "kind": "x", "message": "seen"})
    expect(page.locator("#events li", has_text="seen")).to_have_count(1)
    assert fake.watched == 1
    page.clock.install()
    page.evaluate(HIDE, True)
    page.clock.fast_forward(31_000)
    wait_for(lambda: fake.watched == 0, "the stream of a hidden page ends")
    fake.push("event", {"time": STARTED + 960, "model": "big", "kind": "x", "message": "unseen"})
    page.evaluate(HIDE, False)
    wait_for(lambda: fake.watched == 1, "the stream is open again")
    page.clock.run_for(1000)
    expect(page.locator("#events li", has_text="unseen")).to_have_count(1)
    expect(page.locator("#events li", has_text=re.compile(" seen$"))).to_have_count(1)
    # It went on behind the event that it had read; nothing was complained about.
    assert fake.opened == [None, f"{STARTED:.0f}-1"]
    expect(page.locator("#connection")).to_be_hidden()


def test_another_run_begins_with_its_own_requests(open_page, fake):
    watched = open_page(fake.address)
    watched.expected = ("Failed to load resource",)
    page = watched.page
    online(page)
    expect(page.locator("#requests tbody tr")).to_have_count(2)
    fake.stop()
    fake.state.update(
        started=STARTED + 5000, requests={"answered": 0, "failed": 0, "running": 0}, roles=[role("new")], ensembles=[]
    )
    fake.requests[:] = [request_of(1, name="new", output_tokens=7)]
    fake.pushed.clear()
    fake.start()
    expect(page.locator("#answered")).to_have_text("0", timeout=20_000)
    expect(page.locator("#requests tbody tr")).to_have_count(1)
    expect(page.locator("#requests tbody tr")).to_contain_text("new")
    # Roles are those of now, too.
    expect(page.locator("#roles tbody tr")).to_have_count(1)


def test_who_is_being_answered_is_asked_about_before_it_is_cut(open_page, fake):
    watched = open_page(fake.address)
    watched.expected = ("Failed to load resource",)
    page = watched.page
    big = card(page, "big")
    big.get_by_role("button", name="Unload: big").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Unload big?")
    expect(dialog).to_contain_text("Being answered: 1; waiting: 0.")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    assert fake.posted == []
    big.get_by_role("button", name="Restart: big").click()
    dialog.get_by_role("button", name="Restart").click()
    wait_for(lambda: fake.posted == ["instances/big/stop", "instances/big/load?wait=false"], "what was done")
    # Nobody is cut by a pin, nor where nobody is answered.
    online(page)
    fake.change("big", running=0)
    expect(big).to_contain_text("0 running, 0 waiting")
    fake.posted.clear()
    big.get_by_role("button", name="Pin: big").click()
    big.get_by_role("button", name="Unload: big").click()
    wait_for(
        lambda: fake.posted == ["instances/big/pin?wait=false", "instances/big/unload?wait=false"], "what was done"
    )
    fake.refusal = (503, "It does not fit beside what is pinned.")
    big.get_by_role("button", name="Pin: big").click()
    expect(page.get_by_role("alert").filter(has_text="does not fit")).to_be_visible()
    fake.refusal = None


def test_an_engine_that_can_sleep_is_put_to_sleep_and_woken(open_page, fake):
    fake.state["instances"] = [
        instance("big", sleep_levels=[1, 2]), instance("small"), instance("new", state="starting", sleep_levels=[1]),
    ]  # fmt: skip
    watched = open_page(fake.address)
    watched.expected = ("Failed to load resource",)
    page = watched.page
    big, sleeps = card(page, "big"), page.locator("[data-action=sleep]")
    # Who cannot sleep, or not yet, is not offered it.
    expect(sleeps).to_have_count(1)
    online(page)
    fake.refusal = (503, "It does not sleep: its memory did not come back.")
    big.get_by_role("button", name="Sleep: big").click()
    expect(page.get_by_role("alert").filter(has_text="did not come back")).to_be_visible()
    fake.refusal = None
    big.get_by_role("button", name="Sleep: big").click()
    wait_for(lambda: fake.posted == ["instances/big/sleep"], "what was done")
    fake.change("big", state="asleep", residency="asleep")
    expect(sleeps).to_have_count(0)
    big.get_by_role("button", name="Wake: big").click()
    wait_for(lambda: fake.posted[1:] == ["instances/big/load?wait=false"], "what was done")
    # Who is being answered is asked about first.
    fake.change("big", state="ready", residency="in", running=1)
    big.get_by_role("button", name="Sleep: big").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Have big sleep?")
    expect(dialog).to_contain_text("the next request wakes it")
    dialog.get_by_role("button", name="Sleep").click()
    wait_for(lambda: fake.posted[2:] == ["instances/big/sleep"], "what was done")


def test_what_runs_beside_ansambl_is_named_with_its_address(open_page, fake):
    other = {"name": "open-webui", "title": "Open WebUI", "state": "starting", "address": "http://127.0.0.1:8080",
             "message": None}  # fmt: skip
    fake.state["companions"] = [other]
    page = open_page(fake.address).page
    expect(page.locator(".companion")).to_contain_text("starting")
    expect(page.locator(".companion a")).to_be_hidden()
    online(page)
    other["state"] = "ready"
    fake.push("event", {"time": STARTED + 950, "model": "open-webui", "kind": "ready", "message": "It answers."})
    expect(page.locator(".companion a")).to_have_attribute("href", "http://127.0.0.1:8080")
    expect(page.locator(".companion")).to_contain_text("ready")


def test_a_key_that_may_only_look_has_no_buttons(open_page, fake):
    fake.endpoints = ["admin:read"]
    page = open_page(fake.address).page
    expect(card(page, "big")).to_be_visible()
    expect(page.locator(".instance button")).to_have_count(0)


def test_what_the_admin_api_refuses_stands_in_the_place_of_the_page(open_page, fake):
    fake.refusal = (503, "Too much is being asked at once; ask again in a minute.")
    watched = open_page(fake.address)
    watched.expected = ("Failed to load resource",)
    expect(watched.page.locator("#main .problem")).to_contain_text("ask again in a minute")
    # The page is whole all the same: the stream says why it is refused and is tried again, and the way back is there.
    expect(watched.page.locator("#connection")).to_contain_text("ask again in a minute")
    fake.refusal = None
    watched.page.get_by_role("link", name="Try again").click()
    expect(card(watched.page, "big")).to_be_visible()


def test_names_are_text_whatever_they_hold_and_a_phone_shows_them(open_page, fake, screenshot):
    long = "r" * 300
    fake.state["instances"][0].update(model=NASTY, message=NASTY, loras=[NASTY], wanted=NASTY, residency="draining")
    fake.state["roles"] = [role(NASTY, NASTY), role(long, NASTY)]
    fake.state["ensembles"] = []
    fake.state["events"] = [{"time": STARTED, "model": NASTY, "kind": "x", "message": NASTY}]
    fake.requests[:] = [
        request_of(1, name=NASTY, model=NASTY, key=NASTY, code=NASTY, status=500),
        request_of(2, name=long),
    ]
    for language, colours in (("en", "light"), ("ru", "dark")):
        page = open_page(fake.address, language=language, color_scheme=colours, has_touch=True, **PHONE).page
        online(page)
        expect(page.locator(".instance h3").first).to_have_text(NASTY)
        expect(page.locator("#roles tbody th").last).to_have_text(long)
        assert fits(page)
        assert page.evaluate("window.hacked") is None
        screenshot(page, f"overview-phone-{colours}-{language}")
