"""The console's answers: languages, headers, files, what is not there, and what the admin API refuses."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

import ansambl.console
from ansambl.console.admin_client import AdminApi, AdminError
from ansambl.console.application import make_console
from ansambl.console.assets import load_assets
from ansambl.console.pages import PAGES

FOLDER = Path(ansambl.console.__file__).parent
STATIC = FOLDER / "static"
# What the issue promises a phone on a slow link: all static files, packed.
LIMIT = 150_000


def refusing(status, message="No, because of that; do this."):
    async def refuse(request):
        return JSONResponse({"error": {"message": message, "code": "a_code", "param": "name"}}, status)

    return Starlette(routes=[Route("/{path:path}", refuse, methods=["GET", "POST", "PUT", "DELETE"])])


def client_of(admin):
    return TestClient(make_console(version="1.2.3", admin=admin), raise_server_exceptions=True)


@pytest.fixture(scope="module")
def client():
    """A console to which the admin API says no: every page then shows the frame and one line."""
    return client_of(refusing(503))


def words(page: str) -> dict:
    found = re.search(r'<script type="application/json" id="words">(.*?)</script>', page, re.DOTALL)
    return json.loads(found[1])


@pytest.mark.parametrize(("language", "said"), [("en", "There is no such page"), ("ru", "/console/nowhere")])
def test_who_reads_pages_is_told_within_the_frame_that_there_is_none(client, language, said):
    headers = {"accept": "text/html,*/*;q=0.8", "accept-language": language}
    answer = client.get("/console/nowhere<b>", headers=headers)
    assert answer.status_code == 404
    assert answer.headers["content-type"].startswith("text/html")
    assert "content-security-policy" in answer.headers
    assert said in answer.text
    assert 'href="/console/chat"' in answer.text
    assert 'data-watches="no"' in answer.text
    assert "nowhere<b>" not in answer.text


def test_a_script_that_is_not_there_is_told_of_in_one_line(client):
    answer = client.get("/console/nowhere", headers={"accept": "*/*"})
    assert (answer.status_code, answer.text) == (404, "The console has no page /console/nowhere; it begins at /.")


@pytest.mark.parametrize("page", PAGES, ids=[one.key for one in PAGES])
def test_a_page_speaks_the_language_of_the_address_the_cookie_or_the_browser(client, page):
    for query, cookie, accepted, expected in [
        ("", None, None, "en"),
        ("", None, "ru-RU,ru;q=0.9,en;q=0.8", "ru"),
        ("", None, "de,fr;q=0.5", "en"),
        ("", "ru", "en", "ru"),
        ("?lang=en", "ru", "ru", "en"),
        ("?lang=ru", None, "en", "ru"),
        ("?lang=xx", None, "ru", "ru"),
        ("", "xx", "ru", "ru"),
    ]:
        headers = {"accept-language": accepted} if accepted else {}
        if cookie:
            headers["cookie"] = f"ansambl_language={cookie}"
        answer = client.get(page.path + query, headers=headers)
        client.cookies.clear()
        assert f'<html lang="{expected}">' in answer.text, (query, cookie, accepted)
        assert answer.headers["content-language"] == expected
        assert words(answer.text)["language"] == expected
        assert "accept-language" in answer.headers["vary"]
        kept = answer.headers.get("set-cookie", "")
        assert kept.startswith(f"ansambl_language={expected};") == (query in ("?lang=en", "?lang=ru"))


def test_the_language_in_the_address_cannot_carry_markup(client):
    answer = client.get("/?lang=ru%22%3E%3Cscript%3Ealert(1)%3C/script%3E")
    assert "<script>alert" not in answer.text


def test_every_answer_keeps_the_page_to_itself(client):
    for path in (*(one.path for one in PAGES), "/console/static/old/site.css", "/console/nothing"):
        headers = client.get(path).headers
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'self';")
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "no-referrer"


def test_templates_hold_no_inline_code_no_inline_style_and_no_other_host():
    templates = sorted((FOLDER / "templates").rglob("*.html"))
    assert len(templates) > len(PAGES)
    for template in templates:
        found = template.read_text(encoding="utf-8")
        assert re.findall(r"<script(?![^>]*(?:src=|application/json))", found) == [], template.name
        assert re.findall(r"\son\w+=|\sstyle=|javascript:|\|\s*safe\b|x-html|hx-on", found) == [], template.name
        assert re.findall(r'(?:src|href|action|hx-\w+)="(?:https?:)?//', found) == [], template.name


def test_scripts_never_write_markup():
    scripts = [one for one in sorted(STATIC.rglob("*.js")) if "vendor" not in one.parts]
    assert len(scripts) > 5
    for script in scripts:
        found = script.read_text(encoding="utf-8")
        assert (
            re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", found) == []
        ), script.name


def test_every_file_of_a_page_is_there_and_kept_by_the_browser(client):
    served = load_assets(STATIC).by_name
    for page in PAGES:
        # The page here is a problem's, which has no script of its own.
        assert set(page.styles) | ({f"pages/{page.script}"} if page.script else set()) <= served.keys()
        addresses = re.findall(r'(?:src|href)="(/console/static/[^"]+)"', client.get(page.path).text)
        assert len(addresses) >= 5
        for address in addresses:
            answer = client.get(address)
            assert answer.status_code == 200, address
            assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    # A page that a browser still shows from an older version gets today's file, and does not keep it.
    old = client.get("/console/static/0123456789abcdef/site.css")
    assert old.status_code == 200
    assert old.headers["cache-control"] == "no-cache"
    assert old.headers["content-type"] == "text/css; charset=utf-8"


def test_files_travel_packed_where_the_browser_can_unpack(client):
    with client.stream("GET", "/console/static/any/site.css", headers={"accept-encoding": "br, gzip"}) as answer:
        raw = b"".join(answer.iter_raw())
        assert answer.headers["content-encoding"] == "gzip"
    assert gzip.decompress(raw) == load_assets(STATIC).by_name["site.css"].content
    plain = client.get("/console/static/any/site.css", headers={"accept-encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert plain.content == load_assets(STATIC).by_name["site.css"].content


def test_what_travels_has_no_comments_and_is_the_same_code(tmp_path):
    (tmp_path / "vendor").mkdir()
    brought = "// a licence\nlet a;\n"
    (tmp_path / "vendor" / "lib.js").write_text(brought, encoding="utf-8")
    (tmp_path / "own.js").write_text(
        '// why\n/** What\n * it does. */\nfunction f() {\n  // here\n  return "// no"; // kept\n}\n', encoding="utf-8"
    )
    (tmp_path / "text.js").write_text("const a = `\n  // part of it\n`;\n", encoding="utf-8")
    (tmp_path / "own.css").write_text("/* a\n b */\na { color:red }\n  /* c */\n  b { color:blue }\n", encoding="utf-8")
    found = {name: one.content.decode() for name, one in load_assets(tmp_path).by_name.items()}
    assert found["vendor/lib.js"] == brought
    assert found["own.js"] == 'function f(){return"// no";}\n'
    assert found["text.js"] == "const a=`\n  // part of it\n`;\n"
    assert found["own.css"] == "a{color:red}b{color:blue}\n"


def test_a_page_names_all_modules_that_its_script_will_ask_for(client):
    working = client_of(refusing(404))
    for page in PAGES:
        answer = working.get(page.path).text if page.key == "chat" else client.get(page.path).text
        listed = set(re.findall(r'rel="modulepreload" href="/console/static/\w+/([^"]+)"', answer))
        (script,) = re.findall(r'<script type="module" src="/console/static/\w+/([^"]+)"', answer)
        assert script == (f"pages/{page.script}" if page.key == "chat" else "lib/plain.js")
        found, waiting = set(), [script]
        while waiting:
            name = waiting.pop()
            if name in found:
                continue
            found.add(name)
            if not name.startswith("vendor/"):
                imported = re.findall(r'(?:from|import) "(\.[^"]+)"', (STATIC / name).read_text(encoding="utf-8"))
                folder = (STATIC / name).parent
                waiting += [folder.joinpath(one).resolve().relative_to(STATIC).as_posix() for one in imported]
        assert listed == found - {script}, page.key


def test_scripts_import_only_files_that_are_served():
    served = load_assets(STATIC).by_name
    for script in STATIC.rglob("*.js"):
        if "vendor" in script.parts:
            continue
        for name in re.findall(r'(?:from|import) "(\.[^"]+)"', script.read_text(encoding="utf-8")):
            target = (script.parent / name).resolve().relative_to(STATIC).as_posix()
            assert target in served, (script.name, name)


def test_what_is_not_there_is_said_in_one_line(client):
    for path in ("/console/nothing", "/console/static/any/secret.txt"):
        answer = client.get(path)
        assert answer.status_code == 404
        assert answer.text.count("\n") == 0
        assert path in answer.text
    for path in ("/console/static/any/..%2fapplication.py", "/console/static/any/%2e%2e/templates/frame.html",
                 "/console/static/any/vendor/..%2f..%2fapplication.py"):  # fmt: skip
        assert client.get(path).status_code == 404
    assert client.post("/").status_code == 405


def test_all_files_together_stay_small_when_packed():
    # Licences are for those who look at the package; nothing sends them.
    sent = load_assets(STATIC).by_name
    assert {Path(name).suffix for name in sent} == {".js", ".css", ".svg"}
    assert sum(len(one.packed) for one in sent.values()) < LIMIT


def test_vendored_libraries_come_with_their_licences():
    for name in ("htmx", "alpine", "uplot", "pico"):
        assert list((STATIC / "vendor").glob(f"{name}-*"))
        assert len((STATIC / "vendor" / "licences" / f"{name}.txt").read_text(encoding="utf-8")) > 300


# --- what the admin API refuses ---------------------------------------------------------------------------------------


def scope_of(**headers):
    listed = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return {
        "type": "http", "http_version": "1.1", "method": "GET", "path": "/console/x", "query_string": b"",
        "scheme": "http",
        "client": ("127.0.0.1", 5), "server": ("127.0.0.1", 8484), "headers": listed, "root_path": "",
    }  # fmt: skip


def admin_api(admin, **headers):
    return AdminApi(admin, Request(scope_of(**headers)), "ru")


async def test_a_question_to_the_admin_api_brings_who_asks_and_the_language_of_the_page():
    seen = {}

    async def echo(request):
        seen.update(
            decoded=request.scope["path"], query=dict(request.query_params), headers=dict(request.headers),
            client=request.client.host, body=await request.json(), raw=request.scope["raw_path"],
        )  # fmt: skip
        return JSONResponse({"fine": True})

    admin = Starlette(routes=[Route("/{path:path}", echo, methods=["PUT"])])
    found = await admin_api(admin, cookie="a=b", host="127.0.0.1:8484", user_agent="x", accept_language="en").put(
        "roles", "a/ü b?", document={"ключ": 1}, base_version=3, left_out=None
    )
    assert found == {"fine": True}
    assert seen["decoded"] == "/admin/api/roles/a/ü b?"
    assert seen["raw"] == b"/admin/api/roles/a/%C3%BC%20b%3F"
    assert seen["query"] == {"base_version": "3"}
    assert seen["body"] == {"ключ": 1}
    assert seen["client"] == "127.0.0.1"
    assert seen["headers"]["cookie"] == "a=b"
    assert seen["headers"]["accept-language"] == "ru"
    assert "user-agent" not in seen["headers"]


async def test_a_question_to_the_admin_api_brings_what_tells_of_a_proxy():
    """Or a page would show the owner's things to whom a tunnel brings, where the admin API itself shows nothing."""
    seen = {}

    async def echo(request):
        seen.update(request.headers)
        return JSONResponse({})

    admin = Starlette(routes=[Route("/{path:path}", echo)])
    told = {"x_forwarded_for": "1", "via": "1", "x_real_ip": "1", "cf_connecting_ip": "1", "tailscale_user_login": "a"}
    await admin_api(admin, **told).get("me")
    assert {name.replace("_", "-") for name in told} <= set(seen)


