"""Runs Ansambl and Open WebUI where this machine is all there is, and tells which other addresses they asked for.

It is a program: ``unshare --net python open_webui_alone.py FOLDER MODEL INSTALLED``. In its network namespace all
addresses lead to the loopback interface, where every packet is looked at. It prints one JSON object.
"""

from __future__ import annotations

import json
import socket
import struct
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import httpx
from open_webui_stage import Stage, make_stage
from product import wait_for

NOWHERE = "192.0.2.1"
"""An address for documentation: what is sent there at the end shows that packets are heard at all."""

_UDP, _TCP, _DNS = 17, 6, 53


class Ear:
    """Keeps where packets of the loopback interface go to, when that is not this machine."""

    def __init__(self) -> None:
        self.outside: set[str] = set()
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800))
        self._socket.bind(("lo", 0))
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while True:
            packet = self._socket.recv(65535)
            begin, address = (packet[0] & 15) * 4, socket.inet_ntoa(packet[16:20])
            if address.startswith("127."):
                continue
            port = struct.unpack(">H", packet[begin + 2 : begin + 4])[0] if packet[9] in {_UDP, _TCP} else 0
            asked = f" {_name_in(packet[begin + 8 :])}" if packet[9] == _UDP and port == _DNS else ""
            self.outside.add(f"{address}:{port}{asked}")


def _name_in(question: bytes) -> str:
    """The name that a DNS question asks for."""
    words, place = [], 12
    while place < len(question) and question[place]:
        words.append(question[place + 1 : place + 1 + question[place]].decode("latin-1"))
        place += 1 + question[place]
    return ".".join(words)


def use(stage: Stage) -> dict[str, Any]:
    """Sign in, read the models, ask, and put a file into a chat, as its page does; what came of it."""
    with httpx.Client(base_url=stage.beside_address, timeout=300, trust_env=False) as client:
        # Without a sign-in anybody gets a session; the page asks for it in this way.
        token = client.post("/api/v1/auths/signin", json={"email": "", "password": ""}).json()["token"]
        client.headers["authorization"] = f"Bearer {token}"
        models = [one["id"] for one in client.get("/api/models").json()["data"]]
        question = {"role": "user", "content": "How often does the foghorn sound?"}
        answer = client.post("/api/chat/completions", json={"model": "keeper", "messages": [question], "stream": False})
        file = client.post("/api/v1/files/", files={"file": ("notes.txt", b"The lamp is lit at sunset.", "text/plain")})
    return {"models": models, "answer": answer.json()["choices"][0]["message"]["content"], "file": file.status_code}


def main(folder: str, model: str, installed: str) -> None:
    """Do it."""
    for command in (("link", "set", "lo", "up"), ("route", "add", "default", "dev", "lo")):
        subprocess.run(["ip", *command], check=True)
    ear = Ear()
    stage = make_stage(Path(folder), Path(model), Path(installed))
    stage.start(offline=False)
    try:
        found = use(stage)
    finally:
        stage.product.end()
    outside = sorted(ear.outside)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.sendto(b"heard", (NOWHERE, 9))
    wait_for(lambda: f"{NOWHERE}:9" in ear.outside, "the ear hears what leaves this machine")
    sys.stdout.write(json.dumps({**found, "outside": outside}) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
