"""What a route looks at, who is asked for by name, and the owner's rules."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansambl.domain.errors import ConfigurationError, RequestError
from ansambl.domain.role import RouteRule
from ansambl.roles.routing.forcing import forced
from ansambl.roles.routing.patterns import LONGEST_SEARCHED, safe_pattern
from ansambl.roles.routing.records import How, Member, RouteInput, read_input
from ansambl.roles.routing.rules import Rules, check_rules

MEMBERS = (
    Member("coder", "Writes code", aliases=("кодер",)),
    Member("reasoner", "Thinks", aliases=("мыслитель",)),
    Member("brief", "Short", aliases=("кратко", "очень кратко")),
)
NAMES = tuple(one.name for one in MEMBERS)


def asked(said):
    return read_input([{"role": "user", "content": said}])


def user(content):
    return {"role": "user", "content": content}


def answer(content, **more):
    return {"role": "assistant", "content": content, **more}


def test_the_newest_user_message_is_looked_at():
    found = read_input([user("Was ist das?"), answer("Ein Haus."), user("А что такое дворец и чем он отличается?")])
    assert (found.text, found.language, found.length) == ("А что такое дворец и чем он отличается?", "ru", 39)
    assert found.has == frozenset()
    assert not found.in_tool_loop


def test_parts_are_read_and_an_image_anywhere_in_the_conversation_counts():
    parts = [
        {"type": "text", "text": "What is in"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}},
        {"type": "text", "text": "the picture?"},
    ]
    assert read_input([user(parts)]).text.split() == ["What", "is", "in", "the", "picture?"]
    assert read_input([user(parts), answer("A cat."), user("Which breed could that be?")]).has == {"image"}


def test_code_and_tools_are_seen():
    assert read_input([user("Why?\n```\nx = 1\n```")], tools=True).has == {"code", "tools"}


@pytest.mark.parametrize("said", ["continue", "Продолжай, пожалуйста", "ok, go on", "Why?", "а почему так?", ""])
def test_a_message_that_only_asks_to_go_on_is_about_the_one_before(said):
    found = read_input([user("Prove that two is even."), answer("…"), user("да"), answer("…"), user(said)])
    assert found.is_follow_up
    assert found.topic == "Prove that two is even."
    assert found.language == "en"


def test_a_first_message_goes_on_with_nothing():
    assert not asked("why?").is_follow_up
    assert not read_input([]).is_follow_up


def test_a_tool_loop_is_an_answer_begun_after_the_newest_user_message():
    begun = [user("What is the weather?"), answer(None, tool_calls=[{"id": "1"}]), {"role": "tool", "content": "rain"}]
    assert read_input(begun).in_tool_loop
    assert not read_input([*begun, answer("It rains."), user("And tomorrow?")]).in_tool_loop
    assert not read_input([user("Hi"), {"role": "system", "content": "Be kind."}]).in_tool_loop


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("@coder why?", "coder"),
        ("  @Coder: why?", "coder"),
        ("@CODER\nwhy?", "coder"),
        ("@кодер, почему падает?", "coder"),
        ("@Мыслитель — реши", "reasoner"),
        ("@brief", "brief"),
        ("@кратко. Что это?", "brief"),
        ("@очень кратко что это", "brief"),
    ],
)
def test_a_name_at_the_beginning_forces(said, name):
    found = forced(asked(said), None, MEMBERS)
    assert found is not None
    assert (found.role, found.how) == (name, How.FORCED)
    assert f"@{name}" in str(found.reason)


@pytest.mark.parametrize(
    "said",
    [
        "@anna look",
        "@coder.com is down",
        "@coders unite",
        "@coder-team hi",
        "ask @coder",
        "coder@example.org",
        "@",
        "coder",
    ],
)
def test_what_is_no_members_name_forces_nothing(said):
    assert forced(asked(said), None, MEMBERS) is None


def test_the_clients_wish_goes_before_the_text_and_must_be_a_member():
    found = forced(asked("@coder why?"), "Мыслитель", MEMBERS)
    assert found is not None
    assert found.role == "reasoner"
    with pytest.raises(RequestError) as caught:
        forced(asked("why?"), "codr", MEMBERS)
    assert "codr" in str(caught.value)
    assert "nearest: coder" in str(caught.value)
    with pytest.raises(RequestError, match="it can choose: coder, reasoner, brief"):
        forced(asked("why?"), "x" * 10_000, MEMBERS)


@pytest.mark.parametrize(
    ("rule", "said", "why"),
    [
        (RouteRule("coder", has="code"), "```\nx\n```", "rule 1: the message holds code"),
        (RouteRule("coder", words=("Stack Trace",)), "here is the stack\ntrace", "the message says 'stack trace'"),
        (RouteRule("coder", words=("ещё",)), "Еще раз", "the message says 'еще'"),
        (RouteRule("coder", words=("перевед*",)), "переведите это", "the message says 'переведите'"),
        (RouteRule("coder", pattern=r"^fix\b"), "FIX it", "the message matches '^fix\\b'"),
        (RouteRule("coder", language="ru"), "Что это за зверь такой?", "the message is in Russian"),
        (RouteRule("coder", longer_than=5), "123456", "longer than 5 characters"),
        (RouteRule("coder", shorter_than=5), "1234", "shorter than 5 characters"),
        (
            RouteRule("coder", words=("bug",), language="en", longer_than=3),
            "What is this bug about?",
            "rule 1: the message is in English, and the message is longer than 3 characters, and",
        ),
    ],
)
def test_a_rule_matches_and_says_why(rule, said, why):
    found = Rules((rule,)).decide(asked(said))
    assert found is not None
    assert (found.role, found.how, found.score) == ("coder", How.RULE, None)
    assert why in str(found.reason)


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (RouteRule("coder", has="code"), "no such thing"),
        (RouteRule("coder", has="image"), "no such thing"),
        (RouteRule("coder", words=("bug",)), "a debugger, bugs and a ladybug"),
        (RouteRule("coder", words=("c++",)), "c"),
        (RouteRule("coder", longer_than=5), "12345"),
        (RouteRule("coder", shorter_than=5), "12345"),
        (RouteRule("coder", words=("bug",), language="ru"), "What is this bug about?"),
    ],
)
def test_all_that_a_rule_says_must_hold(rule, said):
    assert Rules((rule,)).decide(asked(said)) is None


def test_the_first_rule_that_matches_decides_and_is_numbered():
    rules = (RouteRule("coder", words=("zebra",)), RouteRule("brief", has="tools"), RouteRule("reasoner", has="tools"))
    found = Rules(rules).decide(read_input([user("hello")], tools=True))
    assert found is not None
    assert found.role == "brief"
    assert str(found.reason).startswith("rule 2: the request brings tools")


def test_a_word_with_marks_is_found_as_it_is():
    assert Rules((RouteRule("coder", words=("c++",)),)).decide(asked("I like C++, not C")) is not None


def test_both_ends_of_a_long_message_are_searched():
    paste = "lorem " * LONGEST_SEARCHED
    rule = (RouteRule("brief", words=("tldr",)),)
    assert Rules(rule).decide(asked(f"tldr {paste}")) is not None
    assert Rules(rule).decide(asked(f"{paste} tldr")) is not None
    assert Rules((RouteRule("brief", pattern="tl;?dr$"),)).decide(asked(f"{paste} tl;dr")) is not None


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        (RouteRule("codr", has="code"), "'codr' is no member; nearest: coder"),
        (RouteRule("coder"), "no condition"),
        (RouteRule("coder", has="cod"), "code, image, tools"),
        (RouteRule("coder", language="xx"), "'xx' is no language"),
        (RouteRule("coder", words=("ok", " ")), "empty"),
        (RouteRule("coder", longer_than=10, shorter_than=11), "no message is longer than 10"),
    ],
)
def test_rules_that_cannot_be_meant_are_refused(rule, why):
    with pytest.raises(ConfigurationError) as caught:
        check_rules((RouteRule("coder", has="code"), rule), NAMES)
    assert "Rule 2" in str(caught.value)
    assert why in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "pattern",
    [
        "(",
        "(a+)+b",
        "(a|aa)*b",
        r"(\w+\s?)*x",
        "a?" * 40 + "a" * 40,
        ".*a.*b.*c",
        "(a?){40}a{40}",
        "x" * 2_000,
        "((a*)*)*",
    ],
)
def test_patterns_that_cannot_be_read_or_could_take_minutes_are_refused(pattern):
    with pytest.raises(ConfigurationError, match="pattern"):
        check_rules((RouteRule("coder", pattern=pattern),), NAMES)


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        (r"\bперевед\w*", "Переведите это"),
        (r"(?:write|fix).*(?:code|script)", "please write me a small script"),
        (r"^\s*(please\s+translate|translate|пожалуйста,?\s+переведи)\b", "Please  translate it"),
        (r"\d{3}-\d{2}", "call 123-45"),
        (r"(foo|bar)baz", "barbaz"),
        (r"turn\s+this\s+into\s+a\s+poem", "Turn  this\n\ninto a\tpoem"),
    ],
)
def test_ordinary_patterns_pass_and_match(pattern, said):
    check_rules((RouteRule("coder", pattern=pattern),), NAMES)
    assert Rules((RouteRule("coder", pattern=pattern),)).decide(asked(said)) is not None


@pytest.mark.parametrize("pattern", [".*a.*b", r"(?:a|b).*c", r"\s*\w+\s*x", r"\w+\s+\w*\s*!", "a{1,5000}b{1,5000}c"])
def test_the_worst_message_cannot_make_an_accepted_pattern_slow(pattern):
    found = safe_pattern(pattern)
    begun = time.process_time()
    for message in ("a" * 100_000, "ab" * 50_000, "a b" * 30_000, " " * 100_000):
        found.is_in(message)
    # The bound is some tenths of a second of processor time each; without it the first message alone takes hours.
    assert time.process_time() - begun < 10


_PARTS = st.lists(
    st.one_of(
        st.text(max_size=20),
        st.none(),
        st.dictionaries(st.sampled_from(["type", "text", "image_url"]), st.one_of(st.text(max_size=20), st.none())),
    ),
    max_size=4,
)
_MESSAGES = st.lists(
    st.fixed_dictionaries(
        {
            "role": st.sampled_from(["system", "user", "assistant", "tool"]),
            "content": st.one_of(st.none(), st.text(), _PARTS, st.integers()),
        }
    ),
    max_size=5,
)


@given(_MESSAGES, st.booleans())
def test_any_messages_can_be_read(messages, tools):
    found = read_input(messages, tools=tools)
    assert isinstance(found, RouteInput)
    decided = forced(found, None, MEMBERS)
    assert decided is None or decided.role in NAMES


@given(st.text(alphabet="ab()|*+?{}1,.[]^$\\", max_size=12), st.text(alphabet="ab", max_size=60))
def test_any_pattern_is_refused_or_can_be_searched(pattern, said):
    try:
        found = safe_pattern(pattern)
    except ConfigurationError:
        return
    assert found.is_in(said) in {True, False}