async def test_an_error_of_the_admin_api_keeps_its_line_its_code_and_its_place():
    with pytest.raises(AdminError) as caught:
        await admin_api(refusing(409)).post("roles", document={})
    error = caught.value
    assert (error.status, error.message, error.code, error.param) == (
        409, "No, because of that; do this.", "a_code", "name",
    )  # fmt: skip


def test_a_page_that_needs_a_key_asks_for_it_in_its_own_place():
    asking = client_of(refusing(401, "This needs a key."))
    for page in PAGES:
        if page.key == "chat":
            # What it needs stands below /v1, so its script asks.
            continue
        answer = asking.get(page.path)
        assert answer.status_code == 401, page.key
        # A reader is told where keys come from; how a program passes one is said to who came with a session.
        assert "ansambl keys create" in answer.text
        assert "This needs a key." not in answer.text
        assert 'type="password"' in answer.text
        again = asking.get(page.path, headers={"cookie": "ansambl_session_80=gone"})
        assert "This needs a key." in again.text
        part = asking.get(page.path, headers={"hx-request": "true"})
        assert (part.status_code, part.headers.get("hx-refresh")) == (204, "true")


def test_what_is_refused_is_one_line_in_the_frame_or_in_the_place_for_problems(client):
    for page in PAGES:
        if page.key == "chat":
            continue
        answer = client.get(page.path)
        assert answer.status_code == 503, page.key
        assert "No, because of that; do this." in answer.text
        assert "<nav" in answer.text
        part = client.get(page.path, headers={"hx-request": "true"})
        assert part.status_code == 503
        assert part.headers["hx-retarget"] == "#problem"
        assert "<html" not in part.text
        assert "No, because of that; do this." in part.text


