"""Who may read the pages, and under which names; what the pages may load."""

import stat
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from cyclealign.browse.access import COOKIE, LOCAL_NAMES, Access, token_of
from cyclealign.browse.app import make_app
from cyclealign.store import Store

TOKEN = "a-token"


@pytest.fixture
def client(store: Store) -> TestClient:
    return TestClient(make_app(store, Access(TOKEN, LOCAL_NAMES)), base_url="http://localhost:4201")


def test_the_token_opens_the_pages_once_and_leaves_the_address(client: TestClient) -> None:
    """Prevents a history that any program on the machine reads, and a token that stays in links and logs."""
    assert client.get("/").status_code == 403
    assert client.get("/?token=wrong").status_code == 403
    assert client.get("/static/browse.css").status_code == 403
    first = client.get(f"/spending?by=round&token={TOKEN}", follow_redirects=False)
    assert (first.status_code, first.headers["location"]) == (303, "/spending?by=round")
    cookie = first.headers["set-cookie"].lower()
    assert cookie.startswith(f"{COOKIE}={TOKEN}")
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    assert client.get("/spending?by=round").status_code == 200  # by the cookie


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "evil.example:4201", "localhost@evil", ""])
def test_another_name_of_the_server_is_refused(client: TestClient, host: str) -> None:
    """Prevents a site whose name resolves to this machine from reading the history with the browser's cookie."""
    client.cookies.set(COOKIE, TOKEN)
    assert client.get("/", headers={"host": host}).status_code == 421


@pytest.mark.parametrize("host", ["localhost", "localhost:4201", "127.0.0.1:4201", "[::1]:4201", "[::1]"])
def test_the_servers_own_names_are_taken(client: TestClient, host: str) -> None:
    """Prevents a check that locks the user out."""
    client.cookies.set(COOKIE, TOKEN)
    assert client.get("/", headers={"host": host}).status_code == 200


def test_every_reply_forbids_scripts_frames_and_other_sites(client: TestClient) -> None:
    """Prevents markup that slipped through from doing anything, also on pages of errors."""
    client.cookies.set(COOKIE, TOKEN)
    for url in ("/", "/nowhere", "/experiments/none", "/static/browse.css"):
        policy = client.get(url).headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src" not in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy


def test_no_page_writes(client: TestClient) -> None:
    """Prevents a link or a form of another site that changes the history."""
    client.cookies.set(COOKIE, TOKEN)
    assert {client.request(method, "/").status_code for method in ("POST", "PUT", "DELETE", "PATCH")} == {405}


def test_the_token_is_kept_for_its_owner_alone(tmp_path: Path) -> None:
    """Prevents a token that others can read, that changes with each start, or that a cut-off start left empty."""
    first = token_of(tmp_path)
    assert len(first) >= 20
    assert token_of(tmp_path) == first
    path = tmp_path / "browse-token"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.write_text("")
    assert len(token_of(tmp_path)) >= 20
