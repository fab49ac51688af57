"""Ray's token: whoever reaches a cluster that asks for none can run any code there as the user who started it."""

from __future__ import annotations

import http.client
import json
import os
import secrets
import stat
import urllib.error
import urllib.request
from pathlib import Path

ANSWER_SECONDS = 10.0


class NoAnswer(Exception):
    """What listens at an address does not answer as Ray does; the message says how."""


def token_file() -> Path:
    """The file that Ray reads the token from where RAY_AUTH_TOKEN is not set."""
    return Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")


def token() -> str:
    """The token that Ray would send from here; empty where there is none."""
    if said := os.environ.get("RAY_AUTH_TOKEN", "").strip():
        return said
    try:
        return token_file().read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def switched_off() -> bool:
    """Whether RAY_AUTH_MODE says that a Ray started here asks for no token."""
    return os.environ.get("RAY_AUTH_MODE", "token").lower() == "disabled"


def make_token() -> None:
    """See that there is a token for a Ray that is started here. Ray would make one that everyone on the machine may
    read. Raises OSError where it cannot be written."""
    if switched_off() or token():
        return
    path = token_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    # a file that is there holds no token; it may be open to others
    path.unlink(missing_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(secrets.token_hex(32))


def own_state() -> tuple[str, str]:
    """How it stands with the token on this machine, and what is wrong with that or ""."""
    if switched_off():
        return "switched off by RAY_AUTH_MODE: a Ray started here obeys whoever reaches it", ""
    if not token():
        return "none yet; `jackpot run` makes one", ""
    if os.environ.get("RAY_AUTH_TOKEN", "").strip():
        return "set, in RAY_AUTH_TOKEN", ""
    path = token_file()
    if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        return f"set, in {path}", f"others on this machine may read Ray's token; run `chmod 600 {path}`"
    return f"set, in {path}", ""


def admits(address: str, token: str) -> bool:
    """Whether the Ray at an address, HOST:PORT of its head or http://HOST:PORT of its dashboard, obeys who shows this
    token; "" shows none. Raises NoAnswer where no Ray answers."""
    return _dashboard_admits(address, token) if "://" in address else _head_admits(address, token)


def _head_admits(address: str, token: str) -> bool:
    import grpc

    # by its name and not through Ray's own client, which would take the token of this machine
    with grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
        ask = channel.unary_unary("/ray.rpc.NodeInfoGcsService/CheckAlive")
        try:
            ask(b"", timeout=ANSWER_SECONDS, metadata=[("authorization", f"Bearer {token}")] if token else [])
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.UNAUTHENTICATED:
                return False
            raise NoAnswer(f"no Ray head answers there ({error.code().name})") from error
    return True


def _dashboard_admits(address: str, token: str) -> bool:
    header = {"Authorization": f"Bearer {token}"} if token else {}
    request = urllib.request.Request(f"{address.rstrip('/')}/api/jobs/", headers=header)
    try:
        with urllib.request.urlopen(request, timeout=ANSWER_SECONDS) as answer:
            if isinstance(json.loads(answer.read()), list):
                return True
    except urllib.error.HTTPError as error:
        if error.code in (401, 403):
            return False
        raise NoAnswer(f"no Ray dashboard answers there ({error})") from error
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise NoAnswer(f"no Ray dashboard answers there ({getattr(error, 'reason', error)})") from error
    raise NoAnswer("what answers there is no Ray dashboard")