def test_what_the_admin_api_says_cannot_carry_markup():
    nasty = client_of(refusing(503, "<script>alert(1)</script>"))
    assert "<script>alert" not in nasty.get("/").text


def test_a_page_that_fails_says_so_in_its_own_place_and_with_its_headers():
    """Whatever fails: our own code, and an admin API that raises after its answer, as the framework's does."""

    async def broken(scope, receive, send):
        raise KeyError("<b>secret</b>")

    async def telling(scope, receive, send):
        await JSONResponse({"error": {"message": "The log says more."}}, 500)(scope, receive, send)
        raise KeyError("secret")

    async def odd(scope, receive, send):
        await JSONResponse({"endpoints": ["admin"]})(scope, receive, send)

    for admin, line in (
        (broken, "Something failed inside"),
        (telling, "The log says more."),
        (odd, "Something failed"),
    ):
        asking = client_of(admin)
        whole = asking.get("/console/traffic" if admin is not odd else "/console/roles")
        assert (whole.status_code, line in whole.text, "<nav" in whole.text) == (500, True, True)
        assert "frame-ancestors 'none'" in whole.headers["content-security-policy"]
        assert "secret" not in whole.text
        part = asking.get("/console/roles", headers={"hx-request": "true"})
        assert (part.status_code, part.headers["hx-retarget"], line in part.text) == (500, "#problem", True)


