"""Who is let in by the door, and who is not: keys, the owner, other machines, sessions, limits."""

import asyncio
import contextlib
import hmac
import re

import pytest

from ansambl.access import key_door
from ansambl.access.door import Credentials
from ansambl.access.key_door import KeyDoor
from ansambl.access.keys import ApiKey, digest_of, is_whole, new_id, new_secret, shown_of
from ansambl.access.limits import LimitReachedError
from ansambl.access.rates import Rate
from ansambl.access.store import KeyStore, NameTakenError
from ansambl.app.data_folder import MIGRATIONS
from ansambl.domain.access import EVERYTHING, Endpoint, ForbiddenError, UnauthorizedError
from ansambl.domain.scheduling import LOCAL_KEY, RequestClass
from ansambl.foundation.clock import VirtualClock
from ansambl.foundation.sqlite import Database, load_migrations

TOKEN = "the-token-of-this-run"


@pytest.fixture
def database(tmp_path):
    found = Database(tmp_path / "ansambl.db", load_migrations(MIGRATIONS))
    yield found
    found.close()


@pytest.fixture
def store(database):
    return KeyStore(database)


@pytest.fixture
def clock():
    return VirtualClock(1_790_000_000.0)


def made(name="laptop", **fields):
    secret = new_secret()
    return ApiKey(new_id(), name, digest_of(secret), shown_of(secret), **fields), secret


@pytest.fixture
def door(clock):
    return KeyDoor(TOKEN, clock)


def with_key(door, **fields):
    key, secret = made(**fields)
    door.add(key)
    return key, Credentials(secret)


def test_secrets_are_long_random_and_known_when_seen():
    secrets = {new_secret() for _ in range(200)}
    assert len(secrets) == 200
    for one in secrets:
        assert re.fullmatch(r"ansambl-[0-9A-Za-z]{49}", one)
        assert is_whole(one)
        for torn in (one[:-1], one[1:], one + "x", one.replace(one[20], "!", 1), "", "ansambl-", one[8:]):
            assert not is_whole(torn)
    assert len({new_id() for _ in range(200)}) == 200


def test_a_key_shows_nothing_of_its_secret_but_its_beginning():
    key, secret = made()
    assert digest_of(secret) == key.digest
    assert repr(key).count(secret) == 0
    assert repr(key.digest) not in repr(key)
    assert key.shown == secret[:12]


def test_without_keys_this_machine_is_the_owner_and_no_other_is_let_in(door):
    for secret in (None, "any", "sk-xyz"):
        for endpoint in (None, *EVERYTHING):
            assert door.admit(Credentials(secret), endpoint).caller.key == LOCAL_KEY
            with pytest.raises(ForbiddenError, match="ansambl keys create"):
                door.admit(Credentials(secret, local=False), endpoint)
        # What changes Ansambl asks for more than that: any program of this machine can reach the port.
        assert not door.is_proven(Credentials(secret))
    assert door.is_proven(Credentials(TOKEN))
    assert not door.has_keys


def test_the_owners_token_may_do_everything_with_keys_and_without(door):
    for local in (True, False):
        for endpoint in EVERYTHING:
            assert door.admit(Credentials(TOKEN, local=local), endpoint).caller.may(endpoint)
    with_key(door)
    for endpoint in EVERYTHING:
        assert door.admit(Credentials(TOKEN), endpoint).caller.may(endpoint)


def test_with_a_key_everybody_needs_one(door):
    key, credentials = with_key(door)
    for local in (True, False):
        assert door.admit(Credentials(credentials.secret, local=local), Endpoint.CHAT).caller.key == key.id
        for secret in (None, "any", "", credentials.secret[:-1], credentials.secret + "x", key.id, key.name, key.shown):
            with pytest.raises(UnauthorizedError) as raised:
                door.admit(Credentials(secret, local=local), Endpoint.CHAT)
            assert raised.value.status == 401
            assert raised.value.code == "invalid_api_key"
            assert credentials.secret[12:] not in str(raised.value)


