"""A session token is good only if this installation signed it, it is complete, and its time has not passed."""

from datetime import UTC, datetime

import jwt

from api.security.tokens import SessionTokens
from models.base.ids import new_id
from models.domain.keys import Purpose, derive


def test_tokens_of_another_installation_and_expired_ones_name_no_session():
    ours, theirs = SessionTokens(b"a" * 32), SessionTokens(b"b" * 32)
    now = datetime(2026, 1, 1, tzinfo=UTC)  # whatever this machine's clock says
    assert ours.session_id("", now) is None
    assert ours.session_id("a.b.c", now) is None
    assert theirs.session_id(jwt.encode({"session_id": str(new_id())}, derive(b"b" * 32, Purpose.JWT)), now) is None
    past = int(now.timestamp()) - 10
    claims = {"iss": "quarterdeck", "sub": "x", "jti": "x", "iat": past - 10, "exp": past, "session_id": str(new_id())}
    assert ours.session_id(jwt.encode(claims, derive(b"a" * 32, Purpose.JWT)), now) is None
    good = {**claims, "exp": past + 60}
    assert ours.session_id(jwt.encode(good, derive(b"a" * 32, Purpose.JWT)), now) is not None
    assert ours.session_id(jwt.encode(good, derive(b"b" * 32, Purpose.JWT)), now) is None
    assert ours.session_id(jwt.encode({**good, "session_id": 7}, derive(b"a" * 32, Purpose.JWT)), now) is None