@pytest.mark.parametrize("body", [rb'{"roles": {"x": {"instruction": "\ud800"}}}', rb'{"roles": {"\udfff": {}}}'])
def test_a_set_with_half_a_character_is_refused_in_one_line(client, body):
    asking = client_of(refusing(404))
    answer = asking.post("/console/roles/import", content=body, headers={"sec-fetch-site": "same-origin"})
    assert answer.status_code == 400
    assert answer.json()["error"]["message"].startswith("The file is neither TOML nor JSON")


def test_no_route_that_changes_something_is_open_to_other_pages():
    """Whatever it is signed in by, and whoever adds a route."""
    asked = []

    async def admin(scope, receive, send):
        asked.append(scope["path"])
        await JSONResponse({"endpoints": ["admin"]})(scope, receive, send)

    console = make_console(version="1", admin=admin)
    changing = [
        (method, one.path.replace("{document}", "1"))
        for one in console.routes
        for method in (one.methods or ()) - {"GET", "HEAD"}
        if one.path != "/console/session"
    ]
    assert len(changing) >= 4
    client = TestClient(console)
    foreign = (
        {}, {"origin": "null"}, {"origin": "http://localhost:3000"}, {"sec-fetch-site": "none"},
        {"sec-fetch-site": "same-site", "origin": "http://testserver:81"},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"},
        {"sec-fetch-site": "same-origin", "origin": "http://evil.example"},
    )  # fmt: skip
    for method, path in changing:
        for headers in foreign:
            answer = client.request(method, path, headers={**headers, "authorization": "Bearer x", "cookie": "a=b"})
            assert answer.status_code == 403, (method, path, headers)
    assert asked == []