def test_a_torn_key_is_told_from_one_that_is_not_known(door):
    _, credentials = with_key(door)
    with pytest.raises(UnauthorizedError, match="not whole"):
        door.admit(Credentials(credentials.secret[:-2]), None)
    with pytest.raises(UnauthorizedError, match="not known"):
        door.admit(Credentials(new_secret()), None)


@pytest.mark.parametrize("allowed", [frozenset({one}) for one in Endpoint])
def test_a_key_may_do_what_it_was_made_for_and_nothing_else(door, allowed):
    _, credentials = with_key(door, endpoints=allowed)
    door.admit(credentials, None)
    for endpoint in Endpoint:
        may = endpoint in allowed or (endpoint is Endpoint.ADMIN_READ and Endpoint.ADMIN in allowed)
        if may:
            door.admit(credentials, endpoint)
        else:
            with pytest.raises(ForbiddenError, match=endpoint.value):
                door.admit(credentials, endpoint)


def test_a_key_ends_with_its_time_and_the_door_does_not_open_by_time(door, clock):
    now = clock.now()
    _, credentials = with_key(door, expires=now + 60)
    door.admit(credentials, Endpoint.CHAT)
    asyncio.run(clock.advance(60))
    with pytest.raises(UnauthorizedError, match="expired"):
        door.admit(credentials, Endpoint.CHAT)
    with pytest.raises(UnauthorizedError):
        door.admit(Credentials(), Endpoint.CHAT)
    assert door.has_keys


def test_a_revoked_key_lets_in_no_more_and_the_last_one_opens_the_door_again(door, clock):
    key, credentials = with_key(door)
    other, others = with_key(door, name="other")
    asyncio.run(door.revoke(key.id, clock.now()))
    with pytest.raises(UnauthorizedError, match="revoked"):
        door.admit(credentials, Endpoint.CHAT)
    door.admit(others, Endpoint.CHAT)
    asyncio.run(door.revoke(other.id, clock.now()))
    asyncio.run(door.revoke(other.id, clock.now()))
    assert not door.has_keys
    assert door.admit(Credentials(), Endpoint.CHAT).caller.key == LOCAL_KEY
    with pytest.raises(ForbiddenError):
        door.admit(Credentials(others.secret, local=False), Endpoint.CHAT)


def test_every_secret_is_compared_in_constant_time_with_a_digest_of_one_length(door, monkeypatch):
    key, credentials = with_key(door)
    compared = []

    def compare(one, other):
        compared.append((one, other))
        return hmac.compare_digest(one, other)

    monkeypatch.setattr(key_door, "hmac", type("Spy", (), {"compare_digest": staticmethod(compare)}))
    for secret in (credentials.secret, TOKEN, new_secret(), "x", credentials.secret[:-1], "x" * 5000):
        with contextlib.suppress(UnauthorizedError):
            door.admit(Credentials(secret), None)
    assert len(compared) == 6, "a known and an unknown secret take the same way"
    assert {len(one) for pair in compared for one in pair} == {len(key.digest)}


def test_only_answers_count_for_the_limit_of_requests(door):
    _, credentials = with_key(door, requests=(Rate(60, 2),), endpoints=EVERYTHING)
    for _ in range(5):
        door.admit(credentials, None)
        door.admit(credentials, Endpoint.METRICS)
        assert door.known(credentials).key != LOCAL_KEY
    door.admit(credentials, Endpoint.CHAT)
    door.admit(credentials, Endpoint.EMBEDDINGS)
    with pytest.raises(LimitReachedError) as raised:
        door.admit(credentials, Endpoint.CHAT)
    assert raised.value.key == door.known(credentials).key
    door.admit(credentials, None)


def test_limits_of_two_keys_are_two(door):
    _, one = with_key(door, requests=(Rate(60, 1),))
    _, other = with_key(door, name="other", requests=(Rate(60, 1),))
    door.admit(one, Endpoint.CHAT)
    door.admit(other, Endpoint.CHAT)
    for credentials in (one, other):
        with pytest.raises(LimitReachedError):
            door.admit(credentials, Endpoint.CHAT)


def test_sessions_stand_for_their_key_and_end_with_it(door, clock):
    key, credentials = with_key(door, endpoints=frozenset({Endpoint.CHAT}))
    cookie = door.sign_in(credentials.secret)
    assert door.admit(Credentials(cookie=cookie), Endpoint.CHAT).caller.key == key.id
    with pytest.raises(ForbiddenError):
        door.admit(Credentials(cookie=cookie), Endpoint.ADMIN)
    for wrong in ("x", cookie[:-1], credentials.secret):
        with pytest.raises(UnauthorizedError, match="session"):
            door.admit(Credentials(cookie=wrong), Endpoint.CHAT)
    with pytest.raises(UnauthorizedError):
        door.admit(Credentials(cookie), Endpoint.CHAT)
    with_key(door, name="other")
    asyncio.run(door.revoke(key.id, clock.now()))
    with pytest.raises(UnauthorizedError):
        door.admit(Credentials(cookie=cookie), Endpoint.CHAT)


def test_sessions_end_by_time(door, clock):
    _, credentials = with_key(door)
    idle, used = door.sign_in(credentials.secret), door.sign_in(credentials.secret)
    for day in range(31):
        asyncio.run(clock.advance(86_400))
        if day < 29:
            door.admit(Credentials(cookie=used), Endpoint.CHAT)
    for cookie in (idle, used):
        with pytest.raises(UnauthorizedError, match="session"):
            door.admit(Credentials(cookie=cookie), Endpoint.CHAT)


def test_nobody_signs_in_without_a_key_that_lets_in(door, clock):
    for secret in ("x", new_secret(), ""):
        # Without keys, too: the session would be the owner's, and stay when there are keys.
        with pytest.raises(UnauthorizedError):
            door.sign_in(secret)
    door.admit(Credentials(cookie=door.sign_in(TOKEN)), Endpoint.CHAT)
    _, credentials = with_key(door, expires=clock.now() + 1)
    door.sign_in(credentials.secret)
    asyncio.run(clock.advance(2))
    with pytest.raises(UnauthorizedError, match="expired"):
        door.sign_in(credentials.secret)


async def test_what_is_answered_for_a_key_ends_with_it(door, clock):
    key, credentials = with_key(door)
    _, others = with_key(door, name="other")
    ended = []

    async def answer(brought, name):
        visit = door.admit(brought, Endpoint.CHAT)
        visit.begin()
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            reason = visit.ended()
            if reason is None:
                raise
            ended.append((name, reason.code, reason.key))
            await asyncio.sleep(0)
        finally:
            visit.over()

    tasks = [asyncio.create_task(answer(one, name)) for one, name in ((credentials, "a"), (credentials, "b"))]
    stays = asyncio.create_task(answer(others, "c"))
    await asyncio.sleep(0)
    assert door.visits.running(key.id) == 2
    await door.revoke(key.id, clock.now())
    assert sorted(ended) == [("a", "invalid_api_key", key.id), ("b", "invalid_api_key", key.id)]
    assert all(one.done() and not one.cancelled() for one in tasks)
    assert not stays.done()
    stays.cancel()
    await asyncio.gather(stays, return_exceptions=True)
    assert door.visits.running(key.id) == 0


async def test_a_restart_keeps_keys_what_they_used_and_when(store, database, clock):
    key, secret = made(
        names=frozenset({"coder", "совет"}), endpoints=frozenset({Endpoint.CHAT}), default_class=RequestClass.BATCH,
        requests=(Rate(60, 5),), tokens=(Rate(86_400, 1000),), created=clock.now(), expires=clock.now() + 1e6,
    )  # fmt: skip
    store.add(key)
    door = KeyDoor(TOKEN, clock, store)
    visit = door.admit(Credentials(secret), Endpoint.CHAT)
    visit.spend(900)
    door.write()
    await database.run(lambda _: None)
    await clock.advance(30)
    again = KeyDoor("another-token", clock, KeyStore(database))
    caller = again.admit(Credentials(secret), Endpoint.CHAT).caller
    assert (caller.names, caller.default_class, caller.endpoints) == (key.names, key.default_class, key.endpoints)
    left = again.allowances(key.id)
    assert (left.requests.remaining, left.tokens.remaining) == (3, 100)
    assert again.all_keys()[0].last_used == clock.now()
    with pytest.raises(UnauthorizedError):
        again.admit(Credentials(TOKEN), None)


async def test_nothing_of_a_secret_is_written(store, database, clock, tmp_path):
    key, secret = made()
    store.add(key)
    door = KeyDoor(TOKEN, clock, store)
    cookie = door.sign_in(secret)
    door.admit(Credentials(secret), Endpoint.CHAT)
    door.write()
    await database.run(lambda _: None)
    database.backup(tmp_path / "copy.db")
    for path in tmp_path.iterdir():
        found = path.read_bytes()
        for one in (secret, secret[12:], TOKEN, cookie):
            assert one.encode() not in found


def test_names_are_taken_once_until_they_are_revoked(store, clock):
    first, _ = made()
    store.add(first)
    with pytest.raises(NameTakenError, match="laptop"):
        store.add(made()[0])
    assert store.has_usable(clock.now())
    store.revoke(first.id, clock.now())
    assert not store.has_usable(clock.now())
    store.add(made(expires=clock.now() + 10)[0])
    assert store.has_usable(clock.now())
    assert not store.has_usable(clock.now() + 10)
    assert [one.revoked is None for one in store.read()].count(True) == 1


def test_ten_thousand_keys_are_looked_up_like_one(clock, monkeypatch):
    """By the count of comparisons, not by time: each request looks at one entry, however many there are."""
    door = KeyDoor(TOKEN, clock)
    made_keys = [with_key(door, name=f"key {number}") for number in range(10_000)]
    compared = []

    def compare(one, other):
        compared.append(one)
        return hmac.compare_digest(one, other)

    monkeypatch.setattr(key_door, "hmac", type("Spy", (), {"compare_digest": staticmethod(compare)}))
    for key, credentials in made_keys[::500]:
        assert door.admit(credentials, Endpoint.CHAT).caller.key == key.id
    assert len(compared) == 20


def test_what_is_left_of_all_limits_is_told_without_revoked_keys(clock):
    door = KeyDoor(TOKEN, clock)
    limited, credentials = with_key(door, name="limited", requests=(Rate(60, 5),))
    gone, _ = with_key(door, name="gone", requests=(Rate(60, 5),), revoked=clock.now())
    door.admit(credentials, Endpoint.CHAT)
    left = door.all_allowances()
    assert gone.id not in left
    assert (left[limited.id].requests.limit, left[limited.id].requests.remaining) == (5, 4)


async def test_one_failure_to_write_does_not_end_the_writing(store, clock, monkeypatch):
    key, secret = made()
    store.add(key)
    door = KeyDoor(TOKEN, clock, store)
    written = []

    def broken_once(used):
        written.append(set(used))
        if len(written) == 1:
            raise RuntimeError("the disk is away")

    monkeypatch.setattr(store, "submit_use", broken_once)
    writing = asyncio.create_task(door.keep_writing())
    for _ in range(2):
        door.admit(Credentials(secret), Endpoint.CHAT)
        await clock.advance(key_door.WRITE_EVERY)
    writing.cancel()
    assert written == [{key.id}, {key.id}]
